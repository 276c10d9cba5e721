"""The storyboard sheet of a board: start and end of each shot under its slate."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from ..media import import_pillow
from ..plurals import counted
from ..story.cinematography import CameraAngle
from ..story.frames import Picture
from ..story.shot_list import Shot, ShotList, duration
from ..story.storyboard import ShotStatus, Storyboard
from ..story.timeline import overlap
from .conform import cover
from .lettering import Hand, has_letters, plain, shorten, text_width, wrap, write
from .paper import EMPTY, GREY, PANEL_GAP, PAPER, RULE, drawing_on
from .slate import ACCENT, INK, draw_link, draw_movement, draw_status

SHOTS_PER_SHEET = 60

_MARGIN = 56
_GUTTER = 44
_SIGN = 22
_HEADER_HEIGHT = 168
_SLATE_HEIGHT = 66
_WORDS_GAP = 8
# Of a panel's sides: those of a keyframe between start and end.
_SMALLER = 0.3

# These three would read as words for something else without their noun.
_ANGLE_WORDS = {
    CameraAngle.LOW: "low angle",
    CameraAngle.HIGH: "high angle",
    CameraAngle.DUTCH: "Dutch angle",
}

_TITLE = Hand(44, INK)
_FACTS = Hand(19, GREY)
_ID = Hand(26, INK)
_SLATE = Hand(17, INK)
_SMALL = Hand(15, GREY)
_MARK = Hand(15, ACCENT)
_WORDS = Hand(16, INK)
_SPEECH = Hand(16, (92, 88, 82), slanted=True)
_STATUS = {
    ShotStatus.PLANNED: _SMALL,
    ShotStatus.DRAWN: replace(_SMALL, ink=(158, 104, 12)),
    ShotStatus.FILMED: replace(_SMALL, ink=(38, 122, 64)),
}
NO_FONT = "no font of this machine writes this text: shot {}"


@dataclass(frozen=True)
class Panel:
    """Where a shot stands on a sheet: left, top, right, bottom in pixels."""

    shot_id: str
    status: ShotStatus
    box: tuple[int, int, int, int]


@dataclass(frozen=True)
class _Page:
    """The shots of one sheet in rows, with the heights of header and rows."""

    rows: tuple[tuple[Shot, ...], ...]
    heights: tuple[int, ...]
    layout: _Layout

    @classmethod
    def of(cls, board: Storyboard, page: int, most: int) -> _Page:
        last = num_sheets(board, most) - 1
        if not 0 <= page <= last:
            raise ValueError(f"sheet {page} of a film with sheets 0 to {last}")
        plan = board.shot_list
        shots = plan.shots[page * most : (page + 1) * most]
        # All sheets of a film are alike, also the last one with few shots.
        layout = _layout(plan, min(most, len(plan.shots)))
        columns = range(0, len(shots), layout.columns)
        rows = tuple(shots[i : i + layout.columns] for i in columns)
        return cls(rows, (_HEADER_HEIGHT, *(_row_height(row, layout) for row in rows)), layout)


def draw_sheet(board: Storyboard, page: int = 0, most: int = SHOTS_PER_SHEET) -> Tensor:
    """A storyboard sheet, [H, W, 3] uint8: start and end of each shot under its slate.

    A sheet has at most `most` shots; `page` counts the sheets of a longer film from 0. One
    picture is open at a time.

    Raises:
        ValueError: the film has no such page.
    """
    paper = _Page.of(board, page, most)
    # Row by row: the sheet of sixty shots is 50 MB, and Pillow would hold it three times.
    sheet = torch.empty(sum(paper.heights), paper.layout.width, 3, dtype=torch.uint8)
    bands = sheet.split(list(paper.heights))
    _draw_header(bands[0], board, (page, num_sheets(board, most)))
    starts = first_frames(board.shot_list)
    for band, row in zip(bands[1:], paper.rows, strict=True):
        _draw_row(band, board, [(shot, starts[shot.id]) for shot in row], paper.layout)
    return sheet


def num_sheets(board: Storyboard, most: int = SHOTS_PER_SHEET) -> int:
    """How many sheets of at most `most` shots the film fills."""
    return math.ceil(len(board.shot_list.shots) / most)


def panels(board: Storyboard, page: int = 0) -> tuple[Panel, ...]:
    """Where the shots stand on a sheet of `draw_sheet`, in film order."""
    paper, found, top = _Page.of(board, page, SHOTS_PER_SHEET), [], _HEADER_HEIGHT
    for row, height in zip(paper.rows, paper.heights[1:], strict=True):
        for column, shot in enumerate(row):
            left = _MARGIN + column * (paper.layout.pair_width + _GUTTER)
            box = left, top, left + paper.layout.pair_width, top + height - _GUTTER
            found.append(Panel(shot.id, board.status(shot.id), box))
        top += height
    return tuple(found)


def first_frames(plan: ShotList) -> dict[str, int]:
    """Where each shot of the plan begins in the film, in frames, by id."""
    places, place = {}, 0
    for shot in plan.shots:
        places[shot.id] = place
        place += shot.num_frames - overlap(shot.transition)
    return places


def timecode(num_frames: int, rate: Fraction) -> str:
    """hours:minutes:seconds:frames, without dropped frames, counted at the rate rounded."""
    seconds, frames = divmod(num_frames, round(rate))
    hours, minutes = seconds // 3600, seconds // 60 % 60
    return f"{hours:02}:{minutes:02}:{seconds % 60:02}:{frames:02}"


@dataclass(frozen=True)
class _Layout:
    columns: int
    panel_width: int
    panel_height: int

    @property
    def pair_width(self) -> int:
        return 2 * self.panel_width + PANEL_GAP

    @property
    def width(self) -> int:
        return 2 * _MARGIN + self.columns * (self.pair_width + _GUTTER) - _GUTTER


def _layout(plan: ShotList, num_shots: int) -> _Layout:
    aspect = float(plan.frame_format.aspect)
    columns = 1 if num_shots == 1 else 2 if num_shots <= 8 else 3
    if aspect < 1 and num_shots > 2:
        columns += 1
    # Panels of every shape have about the same area, at least so wide that the slate fits.
    side = 540 if num_shots == 1 else 384 if num_shots <= 24 else 336
    panel_width = round(min(560, max(250, side * math.sqrt(9 / 16 * aspect))))
    # A very tall film is cut off at three times its width: beyond, no panel fits a page.
    panel_height = round(min(panel_width / aspect, 3 * panel_width))
    return _Layout(columns, panel_width, panel_height)


def _row_height(shots: Sequence[Shot], layout: _Layout) -> int:
    words = max(
        len(words) * _WORDS.line_height + len(speech) * _SPEECH.line_height
        for words, speech in (_lines(shot, layout) for shot in shots)
    )
    return _SLATE_HEIGHT + layout.panel_height + _WORDS_GAP + words + _GUTTER


def _lines(shot: Shot, layout: _Layout) -> tuple[list[str], list[str]]:
    """Description and dialogue, two lines of each at most; the shot's id where no font here has
    the letters of either."""
    words, speech = plain(shot.description), plain(shot.dialogue)
    if not has_letters(words + speech):
        words, speech = NO_FONT.format(shot.id), ""
    return (
        wrap(words, layout.pair_width, _WORDS, 2),
        wrap(speech, layout.pair_width, _SPEECH, 2),
    )


def _draw_header(band: Tensor, board: Storyboard, page: tuple[int, int]) -> None:
    """Title and facts; `page` is the number of the sheet, from 0, and how many there are."""
    right = band.shape[1] - _MARGIN
    room = right - _MARGIN
    with drawing_on(band) as (_, draw):
        if page[1] > 1:
            note = f"sheet {page[0] + 1} of {page[1]}"
            room -= text_width(note, _FACTS) + _GUTTER
            write(draw, (right - text_width(note, _FACTS), _MARGIN + 10), note, _FACTS)
        title = plain(board.shot_list.title) or "Untitled"
        write(draw, (_MARGIN - 2, _MARGIN - 16), shorten(title, room, _TITLE), _TITLE)
        facts = shorten(_facts(board), right - _MARGIN, _FACTS)
        write(draw, (_MARGIN, _MARGIN + 46), facts, _FACTS)
        line = _HEADER_HEIGHT - 30
        draw.line([(_MARGIN, line), (right, line)], fill=RULE, width=2)


def _facts(board: Storyboard) -> str:
    plan = board.shot_list
    form, last = plan.frame_format, plan.shots[-1]
    num_frames = first_frames(plan)[last.id] + last.num_frames
    rate = form.rate.numerator if form.rate.denominator == 1 else f"{float(form.rate):.3f}"
    found = [board.status(shot.id) for shot in plan.shots]
    counts = [f"{found.count(s)} {s.value}" for s in reversed(ShotStatus) if found.count(s)]
    shots = counted(len(plan.shots), "shot")
    length = f"{timecode(num_frames, form.rate)}, {num_frames} frames at {rate} fps"
    return "   \u00b7   ".join((shots, length, f"{form.width} x {form.height}", ", ".join(counts)))


def _draw_row(
    band: Tensor, board: Storyboard, shots: Sequence[tuple[Shot, int]], layout: _Layout
) -> None:
    """Draws shots, each with the frame of the film at which it begins."""
    with drawing_on(band) as (image, draw):
        for column, (shot, start) in enumerate(shots):
            left = _MARGIN + column * (layout.pair_width + _GUTTER)
            box = left, left + layout.pair_width
            if shot.continues:
                draw_link(draw, (left - _SIGN - 6, _SLATE_HEIGHT), _SIGN)
            _draw_slate(draw, box, shot, timecode(start, _rate(board)))
            _draw_state(draw, box, board, shot)
            pair = board.pair(shot.id)
            _draw_panel(image, draw, left, pair.start, layout)
            _draw_panel(image, draw, box[1] - layout.panel_width, pair.end, layout)
            _draw_between(image, draw, left, board, shot, layout)
            _draw_words(draw, left, shot, layout)


def _draw_slate(draw: Any, box: tuple[int, int], shot: Shot, code: str) -> None:
    """The first line: id, movement, scale and angle in words, timecode."""
    left, right = box
    code_left = right - text_width(code, _SMALL)
    write(draw, (code_left, 11), code, _SMALL)
    after_id = write(draw, (left, 0), shorten(shot.id, (right - left) // 3, _ID), _ID) + 12
    draw_movement(draw, (after_id, 7), _SIGN, shot.movement)
    angle = _ANGLE_WORDS.get(shot.angle, shot.angle.value)
    words = f"{shot.scale.value}, {angle}, {shot.movement.value}"
    words = words[0].upper() + words[1:]
    words_left = after_id + _SIGN + 8
    room = code_left - words_left - 12
    hand = _SLATE if text_width(words, _SLATE) <= room else replace(_SMALL, ink=INK)
    write(draw, (words_left, 26 - hand.size), shorten(words, room, hand), hand)


def _draw_state(draw: Any, box: tuple[int, int], board: Storyboard, shot: Shot) -> None:
    """The second line: status, marks, length."""
    left, right = box
    top = 38
    status, seconds = board.status(shot.id), duration(shot.num_frames, _rate(board))
    draw_status(draw, (left - 3, top - 1), 20, status)
    length = f"{shot.num_frames} f   {float(seconds):.1f} s"
    length_left = right - text_width(length, _SMALL)
    write(draw, (length_left, top), length, _SMALL)
    marks_left = write(draw, (left + 21, top), status.value, _STATUS[status]) + 16
    marks = "  \u00b7  ".join(_marks(board, shot))
    write(draw, (marks_left, top), shorten(marks, length_left - marks_left - 16, _MARK), _MARK)


def _rate(board: Storyboard) -> Fraction:
    return board.shot_list.frame_format.rate


def _marks(board: Storyboard, shot: Shot) -> Iterator[str]:
    pair = board.pair(shot.id)
    if shot.continues:
        yield "continues"
    if pair.given:
        yield " and ".join(sorted(pair.given, reverse=True)) + " given"
    beyond, inside = len(board.beyond(shot)), len(board.between.get(shot.id, ()))
    if inside > beyond:
        yield f"{counted(inside - beyond, 'keyframe')} between"
    if beyond:
        yield f"{counted(beyond, 'keyframe')} beyond the end"
    if shot.keep:
        yield "keep"
    if pair.older_memory:
        yield "memory has changed"


def _draw_panel(image: Any, draw: Any, left: int, picture: Picture | None, layout: _Layout) -> None:
    _, image_module, _ = import_pillow()
    width, height = layout.panel_width, layout.panel_height
    right, top, bottom = left + width - 1, _SLATE_HEIGHT, _SLATE_HEIGHT + height - 1
    if picture is not None:
        panel = cover(picture.image, width, height)
        image.paste(image_module.fromarray(panel.contiguous().numpy()), (left, top))
        draw.rectangle([left, top, right, bottom], outline=INK)
        return
    draw.rectangle([left, top, right, bottom], fill=EMPTY, outline=RULE)
    draw.line([left, top, right, bottom], fill=RULE, width=1)
    draw.line([left, bottom, right, top], fill=RULE, width=1)


def _draw_between(
    image: Any, draw: Any, left: int, board: Storyboard, shot: Shot, layout: _Layout
) -> None:
    """Keyframes between the ends, small on the foot of the panels, each at its time."""
    _, image_module, _ = import_pillow()
    width, height = round(layout.panel_width * _SMALLER), round(layout.panel_height * _SMALLER)
    top = _SLATE_HEIGHT + layout.panel_height - height - PANEL_GAP
    room = layout.pair_width - width
    for keyframe in board.all_keyframes(shot):
        if 0 < keyframe.index < shot.num_frames - 1:
            at = left + round(room * keyframe.index / (shot.num_frames - 1))
            panel = cover(keyframe.picture.image, width, height)
            image.paste(image_module.fromarray(panel.contiguous().numpy()), (at, top))
            draw.rectangle([at, top, at + width, top + height], outline=PAPER, width=2)


def _draw_words(draw: Any, left: int, shot: Shot, layout: _Layout) -> None:
    top = _SLATE_HEIGHT + layout.panel_height + _WORDS_GAP
    words, speech = _lines(shot, layout)
    for hand, lines in ((_WORDS, words), (_SPEECH, speech)):
        for line in lines:
            write(draw, (left, top), line, hand)
            top += hand.line_height
