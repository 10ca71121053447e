"""Times cases: inputs rotated past the cache, warm-up, medians over repeats, a long run."""

import math
import statistics
import time

import torch

from .devices import open_device
from .products import Plain, find_products, relative_error
from .work import CHECKED, WORK

# Sets of inputs at most; where they are small, the cache is swept between calls instead
MOST_SETS = 8
# Launches, or reads, in one timed row of them; fewer than a queue of launches holds
LAUNCHES = 200
# The longest that a device is held back for the host to get ahead, in seconds
LONGEST_HOLD = 0.5
# Relative; more than 8-bit floats lose between two products
LARGEST_ERROR = 0.1


class Bench:
    def __init__(self):
        torch.set_grad_enabled(False)
        self.device = open_device()
        self.products = find_products(self.device)
        self.sweep = torch.zeros(2 * self.device.cache_bytes, dtype=torch.uint8, device=self.device.torch)

    def describe(self):
        return {
            "device": {"name": self.device.name, "kind": self.device.kind},
            "software": self.device.software(),
            "products": {layout: list(products) for layout, products in self.products.items()},
        }

    def time(self, case, effort):
        """A row, without its case."""
        torch.manual_seed(0)
        op = case["op"]
        if op == "launch":
            return self.time_launches(effort)
        if op == "host-sync":
            return self.time_host_reads(effort)
        if op == "gemm-beside-copy":
            return self.time_beside_copy(case, effort)
        return self.time_work(WORK[op](case, self.products, self.device), effort)

    def time_work(self, work, effort):
        first = work.make()
        error = work.check(first, work.call(*first))
        sets, swept = self.rotate(work, first)

        def call(i):
            work.call(*sets[i % len(sets)])

        seconds, samples = self.time_rotated(call, swept, effort, work.launches_count)
        row = row_of(work.kernel, seconds, error)
        if effort["longRunSeconds"] > 0:
            row["longRunSeconds"], samples = self.long_run(call, row["seconds"], effort["longRunSeconds"])
        return {**row, **settled(samples)}

    def rotate(self, work, first):
        """Sets of inputs that the cache can't hold together, and whether it must be swept all the same."""
        size = bytes_of(first)
        room = 2 * self.device.cache_bytes
        count = max(1, min(MOST_SETS, math.ceil(room / size)))
        sets = [first] + [work.make() for _ in range(count - 1)]
        return sets, count * size * work.touched < room

    def time_rotated(self, call, swept, effort, launches_count):
        """Seconds of the timed calls, and samples of clock and power."""

        def before(_):
            if swept:
                self.sweep.add_(1)

        self.device.synchronize()
        queueing = LONGEST_HOLD
        for i in range(effort["warmup"]):
            start = time.perf_counter()
            before(i)
            call(i)
            queueing = min(queueing, time.perf_counter() - start)
        # Twice the time in which the host queues all calls, so that the device never waits for it
        ahead = 0 if launches_count else min(LONGEST_HOLD, 2 * queueing * effort["repeats"] + 1e-3)
        return self.device.time_calls(call, before, effort["repeats"], ahead)

    def long_run(self, call, expected, seconds):
        """Seconds of a call once clocks and power have settled: in the second half of a run of `seconds`."""
        batch = max(1, math.ceil(min(0.2, seconds / 10) / expected))
        begin = time.perf_counter()
        per_call, samples = [], []
        done = 0
        while (now := time.perf_counter()) - begin < seconds or not per_call:
            for i in range(batch):
                call(done + i)
            sample = self.device.sample()
            self.device.synchronize()
            done += batch
            if now - begin >= seconds / 2:
                per_call.append((time.perf_counter() - now) / batch)
                samples.append(sample)
        return statistics.median(per_call), samples

    def time_launches(self, effort):
        """Host time of a launch: of many in a row, without waiting for the device."""
        value = torch.zeros(1, device=self.device.torch)

        def launch_all():
            start = time.perf_counter()
            for _ in range(LAUNCHES):
                value.add_(1)
            return (time.perf_counter() - start) / LAUNCHES

        seconds = self.repeat(launch_all, effort)
        expected = LAUNCHES * (effort["warmup"] + effort["repeats"])
        return row_of("Tensor.add_ of one value", seconds, abs(value.item() - expected) / expected)

    def time_host_reads(self, effort):
        """Host time of reading one value from an idle device."""
        value = torch.full((1,), 7.0, device=self.device.torch)

        def read_all():
            start = time.perf_counter()
            for _ in range(LAUNCHES):
                value.item()
            return (time.perf_counter() - start) / LAUNCHES

        seconds = self.repeat(read_all, effort)
        return row_of("Tensor.item", seconds, abs(value.item() - 7.0))

    def repeat(self, measured, effort):
        seconds = []
        for i in range(effort["warmup"] + effort["repeats"]):
            self.device.synchronize()
            took = measured()
            if i >= effort["warmup"]:
                seconds.append(took)
        self.device.synchronize()
        return seconds

    def time_beside_copy(self, case, effort):
        """A product while copies run on a second stream, and alone. CUDA only."""
        product = Plain(case["dtype"], self.device.torch)
        rows = product.rows(case["rows"], case["inner"])
        weights = product.weights(1, case["columns"], case["inner"])
        source = torch.randint(0, 256, (case["bytes"],), dtype=torch.uint8, device=self.device.torch)
        target = torch.empty_like(source)

        def multiply(_=0):
            return product.one(rows, weights, 0)

        def copy(_=0):
            target.copy_(source, non_blocking=True)

        wanted = product.reference_rows(rows[:CHECKED]) @ product.reference_weights(weights, 0).t()
        error = relative_error(multiply()[:CHECKED], wanted)
        alone = statistics.median(self.time_rotated(multiply, True, effort, False)[0])
        copying = statistics.median(self.time_rotated(copy, True, effort, False)[0])
        # Copies for twice as long as the product takes, so that it never runs alone.
        copies = math.ceil(2 * alone / copying) + 1

        main = torch.cuda.current_stream()
        side = torch.cuda.Stream()

        def start_copies(_):
            main.wait_stream(side)
            # Both streams set out together, once the host has queued the work of both.
            self.device.hold(1e-4 + copies * 1e-5)
            side.wait_stream(main)
            with torch.cuda.stream(side):
                for _ in range(copies):
                    copy()

        seconds, samples = self.device.time_calls(multiply, start_copies, effort["repeats"], 0)
        main.wait_stream(side)
        return {
            **row_of(f"torch.mm beside {copies} × Tensor.copy_", seconds, error),
            "aloneSeconds": alone,
            **settled(samples),
        }


def bytes_of(value):
    """Of a tensor, or a tuple of them."""
    if isinstance(value, tuple):
        return sum(bytes_of(part) for part in value)
    return value.numel() * value.element_size()


def row_of(kernel, seconds, error):
    """A row's timing: median, and the interquartile range over it."""
    middle = statistics.median(seconds)
    if not middle > 0:
        raise ValueError(f"{kernel}: the clock saw no time pass")
    if not error <= LARGEST_ERROR:
        raise ValueError(f"{kernel}: the output is off by {error:.3g} of what a CPU computes")
    spread = None
    if len(seconds) > 1:
        low, _, high = statistics.quantiles(seconds, n=4, method="inclusive")
        spread = (high - low) / middle
    return {
        "kernel": kernel,
        "seconds": middle,
        "spread": spread,
        "repeats": len(seconds),
        "maxError": error,
    }


def settled(samples):
    """Medians of what the samples hold."""
    names = {name for sample in samples for name in sample}
    return {
        name: statistics.median(sample[name] for sample in samples if name in sample)
        for name in sorted(names)
    }
