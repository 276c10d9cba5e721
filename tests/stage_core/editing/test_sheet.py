"""Sheets, strips and marks: what is on them, and that nothing a story holds breaks them."""

from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stage_core.editing.lettering import Hand, shorten, text_width, wrap
from stage_core.editing.sheet import draw_sheet, first_frames, num_sheets, timecode
from stage_core.editing.slate import draw_movement
from stage_core.editing.strips import mark, padded, strip
from stage_core.story.cinematography import CameraMovement, Transition, TransitionKind
from stage_core.story.frames import FramePair, Picture
from stage_core.story.shot_list import FrameFormat, Shot, ShotList
from stage_core.story.storyboard import Storyboard
from stage_core.story.timeline import Clip

HAND = Hand(16, (0, 0, 0))
GREEN = torch.tensor([0, 255, 0], dtype=torch.uint8)


def board(num_shots=2, **changes):
    shots = tuple(Shot(str(i + 1), f"Shot {i + 1}.") for i in range(num_shots))
    return Storyboard(replace(ShotList(shots=shots), **changes))


def green(height=48, width=84):
    return GREEN.expand(height, width, 3)


def num_green(sheet):
    return int((sheet == GREEN).all(dim=2).sum())


def test_sheet_shows_both_frames_of_a_drawn_shot_and_none_of_another():
    plan = board()
    assert num_green(draw_sheet(plan)) == 0
    picture = Picture.of(green())
    half = num_green(draw_sheet(plan.with_pair(FramePair("1", start=picture))))
    both = num_green(draw_sheet(plan.with_pair(FramePair("1", picture, picture))))
    assert both == 2 * half > 0


@pytest.mark.parametrize(
    "change",
    [
        {"movement": CameraMovement.PAN_LEFT},
        {"keep": True},
        {"continues": True},
        {"num_frames": 71},
        {"description": "Something else."},
        {"dialogue": "ANNA: No."},
    ],
)
def test_what_a_shot_says_is_on_the_sheet(change):
    plan = board()
    changed = replace(plan.shot_list.shot("2"), **change)
    after = Storyboard(plan.shot_list.with_shot(changed))
    before, sheet = draw_sheet(plan), draw_sheet(after)
    assert before.shape != sheet.shape or not torch.equal(before, sheet)


def test_status_given_halves_and_older_memory_are_on_the_sheet():
    picture, plan = Picture.of(green()), board()
    pair = FramePair("1", picture, picture)
    boards = [
        plan.with_pair(pair),
        plan.with_pair(replace(pair, given=frozenset({"end"}))),
        plan.with_pair(replace(pair, older_memory=True)),
        plan.with_pair(pair).with_clip(Clip("1", torch.zeros(2, 16, 16, 3), Fraction(12))),
    ]
    sheets = {draw_sheet(one).numpy().tobytes() for one in boards}
    assert len(sheets) == len(boards)


@pytest.mark.parametrize("size", [(832, 480), (480, 832), (1152, 482), (16, 8192), (8192, 16)])
@pytest.mark.parametrize("num_shots", [1, 3, 9])
def test_every_format_and_number_of_shots_gives_a_sheet_a_page_can_hold(size, num_shots):
    sheet = draw_sheet(board(num_shots, frame_format=FrameFormat(*size)))
    height, width, _ = sheet.shape
    assert max(height, width) < 5200
    assert sheet.dtype == torch.uint8


def test_long_film_has_several_sheets():
    long = board(61)
    assert num_sheets(long) == 2
    assert draw_sheet(long, 1).shape[0] < draw_sheet(long).shape[0]
    with pytest.raises(ValueError, match="sheet 2"):
        draw_sheet(long, 2)


@settings(max_examples=15, deadline=None)
@given(st.text(max_size=200), st.text(max_size=400), st.text(max_size=80))
def test_no_text_of_any_script_breaks_a_sheet(title, description, dialogue):
    shot = Shot("1", description, dialogue=dialogue)
    sheet = draw_sheet(Storyboard(ShotList(title=title, shots=(shot,))))
    assert sheet.shape[2] == 3


