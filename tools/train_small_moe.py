"""Trains a small Mixture-of-Experts language model on free text and records its routing: the quickstart's trace.

    python3 tools/train_small_moe.py --work /tmp/small-moe [--minutes 15]

Text comes from Debian 12's packages, fetched with `apt-get download` and unpacked without installing; five domains:

    prose    anarchism                 An Anarchist FAQ, essays in English (GFDL or GPL)
    manual   manpages                  Linux manual pages (permissive and GPL)
    german   debian-reference-de       Debian Reference in German (GPL)
    french   debian-reference-fr       Debian Reference in French (GPL)
    code     libpython3.11-stdlib      the standard library of Python (PSF)

Tokens are byte pairs of this text. A tenth of every domain is held out: it is never trained on, and the recording is
of it alone. The model: 8 layers, each attention and 32 experts of which a token takes 4 (softmax, then the largest;
weights renormalised), trained with a load-balancing loss of weight 0.01 (Switch Transformer). Writes small-moe.*
(see record_torch.py) and report.json with every domain's loss before and after.
"""

import argparse
import collections
import gzip
import json
import math
import os
import pathlib
import random
import re
import subprocess
import time

# Small products gain nothing from more threads, and lose much where cores are shared.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from torch import nn
from torch.nn import functional as F

from record_torch import RoutingRecorder

DOMAINS = {
    "prose": ("anarchism", r"/html/.*\.html$"),
    "manual": ("manpages", r"/man[0-9]/.*\.gz$"),
    "german": ("debian-reference-de", r"\.de\.(txt|html)(\.gz)?$"),
    "french": ("debian-reference-fr", r"\.fr\.(txt|html)(\.gz)?$"),
    "code": ("libpython3.11-stdlib", r"\.py$"),
}
MOST_CHARACTERS = 2_000_000
VOCABULARY = 2048
LENGTH = 256
LAYERS, WIDTH, HEADS, EXPERTS, TOP_K, HIDDEN = 8, 128, 4, 32, 4, 64
BALANCE = 0.01


def text_of(work, package, pattern):
    """The text of a package's files whose path matches, without markup."""
    folder = work / package
    if not folder.exists():
        subprocess.run(["apt-get", "download", package], cwd=work, check=True, stdout=subprocess.DEVNULL)
        archive = next(work.glob(f"{package}_*.deb"))
        subprocess.run(["dpkg-deb", "-x", archive, folder], check=True)
    parts, size = [], 0
    for path in sorted(folder.rglob("*")):
        if not re.search(pattern, str(path)) or not path.is_file() or path.is_symlink():
            continue
        content = path.read_bytes()
        text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode("utf-8", "replace")
        if ".html" in path.name:
            text = re.sub(r"<[^>]+>", " ", re.sub(r"(?s)<(script|style).*?</\1>", " ", text))
        text = re.sub(r"[ \t]+", " ", re.sub(r"\n\s*\n+", "\n\n", text))
        parts.append(text)
        size += len(text)
        if size > MOST_CHARACTERS:
            break
    if size < 200_000:
        raise SystemExit(f"{package}: found {size} characters that match {pattern}, allowed: at least 200000")
    return "".join(parts)[:MOST_CHARACTERS]


class BytePairs:
    """Byte-pair encoding within words."""

    def __init__(self, texts):
        words = collections.Counter()
        for text in texts:
            words.update(self.split(text))
        pieces = {word: tuple(bytes([b]) for b in word.encode()) for word, _ in words.most_common(20_000)}
        self.merges = {}
        while 256 + len(self.merges) < VOCABULARY:
            pairs = collections.Counter()
            for word, own in pieces.items():
                for pair in zip(own, own[1:]):
                    pairs[pair] += words[word]
            # Many at once: the next best ones seldom depend on each other.
            for pair, _ in pairs.most_common(16)[: VOCABULARY - 256 - len(self.merges)]:
                self.merges[pair] = len(self.merges)
            pieces = {word: self.merge(own) for word, own in pieces.items()}
        self.ids = {bytes([b]): b for b in range(256)}
        for a, b in self.merges:
            self.ids.setdefault(a + b, len(self.ids))
        self.cache = {}

    @staticmethod
    def split(text):
        return re.findall(r" ?\w+| ?[^\w\s]+|\s+", text)

    def merge(self, pieces):
        while len(pieces) > 1:
            rank, at = min((self.merges.get(pair, math.inf), i) for i, pair in enumerate(zip(pieces, pieces[1:])))
            if rank == math.inf:
                break
            pieces = pieces[:at] + (pieces[at] + pieces[at + 1],) + pieces[at + 2 :]
        return pieces

    def encode(self, text):
        tokens = []
        for word in self.split(text):
            if word not in self.cache:
                self.cache[word] = [self.ids[p] for p in self.merge(tuple(bytes([b]) for b in word.encode()))]
            tokens.extend(self.cache[word])
        return tokens


