"""Where in a shot a picture belongs, as a person writes it: `1.5s`, `40`, `25%`."""

from __future__ import annotations

import math
import re
from fractions import Fraction

from ..story.shot_list import Shot
from .terms import parse_length

_SHARE = re.compile(r"(\d{1,3}(?:\.\d{1,6})?)\s*%")


def read_places(text: str, count: int, shot: Shot, rate: Fraction) -> tuple[int, ...]:
    """The frames of `count` pictures between the start and the end of a shot, as they are written.

    `text`: places with commas between them, each in seconds, as a frame counted from 0, or in
    percent of the way from start to end. Empty: evenly spread.

    Raises:
        ValueError: no place, other than one for each picture, twice the same, or not between.
    """
    last = shot.num_frames - 1
    if not text.strip():
        places = [_rounded(Fraction(last * number, count + 1)) for number in range(1, count + 1)]
        if len({0, *places, last}) < count + 2:
            raise ValueError(
                f"shot {shot.id}: {count} pictures between the start and the end of "
                f"{shot.num_frames} frames; give at most {max(0, last - 1)}"
            )
        return tuple(places)
    items = [item.strip() for item in re.split(r"[,;\n]", text) if item.strip()]
    if len(items) != count:
        raise ValueError(
            f"shot {shot.id}: {count} pictures and {len(items)} places, {text.strip()!r:.60}; "
            "write one place for each picture, as in 1.5s, 40, 75%"
        )
    places = [_read_place(item, shot, rate) for item in items]
    for place, item in zip(places, items, strict=True):
        if places.count(place) > 1:
            raise ValueError(f"shot {shot.id}: two pictures at {item}, frame {place}; move one")
    return tuple(places)


def _read_place(item: str, shot: Shot, rate: Fraction) -> int:
    last = shot.num_frames - 1
    share = _SHARE.fullmatch(item)
    try:
        if share:
            place = _rounded(last * Fraction(share[1]) / 100)
        else:
            place = parse_length(item, bare_in_frames=True).frames_at(rate)
    except ValueError:
        raise ValueError(
            f"shot {shot.id}: {item!r:.60} is no place in it; write 1.5s, 25%, or 40 for frame 40"
        ) from None
    if not 0 < place < last:
        raise ValueError(
            f"shot {shot.id}: {item} is frame {place}, and frames 1 to {last - 1}, up to "
            f"{float((last - 1) / rate):.2f}s, are between its start and its end; use one of them"
        )
    return place


def _rounded(value: Fraction) -> int:
    return math.floor(value + Fraction(1, 2))