def test_first_frames_of_the_plan_count_overlaps_of_dissolves_only():
    dissolve, fade = (
        Transition(kind, 6) for kind in (TransitionKind.DISSOLVE, TransitionKind.FADE)
    )
    shots = Shot("a", transition=dissolve), Shot("b", transition=fade), Shot("c")
    assert first_frames(ShotList(shots=shots)) == {"a": 0, "b": 66, "c": 138}


def test_timecode_counts_frames_at_the_rounded_rate():
    assert timecode(3600 * 24 + 61 * 24 + 5, Fraction(24)) == "01:01:01:05"
    assert timecode(48, Fraction(24000, 1001)) == "00:00:02:00"


@pytest.mark.parametrize("text", ["word " * 60, "x" * 300, ""])
def test_wrapped_lines_fit_and_only_the_last_is_shortened(text):
    lines = wrap(text, 200, HAND, 3)
    assert len(lines) == (3 if text else 0)
    assert all(text_width(line, HAND) <= 200 for line in lines)
    assert [line.endswith("...") for line in lines] == [False, False, True][: len(lines)]


def test_wrapping_loses_no_word_that_fits():
    text = "June waits by the window of a quiet office, turning a ring box in her hands."
    assert " ".join(wrap(text, 200, HAND, 9)) == text


def test_text_that_fits_is_not_shortened():
    assert shorten("fits", 200, HAND) == "fits"


def test_signs_of_opposite_movements_mirror_each_other():
    from PIL import Image, ImageDraw, ImageOps

    def sign(movement):
        image = Image.new("L", (40, 40), 255)
        draw_movement(ImageDraw.Draw(image.convert("RGB")), (0, 0), 40, movement)
        image = Image.new("RGB", (40, 40), (255, 255, 255))
        draw_movement(ImageDraw.Draw(image), (0, 0), 40, movement)
        return image

    for right, left in (("pan right", "pan left"), ("truck right", "truck left")):
        mirrored = ImageOps.mirror(sign(CameraMovement.parse(left)))
        difference = torch.frombuffer(bytearray(mirrored.tobytes()), dtype=torch.uint8).float()
        difference -= torch.frombuffer(
            bytearray(sign(CameraMovement.parse(right)).tobytes()), dtype=torch.uint8
        )
        assert difference.abs().mean() < 4
    assert len({sign(movement).tobytes() for movement in CameraMovement}) == len(CameraMovement)


def test_strip_shows_every_picture_at_one_height():
    picture = strip([green(48, 84), green(96, 54)], ["1 start", "a label far too long " * 9], 120)
    # 120 high: 210 and 68 pixels wide.
    assert num_green(picture) == 120 * (210 + 68)


def test_mark_changes_a_thin_strip_at_the_bottom_and_nothing_else():
    frames = green(240, 320).clone().expand(3, 240, 320, 3)
    marked = list(mark(frames, "3  sketch, not drawn"))
    assert len(marked) == len(mark(frames, "x")) == 3
    for frame in marked:
        assert torch.equal(frame[:216], frames[0][:216])
        assert not torch.equal(frame, frames[0])
    assert torch.equal(frames[0], green(240, 320))


def test_letters_that_no_font_has_are_one_question_mark_or_lose_their_accent(monkeypatch):
    from stage_core.editing import lettering

    monkeypatch.setattr(lettering, "_fallback_paths", tuple)
    lettering._word_letters.cache_clear()
    assert text_width("\u65e5\u672c\u8a9e", HAND) == text_width("?", HAND)
    assert text_width("caf\u00e9", HAND) == text_width("cafe", HAND)
    lettering._word_letters.cache_clear()


def test_pages_are_padded_with_their_own_paper():
    small, large = torch.full((2, 3, 3), 9).byte(), torch.full((4, 3, 3), 7).byte()
    pages = padded([small, large])
    assert [page.shape for page in pages] == [(4, 3, 3)] * 2
    assert (pages[0] == 9).all() and (pages[1] == 7).all()
