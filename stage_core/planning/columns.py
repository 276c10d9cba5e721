"""The fields of a shot as named columns: their usual names, and how their words are read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import PlanError
from ..story.shot_list import Scene
from .drafts import Draft, speaker
from .headings import parse_heading
from .people import Speakers
from .terms import SHOT_TERMS, parse_length, parse_transition

COLUMNS: dict[str, tuple[str, ...]] = {
    "shot": ("id", "shot id", "shot no", "shot number", "no", "nr", "number", "#", "idx"),
    "scale": ("shot scale", "size", "shot size", "framing", "shot type", "type", "field size"),
    "movement": (
        "shooting method",
        "camera movement",
        "camera move",
        "camera",
        "move",
        "method",
        "motion",
    ),
    "angle": ("camera angle", "shot angle", "view", "viewpoint"),
    "description": (
        "action",
        "content",
        "what happens",
        "picture",
        "visual",
        "visuals",
        "shot description",
        "caption",
        "text",
    ),
    "seconds": (
        "sec",
        "secs",
        "s",
        "time",
        "duration",
        "length",
        "shot length",
        "current shot time",
    ),
    "frames": ("frame", "num frames", "frame count", "number of frames", "frame num", "f"),
    "scene": ("scene heading", "heading", "slugline", "slug"),
    "place": ("location", "set", "setting", "where"),
    "interior": ("int/ext", "int ext", "i/e", "interior/exterior", "interior or exterior"),
    "time of day": ("tod", "day/night", "d/n", "when", "light"),
    "cast": ("characters", "character", "who", "people", "actors", "names"),
    "dialogue": ("dialog", "speech", "spoken", "spoken words", "lines", "words"),
    "beat": ("story beat", "purpose", "synopsis"),
    "transition": ("transition to next", "transition out", "cut", "into next"),
    "prompt": (),
    "negative": ("negative prompt",),
    "continues": ("continue", "continuous", "continues from previous"),
    "keep": ("approved", "locked"),
    "seed": (),
    "drawing": ("drawing no",),
    "take": ("take no",),
}
_BY_NAME = {alias: name for name, aliases in COLUMNS.items() for alias in (name, *aliases)}
_ID = re.compile(r"[A-Za-z0-9_-]{1,32}")
_WORDS: dict[str, dict[str, Any]] = {
    "yes or no": dict.fromkeys(("yes", "y", "true", "1", "x", "\u2713", "\u2714"), True)
    | dict.fromkeys(("no", "n", "false", "0", "-", "\u2013", ""), False),
    "interior or exterior": dict.fromkeys(("int", "int.", "i", "interior", "inside"), True)
    | dict.fromkeys(("ext", "ext.", "e", "exterior", "outside"), False)
    | dict.fromkeys(("int/ext", "int./ext.", "i/e", "-", ""), None),
}
_WORDS["interior or exterior"] |= {"yes": True, "true": True, "no": False, "false": False}


@dataclass(frozen=True)
class Cells:
    """The words of one shot by column, with the names of columns as their author wrote them."""

    line: int
    words: Mapping[str, str]
    headers: Mapping[str, str]

    def error(self, column: str, reason: object) -> PlanError:
        """The error of one cell."""
        where = f"column {self.headers.get(column, column)!r}"
        return PlanError(f"{where}: {reason}", self.line or None)


def column_named(header: str) -> str | None:
    """The column that a header means, or None."""
    name = re.sub(
        r"\s*\((?:in )?(?:s|sec|secs|seconds)\)$", " seconds", " ".join(header.split()).casefold()
    )
    name = re.sub(r"\s*\((?:in )?frames\)$", " frames", name)
    name = re.sub(r"[\s_\-]+", " ", name.strip("*_`")).strip(" .:")
    if name.startswith(("duration", "length", "time")) and name.endswith((" seconds", " frames")):
        return name.rsplit(" ", 1)[1]
    return _BY_NAME.get(name)


def unknown_column(header: str, line: int) -> PlanError:
    """The error for a header without a meaning."""
    return PlanError(f"column {header!r:.60} is not known; known are {', '.join(COLUMNS)}", line)


def draft_from(cells: Cells) -> Draft:
    """The shot that these cells describe.

    A cast that is not given is read from description and dialogue; an empty cell in a column
    for it means nobody.

    Raises:
        PlanError: a cell that cannot be read; names the column.
    """
    words = cells.words
    get = words.get
    wanted = re.sub(r"^shot\s+", "", get("shot", "").strip(), flags=re.IGNORECASE).rstrip(".")
    values: dict[str, Any] = {
        "line": cells.line,
        # Other marks, such as the numerals of another script, are no file names: they count
        # rows and are no ids.
        "id": wanted if _ID.fullmatch(wanted) else "",
        "scene": _scene(cells),
        "cast": _cast(cells),
        "length": _length(cells),
    }
    for name in ("description", "dialogue", "beat", "prompt", "negative"):
        values[name] = get(name, "")
    for name, kind in SHOT_TERMS.items():
        values[name] = _read(cells, name, kind.parse)
    values["transition"] = _read(cells, "transition", parse_transition)
    for name in ("continues", "keep"):
        values[name] = bool(_read(cells, name, lambda text: _choice(text, "yes or no")))
    for name, default in (("seed", None), ("drawing", 1), ("take", 1)):
        number = _read(cells, name, _number)
        values[name] = default if number is None else number
    return Draft(**values)


def split_names(text: str) -> tuple[str, ...]:
    """The names in a list with commas or semicolons, each once."""
    # A semicolon also ends the number of a character.
    parts = re.findall(r"(?:&#[0-9]{1,7};|[^,;\u3001\n])+", text)
    names = (unescape(name.strip()) for name in parts)
    return tuple(dict.fromkeys(name for name in names if name))


def unescape(text: str) -> str:
    """Text with `&#38;` and its like as characters; only those that number a character."""

    def character(match: re.Match[str]) -> str:
        code = int(match[1])
        return chr(code) if code < 0xD800 or 0xDFFF < code < 0x110000 else match[0]

    return re.sub(r"&#([0-9]{1,7});", character, text)


def _scene(cells: Cells) -> Scene:
    scene = parse_heading(cells.words.get("scene", ""))
    interior = scene.interior
    if cells.words.get("interior"):
        interior = _read(cells, "interior", lambda text: _choice(text, "interior or exterior"))
    return Scene(
        cells.words.get("place") or scene.place,
        interior,
        cells.words.get("time of day") or scene.time_of_day,
    )


def _cast(cells: Cells) -> tuple[str, ...]:
    if "cast" in cells.words:
        return split_names(cells.words["cast"])
    speakers = [
        name for line in cells.words.get("dialogue", "").split("\n") if (name := speaker(line))
    ]
    return Speakers(speakers).cast_of(cells.words.get("description", ""), speakers)


def _length(cells: Cells) -> Any:
    # Seconds last when the rate changes, so they count where both are there.
    seconds = _read(cells, "seconds", parse_length)
    return seconds or _read(cells, "frames", lambda text: parse_length(text, bare_in_frames=True))


def _read(cells: Cells, column: str, parse: Any) -> Any:
    text = cells.words.get(column, "").strip()
    if text in ("", "-", "\u2013"):
        return None
    try:
        return parse(text)
    except ValueError as error:
        raise cells.error(column, error) from None


def _choice(text: str, what: str) -> bool | None:
    try:
        return _WORDS[what][text.casefold()]
    except KeyError:
        raise ValueError(f"{text!r:.60} is neither; say {what}") from None


def _number(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,20}", text):
        raise ValueError(f"{text!r:.60} is no whole number from 0")
    return int(text)
