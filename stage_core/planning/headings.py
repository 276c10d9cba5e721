"""Scene headings, and capitals turned into names one can read."""

from __future__ import annotations

import re

from ..story.shot_list import Scene

_INSIDE = r"INT[E\u00c9]RIEUR|INTERIOR|INTERNO|INNEN|INT"
_OUTSIDE = r"EXT[E\u00c9]RIEUR|EXTERIOR|ESTERNO|AUSSEN|AU\u00dfEN|EXT"
_PREFIX = re.compile(
    rf"(?P<kind>(?:{_INSIDE})\.?\s?/\s?(?:{_OUTSIDE})|(?:{_OUTSIDE})\.?\s?/\s?(?:{_INSIDE})|"
    rf"{_INSIDE}|{_OUTSIDE}|EST|I/E|E/I|I/A|A/I)(?:\.\s*|\s+)(?=\S)",
    re.IGNORECASE,
)
# Chinese: an optional number of the scene, inside or outside, alone or with 'view' after it, and
# marks or spaces before the place; or all that behind place and hour.
_IN, _OUT, _VIEW = r"[\u5185\u5167]", r"\u5916", r"\u666f"
_NUMERAL = r"[\d\u4e00\u4e8c\u4e09\u56db\u4e94\u516d\u4e03\u516b\u4e5d\u5341\u767e]{1,4}"
_NUMBER = (
    rf"(?:(?:\u7b2c?{_NUMERAL}[\u573a\u5834]|[\u573a\u5834]\u666f?{_NUMERAL}|\d{{1,3}})\W{{0,3}})?"
)
_EITHER = rf"{_IN}{_VIEW}?\s?[/\uff0f]?\s?{_OUT}{_VIEW}?"
_EASTERN = re.compile(
    rf"{_NUMBER}[\u3010\[(\uff08]?(?P<kind>{_EITHER}|(?:{_IN}|{_OUT}){_VIEW}|"
    rf"(?:{_IN}|{_OUT})(?=[^\w\s]|\s))[\s\W]*(?=\w)"
)
_EASTERN_HOURS = (
    r"(?:\u6e05|\u51cc|\u65e9)?\u6668|\u65e5\u666f?|\u767d\u5929|\u65e9\u4e0a|[\u4e0a\u4e2d\u4e0b]\u5348|"
    r"\u508d\u665a|\u9ec4\u660f|\u9ec3\u660f|[\u6df1\u534a]?\u591c\u665a?|\u591c\u666f|\u665a\u4e0a?"
)
_EASTERN_HOUR = re.compile(rf"(?P<place>.*?\w)[\s\W]+(?P<time>{_EASTERN_HOURS})")
_EASTERN_LAST = re.compile(
    rf"(?P<place>{_NUMBER}\w.{{0,30}}?)[\s\W]+(?P<time>{_EASTERN_HOURS})[\s\W]+"
    rf"(?P<kind>{_EITHER}|(?:{_IN}|{_OUT}){_VIEW}?)"
)
_EASTERN_LENGTH = 40
_TIME_WORDS = """day night morning evening afternoon noon midday midnight dawn dusk sunrise sunset
daybreak twilight nightfall later continuous same tag nacht abend morgen mittag nachmittag jour nuit
soir matin midi aube noche tarde amanecer atardecer giorno notte sera alba tramonto dia"""
_TIMES = frozenset(
    (
        *_TIME_WORDS.split(),
        *(
            "d\u00eda",
            "ma\u00f1ana",
            "d\u00e4mmerung",
            "morgend\u00e4mmerung",
            "abendd\u00e4mmerung",
        ),
        *("apr\u00e8s-midi", "cr\u00e9puscule"),
    )
)
_SCENE_NUMBER = re.compile(r"\s*#[\w.\-]{1,20}#$")
_DASH = re.compile(r"\s+[-\u2013\u2014]+\s+")
_WORD_START = re.compile(r"(?:^|(?<=[\s(./-])|(?<=\b\w['\u2019]))\w")


def heading_text(line: str) -> str | None:
    """The heading that a line of a screenplay is, without its mark of force, or None.

    Lower case needs the full stop (`int. kitchen`): Latin and French sentences begin with Est.
    """
    if re.match(r"\.[^.\s]", line):
        return line[1:].strip()
    match = _PREFIX.match(line)
    # The German sharp s has no capital that is usual.
    capitals = match and match["kind"].replace("\u00df", "SS").isupper()
    if match and (capitals or line[match.end("kind")] == "."):
        return line
    # A longer line, or one with a full stop, is prose that begins alike.
    short = len(line) <= _EASTERN_LENGTH and not line.endswith("\u3002")
    return line if short and (_EASTERN.match(line) or _EASTERN_LAST.fullmatch(line)) else None


def parse_heading(text: str) -> Scene:
    """`INT. OFFICE - NIGHT` as a scene; what is no heading is a place."""
    text = _SCENE_NUMBER.sub("", " ".join(text.split()))
    match = _PREFIX.match(text)
    if match is None and (eastern := _eastern(text)):
        return eastern
    parts = _DASH.split(text[match.end() :] if match else text)
    if len(parts) == 1:
        place, mark, time = re.fullmatch(r"(?s)(?:(.+)([,.]))?(.*)", parts[0]).groups("")
        if mark and time.strip(" .").casefold() in _TIMES:
            parts = [place, time]
    time = parts.pop().strip(" .") if len(parts) > 1 else ""
    place = " - ".join(part.strip() for part in parts)
    interior = _interior(match["kind"]) if match else None
    return Scene(readable(place), interior, time.lower() if time.isupper() else time)


def _interior(kind: str) -> bool | None:
    if "/" in kind:
        return None
    return re.fullmatch(_INSIDE, kind, re.IGNORECASE) is not None


def _eastern(text: str) -> Scene | None:
    """A heading in Chinese as a scene; None for another."""
    if len(text) > _EASTERN_LENGTH:
        return None
    last = _EASTERN_LAST.fullmatch(text)
    found = last or _EASTERN.match(text)
    if found is None:
        return None
    inside, outside = (re.search(side, found["kind"]) for side in (_IN, _OUT))
    interior = None if inside and outside else bool(inside)
    if last:
        place = re.sub(rf"^{_NUMBER}", "", last["place"])
        return Scene(place, interior, last["time"])
    rest = text[found.end() :].strip("\u3011] ")
    hour = _EASTERN_HOUR.fullmatch(rest)
    return Scene(hour["place"] if hour else rest, interior, hour["time"] if hour else "")


def readable(name: str) -> str:
    """A name or place in title case if it is all capitals, otherwise as it is."""
    name = " ".join(name.split())
    if not name.isupper():
        return name
    # Lower-casing a dotted capital I leaves a combining dot that no one would type.
    lower = name.lower().replace("i\u0307", "i")
    return _WORD_START.sub(lambda start: start[0].title(), lower)
