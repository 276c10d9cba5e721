from dataclasses import replace
from fractions import Fraction

import pytest
import torch

from stage_core.story.frames import FramePair, Picture
from stage_core.story.memory import MemoryPack
from stage_core.story.shot_list import Shot, ShotList
from stage_core.story.storyboard import ShotStatus, Storyboard
from stage_core.story.timeline import Clip

SHOTS = (Shot("1"), Shot("2", continues=True), Shot("3"))
BOARD = Storyboard(ShotList(theme="t", look="l", negative="n", shots=SHOTS))


def picture(value):
    return Picture.of(torch.full((2, 2, 3), value, dtype=torch.uint8))


def pair(shot_id, start=1, end=2, given=()):
    return FramePair(shot_id, picture(start), picture(end), frozenset(given))


def clip(shot_id):
    return Clip(shot_id, torch.zeros(3, 2, 2, 3, dtype=torch.uint8), Fraction(8))


def test_status_rises_from_planned_over_drawn_to_filmed():
    drawn = BOARD.with_pair(pair("1"))
    statuses = [board.status("1") for board in (BOARD, drawn, drawn.with_clip(clip("1")))]
    assert statuses == [ShotStatus.PLANNED, ShotStatus.DRAWN, ShotStatus.FILMED]


def test_half_a_pair_is_not_drawn():
    board = BOARD.with_pair(FramePair("1", start=picture(1)))
    assert board.status("1") is ShotStatus.PLANNED


def test_a_board_is_a_new_value_after_each_step():
    BOARD.with_pair(pair("1"))
    assert not BOARD.pairs


def test_other_pixels_drop_the_clip_of_that_shot_alone():
    board = BOARD.with_pair(pair("1")).with_clip(clip("1")).with_clip(clip("3"))
    changed = board.with_pair(pair("1", end=9))
    assert set(changed.clips) == {"3"}


def test_a_pair_of_the_same_pixels_keeps_the_clip():
    board = BOARD.with_pair(pair("1")).with_clip(clip("1"))
    again = board.with_pair(pair("1", given={"end"}))
    assert set(again.clips) == {"1"}
    assert again.pair("1").given == {"end"}


def test_a_pair_or_clip_of_no_shot_is_refused():
    with pytest.raises(ValueError, match="no shot '7'; this film has 1, 2, 3"):
        BOARD.with_pair(pair("7"))
    with pytest.raises(ValueError, match="no shot '7'"):
        BOARD.with_clip(clip("7"))


def test_a_brief_holds_the_words_of_the_plan_and_only_given_halves():
    pack = MemoryPack()
    brief = BOARD.with_pair(pair("1", given={"end"})).brief(SHOTS[0], pack)
    assert (brief.theme, brief.look, brief.negative) == ("t", "l", "n")
    assert brief.memory is pack
    assert (brief.given.start, brief.given.end.digest) == (None, picture(2).digest)


def test_a_shot_that_continues_is_given_the_previous_end():
    board = BOARD.with_pair(pair("1", end=5))
    given = board.brief(SHOTS[1], MemoryPack()).given
    assert given.start.digest == picture(5).digest
    assert given.given == {"start"}
    assert given.end is None


def test_a_start_that_the_artist_gave_comes_before_the_previous_end():
    board = BOARD.with_pair(pair("1", end=5)).with_pair(pair("2", start=7, given={"start"}))
    assert board.brief(SHOTS[1], MemoryPack()).given.start.digest == picture(7).digest


def test_a_shot_that_continues_keeps_a_given_end():
    board = BOARD.with_pair(pair("1", end=5)).with_pair(pair("2", end=8, given={"end"}))
    given = board.brief(SHOTS[1], MemoryPack()).given
    assert given.given == {"start", "end"}
    assert given.digests == (picture(5).digest, picture(8).digest)


def test_nothing_is_given_where_nothing_is_drawn_before():
    assert BOARD.brief(SHOTS[1], MemoryPack()).given.given == frozenset()
    first = replace(SHOTS[0], continues=True)
    board = Storyboard(ShotList(shots=(first, *SHOTS[1:])))
    assert board.brief(first, MemoryPack()).given.given == frozenset()


def test_keyframes_stand_at_the_planned_ends():
    board = BOARD.with_pair(pair("1"))
    assert [k.index for k in board.keyframes(SHOTS[0])] == [0, SHOTS[0].num_frames - 1]
    assert board.keyframes(SHOTS[2]) == ()
