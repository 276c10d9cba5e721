"""The measurements there are, by the name that the command line gives them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from . import gpu, history, kernels, savings, shots, stream
from .rows import OnRow, Row

Measure = Callable[[OnRow], Iterable[Row]]
"""A row that comes again, under the same name, stands for the one before."""

MEASURES: dict[str, Measure] = {
    "gpu": gpu.measure,
    "history": history.measure,
    "kernels": kernels.measure,
    "savings": savings.measure,
    "shots": shots.measure,
    "stream": stream.measure,
}
