"""What there is to call for every kind of case: inputs, the call, the kernel's name, and a check of its output."""

import torch
import torch.nn.functional as F

from .products import DTYPES, Groups, looped, relative_error

# Rows of an expert, and tokens, that an output is checked on
CHECKED = 4
# Bytes at either end of a copy that it is checked on
MIB = 1 << 20


class Work:
    """One case, ready to be called."""

    def __init__(self, kernel, make, call, check, launches_count=False, touched=1.0):
        """
        :param make: makes one set of inputs, a tuple
        :param call: takes a set of inputs
        :param check: takes a set of inputs and the output, gives the relative error
        :param launches_count: whether the host's launching is a part of what is timed
        :param touched: share of the inputs' bytes that a call reads
        """
        self.kernel = kernel
        self.make = make
        self.call = call
        self.check = check
        self.launches_count = launches_count
        self.touched = touched


def silu_mul(gate_up):
    """SiLU of the first half of the columns times the second."""
    gate, up = gate_up.chunk(2, dim=1)
    return F.silu(gate).mul_(up)


def checked_groups(groups):
    """The first rows of the first and the last active expert: (expert, first row, row after the last)."""
    ends = {groups.active[0], groups.active[-1]}
    return [(expert, start, min(end, start + CHECKED)) for expert, start, end in sorted(ends)]


def rows_of(output, groups, start, end):
    """Rows of a fused output, or of a looped one, which is a list by active expert."""
    if not isinstance(output, list):
        return output[start:end]
    at = next(i for i, (_, first, _) in enumerate(groups.active) if first == start)
    return output[at][: end - start]


def expert_stage(case, products, device):
    product = products[case["layout"]][case["weightDtype"]]
    groups = Groups(case["counts"], device.torch)
    hidden, inner = case["hiddenSize"], case["expertHiddenSize"]
    fused = case["layout"] == "fused"

    def make():
        return (
            product.rows(groups.rows, hidden),
            product.weights(groups.experts, 2 * inner, hidden),
            product.weights(groups.experts, hidden, inner),
        )

    def call(rows, gate_up, down):
        if fused:
            return product.fused(product.cast(silu_mul(product.fused(rows, gate_up, groups))), down, groups)
        outputs = []
        for expert, start, end in groups.active:
            activated = product.cast(silu_mul(product.one(rows[start:end], gate_up, expert)))
            outputs.append(product.one(activated, down, expert))
        return outputs

    def check(inputs, output):
        rows, gate_up, down = inputs
        errors = []
        for expert, start, end in checked_groups(groups):
            between = product.reference_rows(rows[start:end]) @ product.reference_weights(gate_up, expert).t()
            wanted = silu_mul(between) @ product.reference_weights(down, expert).t()
            errors.append(relative_error(rows_of(output, groups, start, end), wanted))
        return max(errors)

    kernel = product.fused_kernel if fused else product.loop_kernel
    return Work(f"{kernel}, F.silu, mul_", make, call, check, not fused, groups.active_share)


def grouped_gemm(case, products, device):
    product = products[case["layout"]][case["dtype"]]
    groups = Groups(case["counts"], device.torch)
    fused = case["layout"] == "fused"

    def make():
        return (
            product.rows(groups.rows, case["inner"]),
            product.weights(groups.experts, case["columns"], case["inner"]),
        )

    def call(rows, weights):
        if fused:
            return product.fused(rows, weights, groups)
        return looped(product, rows, weights, groups)

    def check(inputs, output):
        rows, weights = inputs
        return max(
            relative_error(
                rows_of(output, groups, start, end),
                product.reference_rows(rows[start:end]) @ product.reference_weights(weights, expert).t(),
            )
            for expert, start, end in checked_groups(groups)
        )

    kernel = product.fused_kernel if fused else product.loop_kernel
    return Work(kernel, make, call, check, not fused, groups.active_share)


def order_by_expert(tokens, top_k):
    """Of a random routing: the copy (token · top_k + choice) at every place of the order by expert."""
    experts = max(8, 2 * top_k)
    choices = torch.rand(tokens, experts).topk(top_k, dim=1).indices
    return choices.flatten().argsort(stable=True)


