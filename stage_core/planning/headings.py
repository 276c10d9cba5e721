"""Scene headings, and capitals turned into names one can read."""

from __future__ import annotations

import re

from ..story.shot_list import Scene

_PREFIX = re.compile(
    r"(?P<kind>INT\.?\s?/\s?EXT|EXT\.?\s?/\s?INT|INT|EXT|EST|I/E|E/I)(?:\.\s*|\s+)(?=\S)"
)
_INTERIOR = {"INT": True, "EXT": False, "EST": False}
_TIME_WORDS = """day night morning evening afternoon noon midday midnight dawn dusk sunrise sunset
daybreak twilight nightfall later continuous same"""
_TIMES = frozenset(_TIME_WORDS.split())
_SCENE_NUMBER = re.compile(r"\s*#[\w.\-]{1,20}#$")
_DASH = re.compile(r"\s+[-\u2013\u2014]+\s+")
_WORD_START = re.compile(r"(?:^|(?<=[\s(./-])|(?<=\b\w['\u2019]))\w")


def heading_text(line: str) -> str | None:
    """The heading that a line of a screenplay is, without its mark of force, or None.

    Lower case needs the full stop (`int. kitchen`): Latin and French sentences begin with Est.
    """
    if re.match(r"\.[^.\s]", line):
        return line[1:].strip()
    match = _PREFIX.match(line.upper())
    # Upper-casing may change the length of what follows, never of these letters.
    if match and (line[: match.end("kind")].isupper() or line[match.end("kind")] == "."):
        return line
    return None


def parse_heading(text: str) -> Scene:
    """`INT. OFFICE - NIGHT` as a scene; what is no heading is a place."""
    text = _SCENE_NUMBER.sub("", " ".join(text.split()))
    match = _PREFIX.match(text.upper())
    interior = _INTERIOR.get(match["kind"]) if match else None
    parts = _DASH.split(text[match.end() :] if match else text)
    if len(parts) == 1:
        place, comma, time = parts[0].rpartition(",")
        if comma and time.strip().casefold() in _TIMES:
            parts = [place, time]
    time = parts.pop().strip() if len(parts) > 1 else ""
    place = " - ".join(part.strip() for part in parts)
    return Scene(readable(place), interior, time.lower() if time.isupper() else time)


def readable(name: str) -> str:
    """A name or place in title case if it is all capitals, otherwise as it is."""
    name = " ".join(name.split())
    if not name.isupper():
        return name
    # Lower-casing a dotted capital I leaves a combining dot that no one would type.
    lower = name.lower().replace("i\u0307", "i")
    return _WORD_START.sub(lambda start: start[0].title(), lower)
