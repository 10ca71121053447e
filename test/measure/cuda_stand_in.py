"""Times cases on the path for CUDA with stand-ins for its streams and events, on tensors of the CPU.

Reads cases, prints what a row holds besides times; so that what a machine without a GPU can find is found.
"""

import json
import sys
import time
import types

import torch

CPU = torch.device("cpu")
held = []


class Event:
    def __init__(self, enable_timing):
        assert enable_timing

    def record(self):
        self.at = time.perf_counter()

    def elapsed_time(self, end):
        return (end.at - self.at) * 1000


class Stream:
    def wait_stream(self, other):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


torch.cuda.is_available = lambda: True
torch.cuda.current_device = lambda: 0
torch.cuda.get_device_properties = lambda _: types.SimpleNamespace(
    name="stand-in", major=9, minor=0, L2_cache_size=1 << 20, uuid="0"
)
torch.cuda.Event, torch.cuda.Stream = Event, Stream
torch.cuda.current_stream = Stream
torch.cuda.stream = lambda stream: stream
torch.cuda.synchronize = lambda _: None
torch.cuda._sleep = held.append
torch.device = lambda *_: CPU
empty = torch.empty
torch.empty = lambda *size, pin_memory=False, **options: empty(*size, **options)

from torch_backend.bench import Bench  # noqa: E402

bench = Bench()
bench.device.nvml = types.SimpleNamespace(
    clock_mhz=lambda: 1000, power_watts=lambda: 300.5, driver_version=lambda: "1.2"
)
print(json.dumps(bench.describe()["device"]))
for case in json.load(sys.stdin):
    held.clear()
    row = bench.time(case, {"repeats": 2, "warmup": 1, "longRunSeconds": 0})
    print(json.dumps({**row, "holds": len(held)}))
