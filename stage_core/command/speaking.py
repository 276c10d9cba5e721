"""What the command line says while it works: lines, a line that is written over, progress."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable

from ..plurals import counted
from ..story.shot_list import Shot

_SECONDS_BETWEEN = 10


def say(text: str) -> None:
    """A line for the person at the terminal, whatever its code page."""
    encoding = sys.stderr.encoding or "ascii"
    sys.stderr.write(text.encode(encoding, "replace").decode(encoding) + "\n")
    sys.stderr.flush()


def say_once() -> Callable[[str], None]:
    """A line for each sentence, however often it is said."""
    said: set[str] = set()

    def once(text: str) -> None:
        if text not in said:
            said.add(text)
            say(text)

    return once


def write_over(text: str) -> None:
    """A line that the next one replaces, for who watches."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{text}\r")


def watching() -> Callable[[str], None]:
    """What is done now, written over; where nobody watches, a line now and then."""
    said_at = -math.inf

    def say_now(text: str) -> None:
        nonlocal said_at
        if sys.stderr.isatty():
            write_over(f"  {text} ")
        elif time.monotonic() - said_at >= _SECONDS_BETWEEN:
            said_at = time.monotonic()
            say(f"  {text}")

    return say_now


class Progress:
    """A line per shot with the time left; notes in `seconds` how long each shot took."""

    def __init__(self, verb: str, waiting: tuple[str, ...], seconds: dict[str, float]):
        self._verb, self._waiting, self._seconds = verb, waiting, seconds
        self._begun = self._last = time.monotonic()
        self._shot, self._whole, self._done = "", False, 0

    def on_step(self, shot: Shot, step: int, steps: int) -> None:
        """`step` of `steps` of a shot is done."""
        if shot.id != self._shot:
            self._finish_shot()
            self._shot = shot.id
        # A model that works in phases makes the first steps of all shots before the last of any.
        self._whole = step == steps
        if step < steps:
            write_over(f"  {shot.id}: {step} of {steps} ")

    def close(self, kept: int, others: tuple[str, ...] = ()) -> None:
        """All are done; `kept` were there before, of them `others` in other films."""
        self._finish_shot()
        total = self._done + kept
        seconds = time.monotonic() - self._begun
        whence = f" ({', '.join(others)})" if others else ""
        done = f"{self._verb} {self._done} of {counted(total, 'shot')}"
        say(f"{done}, {kept} kept{whence}, {seconds:.1f} s")

    def _finish_shot(self) -> None:
        now = time.monotonic()
        if self._shot:
            self._seconds[self._shot] = self._seconds.get(self._shot, 0.0) + now - self._last
        if self._shot and self._whole:
            self._done += 1
            left = len(self._waiting) - self._done
            eta = (now - self._begun) / self._done * max(0, left)
            say(f"  {self._verb} {self._shot} ({left} to go, {_clock(eta)} left)")
        self._last = now


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
