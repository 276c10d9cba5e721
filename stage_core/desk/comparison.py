"""The drawings and takes of one shot side by side, with what differs between them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..editing.conform import conform, cover
from ..editing.export import export
from ..editing.strips import padded, strip
from ..ledger import Record
from ..media import playing
from ..project import DRAWING, TAKE, Project
from ..story.shot_list import FrameFormat
from ..story.storyboard import Storyboard
from .shots import number_of, results

MOST_SHOWN = 12
"""The newest so many drawings and takes are shown; the others are counted."""

_HEIGHT = 216
_GAP = 8
_PAPER = 24
_IN_USE = "* "


@dataclass(frozen=True)
class Compared:
    """One drawing or take: whether the board uses it, and how it was made, by word."""

    record: Record
    in_use: bool
    settings: Mapping[str, str]


def compared(board: Storyboard, shot_id: str, project: Project) -> tuple[Compared, ...]:
    """All drawings of a shot, then all its takes, oldest first.

    Raises:
        ValueError: no such shot, with the ids there are.
    """
    shot = board.shot_list.shot(shot_id.strip())
    drawings = results(project, DRAWING, shot)
    clip = board.clips.get(shot.id)
    used = {board.pair(shot.id).name, clip.name if clip else ""}
    rows = [(record, _drawing_settings(record)) for record in drawings]
    names = {_digests(project, record): record.name for record in drawings}
    for record in results(project, TAKE, shot):
        rows.append((record, _take_settings(record, names)))
    return tuple(Compared(record, record.name in used, settings) for record, settings in rows)


def report(found: Sequence[Compared]) -> str:
    """A table in Markdown of the settings that differ, drawings and takes apart."""
    parts = []
    for kind, title in ((DRAWING, "drawing"), (TAKE, "take")):
        rows = [one for one in found if one.record.kind == kind]
        if rows:
            parts.append(_table(rows, title))
    return "\n\n".join(parts) or "nothing is drawn or filmed yet"


def side_by_side(found: Sequence[Compared], project: Project) -> Tensor:
    """A sheet [H, W, 3] uint8: a row for each drawing with its start and end, and for each take
    with its first, middle and last frame; the one in use has a star."""
    rows = []
    for one in _newest(found):
        if one.record.kind == DRAWING:
            pair = project.drawing(one.record.name)
            images = [picture.image for picture in (pair.start, pair.end) if picture is not None]
        else:
            images = _three(project.take(one.record.name).frames)
        labels = [_label(one), "; ".join(_differing(one, found)), ""][: len(images)]
        rows.append(strip(images, labels, _HEIGHT))
    if not rows:
        blank = torch.full((9, 16, 3), 128, dtype=torch.uint8)
        return strip([blank], ["nothing is drawn or filmed yet"])
    return torch.cat(padded(rows))


def write_film(board: Storyboard, shot_id: str, project: Project, path: Path) -> int:
    """Write a film in which the takes of a shot play side by side, at the shot's planned length.

    One frame of each is held at a time. Gives the number of takes; with none nothing is written.
    """
    shot, plan = board.shot_list.shot(shot_id.strip()), board.shot_list
    takes = [record.name for record in results(project, TAKE, shot)][-MOST_SHOWN:]
    if takes:
        small = _small(plan.frame_format)
        clips = [conform(project.take(name), shot.num_frames, small) for name in takes]
        frames = _beside([clip.frames for clip in clips], small)
        export(frames, path, plan.frame_format.rate, shot.num_frames)
    return len(takes)


def _drawing_settings(record: Record) -> dict[str, str]:
    sizes = [stamp["size"] for stamp in record.files.values()]
    given = " and ".join(sorted(record.fields["given"], reverse=True))
    return {
        "number": str(number_of(record.name)),
        "model": _model(record),
        **_words(record),
        "given": given or "nothing",
        "size": _size(sizes[0]) if sizes else "",
        "made": _made(record),
    }


def _take_settings(record: Record, drawings: Mapping[tuple[str, ...], str]) -> dict[str, str]:
    fields = record.fields
    return {
        "number": str(number_of(record.name)),
        "model": _model(record),
        **_words(record),
        "pictures": drawings.get(tuple(fields["keyframes"]), "other pictures"),
        "between": ", ".join(str(index) for index, _ in fields.get("between", ())),
        "size": _size(fields["size"]),
        "frames": f"{fields['num_frames']} at {float(Fraction(fields['rate'])):g} fps",
        "made": _made(record),
    }


def _words(record: Record) -> dict[str, str]:
    """What the record says it was made from, where it says so."""
    made_from = record.fields.get("settings")
    words = made_from if isinstance(made_from, dict) else {}
    return {name: value for name, value in words.items() if name not in ("drawing", "take")}


def _model(record: Record) -> str:
    """The model's name; of a digest of a whole graph enough to tell it from another."""
    return " ".join(part[:12] for part in str(record.fields["model"]).split(" ")[:2])


def _made(record: Record) -> str:
    moment = datetime.fromtimestamp(record.made_ns / 1e9, tz=timezone.utc).astimezone()
    return moment.strftime("%Y-%m-%d %H:%M:%S")


def _size(size: Sequence[int]) -> str:
    return f"{size[0]}x{size[1]}"


def _digests(project: Project, record: Record) -> tuple[str, ...]:
    return tuple(digest for digest in project.drawing(record.name).digests if digest)


def _differing(one: Compared, found: Sequence[Compared]) -> list[str]:
    """What tells one from the others of its kind, in words short enough for a caption."""
    kin = [other.settings for other in found if other.record.kind == one.record.kind]
    return [
        f"{name}: {value}"
        for name, value in one.settings.items()
        if name not in ("number", "seed", "made") and any(other.get(name) != value for other in kin)
    ]


def _table(rows: Sequence[Compared], title: str) -> str:
    names = dict.fromkeys(name for row in rows for name in row.settings)
    names = [name for name in names if len({row.settings.get(name) for row in rows}) > 1]
    lines = [[title, *names], ["---"] * (1 + len(names))]
    for row in rows:
        cells = [str(row.settings.get(name, "")).replace("|", "\\|") for name in names]
        lines.append([_label(row), *(" ".join(cell.split()) for cell in cells)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _label(one: Compared) -> str:
    return f"{_IN_USE if one.in_use else ''}{one.record.name}"


def _newest(found: Sequence[Compared]) -> list[Compared]:
    parts = [[one for one in found if one.record.kind == kind] for kind in (DRAWING, TAKE)]
    return [one for part in parts for one in part[-MOST_SHOWN:]]


def _three(frames: Any) -> list[Tensor]:
    """The first, the middle and the last frame."""
    wanted = sorted({0, len(frames) // 2, len(frames) - 1})
    with playing(frames) as film:
        return [frame for place, frame in enumerate(islice(film, len(frames))) if place in wanted]


def _small(frame_format: FrameFormat) -> FrameFormat:
    width = max(16, round(_HEIGHT * frame_format.aspect / 2) * 2)
    return replace(frame_format, width=min(8192, width), height=_HEIGHT)


def _beside(films: Sequence[Any], size: FrameFormat) -> Iterator[Tensor]:
    """Frames of several films as one, with a gap between them."""
    gap = torch.full((size.height, _GAP, 3), _PAPER, dtype=torch.uint8)
    with ExitStack() as stack:
        playings = [stack.enter_context(playing(film)) for film in films]
        for pictures in zip(*playings, strict=True):
            parts = [part for p in pictures for part in (gap, cover(p, size.width, size.height))]
            yield torch.cat(parts[1:], dim=1)
