"""The measurements there are, by the name that the command line gives them."""

from __future__ import annotations

from collections.abc import Callable

from . import gpu, history, kernels, savings, shots, stream
from .rows import OnRow, Row

Measure = Callable[[OnRow], tuple[Row, ...]]

MEASURES: dict[str, Measure] = {
    "gpu": gpu.measure,
    "history": history.measure,
    "kernels": kernels.measure,
    "savings": savings.measure,
    "shots": shots.measure,
    "stream": stream.measure,
}
