#!/usr/bin/env bash
# A Slurm cluster of three nodes on this machine, for tests: Debian's slurm-wlm and munge, as root, without
# systemd, cgroups or a database. Everything it needs and leaves is in one folder.
#
#   tools/slurm-test-cluster.sh start /tmp/cluster    # then: export SLURM_CONF=/tmp/cluster/slurm.conf
#   tools/slurm-test-cluster.sh stop /tmp/cluster
set -euo pipefail
action=$1
mkdir -p "$2"
place=$(cd "$2" && pwd)
export SLURM_CONF="$place/slurm.conf"
nodes=(node1 node2 node3)
port=${EPSIM_SLURM_PORT:-17000} # and the ones after it

configure() {
  mkdir -p "$place"/{state,log,run}
  local host
  host=$(hostname -s)
  cat >"$SLURM_CONF" <<CONF
ClusterName=epsim
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$port
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
# Credentials live for 5 s instead of 120, after which a job of a lost node may run again
AuthInfo=socket=$place/run/munge.socket,cred_expire=5
SchedulerParameters=bf_interval=5,sched_min_interval=100000
SlurmdTimeout=6
KillWait=2
ReturnToService=2
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
MpiDefault=none
StateSaveLocation=$place/state
SlurmdSpoolDir=$place/state/%n
SlurmctldPidFile=$place/run/slurmctld.pid
SlurmdPidFile=$place/run/%n.pid
SlurmctldLogFile=$place/log/slurmctld.log
SlurmdLogFile=$place/log/%n.log
CONF
  for i in "${!nodes[@]}"; do
    echo "NodeName=${nodes[i]} NodeHostname=$host NodeAddr=127.0.0.1 Port=$((port + 1 + i)) CPUs=1 RealMemory=4000"
  done >>"$SLURM_CONF"
  echo "PartitionName=test Nodes=ALL Default=YES MaxTime=INFINITE State=UP" >>"$SLURM_CONF"
  echo "# no cgroups" >"$place/cgroup.conf"
}

start() {
  configure
  dd if=/dev/urandom of="$place/run/munge.key" bs=1024 count=1 status=none
  chmod 400 "$place/run/munge.key"
  chmod 755 "$place/run"
  munged --force --key-file="$place/run/munge.key" --socket="$place/run/munge.socket" \
    --pid-file="$place/run/munge.pid" --log-file="$place/log/munge.log" --seed-file="$place/run/munge.seed"
  slurmctld -f "$SLURM_CONF"
  for node in "${nodes[@]}"; do slurmd -N "$node" -f "$SLURM_CONF"; done
  for _ in $(seq 100); do
    [ "$(sinfo --noheader --Node --states=idle --format=%N 2>/dev/null | wc -l)" -eq "${#nodes[@]}" ] && return
    sleep 0.2
  done
  echo "the cluster does not come up; its logs are in $place/log" >&2
  tail -n 5 "$place"/log/*.log >&2
  return 1
}

stop() {
  scancel --state=PENDING,RUNNING --user="$(id -un)" 2>/dev/null || true
  local pids=()
  for name in "${nodes[@]}" slurmctld munge; do
    [ -f "$place/run/$name.pid" ] && pids+=("$(cat "$place/run/$name.pid")")
  done
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  for _ in $(seq 50); do
    local alive=0
    for pid in "${pids[@]}"; do if kill -0 "$pid" 2>/dev/null; then alive=1; fi; done
    [ "$alive" -eq 0 ] && return
    sleep 0.1
  done
  for pid in "${pids[@]}"; do kill -9 "$pid" 2>/dev/null || true; done
}

case $action in
  start) start ;;
  stop) stop ;;
  *) echo "found '$action', allowed: start, stop" >&2 && exit 2 ;;
esac
