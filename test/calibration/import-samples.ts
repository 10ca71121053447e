/** Outputs as the programs print them, short, with invented numbers. */

const rank = (index: number, host: string, device: number) =>
  `#  Rank  ${index} Group  0 Pid  128${index}0 on ${host} device  ${device} [0000:0${index}:00] NVIDIA H100 80GB HBM3`;

export function ncclTests(): string {
  return `# nccl-tests version 2.18.3 nccl-headers=23003 nccl-library=23003
# Collective test starting: alltoall_perf
# nThread 1 nGpus 1 minBytes 1048576 maxBytes 268435456 step: 256(factor) warmup iters: 1 iters: 20 agg iters: 1 validation: 1 graph: 0 unalign: 0
# Using devices
${[rank(0, 'node-a', 0), rank(1, 'node-a', 1), rank(2, 'node-b', 0), rank(3, 'node-b', 1)].join('\n')}
NCCL version 2.30.3+cuda13.0
#
#                                                              out-of-place                       in-place
#       size         count      type   redop    root     time   algbw   busbw  #wrong     time   algbw   busbw  #wrong
#        (B)    (elements)                               (us)  (GB/s)  (GB/s)             (us)  (GB/s)  (GB/s)
     1048576         65536     float    none      -1    71.44   14.68   13.76       0    73.56   14.25   13.36    N/A
   268435456      16777216     float    none      -1    99272    2.70    2.03       0    89791    2.99    2.24    N/A
# Out of bounds values : 0 OK
# Avg bus bandwidth    : 7.85
#
# Collective test concluded: alltoall_perf
`;
}

export const deepepInternode = `[config] num_tokens=4096, hidden=7168, num_topk_groups=2, num_topk=8
[layout] Kernel performance: 0.045 ms

[tuning] SMs 24, NVL chunk 4, RDMA chunk 4: 35 + 1900 us, 30.00 GB/s (RDMA), 98.00 GB/s (NVL)
[tuning] Best dispatch (FP8): SMs 24, NVL chunk 20, RDMA chunk 16: 35 + 1000 us, 58.00 GB/s (RDMA), 189.00 GB/s (NVL)
[tuning] Best dispatch (BF16): SMs 24, NVL chunk 20, RDMA chunk 16: 36 + 1990 us, 58.00 GB/s (RDMA), 189.00 GB/s (NVL)
[tuning] Best combine: SMs 24, NVL chunk 4, RDMA chunk 12: 37 + 2000 us, 57.00 GB/s (RDMA), 187.00 GB/s (NVL)
`;

export const deepepIntranode = `[config] num_tokens=4096, hidden=7168, num_topk=8
[tuning] SMs 24, NVL chunk 4: 289.30 GB/s (NVL), 552.44 us
[tuning] Best dispatch (FP8): SMs 24, NVL chunk 30, 352.43 GB/s (NVL), t: 453.49 us
[tuning] Best combine: SMs 24, NVL chunk 15: 399.63 GB/s (NVL), t: 775.61 us
`;

export const deepepLowLatency = `Allocating buffer size: 2116.291072 MB ...
[rank 0] Dispatch + combine bandwidth: 110.00 GB/s, avg_t=200.00 us, min_t=190.00 us, max_t=220.00 us
[rank 0] Dispatch bandwidth: 98.00 GB/s, avg_t=77.00 us | Combine bandwidth: 127.00 GB/s, avg_t=114.00 us
[rank 1] Dispatch bandwidth: 96.00 GB/s, avg_t=79.00 us | Combine bandwidth: 125.00 GB/s, avg_t=116.00 us
[rank 0] Dispatch send/recv time: 20.00 + 9.00 us | Combine send/recv time: 22.00 + 15.00 us
`;
