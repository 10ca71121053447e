"""Matrix products by format and layout: one kernel for all experts (fused), or a launch per expert (loop).

Weights are [expert, columns, inner], as models store them; rows are [row, inner], sorted by expert.
"""

import torch

from .devices import Cuda

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


class Groups:
    """Which rows belong to which expert."""

    def __init__(self, counts, device):
        self.rows = sum(counts)
        self.experts = len(counts)
        ends = torch.tensor(counts).cumsum(0)
        self.ends = ends.to(device, torch.int32)
        starts = ends - torch.tensor(counts)
        # (expert, first row, row after the last) of experts that have rows
        self.active = [
            (expert, int(starts[expert]), int(ends[expert])) for expert, n in enumerate(counts) if n > 0
        ]
        self.active_share = len(self.active) / len(counts)


class Plain:
    """Products of numbers as they are."""

    def __init__(self, dtype, device):
        self.dtype = DTYPES[dtype]
        self.device = device
        self.loop_kernel = "torch.mm per expert"
        self.fused_kernel = "torch._grouped_mm"

    def rows(self, count, inner):
        return torch.randn(count, inner, device=self.device, dtype=self.dtype)

    def weights(self, experts, columns, inner):
        """Random, so that products of rows of size one are of size one."""
        values = torch.randn(experts, columns, inner, device=self.device, dtype=self.dtype)
        return values.mul_(inner**-0.5)

    def cast(self, values):
        """From what a product gives to what the next one takes."""
        return values

    def one(self, rows, weights, expert):
        return torch.mm(rows, weights[expert].t())

    def fused(self, rows, weights, groups):
        return torch._grouped_mm(rows, weights.transpose(-2, -1), offs=groups.ends)

    def reference_rows(self, rows):
        return rows.cpu().to(self.wide)

    def reference_weights(self, weights, expert):
        return weights[expert].cpu().to(self.wide)

    @property
    def wide(self):
        """The format of the reference."""
        return torch.float64 if self.dtype == torch.float32 else torch.float32


class Fp8:
    """Products of 8-bit floats with a scale per row and column; results are bf16."""

    wide = torch.float32

    def __init__(self, device):
        self.dtype = torch.float8_e4m3fn
        self.device = device
        self.loop_kernel = "torch._scaled_mm per expert"
        self.fused_kernel = "torch._scaled_grouped_mm"

    def rows(self, count, inner):
        return self.cast(torch.randn(count, inner, device=self.device, dtype=torch.bfloat16))

    def weights(self, experts, columns, inner):
        """Random values near 1 in size, scaled so that products of rows of size one are of size one."""
        values = torch.empty(experts, columns, inner, device=self.device, dtype=self.dtype)
        for expert in range(experts):  # one by one, as wider numbers for all take three times the memory
            values[expert] = self.cast(torch.randn(columns, inner, device=self.device, dtype=torch.bfloat16))
        scale = torch.full((experts, columns), inner**-0.5, device=self.device)
        return values, scale, scale[0, :1].clone().reshape(())

    def cast(self, values):
        return values.to(self.dtype)

    def one(self, rows, weights, expert):
        values, _, scale = weights
        product = torch._scaled_mm(
            rows,
            values[expert].t(),
            scale_a=self.unit(1)[0],
            scale_b=scale,
            out_dtype=torch.bfloat16,
            use_fast_accum=True,
        )
        # PyTorch 2.1 to 2.4 give the largest value besides.
        return product[0] if isinstance(product, tuple) else product

    def fused(self, rows, weights, groups):
        values, scales, _ = weights
        return torch._scaled_grouped_mm(
            rows,
            values.transpose(-2, -1),
            self.unit(rows.shape[0]),
            scales,
            offs=groups.ends,
            out_dtype=torch.bfloat16,
            use_fast_accum=True,
        )

    def unit(self, count):
        """Scales of rows, kept from call to call."""
        if getattr(self, "units", None) is None or self.units.numel() < count:
            self.units = torch.ones(count, device=self.device)
        return self.units[:count]

    def reference_rows(self, rows):
        return rows.cpu().to(self.wide)

    def reference_weights(self, weights, expert):
        values, _, scale = weights
        return values[expert].cpu().to(self.wide) * scale.item()


def find_products(device):
    """{layout: {dtype: product}} of what the device can do, found out by trying."""
    candidates = {dtype: Plain(dtype, device.torch) for dtype in DTYPES}
    if hasattr(torch, "float8_e4m3fn") and isinstance(device, Cuda):
        candidates["fp8"] = Fp8(device.torch)
    found = {"fused": {}, "loop": {}}
    for dtype, product in candidates.items():
        if works(lambda rows, weights, groups: looped(product, rows, weights, groups), product):
            found["loop"][dtype] = product
        if has_grouped_kernel(device, dtype) and works(product.fused, product):
            found["fused"][dtype] = product
    if not isinstance(device, Cuda):
        # Without launches, one call after the other is all that a grouped product could do.
        for product in found["loop"].values():
            product.fused_kernel = product.loop_kernel
            product.fused = lambda *arguments, product=product: torch.cat(looped(product, *arguments))
        found["fused"] = found["loop"]
    return found


def has_grouped_kernel(device, dtype):
    """Hopper and data-centre Blackwell: elsewhere _grouped_mm is missing, or a loop of its own that waits for the
    counts on the host."""
    return (
        isinstance(device, Cuda)
        and device.capability[0] in (9, 10)
        and (
            (dtype == "bf16" and hasattr(torch, "_grouped_mm"))
            or (dtype == "fp8" and hasattr(torch, "_scaled_grouped_mm"))
        )
    )


def looped(product, rows, weights, groups):
    """One product after the other, for experts that have rows."""
    return [product.one(rows[start:end], weights, expert) for expert, start, end in groups.active]


def works(multiply, product):
    """Whether a product gives what it should, on counts that are none and not round."""
    try:
        groups = Groups([16, 0, 5], product.device)
        rows, weights = product.rows(groups.rows, 64), product.weights(groups.experts, 32, 64)
        result = multiply(rows, weights, groups)
        result = torch.cat(result) if isinstance(result, list) else result
        wanted = torch.cat(
            [
                product.reference_rows(rows[start:end]) @ product.reference_weights(weights, expert).t()
                for expert, start, end in groups.active
            ]
        )
        return relative_error(result, wanted) < 0.1
    except Exception:  # missing functions, formats and architectures all say so in their own way
        return False


def relative_error(result, wanted):
    """Largest difference over the largest value that is wanted; infinite where a value is no number."""
    difference = (result.cpu().to(wanted.dtype) - wanted).abs().max()
    error = (difference / wanted.abs().max().clamp_min(1e-30)).item()
    return error if error == error else float("inf")
