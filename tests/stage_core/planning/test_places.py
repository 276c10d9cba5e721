"""Where pictures belong in a shot, as a person writes it."""

from fractions import Fraction

import pytest

from stage_core.planning.places import read_places
from stage_core.story.shot_list import Shot

RATE = Fraction(24)
# 3 seconds: the last frame is 72, so percents are easy to tell.
SHOT = Shot("2A", num_frames=73)


@pytest.mark.parametrize(
    ("text", "frames"),
    [
        ("1.5s", (36,)),
        ("40", (40,)),
        ("25%", (18,)),
        (" 25 % ; 1.5 s,\n40 frames", (18, 36, 40)),
        ("50%, 0:01", (36, 24)),
        ("", (24, 48)),
    ],
)
def test_seconds_frames_and_percent_are_frames_in_the_order_of_the_pictures(text, frames):
    assert read_places(text, len(frames), SHOT, RATE) == frames


def test_nothing_written_spreads_any_number_evenly():
    places = read_places("", 71, SHOT, RATE)
    assert places == tuple(range(1, 72))


@pytest.mark.parametrize(
    ("text", "count", "message"),
    [
        ("later", 1, "shot 2A: 'later' is no place in it; write 1.5s, 25%, or 40"),
        ("-3", 1, "'-3' is no place"),
        ("1.5", 1, "'1.5' is no place"),
        ("4s", 1, r"4s is frame 96, and frames 1 to 71, up to 2.96s, are between"),
        ("0", 1, "0 is frame 0"),
        ("100%", 1, "100% is frame 72"),
        ("1s, 2s", 3, "shot 2A: 3 pictures and 2 places, '1s, 2s'; write one place for each"),
        ("1s, 24", 2, "shot 2A: two pictures at 1s, frame 24; move one"),
        ("", 72, "72 pictures between the start and the end of 73 frames; give at most 71"),
    ],
)
def test_what_is_no_place_is_answered_in_one_sentence(text, count, message):
    with pytest.raises(ValueError, match=message) as error:
        read_places(text, count, SHOT, RATE)
    assert "\n" not in str(error.value)
