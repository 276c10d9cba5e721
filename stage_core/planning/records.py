"""JSON that other programs write: the input list of STAGE, and the story script of StoryMem.

STAGE: a list of records with `prompt` or `caption`, which may use the wording of the release
(`Current shot: ... Current shot time: 2.75275 Current frame num: 66`), and any column of a
table. A record without a prompt is refused: the release skips it, and a film would silently
lack a shot. Settings of the model and lists of pictures in it are no part of a plan.

StoryMem: an object with `story_overview` and `scenes`, each with `video_prompts` and `cut`; a
prompt that is not cut to continues from the shot before. The prompts of first frames are left
out, since start and end of a shot are drawn from one description.
"""

from __future__ import annotations

import json
import re
from typing import Any

from ..errors import PlanError
from ..story.shot_list import load_json
from .columns import Cells, column_named, draft_from
from .drafts import Draft, Outline
from .people import Speakers
from .terms import parse_length

_NOT_PLANNED = (
    "control_img_list",
    "sample_steps",
    "height",
    "width",
    "cfg_scale",
    "guidance_scale",
    "discrete_flow_shift",
    "flow_shift",
)
_TIME = re.compile(r"\bCurrent shot time:\s*(?P<value>[0-9.]+)?", re.IGNORECASE)
_FRAMES = re.compile(r"\bCurrent frame num:\s*(?P<value>[0-9]+)?", re.IGNORECASE)
_SHOT = re.compile(r"\s*Current shot:", re.IGNORECASE)


def read_records(text: str) -> Outline:
    """The shots of a STAGE input list or a StoryMem script.

    Raises:
        PlanError: neither, or a record that cannot be read.
    """
    data = load_json(text)
    if isinstance(data, list):
        lines = _record_lines(text)
        pairs = zip(data, lines, strict=True)
        return Outline(
            tuple(_stage_shot(record, i, line) for i, (record, line) in enumerate(pairs, 1))
        )
    if isinstance(data, dict) and "scenes" in data:
        return _story(data)
    raise PlanError(
        "this JSON is no list of records with 'prompt' and no object with 'scenes'; these are "
        "the inputs of STAGE and StoryMem"
    )


def _record_lines(text: str) -> list[int]:
    """The line on which each entry of a valid JSON list begins."""
    lines, decoder = [], json.JSONDecoder()
    number, counted, place = 1, 0, text.index("[") + 1
    while True:
        place = re.compile(r"[\s,]*").match(text, place).end()
        if text[place] == "]":
            return lines
        number += text.count("\n", counted, place)
        counted = place
        lines.append(number)
        _, place = decoder.raw_decode(text, place)


def _stage_shot(record: Any, count: int, line: int) -> Draft:
    if not isinstance(record, dict):
        raise PlanError(f"record {count} is no object with 'prompt'", line)
    words: dict[str, str] = {}
    headers: dict[str, str] = {}
    # `prompt` is the shot's text here; beside a description it is what it is elsewhere.
    described = any(column_named(key) == "description" and key != "prompt" for key in record)
    for key, value in record.items():
        if key in _NOT_PLANNED:
            continue
        column = "description" if key == "prompt" and not described else column_named(key)
        if column is None or column in words:
            known = "prompt, caption, idx, seed, negative_prompt and the columns of a table"
            reason = (
                "means the same as another key" if column else f"is not known; known are {known}"
            )
            raise PlanError(f"record {count}: key {key!r:.60} {reason}", line)
        words[column], headers[column] = _word(value, f"record {count}: {key!r:.60}", line), key
    if not words.get("description", "").strip():
        raise PlanError(f"record {count} has no prompt; write one or take the record out", line)
    cells = Cells(line, {**words, **_current_shot(words["description"], line)}, headers)
    return draft_from(cells)


def _word(value: Any, where: str, line: int) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return ""
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    raise PlanError(f"{where} is no text and no number", line)


def _current_shot(text: str, line: int) -> dict[str, str]:
    """Description and length in the release's wording, or the text as it is."""
    start = _SHOT.match(text)
    if start is None:
        return {"description": text.strip()}
    time, frames = _TIME.search(text), _FRAMES.search(text)
    end = min((found.start() for found in (time, frames) if found), default=len(text))
    found = {"description": text[start.end() : end].strip()}
    for name, match in (("seconds", time), ("frames", frames)):
        if match and match["value"]:
            found[name] = match["value"].rstrip(".")
            try:
                parse_length(found[name])
            except ValueError as error:
                raise PlanError(f"{match[0]!r}: {error}", line) from None
    if not found["description"]:
        raise PlanError("'Current shot:' has no description", line)
    return found


def _story(data: dict[str, Any]) -> Outline:
    overview = data.get("story_overview", "")
    if not isinstance(overview, str):
        raise PlanError("'story_overview' is no text")
    if not isinstance(data["scenes"], list):
        raise PlanError("'scenes' is no list")
    drafts: list[Draft] = []
    for number, scene in enumerate(data["scenes"], 1):
        drafts += _scene_shots(scene, number)
    title = data.get("title", "")
    return Outline(tuple(drafts), title if isinstance(title, str) else "", theme=overview.strip())


def _scene_shots(scene: Any, number: int) -> list[Draft]:
    prompts = scene.get("video_prompts") if isinstance(scene, dict) else None
    if not isinstance(prompts, list):
        raise PlanError(f"scene {number} has no list 'video_prompts'")
    cuts = scene.get("cut", [True] * len(prompts))
    if not isinstance(cuts, list) or not all(isinstance(cut, bool) for cut in cuts):
        raise PlanError(f"scene {number}: 'cut' is no list of true and false")
    if len(cuts) != len(prompts):
        raise PlanError(f"scene {number} has {len(prompts)} prompts, but {len(cuts)} values of cut")
    drafts = []
    for place, (prompt, cut) in enumerate(zip(prompts, cuts, strict=True), 1):
        if not isinstance(prompt, str) or not prompt.strip():
            raise PlanError(f"scene {number}: prompt {place} is no text")
        if place == 1 and not cut:
            raise PlanError(
                f"scene {number}: the first value of cut is false; a scene begins with a cut"
            )
        text = prompt.strip()
        cast = Speakers(()).cast_of(text)
        drafts.append(Draft(description=text, cast=cast, continues=not cut))
    return drafts
