"""How numbers are said to a person."""

from __future__ import annotations


def counted(count: int, noun: str) -> str:
    """The number with its noun: '1 shot', '3 shots', '0 shots'."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
