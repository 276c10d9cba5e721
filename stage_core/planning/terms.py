"""Short phrases of film language: lengths, transitions, numbers, the items of a shot note."""

from __future__ import annotations

import difflib
import re
import unicodedata
from fractions import Fraction
from typing import Any

from ..errors import PlanError
from ..story.cinematography import (
    CameraAngle,
    CameraMovement,
    ShotScale,
    Term,
    TransitionKind,
)
from .drafts import Length, TransitionDraft

SHOT_TERMS: dict[str, type[Term]] = {
    "scale": ShotScale,
    "angle": CameraAngle,
    "movement": CameraMovement,
}
_LENGTH = re.compile(
    r"(?:(?P<minutes>\d{1,4}):(?=\d\d))?(?P<number>\d{1,9}(?:[.,]\d{1,9})?|\d{1,9}/\d{1,9})"
    r"\s*(?P<unit>frames?|frs?|f|seconds?|secs?|s|\"|)",
    re.IGNORECASE,
)
_NUMBERED = re.compile(r"(seed|drawing|take)\s*[:=]?\s*(\d{1,20})", re.IGNORECASE)
_MANNER = re.compile(r"^(?:very |a )*(?:slow|slowly|quick|quickly|fast|gentle|gently)\s+", re.I)
_FLAGS = {
    "keep": "keep",
    "approved": "keep",
    "continue": "continues",
    "continues": "continues",
    "continuous": "continues",
}


def parse_length(text: str, bare_in_frames: bool = False) -> Length:
    """`3s`, `2.5 s`, `81 frames`, `1:05`; a bare number is seconds unless told otherwise.

    Raises:
        ValueError: no length.
    """
    match = _LENGTH.fullmatch(unicodedata.normalize("NFKC", text).strip())
    if match is None or match["number"].endswith(("/0", "/00")):
        raise ValueError(f"{text!r:.60} is no length; write 3s, 2.5 s or 81 frames")
    unit = match["unit"].casefold()
    in_frames = unit.startswith("f") or (bare_in_frames and not unit and not match["minutes"])
    try:
        value = Fraction(match["number"].replace(",", "."))
    except ZeroDivisionError:
        raise ValueError(f"{text!r:.60} divides by zero; write 3s or 81 frames") from None
    if match["minutes"]:
        value += 60 * int(match["minutes"])
    if in_frames and (value.denominator != 1 or match["minutes"]):
        raise ValueError(f"{text!r:.60} is no whole number of frames")
    return Length(value, in_frames)


def find_transition(text: str) -> TransitionDraft | None:
    """`dissolve`, `fade to white 12 frames`, `DISSOLVE TO:`, or None if it is none of these.

    Raises:
        ValueError: a cut with a length.
    """
    words = " ".join(text.split()).strip(" .:").casefold()
    if len(words) > 80:
        return None
    match = re.fullmatch(r"(?P<kind>[^\d]+?)(?:[ ,]+(?:of |for |over )?(?P<length>\d.*))?", words)
    if match is None:
        return None
    name = match["kind"].strip(" :,")
    white = re.search(r" (?:to|from|through) white$", name)
    kind = TransitionKind.find(name[: white.start()] if white else name)
    if kind is None:
        return None
    length = parse_length(match["length"]) if match["length"] else None
    if kind is TransitionKind.CUT and length:
        raise ValueError(f"{text!r:.60}: a cut has no length")
    if white and kind is not TransitionKind.FADE:
        return None
    return TransitionDraft(kind, length, "white" if white else "black")


def parse_transition(text: str) -> TransitionDraft:
    """As `find_transition`.

    Raises:
        ValueError: no transition.
    """
    found = find_transition(text)
    if found is None:
        raise ValueError(f"{text!r:.60} is no transition; known are cut, dissolve, fade")
    return found


def parse_items(text: str, line: int) -> dict[str, Any]:
    """The items of a shot note, `close-up, low angle, 3s`, as fields of a draft.

    Raises:
        PlanError: an unknown item, with the nearest known one; a field that is set twice.
    """
    values: dict[str, Any] = {}
    for item in re.split(r"[,;\n]", text):
        if item.strip():
            add_values(values, dict([_parse_item(item.strip(), line)]), line)
    return values


def is_camera_talk(text: str) -> bool:
    """Whether a text is nothing but the items of a shot note, with a length or what the camera
    does among them."""
    try:
        values = parse_items(text, 0)
    except PlanError:
        return False
    return any(name in values for name in ("length", *SHOT_TERMS))


def add_values(values: dict[str, Any], more: dict[str, Any], line: int) -> None:
    """Put `more` into `values`.

    Raises:
        PlanError: a field is there already with another value.
    """
    for name, value in more.items():
        if values.setdefault(name, value) != value:
            raise PlanError(
                f"the shot's {name} is given twice, {_said(values[name])} and {_said(value)}; "
                "say it once",
                line,
            )


def _parse_item(item: str, line: int) -> tuple[str, Any]:
    flag = _FLAGS.get(item.casefold())
    if flag:
        return flag, True
    numbered = _NUMBERED.fullmatch(item)
    if numbered:
        return numbered[1].casefold(), int(numbered[2])
    try:
        if item[0].isdigit():
            return "length", parse_length(item)
        transition = find_transition(item)
    except ValueError as error:
        raise PlanError(str(error), line) from None
    if transition:
        return "transition", transition
    for name in (item, _MANNER.sub("", item)):
        for field, kind in SHOT_TERMS.items():
            term = kind.find(name)
            if term:
                return field, term
    raise PlanError(f"{item!r:.60} is not known in a shot note; {_nearest(item)}", line)


def _nearest(item: str) -> str:
    kinds = (*SHOT_TERMS.values(), TransitionKind)
    known = [term.value for kind in kinds for term in kind]
    known += ["keep", "continues", "seed", "drawing", "take"]
    near = difflib.get_close_matches(item[:60].casefold(), known, n=1, cutoff=0.5)
    if near:
        return f"did you mean {near[0]!r}?"
    return "known are scale, angle, movement, length, transition, keep, continues, seed, take"


def _said(value: Any) -> str:
    if isinstance(value, Length):
        return f"{value.value} {'frames' if value.in_frames else 's'}"
    if isinstance(value, TransitionDraft):
        return value.kind.value
    return str(getattr(value, "value", value))
