"""Records which experts the routers of a PyTorch model choose, as epsim replays it.

    from record_torch import RoutingRecorder

    with RoutingRecorder(model, "my-trace", top_k=4, routers=r"\\.gate$", phase="prefill") as recorder:
        for tokens, mask in batches:                       # [sequences, length]; mask: 1 for real tokens
            with recorder.batch(mask, domains=["prose", "code"]):
                model(tokens)

writes my-trace.experts.npy, .weights.npy, .seq_offsets.npy and .meta.json, which scenarios replay by their common
prefix and `epsim trace import my-trace.* --out my-trace.parquet` turns into a native trace. Every forward pass must
hold whole sequences (teacher forcing); passes that go on from a cache are refused.

What a router's module returns is read like this: a tensor of whole numbers [..., top_k] is the chosen experts, a
tensor of floats of the same shape their gate weights; else a tensor of floats [..., experts] is the logits, whose
softmax is taken over all experts, of which the largest top_k count. `read=` reads other outputs: a function from the
module's output to (experts, weights), both [..., top_k].
"""

import contextlib
import json
import os
import re

import numpy
import torch


class RoutingRecorder:
    """Hooks the routers of a model while it is open; writes the recording when it is closed without an error."""

    def __init__(
        self,
        model,
        prefix,
        *,
        top_k,
        routers=r"(^|\.)(router|gate)$",
        experts=None,
        name=None,
        phase="prefill",
        source="",
        licence="",
        notes=(),
        weight_step=None,
        read=None,
    ):
        """
        routers: regular expression that the names of the routers' modules match, in the order of their layers.
        notes: what a reader of every result must know.
        experts: experts of a layer, where the routers return no logits.
        weight_step: gate weights are rounded to multiples of it, so that files stay small; None: as they are.
        """
        self.modules = [(path, module) for path, module in model.named_modules() if re.search(routers, path)]
        if not self.modules:
            names = ", ".join(path for path, _ in model.named_modules() if path)[:400]
            raise ValueError(f"routers: found no module that matches {routers!r}, allowed: one among {names}")
        self.prefix = prefix
        self.top_k = top_k
        self.experts = experts
        self.weight_step = weight_step
        self.read = read or self._read
        self.meta = {
            "model": name or type(model).__name__,
            "phase": phase,
            "source": source,
            "licence": licence,
            "notes": list(notes),
            "topk": top_k,
            "layers": len(self.modules),
        }
        self.seen = None
        self.starts = [0]
        self.domains = []
        self.weighted = True

    def __enter__(self):
        self.files = {part: open(f"{self.prefix}.{part}.tmp", "wb") for part in ("experts", "weights")}
        self.handles = [
            module.register_forward_hook(self._hook(layer)) for layer, (_, module) in enumerate(self.modules)
        ]
        return self

    def __exit__(self, kind, error, trace):
        for handle in self.handles:
            handle.remove()
        for file in self.files.values():
            file.close()
        try:
            if kind is None:
                self._write()
        finally:
            for part in self.files:
                with contextlib.suppress(FileNotFoundError):
                    os.remove(f"{self.prefix}.{part}.tmp")

    @contextlib.contextmanager
    def batch(self, mask, domains=None):
        """Records one forward pass. mask: [sequences, length], true for real tokens; domains: one per sequence."""
        self.seen = [None] * len(self.modules)
        yield
        seen, self.seen = self.seen, None
        mask = torch.as_tensor(mask).bool().cpu()
        for (path, _), layer in zip(self.modules, seen):
            if layer is None:
                raise ValueError(f"{path}: found no output in this pass, allowed: routers that every pass calls")
            if layer[0].shape[0] != mask.numel():
                raise ValueError(
                    f"{path}: found {layer[0].shape[0]} tokens, allowed: the {mask.numel()} of the whole sequences"
                )
        experts = torch.stack([layer[0] for layer in seen], dim=1)
        weights = [layer[1] for layer in seen]
        self.weighted = self.weighted and all(layer is not None for layer in weights)
        for row, own in enumerate(mask):
            if not own.any():
                continue
            tokens = torch.nonzero(own).flatten() + row * mask.shape[1]
            self.files["experts"].write(experts[tokens].numpy().astype("<u2").tobytes())
            if self.weighted:
                kept = torch.stack(weights, dim=1)[tokens].float()
                if self.weight_step:
                    kept = torch.round(kept / self.weight_step) * self.weight_step
                self.files["weights"].write(kept.numpy().astype("<f4").tobytes())
            self.starts.append(self.starts[-1] + len(tokens))
            if domains is not None:
                self.domains.append(domains[row])

    def _hook(self, layer):
        def hook(module, inputs, output):
            if self.seen is None:
                return
            if self.seen[layer] is not None:
                raise ValueError(f"{self.modules[layer][0]}: called twice in a pass, allowed: once")
            experts, weights = self.read(output)
            experts = experts.detach().reshape(-1, self.top_k).cpu()
            if weights is not None:
                weights = weights.detach().reshape(-1, self.top_k).cpu()
            self.seen[layer] = (experts, weights)

        return hook

    def _read(self, output):
        tensors = [output] if torch.is_tensor(output) else [part for part in output if torch.is_tensor(part)]
        chosen = next((t for t in tensors if not t.is_floating_point() and t.shape[-1] == self.top_k), None)
        if chosen is not None:
            same = (t for t in tensors if t.is_floating_point() and t.shape == chosen.shape)
            return chosen, next(same, None)
        logits = next((t for t in tensors if t.is_floating_point() and t.shape[-1] >= self.top_k), None)
        if logits is None:
            shapes = ", ".join(str(tuple(t.shape)) for t in tensors)
            raise ValueError(f"a router's output: found {shapes or 'no tensor'}, allowed: logits, or chosen experts")
        self.experts = self.experts or logits.shape[-1]
        weights, chosen = torch.topk(torch.softmax(logits.float(), dim=-1), self.top_k, dim=-1)
        return chosen, weights

    def _write(self):
        tokens = self.starts[-1]
        if tokens == 0:
            raise ValueError("found no token, allowed: at least one batch")
        shape = (tokens, len(self.modules), self.top_k)
        experts = numpy.fromfile(f"{self.prefix}.experts.tmp", dtype="<u2").reshape(shape)
        count = self.experts or int(experts.max()) + 1
        if experts.max() >= count:
            raise ValueError(f"found expert {experts.max()}, allowed: 0 to {count - 1}")
        numpy.save(f"{self.prefix}.experts.npy", experts.astype("u1") if count <= 256 else experts)
        if self.weighted:
            weights = numpy.fromfile(f"{self.prefix}.weights.tmp", dtype="<f4").reshape(shape)
            numpy.save(f"{self.prefix}.weights.npy", weights)
        numpy.save(f"{self.prefix}.seq_offsets.npy", numpy.array(self.starts, dtype="<i4"))
        meta = {**self.meta, "experts": count, "tokens": tokens, "sequences": len(self.starts) - 1}
        if self.domains:
            meta["sequence_domains"] = self.domains
        with open(f"{self.prefix}.meta.json", "w", encoding="utf-8") as file:
            json.dump(meta, file, indent=1)
            file.write("\n")
