"""The measurements there are, by the name that the command line gives them."""

from __future__ import annotations

from collections.abc import Callable

from . import history
from .rows import OnRow, Row

Measure = Callable[[OnRow], tuple[Row, ...]]

MEASURES: dict[str, Measure] = {"history": history.measure}
