"""Figures that stay when what should have followed them fails."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from .rows import Row

FAILURES = (
    *(ArithmeticError, AssertionError, AttributeError, ImportError, LookupError),
    *(MemoryError, RuntimeError, TypeError, ValueError),
)
"""What goes wrong on a machine that a measurement has not met; want of VRAM is a RuntimeError."""

_MOST_LETTERS = 160


def kept(name: str, measured: Callable[[], Iterable[Row]]) -> Iterator[Row]:
    """The rows as far as they come; a failure is one more, which says what went wrong."""
    try:
        yield from measured()
        return
    except FAILURES as error:
        lines = str(error).strip().splitlines() or [""]
        reason = f"{type(error).__name__}: {lines[0]}"[:_MOST_LETTERS]
    # Outside of the handler, which holds what the failed call had made.
    yield Row(f"{name}: failed, {reason}", 1)