class Experts(nn.Module):
    """A router and its experts; tokens [tokens, WIDTH]."""

    def __init__(self):
        super().__init__()
        self.router = nn.Linear(WIDTH, EXPERTS, bias=False)
        self.into = nn.Parameter(torch.randn(EXPERTS, WIDTH, HIDDEN) / WIDTH**0.5)
        self.out = nn.Parameter(torch.randn(EXPERTS, HIDDEN, WIDTH) / (HIDDEN * 2 * LAYERS) ** 0.5)

    def forward(self, x):
        share = torch.softmax(self.router(x), dim=-1)
        weight, chosen = torch.topk(share, TOP_K, dim=-1)
        weight = weight / weight.sum(-1, keepdim=True)
        # One product per expert over its copies: on a CPU without MKL, batched products take many times as long, and
        # so do the gradients of plain indexing.
        order = torch.argsort(chosen.flatten(), stable=True)
        counts = torch.bincount(chosen.flatten(), minlength=EXPERTS)
        token = order // TOP_K
        parts = x.index_select(0, token).split(counts.tolist())
        done = [F.gelu(rows @ self.into[e]) @ self.out[e] for e, rows in enumerate(parts)]
        copies = torch.cat(done) * weight.flatten().index_select(0, order)[:, None]
        self.balance = EXPERTS * (counts / len(order) * share.mean(0)).sum()
        return torch.zeros_like(x).index_add(0, token, copies)


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.before_attention, self.before_experts = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.project = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
        self.out = nn.Linear(WIDTH, WIDTH, bias=False)
        self.experts = Experts()
        self.register_buffer("future", torch.ones(LENGTH, LENGTH).triu(1).bool(), persistent=False)

    def forward(self, x):
        batch, length, _ = x.shape
        split = self.project(self.before_attention(x)).view(batch, length, 3, HEADS, WIDTH // HEADS)
        query, key, value = split.permute(2, 0, 3, 1, 4)
        scores = query @ key.transpose(-1, -2) * (WIDTH // HEADS) ** -0.5
        scores = scores.masked_fill(self.future[:length, :length], -math.inf)
        mixed = (torch.softmax(scores, -1) @ value).transpose(1, 2).reshape(batch, length, WIDTH)
        x = x + self.out(mixed)
        return x + self.experts(self.before_experts(x).view(-1, WIDTH)).view_as(x)


class SmallMoe(nn.Module):
    def __init__(self):
        super().__init__()
        self.tokens, self.places = nn.Embedding(VOCABULARY, WIDTH), nn.Embedding(LENGTH, WIDTH)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))
        self.last = nn.LayerNorm(WIDTH)
        nn.init.normal_(self.tokens.weight, std=0.05)
        nn.init.normal_(self.places.weight, std=0.05)

    def forward(self, tokens):
        x = self.tokens(tokens) + self.places.weight[: tokens.shape[1]]
        for layer in self.layers:
            x = layer(x)
        return self.last(x) @ self.tokens.weight.T

    def balance(self):
        return sum(layer.experts.balance for layer in self.layers) / LAYERS


def loss_of(model, tokens):
    logits = model(tokens[:, :-1])
    return F.cross_entropy(logits.reshape(-1, VOCABULARY), tokens[:, 1:].reshape(-1))


@torch.no_grad()
def losses_by_domain(model, held):
    """Mean loss per token (nats) of every domain's first held-out sequences."""
    return {domain: round(loss_of(model, sequences[:16]).item(), 3) for domain, sequences in held.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=pathlib.Path, required=True, help="folder for texts and results")
    parser.add_argument("--minutes", type=float, default=15, help="time for training")
    parser.add_argument("--sequences", type=int, default=90, help="recorded sequences of every domain")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(1)
    draw = random.Random(1)

    texts = {domain: text_of(options.work, *place) for domain, place in DOMAINS.items()}
    pairs = BytePairs([text[: len(text) // 10 * 9] for text in texts.values()])
    train, held = {}, {}
    for domain, text in texts.items():
        tokens = torch.tensor(pairs.encode(text))
        border = len(tokens) // 10 * 9
        train[domain] = tokens[:border]
        rest = tokens[border:]
        count = min(len(rest) // LENGTH, options.sequences)
        held[domain] = rest[: count * LENGTH].view(count, LENGTH)
        print(f"{domain}: {border} tokens to train on, {count} held-out sequences", flush=True)

    model = SmallMoe()
    report = {"parameters": sum(p.numel() for p in model.parameters()), "before": losses_by_domain(model, held)}
    print(report, flush=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, betas=(0.9, 0.95), weight_decay=0.01)
    started, step, names = time.time(), 0, list(train)
    while (spent := (time.time() - started) / 60 / options.minutes) < 1:
        rows = []
        for _ in range(8):
            source = train[draw.choice(names)]
            at = draw.randrange(len(source) - LENGTH - 1)
            rows.append(source[at : at + LENGTH])
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * min(1, (step + 1) / 50) * (0.05 + 0.95 * (1 + math.cos(math.pi * spent)) / 2)
        loss = loss_of(model, torch.stack(rows))
        optimizer.zero_grad()
        (loss + BALANCE * model.balance()).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 50 == 0:
            print(f"step {step}: loss {loss.item():.3f}, {(time.time() - started) / 60:.1f} min", flush=True)
        step += 1
    report.update(steps=step, tokens=step * 8 * LENGTH, after=losses_by_domain(model, held))
    torch.save(model.state_dict(), options.work / "model.pt")

    model.eval()
    with torch.no_grad(), RoutingRecorder(
        model,
        str(options.work / "small-moe"),
        top_k=TOP_K,
        name="epsim-small-moe (8 layers, 32 experts, top 4)",
        source="epsim, tools/train_small_moe.py: held-out text of " + ", ".join(p for p, _ in DOMAINS.values()),
        licence="the same as epsim",
        notes=["recorded from a small language model that the project trained (5 million parameters), not from a large one"],
        weight_step=1 / 64,
    ) as recorder:
        order = [(domain, i) for domain, sequences in held.items() for i in range(len(sequences))]
        draw.shuffle(order)
        for at in range(0, len(order), 10):
            chosen = order[at : at + 10]
            tokens = torch.stack([held[domain][i] for domain, i in chosen])
            with recorder.batch(torch.ones_like(tokens), domains=[domain for domain, _ in chosen]):
                model(tokens)
    report["recorded"] = {"sequences": len(order), "tokens": len(order) * LENGTH}
    (options.work / "report.json").write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report))


if __name__ == "__main__":
    main()
