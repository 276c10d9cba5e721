"""What a measurement gives: named figures, some with a goal."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass

OnRow = Callable[[str], None]
"""Called with what is being measured now; an exception raised in it stops the measurement."""


@dataclass(frozen=True)
class Row:
    """One figure. `goal` says what it should be, such as 'at most 1.15'; '' is no goal.

    `met` is None without a goal, or where this machine cannot tell.
    """

    name: str
    value: float
    unit: str = ""
    goal: str = ""
    met: bool | None = None


def at_most(name: str, value: float, limit: float, unit: str = "") -> Row:
    """A figure that should not exceed `limit`."""
    return Row(name, value, unit, f"at most {limit:g}", value <= limit)


def at_least(name: str, value: float, limit: float, unit: str = "") -> Row:
    """A figure that should reach `limit`."""
    return Row(name, value, unit, f"at least {limit:g}", value >= limit)


def to_json(rows: Iterable[Row]) -> str:
    """A list of objects, one for each row."""
    return json.dumps([asdict(row) for row in rows], indent=1)


def table(rows: Iterable[Row]) -> str:
    """The figures as lines of text."""
    cells = [
        (row.name, f"{row.value:.6g} {row.unit}".strip(), row.goal, _MET[row.met]) for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    )
    return "\n".join(lines)


_MET = {None: "", True: "met", False: "not met"}
