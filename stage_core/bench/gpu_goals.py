"""What networks and kernels should come to on a large GPU, one figure for each goal."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from ..backends.library import SEQUENTIAL
from .gpu_networks import Scale, capped, named
from .rows import Row, at_least, at_most

# Of cases of kernels, as their names begin.
_RESIDUAL, _PACKING = "gate, residual, norm, modulation", "norm, rotation, packing"
_WIDENING = "weight of eight bits"


@dataclass(frozen=True)
class Goal:
    """A limit of the figures with such a name, a pattern; by the worst, where there are several.

    The row of the only figure, or, where a `name` is given, one more.
    """

    judge: Callable[[str, float, float, str], Row]
    limit: float
    figures: str
    name: str = ""

    def row(self, figures: Mapping[str, Row]) -> Row | None:
        """How far from it; None where nothing of it was measured."""
        found = [row for name, row in figures.items() if re.fullmatch(self.figures, name)]
        if not found:
            return None
        pick = max if self.judge is at_most else min
        worst = pick(found, key=lambda row: row.value)
        return self.judge(self.name or worst.name, worst.value, self.limit, worst.unit)


def goals(scale: Scale) -> Iterator[Goal]:
    """All of them, by what they are about."""
    yield from _of_streaming(scale)
    yield from _beside_the_library(scale)
    yield from _of_memory()
    yield from _of_kernels()
    yield Goal(at_most, 1.02, "history, .*: time over shot .*")


def _of_streaming(scale: Scale) -> Iterator[Goal]:
    small, *_, large = map(capped, scale.caps)
    middling = capped(scale.caps[1])
    qwen, joined, *_ = (named("Qwen", count) for count in scale.work["Qwen"])
    short, middle, long = (named("Wan", count) for count in scale.work["Wan"])
    eight = named("Qwen in eight bits", scale.fewest)
    yield Goal(at_least, 0.95, ".*: efficiency", "efficiency, least of all modes")
    for limit, mode in (
        (1.03, f"{middle}, all streamed"),
        (1.03, f"{middle}, {small}"),
        (1.01, f"{long}, all streamed"),
        (1.01, f"{long}, {middling}"),
        (1.08, f"{short}, all streamed"),
        (1.03, f"{joined}, {large}"),
        (1.03, f"{eight}, {large}"),
    ):
        yield Goal(at_most, limit, re.escape(f"{mode}: over in place"))
    tight = f"{re.escape(joined)}, (all streamed|{re.escape(small)}): over in place"
    yield Goal(at_most, 1.2, tight, f"{joined}, all streamed or {small}: over in place, most")
    yield Goal(at_least, 1.2, f"{qwen}, half in place: the first blocks over spread ones")
    yield Goal(at_least, 0.95, f"{qwen}, all streamed: of the link")
    # Widening is hidden: it costs nothing that a clock tells.
    yield Goal(at_least, 0.98, f"{eight}, all streamed: efficiency over that of sixteen")


def _beside_the_library(scale: Scale) -> Iterator[Goal]:
    blocks = f"{scale.few_blocks} blocks of Qwen"
    qwen, long = named("Qwen", scale.fewest), named("Wan", max(scale.work["Wan"]))
    compiled = ".*: the library compiled, over ours"
    yield Goal(at_least, 1.9, f"{blocks}: group offload by leaf, over ours")
    yield Goal(at_least, 20, f"{blocks}: {SEQUENTIAL}, over ours")
    yield Goal(at_least, 1.22, f"{qwen}: the library in place, over ours")
    yield Goal(at_least, 1.12, f"{long}: the library in place, over ours")
    yield Goal(at_least, 0.98, compiled, "whole steps, the library compiled, over ours, least")


def _of_memory() -> Iterator[Goal]:
    yield Goal(at_most, 1, ".*: peak over the cap", "peak over the cap, most of all caps")
    yield Goal(at_most, 5, ".*: plan off by", "plan off by, most of all caps")
    for kind, limit in (("Wan", 6), ("Qwen", 9)):
        name = f"activations of a {kind} block"
        yield Goal(at_most, limit, f"{name}, .* tokens", f"{name}, most")


def _of_kernels() -> Iterator[Goal]:
    both = f"({_RESIDUAL}|{_PACKING}).*"
    for limit, kind, says in (
        (0.85, both, "residual and packing"),
        (0.8, f"{_WIDENING}.*", "widening"),
    ):
        yield Goal(at_least, limit, f"{kind}: of the copy", f"kernels, {says}: of the copy, least")
    for limit, kind, says in ((3, _RESIDUAL, "residual"), (5, _PACKING, "packing")):
        name = "against plain PyTorch"
        yield Goal(at_least, limit, f"{kind}.*: {name}", f"kernels, {says}: {name}, least")
    yield Goal(at_least, 1.1, "against torch.compile, geometric mean")
    yield Goal(at_most, 0.2, "queries and keys of Wan")
