"""Networks of real size on a GPU: how near streaming comes to what its link and memory allow.

Takes ten minutes at most on a large card. Without a GPU the same is done in small on the CPU, to
see that it works; no goal is met or missed then.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import torch

from .activations import activations
from .drawn_history import drawn_history
from .gpu_goals import goals
from .gpu_networks import (
    GIB,
    Bench,
    Scale,
    best_seconds,
    eight_bits,
    guided,
    library_ways,
    library_whole,
    named,
    prefix,
    without_table,
    workload,
)
from .kept import kept
from .kernel_speed import speeds
from .rows import OnRow, Row, at_most

_CAPS = (8 * GIB, 12 * GIB, 16 * GIB, 24 * GIB)
_DRY_CAPS = (600_000, 700_000, 800_000, 2_000_000)
_MOST_SECONDS, _SPARE_SECONDS = 600, 30

REAL = Scale(
    device="cuda",
    dtype=torch.bfloat16,
    heads={"Qwen": 24, "Wan": 40},
    head_width=128,
    blocks={"Qwen": 60, "Wan": 40},
    caps=_CAPS,
    work={
        "Qwen": {4096: _CAPS, 9216: _CAPS, 17920: ()},
        "Wan": {7808: (), 14048: _CAPS, 32768: _CAPS[1:2]},
    },
    few_blocks=16,
    copied=(2**20, 2**24, 680 * 2**20),
    frame=(832, 480),
)
DRY = Scale(
    device="cpu",
    dtype=torch.float32,
    heads={"Qwen": 2, "Wan": 2},
    head_width=16,
    blocks={"Qwen": 6, "Wan": 6},
    caps=_DRY_CAPS,
    work={
        "Qwen": {64: _DRY_CAPS, 144: _DRY_CAPS, 256: ()},
        "Wan": {64: (), 128: _DRY_CAPS, 256: _DRY_CAPS[1:2]},
    },
    few_blocks=4,
    copied=(2**16,),
    frame=(64, 48),
    steps=1,
)


@dataclass(frozen=True)
class Part:
    """Something to measure, and how long it should take on an H200, by arithmetic."""

    name: str
    seconds: float
    rows: Callable[[], Iterable[Row]]


def measure(on_row: OnRow) -> Iterator[Row]:
    """All parts, the most important first, as many as there is time for.

    A row that comes again, under the same name, stands for the one before: goals are judged
    after every part.
    """
    bench = Bench(REAL if torch.cuda.is_available() else DRY, on_row)
    yield from measured(bench, parts(bench))


def measured(bench: Bench, wanted: Iterable[Part]) -> Iterator[Row]:
    """The rows of these parts and of the goals that they bear on; see `measure`."""
    begun, dry = time.monotonic(), bench.scale.dry
    judged: dict[str, Row] = {}
    for part in wanted:
        started = time.monotonic()
        if started - begun + part.seconds > _MOST_SECONDS - _SPARE_SECONDS and not dry:
            yield Row(f"{part.name}: left out for want of time", part.seconds, "s")
            continue
        bench.on_row(part.name)
        for row in kept(part.name, part.rows):
            # Its goal is that of the goals, which know the worst.
            bench.figures[row.name] = replace(row, goal="", met=None)
            yield bench.figures[row.name]
        yield Row(f"{part.name}: took", time.monotonic() - started, "s")
        for row in filter(None, (goal.row(bench.figures) for goal in goals(bench.scale))):
            if judged.get(row.name) != row:
                judged[row.name] = row
                yield replace(row, met=None) if dry else row
        bench.free()
    bench.forget()
    row = at_most("time of all", time.monotonic() - begun, _MOST_SECONDS, "s")
    yield replace(row, met=None) if dry else row


def parts(bench: Bench) -> Iterator[Part]:
    """All there are; those of one network follow each other, which is made once."""
    scale = bench.scale

    def work(kind: str, num_tokens: int, seconds: float) -> Part:
        return Part(named(kind, num_tokens), seconds, lambda: workload(bench, kind, num_tokens))

    def library(kind: str, num_tokens: int, seconds: float) -> Part:
        name = f"{named(kind, num_tokens)}, the library"
        return Part(name, seconds, lambda: library_whole(bench, kind, num_tokens))

    yield Part("ceilings", 10, lambda: ceilings(bench))
    yield Part("activations", 5, lambda: activations(bench.on_row))
    if scale.dry or torch.version.cuda is not None:
        yield Part("kernels", 60, lambda: speeds(bench.on_row, scale.device))
    few, joined, many = scale.work["Qwen"]
    yield work("Qwen", few, 60)
    yield Part("prefix", 6, lambda: prefix(bench))
    yield library("Qwen", few, 45)
    yield work("Qwen", joined, 28)
    yield Part("history", 25, lambda: drawn_history(bench))
    yield Part("guidance", 6, lambda: guided(bench))
    yield work("Qwen", many, 12)
    yield Part("eight bits", 35, lambda: eight_bits(bench))
    short, middle, long = scale.work["Wan"]
    yield work("Wan", middle, 60)
    yield work("Wan", long, 42)
    yield work("Wan", short, 10)
    yield library("Wan", long, 60)
    yield Part("offloading by the library", 55, lambda: library_ways(bench))
    yield Part("without the table", 15, lambda: without_table(bench))


def ceilings(bench: Bench) -> Iterator[Row]:
    """What the card and its link can do, without any network."""
    scale = bench.scale
    device, side = torch.device(scale.device), 64 if scale.dry else 8192
    one = torch.ones(side, side, dtype=scale.dtype, device=device)
    seconds = best_seconds(lambda: one @ one, device)
    yield Row("ceiling: matrix product", 2 * side**3 / seconds / 1e12, "TFLOP/s")
    memory = torch.empty(2, scale.copied[-1], dtype=torch.uint8, device=device)
    seconds = best_seconds(lambda: memory[0].copy_(memory[1]), device)
    rate = 2e-9 * scale.copied[-1] / seconds
    yield Row("ceiling: copy in VRAM, read and written", rate, "GB/s")
    for num_bytes in scale.copied:
        for locked in (True, False):
            host = torch.empty(num_bytes, dtype=torch.uint8, pin_memory=locked and not scale.dry)
            place = memory[0, :num_bytes]
            copy = best_seconds(lambda h=host, p=place: p.copy_(h, non_blocking=True), device)
            if locked:
                # The last is as large as a block.
                bench.link = num_bytes / copy
            name = f"{num_bytes / 1e6:.0f} MB {'page-locked' if locked else 'pageable'}"
            yield Row(f"ceiling: link, {name}", num_bytes / copy / 1e9, "GB/s")