def permute(case, products, device):
    tokens, top_k, hidden = case["tokens"], case["topK"], case["hiddenSize"]
    # Formats of 8 bits have no gather of their own, and bytes are bytes.
    dtype = DTYPES.get(case["dtype"], torch.uint8)

    def make():
        if dtype == torch.uint8:
            values = torch.randint(0, 256, (tokens, hidden), device=device.torch, dtype=dtype)
        else:
            values = torch.randn(tokens, hidden, device=device.torch, dtype=dtype)
        source = torch.div(order_by_expert(tokens, top_k), top_k, rounding_mode="floor")
        return values, source.to(device.torch)

    def check(inputs, output):
        values, source = inputs
        places = sorted({0, len(source) // 2, len(source) - 1})
        wanted = torch.stack([values[int(source[place])].cpu() for place in places])
        got = torch.stack([output[place].cpu() for place in places])
        return relative_error(got, wanted.to(torch.float32))

    return Work("torch.index_select", make, lambda values, source: values.index_select(0, source), check)


def unpermute(case, products, device):
    tokens, top_k, hidden = case["tokens"], case["topK"], case["hiddenSize"]
    dtype = DTYPES[case["dtype"]]

    def make():
        values = torch.randn(tokens * top_k, hidden, device=device.torch, dtype=dtype)
        place = order_by_expert(tokens, top_k).argsort().reshape(tokens, top_k)
        weights = torch.rand(tokens, top_k).softmax(dim=1)
        return values, place.to(device.torch), weights.to(device.torch, dtype)

    def bag(values, place, weights):
        return F.embedding_bag(place, values, mode="sum", per_sample_weights=weights)

    def in_steps(values, place, weights):
        gathered = values.index_select(0, place.flatten()).view(tokens, top_k, hidden)
        return gathered.mul_(weights.unsqueeze(2)).sum(dim=1)

    def check(inputs, output):
        values, place, weights = inputs
        chosen = sorted({0, tokens // 2, tokens - 1})
        wanted = torch.stack(
            [
                sum(
                    values[int(place[token, j])].cpu().to(torch.float32) * float(weights[token, j])
                    for j in range(top_k)
                )
                for token in chosen
            ]
        )
        return relative_error(torch.stack([output[token].cpu() for token in chosen]), wanted)

    try:  # one kernel, where it knows the format
        small = torch.ones(2, 2, device=device.torch, dtype=dtype)
        bag(small, torch.zeros(1, 2, device=device.torch, dtype=torch.int64), small[:1])
        return Work("F.embedding_bag", make, bag, check)
    except RuntimeError:
        return Work("torch.index_select, mul_, sum", make, in_steps, check)


def top_k(case, products, device):
    def make():
        return (torch.randn(case["tokens"], case["experts"], device=device.torch),)

    def check(inputs, output):
        wanted = inputs[0].cpu().sort(dim=1, descending=True).values[:, : case["topK"]]
        picked = inputs[0].cpu().gather(1, output.indices.cpu())
        return max(relative_error(output.values, wanted), relative_error(picked, wanted))

    return Work("torch.topk", make, lambda logits: logits.topk(case["topK"], dim=1), check)


def activation(case, products, device):
    dtype = DTYPES[case["dtype"]]

    def make():
        shape = (case["rows"], 2 * case["expertHiddenSize"])
        return (torch.randn(*shape, device=device.torch, dtype=dtype),)

    def check(inputs, output):
        return relative_error(output[:CHECKED], silu_mul(inputs[0][:CHECKED].cpu().to(torch.float64)))

    return Work("F.silu, mul_", make, silu_mul, check)


def copy(case, products, device):
    from_host = case["direction"] == "host-to-device"

    def make():
        source = torch.randint(0, 256, (case["bytes"],), dtype=torch.uint8, device=device.torch)
        target = torch.empty_like(source)
        if from_host:
            source = torch.empty(case["bytes"], dtype=torch.uint8, pin_memory=True).copy_(source)
        return source, target

    def check(inputs, output):
        source, _ = inputs
        parts = slice(0, MIB), slice(-MIB, None)
        same = all(torch.equal(source[part].cpu(), output[part].cpu()) for part in parts)
        return 0.0 if same else float("inf")

    return Work(
        "Tensor.copy_ of pinned memory" if from_host else "Tensor.copy_",
        make,
        lambda source, target: target.copy_(source, non_blocking=True),
        check,
    )


# How to get ready for a case, by its op; bench.py has the ones that are no call on inputs
WORK = {
    "expert-stage": expert_stage,
    "grouped-gemm": grouped_gemm,
    "permute": permute,
    "unpermute": unpermute,
    "top-k": top_k,
    "activation": activation,
    "copy": copy,
}
