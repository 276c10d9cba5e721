"""Frames as SMPTE timecode, and the rates that editing programs work at."""

from __future__ import annotations

from fractions import Fraction

NTSC_24 = Fraction(24_000, 1001)
NTSC_30 = Fraction(30_000, 1001)
NTSC_60 = Fraction(60_000, 1001)
EDITING_RATES = (
    *(NTSC_24, Fraction(24), Fraction(25), NTSC_30, Fraction(30)),
    *(Fraction(50), NTSC_60, Fraction(60)),
)
"""The frames per second that timecode, EDL and Final Cut Pro know."""

# Numbers that drop-frame timecode leaves out of every minute but each tenth: SMPTE ST 12-1.
_DROPPED = {NTSC_30: 2, NTSC_60: 4}
_WHOLE = tuple(rate for rate in EDITING_RATES if rate.denominator == 1)


def editing_rate(rate: Fraction) -> Fraction:
    """The rate itself where editing programs know it, else the one a film is brought to.

    That is the lowest whole multiple, else the lowest that loses no frame: 24 for 16, where
    every second frame of the film is a frame of the cut.
    """
    if rate in EDITING_RATES:
        return rate
    multiples = [known for known in _WHOLE if (known / rate).denominator == 1]
    faster = [known for known in _WHOLE if known >= rate]
    return (multiples or faster or [_WHOLE[-1]])[0]


def drops(rate: Fraction) -> bool:
    """Whether timecode at this rate leaves out numbers to keep up with the clock."""
    return rate in _DROPPED


def timecode(frame: int, rate: Fraction) -> str:
    """The timecode of a frame counted from 00:00:00:00, with ';' where numbers are dropped."""
    base, dropped = round(rate), _DROPPED.get(rate, 0)
    in_minute = 60 * base - dropped
    tens, rest = divmod(frame, 10 * in_minute + dropped)
    # The first minute of ten drops nothing, so it is longer by what the others drop.
    minutes = max(0, rest - dropped) // in_minute if dropped else 0
    number = frame + dropped * (9 * tens + minutes)
    seconds, frames = divmod(number, base)
    mark = ";" if dropped else ":"
    minute = seconds // 60
    return f"{minute // 60 % 24:02}:{minute % 60:02}:{seconds % 60:02}{mark}{frames:02}"


def one_hour(rate: Fraction) -> int:
    """The frame whose timecode is 01:00:00:00, where films customarily begin."""
    return 3600 * round(rate) - 54 * _DROPPED.get(rate, 0)
