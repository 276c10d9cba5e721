"""Kernels timed on a GPU, beside plain PyTorch, torch.compile, comfy-kitchen and a copy."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from functools import partial
from statistics import median
from types import ModuleType

import torch

from .kept import FAILURES, kept
from .kernel_cases import Case, cases
from .rows import OnRow, Row, at_least, at_most

_WARM_UP, _REPEATS = 5, 20
_COPY_BYTES = 2**31
_DRY_COPY_BYTES, _DRY_TOKENS = 2**20, 64
_OF_COPY = {"gate": 0.85, "norm": 0.85, "weight": 0.8}
_OF_PLAIN = {"gate": 3, "norm": 5}
_OF_COMPILED = 1.1
_WAN_MILLISECONDS = 0.2

_log = logging.getLogger(__name__)


def speeds(on_row: OnRow, device: str = "cuda") -> Iterator[Row]:
    """Bytes a second of every kernel at real sizes, and how that compares.

    A case that fails is a row that says so. On the CPU the same is done in small and without
    torch.compile, to see that it works.
    """
    on_row("copy within the GPU")
    where = torch.device(device)
    copied = _copied(where)
    yield Row("copy within the GPU", copied / 1e9, "GB/s")
    gains: list[float] = []
    for case in cases(where) if where.type == "cuda" else cases(where, _DRY_TOKENS, _DRY_TOKENS):
        on_row(case.name)
        yield from kept(case.name, lambda one=case: _speed(one, copied, where, gains))
    if gains:
        mean = math.exp(sum(map(math.log, gains)) / len(gains))
        yield at_least("against torch.compile, geometric mean", mean, _OF_COMPILED, "x")


def seconds_of(device: torch.device, *functions: Callable[[], object]) -> list[float]:
    """The median time of each function on a device, all of them taking turns.

    Before each the GPU copies something large: it should neither wait for Python to start the
    function nor find in its cache what the last one left there.
    """
    source, target = torch.empty(2, _copy_bytes(device) // 2, dtype=torch.uint8, device=device)
    for function in functions:
        for _ in range(_WARM_UP):
            function()
    times: list[list[float]] = [[] for _ in functions]
    for _ in range(_REPEATS):
        for function, its in zip(functions, times, strict=True):
            target.copy_(source)
            its.append(_elapsed(device, function))
    return [median(its) for its in times]


def _elapsed(device: torch.device, function: Callable[[], object]) -> float:
    if device.type == "cpu":
        begun = time.perf_counter()
        function()
        return time.perf_counter() - begun
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    function()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1e3


def _copy_bytes(device: torch.device) -> int:
    return _DRY_COPY_BYTES if device.type == "cpu" else _COPY_BYTES


def _kitchen() -> ModuleType | None:
    """comfy-kitchen, if it is there."""
    try:
        import comfy_kitchen
    except ImportError:
        return None
    return comfy_kitchen


def _copied(device: torch.device) -> float:
    """Bytes a second that a copy within the GPU reads and writes."""
    num_bytes = _copy_bytes(device)
    source, target = torch.empty(2, num_bytes // 2, dtype=torch.uint8, device=device)
    return num_bytes / seconds_of(device, lambda: target.copy_(source))[0]


def _speed(case: Case, copied: float, device: torch.device, gains: list[float]) -> Iterator[Row]:
    """Figures of one case; its gain over torch.compile, where that works, joins `gains`."""
    kind, name = case.name.split(maxsplit=1)[0].rstrip(","), case.name
    own = [case.fused, case.plain]
    if device.type == "cuda":
        own += _compiled(case.plain)
    package = _kitchen()
    theirs = [partial(case.kitchen, package)] if package and case.kitchen else []
    fused, plain, *others = _those_that_work(device, own, theirs)
    compiled = others[: len(own) - 2]
    rate = case.num_bytes / fused
    yield Row(f"{name}: speed", rate / 1e9, "GB/s")
    yield at_least(f"{name}: of the copy", rate / copied, _OF_COPY[kind], "x")
    against = Row(f"{name}: against plain PyTorch", plain / fused, "x")
    limit = _OF_PLAIN.get(kind)
    yield at_least(against.name, against.value, limit, "x") if limit else against
    for seconds in compiled:
        yield Row(f"{name}: against torch.compile", seconds / fused, "x")
        # Of the others: what widens weights has the speed of the copy alone for a goal.
        gains += [seconds / fused] if limit else []
    for seconds in others[len(compiled) :]:
        yield Row(f"{name}: against comfy-kitchen", seconds / fused, "x")
    if kind == "norm" and "Wan" in name:
        yield at_most("queries and keys of Wan", 2e3 * fused, _WAN_MILLISECONDS, "ms")


def _those_that_work(
    device: torch.device, own: list[Callable[[], object]], theirs: list[Callable[[], object]]
) -> list[float]:
    """Seconds of all, or of our own where another package's fail."""
    try:
        return seconds_of(device, *own, *theirs)
    except FAILURES as error:
        if not theirs:
            raise
        _log.warning("comfy-kitchen fails: %s", error)
    return seconds_of(device, *own)


def _compiled(plain: Callable[[], object]) -> list[Callable[[], object]]:
    """By torch.compile; nothing where its own compiler is missing, as on Windows."""
    try:
        compiled = torch.compile(plain, dynamic=False)
        compiled()
    except FAILURES as error:
        _log.info("torch.compile does not work here: %s", error)
        return []
    return [compiled]
