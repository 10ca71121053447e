"""The device that is timed: its name, its cache, and how long calls take on it."""

import os
import platform
import re
import sys
import time

import torch

from .nvml import Nvml

MIB = 1 << 20


def open_device():
    return Cuda() if torch.cuda.is_available() else Cpu()


class Cpu:
    kind = "cpu"

    def __init__(self):
        self.torch = torch.device("cpu")
        self.name = cpu_name()
        # Caches of servers hold hundreds of MiB, of which one process gets a part.
        self.cache_bytes = 32 * MIB

    def software(self):
        return {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "threads": str(torch.get_num_threads()),
        }

    def synchronize(self):
        pass

    def still_works(self):
        return True

    def sample(self):
        """Clock and power at this moment; a CPU's are not known."""
        return {}

    def time_calls(self, call, before, count, ahead):
        """Seconds of each of `count` calls; see Cuda.time_calls."""
        seconds = []
        for i in range(count):
            before(i)
            start = time.perf_counter()
            call(i)
            seconds.append(time.perf_counter() - start)
        return seconds, []


class Cuda:
    kind = "gpu"

    def __init__(self):
        self.torch = torch.device("cuda", torch.cuda.current_device())
        properties = torch.cuda.get_device_properties(self.torch)
        self.name = properties.name
        self.capability = (properties.major, properties.minor)
        # Older versions don't say how large the cache is; no GPU of 2025 has more than this.
        self.cache_bytes = getattr(properties, "L2_cache_size", 0) or 128 * MIB
        self.nvml = Nvml(gpu_uuid(properties))

    def software(self):
        versions = {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "cuda": torch.version.cuda,
            "rocm": getattr(torch.version, "hip", None),
            "driver": self.nvml.driver_version(),
        }
        return {name: version for name, version in versions.items() if version}

    def synchronize(self):
        torch.cuda.synchronize(self.torch)

    def still_works(self):
        """False after an error that a process with its context does not survive."""
        try:
            self.synchronize()
            return True
        except RuntimeError:
            return False

    def sample(self):
        """Clock and power at this moment."""
        values = {"clockMHz": self.nvml.clock_mhz(), "powerWatts": self.nvml.power_watts()}
        return {name: value for name, value in values.items() if value}

    def time_calls(self, call, before, count, ahead):
        """Seconds of each of `count` calls, by events on the device.

        :param call: takes the number of the call
        :param before: likewise; runs before every call and is not timed
        :param ahead: seconds for which the device is held at the start, in which the host can queue all calls:
            what is timed is then the device alone, not its waiting for launches. 0: launches as the host makes them
        :returns: the seconds, and samples of clock and power
        """
        events = [
            (torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in range(count)
        ]
        self.synchronize()
        self.hold(ahead)
        for i, (start, end) in enumerate(events):
            before(i)
            start.record()
            call(i)
            end.record()
        # All is launched and the last calls are still running.
        samples = [self.sample()]
        self.synchronize()
        return [start.elapsed_time(end) / 1000 for start, end in events], samples

    def hold(self, seconds):
        """Keeps the current stream busy for about so long."""
        spin = getattr(torch.cuda, "_sleep", None)
        if seconds > 0 and spin is not None:
            spin(int(seconds * 2e9))  # cycles, of which no GPU has many more in a second


def gpu_uuid(properties):
    """As NVML wants it; None where this version of PyTorch does not say."""
    uuid = getattr(properties, "uuid", None)
    if uuid is None:
        return None
    text = str(uuid)
    return text if text.startswith("GPU-") else f"GPU-{text}"


def cpu_name():
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            found = re.search(r"^model name\s*:\s*(.+)$", file.read(), re.MULTILINE)
        if found:
            return found.group(1).strip()
    return platform.processor() or platform.machine() or sys.platform
