"""Shot lists read from JSON of a stranger: what is wrong is said with its line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from ..errors import PlanError
from .shot_list import ShotList, load_json, shot_list_from_record

_NO_NUMBER = re.compile(r"(?<=[:,\[\s])(NaN|-?Infinity)(?=\s*[,\]}])")
# Enough for a plan of which only the rest is looked at.
_ONE_SHOT = ({"id": "1"},)


def parsed(text: str) -> Any:
    """The JSON of a text; raises PlanError as `load_json` does, for a NaN too with its line."""
    try:
        return load_json(text)
    except PlanError as error:
        # The reader is told of a NaN, and not where it stands.
        found = _NO_NUMBER.search(text) if error.line is None else None
        if found is None:
            raise
        raise PlanError(str(error), text.count("\n", 0, found.start()) + 1) from None


def shot_list_in(record: Any, text: str, *path: str) -> ShotList:
    """The shot list of the record that stands at `path` in the JSON `text`.

    Raises:
        PlanError: as `shot_list_from_record`, with the line of the shot or the field at fault.
    """
    try:
        return shot_list_from_record(record)
    except PlanError as error:
        fault = _fault(record) if isinstance(record, dict) else ()
        raise PlanError(str(error), line_of(text, *path, *fault)) from None


def line_of(text: str, *path: str | int) -> int:
    """The line on which a value of valid JSON begins; that of its nearest parent if it is not
    there. Of keys that appear twice, the first counts."""
    return text.count("\n", 0, _place(text, path)) + 1


def lines_in(text: str, *path: str | int) -> dict[str | int, int]:
    """The lines on which the values inside an object or a list of valid JSON begin, by their names
    or indices, found in one go."""
    line, counted, lines = 1, 0, {}
    for name, place in _inside(text, _place(text, path)):
        line += text.count("\n", counted, place)
        counted = place
        lines.setdefault(name, line)
    return lines


def _place(text: str, path: tuple[str | int, ...]) -> int:
    """Where a value begins, or its nearest parent."""
    place = _skip(text, 0)
    for step in path:
        found = next((inner for name, inner in _inside(text, place) if name == step), None)
        if found is None:
            break
        place = found
    return place


def _inside(text: str, place: int) -> Iterator[tuple[str | int, int]]:
    """Name or index and place of each value of the object or list that begins at `place`."""
    if text[place] not in "{[":
        return
    decoder = json.JSONDecoder()
    closing, inside, count = "}]"[text[place] == "["], _skip(text, place + 1), 0
    while text[inside] != closing:
        name: str | int = count
        if closing == "}":
            name, inside = decoder.raw_decode(text, inside)
            inside = _skip(text, inside)
        yield name, inside
        inside, count = _skip(text, decoder.raw_decode(text, inside)[1]), count + 1


def _fault(record: Mapping[str, Any]) -> tuple[str | int, ...]:
    """Where in a record that is no shot list the first fault lies."""
    schema = {name: record[name] for name in ("schema",) if name in record}
    if not _is_sound({**schema, "shots": list(_ONE_SHOT)}):
        return ("schema",)
    for name, value in record.items():
        if name != "shots" and not _is_sound({**schema, name: value, "shots": list(_ONE_SHOT)}):
            return (name,)
    shots = record.get("shots")
    seen: set[str] = set()
    for place, shot in enumerate(shots if isinstance(shots, list) else ()):
        shot_id = str(shot.get("id")).casefold() if isinstance(shot, dict) else ""
        if shot_id in seen or not _is_sound({**schema, "shots": [shot]}):
            return ("shots", place)
        seen.add(shot_id)
    return ("shots",)


def _is_sound(record: Mapping[str, Any]) -> bool:
    try:
        shot_list_from_record(record)
    except PlanError:
        return False
    return True


def _skip(text: str, place: int) -> int:
    """The next character that says something."""
    while text[place] in " \t\r\n,:":
        place += 1
    return place
