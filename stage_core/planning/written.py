"""A shot list as a text that a person edits and `plan` reads back, ids and all."""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction

from ..story.cinematography import Transition, TransitionKind
from ..story.shot_list import Shot, ShotList
from .naming import cast_line

_FULL_COLUMNS = ("shot", "scale", "movement", "angle", "seconds", "cast", "description")


def written_out(shot_list: ShotList) -> str:
    """The shot list as a Markdown table with every id written in.

    `plan` reads an equal list back from it with the same frame format and seed, which belong
    to the settings and not to the text. Lengths are in seconds, so they last when the rate
    changes. Columns that no shot uses are left out. That a shot is a copy is not written.
    """
    rate = shot_list.frame_format.rate
    page = {
        "Title": shot_list.title,
        "Theme": shot_list.theme,
        "Look": shot_list.look,
        "Negative": shot_list.negative,
    }
    head = [f"{key}: {_page_value(value)}" for key, value in page.items() if value]
    head += [f"Cast: {cast_line(shot_list.cast, _by_number)}"] if shot_list.cast else []
    columns = {
        name: [cell(shot, rate) for shot in shot_list.shots] for name, cell in _COLUMNS.items()
    }
    columns = {
        name: cells for name, cells in columns.items() if any(cells) or name in _FULL_COLUMNS
    }
    rows = [list(columns), ["---"] * len(columns), *zip(*columns.values(), strict=True)]
    return "\n".join([*head, "", *(f"| {' | '.join(row)} |" for row in rows), ""])


def _cell(text: str) -> str:
    text = _by_number(text, r"<(?=[Bb][Rr])")
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", "<br>")


def _page_value(text: str) -> str:
    return _by_number(text, r"[|\n]")


def _name(text: str) -> str:
    return _by_number(text, r"[,;\u3001\n]")


def _by_number(text: str, more: str) -> str:
    """Text in which what would be trimmed, split or taken for a number is written by number."""
    control = r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff]"
    core = text.strip()
    start = text.index(core) if core else len(text)
    before, after = (
        re.sub(r"\s", _numbered, edge) for edge in (text[:start], text[start + len(core) :])
    )
    return before + re.sub(rf"&(?=#)|{control}|{more}", _numbered, core) + after


def _numbered(match: re.Match[str]) -> str:
    return f"&#{ord(match[0])};"


def _seconds(num_frames: int, rate: Fraction) -> str:
    # Four digits are a fraction of a frame at any rate, so the frames come back.
    text = f"{float(num_frames / rate):.4f}"
    return text.rstrip("0").rstrip(".")


def _interior(shot: Shot) -> str:
    return {True: "yes", False: "no", None: ""}[shot.scene.interior]


def _transition(transition: Transition, rate: Fraction) -> str:
    if transition.kind is TransitionKind.CUT:
        return ""
    colour = f" to {transition.colour}" if transition.kind is TransitionKind.FADE else ""
    return f"{transition.kind.value}{colour} {_seconds(transition.num_frames, rate)} s"


def _count(number: int) -> str:
    return "" if number == 1 else str(number)


_COLUMNS: dict[str, Callable[[Shot, Fraction], str]] = {
    "shot": lambda shot, _: shot.id,
    "scale": lambda shot, _: shot.scale.value,
    "movement": lambda shot, _: shot.movement.value,
    "angle": lambda shot, _: shot.angle.value,
    "seconds": lambda shot, rate: _seconds(shot.num_frames, rate),
    "place": lambda shot, _: _cell(shot.scene.place),
    "interior": lambda shot, _: _interior(shot),
    "time of day": lambda shot, _: _cell(shot.scene.time_of_day),
    "cast": lambda shot, _: _cell(", ".join(_name(name) for name in shot.cast)),
    "description": lambda shot, _: _cell(shot.description),
    "dialogue": lambda shot, _: _cell(shot.dialogue),
    "beat": lambda shot, _: _cell(shot.beat),
    "transition": lambda shot, rate: _transition(shot.transition, rate),
    "prompt": lambda shot, _: _cell(shot.prompt),
    "negative": lambda shot, _: _cell(shot.negative),
    "continues": lambda shot, _: "yes" if shot.continues else "",
    "keep": lambda shot, _: "yes" if shot.keep else "",
    "seed": lambda shot, _: "" if shot.seed is None else str(shot.seed),
    "drawing": lambda shot, _: _count(shot.drawing),
    "take": lambda shot, _: _count(shot.take),
}
