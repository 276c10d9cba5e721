"""Kernels timed on a GPU, beside plain PyTorch, torch.compile and a copy of as many bytes."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from statistics import median

import torch

from .kernel_cases import Case, cases
from .rows import OnRow, Row, at_least, at_most

_WARM_UP, _REPEATS = 5, 20
_COPY_BYTES = 2**31
_OF_COPY = {"gate": 0.85, "norm": 0.85, "weight": 0.8}
_OF_PLAIN = {"gate": 3, "norm": 5}
_OF_COMPILED = 1.1
_WAN_MILLISECONDS = 0.2

_log = logging.getLogger(__name__)


def speeds(on_row: OnRow) -> list[Row]:
    """Bytes a second of every kernel at real sizes, and how that compares."""
    on_row("copy within the GPU")
    copied = _copied()
    rows = [Row("copy within the GPU", copied / 1e9, "GB/s")]
    gains = []
    for case in cases("cuda"):
        on_row(case.name)
        made, gain = _speed(case, copied)
        rows += made
        gains += gain
    if gains:
        mean = math.exp(sum(map(math.log, gains)) / len(gains))
        rows.append(at_least("against torch.compile, geometric mean", mean, _OF_COMPILED, "x"))
    return rows


def seconds_of(*functions: Callable[[], object]) -> list[float]:
    """The median time of each function on the GPU, all of them taking turns.

    Before each the GPU copies something large: it should neither wait for Python to start the
    function nor find in its cache what the last one left there.
    """
    source, target = torch.empty(2, _COPY_BYTES // 2, dtype=torch.uint8, device="cuda")
    for function in functions:
        for _ in range(_WARM_UP):
            function()
    times: list[list[float]] = [[] for _ in functions]
    for _ in range(_REPEATS):
        for function, its in zip(functions, times, strict=True):
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            target.copy_(source)
            start.record()
            function()
            end.record()
            end.synchronize()
            its.append(start.elapsed_time(end) / 1e3)
    return [median(its) for its in times]


def _copied() -> float:
    """Bytes a second that a copy within the GPU reads and writes."""
    source, target = torch.empty(2, _COPY_BYTES // 2, dtype=torch.uint8, device="cuda")
    return _COPY_BYTES / seconds_of(lambda: target.copy_(source))[0]


def _speed(case: Case, copied: float) -> tuple[list[Row], list[float]]:
    """Figures of one case, and its gain over torch.compile where that works."""
    kind, functions = case.name.split(maxsplit=1)[0].rstrip(","), [case.fused, case.plain]
    try:
        compiled = torch.compile(case.plain, dynamic=False)
        compiled()
        functions.append(compiled)
    except (ImportError, RuntimeError) as error:
        # Its own compiler may be missing, as on Windows.
        _log.info("torch.compile does not work here: %s", error)
    fused, plain, *compiled = seconds_of(*functions)
    rate = case.num_bytes / fused
    rows = [
        Row(f"{case.name}: speed", rate / 1e9, "GB/s"),
        at_least(f"{case.name}: of the copy", rate / copied, _OF_COPY[kind], "x"),
        Row(f"{case.name}: against plain PyTorch", plain / fused, "x"),
        *(Row(f"{case.name}: against torch.compile", time / fused, "x") for time in compiled),
    ]
    if kind in _OF_PLAIN:
        rows[2] = at_least(rows[2].name, rows[2].value, _OF_PLAIN[kind], "x")
    if case.name.startswith("norm") and "Wan" in case.name:
        both = 2e3 * fused
        rows.append(at_most("queries and keys of Wan", both, _WAN_MILLISECONDS, "ms"))
    return rows, [time / fused for time in compiled]
