import json
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stage_core.errors import PlanError
from stage_core.planning.planner import FORMATS, PlanSettings, detect, plan
from stage_core.planning.written import written_out
from stage_core.stories import read_story, story_names
from stage_core.story.cinematography import (
    CUT,
    CameraAngle,
    CameraMovement,
    ShotScale,
    Transition,
    TransitionKind,
)
from stage_core.story.members import Member, MemberKind, name_key
from stage_core.story.shot_list import FrameFormat, Scene, Shot, ShotList

QUICK = settings(max_examples=50, deadline=None)
WORDS = st.text(max_size=12) | st.text('|\\<br>&#38; \n\t;,:"*_[]/', max_size=12)
NAMES = st.lists(st.text(min_size=1, max_size=6), unique=True, max_size=3).map(tuple)
TRANSITIONS = st.just(CUT) | st.builds(
    Transition,
    st.sampled_from([TransitionKind.DISSOLVE, TransitionKind.FADE]),
    st.integers(1, 20),
)
SHOTS = st.builds(
    Shot,
    id=st.text("aZ09-_", min_size=1, max_size=6),
    description=WORDS,
    scene=st.builds(Scene, WORDS, st.sampled_from([True, False, None]), WORDS),
    cast=NAMES,
    dialogue=WORDS,
    beat=WORDS,
    scale=st.sampled_from(ShotScale),
    angle=st.sampled_from(CameraAngle),
    movement=st.sampled_from(CameraMovement),
    num_frames=st.integers(40, 1000),
    transition=TRANSITIONS,
    prompt=WORDS,
    negative=WORDS,
    keep=st.booleans(),
    seed=st.none() | st.integers(0, 2**64 - 1),
    drawing=st.integers(1, 9999),
    take=st.integers(1, 9999),
)
RATES = [Fraction(24), Fraction(24000, 1001), Fraction(25), Fraction(240)]
MEMBERS = st.builds(
    Member,
    st.text(min_size=1, max_size=6).filter(lambda name: name and name == " ".join(name.split())),
    st.sampled_from(MemberKind),
    WORDS,
)
LISTS = st.builds(
    ShotList,
    title=WORDS.filter(bool),
    theme=WORDS,
    look=WORDS,
    negative=WORDS,
    frame_format=st.builds(FrameFormat, rate=st.sampled_from(RATES)),
    shots=st.lists(SHOTS, min_size=1, max_size=4, unique_by=lambda shot: shot.id.casefold()).map(
        tuple
    ),
    seed=st.integers(0, 2**64 - 1),
    cast=st.lists(MEMBERS, max_size=2, unique_by=lambda member: name_key(member.name)).map(tuple),
)
SCRIPT = """Title: Walk

INT. HALL - DAY

BORIS opens a door.

ANNA
Who is there?

EXT. STREET - NIGHT

Anna follows. [[shot: close-up]]

Rain on the stones.
"""


@QUICK
@given(LISTS)
def test_a_shot_list_written_out_reads_back_equal(shot_list):
    own = PlanSettings(frame_format=shot_list.frame_format, seed=shot_list.seed)
    assert plan(written_out(shot_list), own) == shot_list


@QUICK
@given(LISTS)
def test_a_shot_lists_own_json_is_read_whole(shot_list):
    assert plan(shot_list.to_json(), PlanSettings(FrameFormat(640, 480), seed=9)) == shot_list


@QUICK
@given(
    st.text() | st.text(list('INT.\n\n []{}shot:/*|-,;\t"@>=#~ABc12s')), st.sampled_from(FORMATS)
)
def test_any_text_is_planned_or_refused_with_one_sentence(text, kind):
    try:
        found = plan(text, PlanSettings(format=kind))
    except PlanError as error:
        assert "\n" not in str(error)
    else:
        assert ShotList.from_json(found.to_json()) == found


@QUICK
@given(st.text(st.characters(categories=["L", "M", "N", "S"]), min_size=1, max_size=40))
def test_words_of_every_script_survive(words):
    text = f"x{words}x".translate(str.maketrans("", "", "|<>=~_^`"))
    assert plan(f"A.\n\n{text}").shots[1].description == text
    assert plan(f"shot,scale,description\n1,wide,{text}").shots[0].description == text
    assert plan(json.dumps([{"prompt": text}])).shots[0].description == text


def test_right_to_left_joined_and_very_long_paragraphs_survive():
    for text in (
        "\u0645\u0631\u062d\u0628\u0627 \u0628\u0627\u0644\u0639\u0627\u0644\u0645",
        "\U0001f469\u200d\U0001f680 e\u0301 \u0928\u092e\u0938\u094d\u0924\u0947",
        " ".join(["word"] * 20_000),
    ):
        assert plan(text).shots[0].description == text


@QUICK
@given(st.integers(0, 3))
def test_a_paragraph_put_in_anywhere_changes_no_other_shot(place):
    earlier = plan(SCRIPT)
    blocks = SCRIPT.split("\n\n")
    # After the heading and behind each paragraph with its dialogue.
    after = (1, 3, 4, 5)[place]
    new = "ANNA (30s) and CARLO wait with BORIS. The camera pans left."
    text = "\n\n".join([*blocks[: after + 1], new, *blocks[after + 1 :]])
    found = plan(text, earlier=earlier)
    assert len(found.shots) == len(earlier.shots) + 1
    kept = tuple(shot for shot in found.shots if shot.id in earlier.ids)
    assert kept == earlier.shots


def test_a_title_page_and_its_settings_say_what_the_film_is():
    page = "Title: A\nTheme: b\nLook: c\nNegative: d\n\nA door."
    found = plan(page)
    assert (found.title, found.theme, found.look, found.negative) == ("A", "b", "c", "d")
    assert plan(page, PlanSettings(title="Z", look="y")).title == "Z"
    assert plan("A door.").title == "Untitled"


def test_only_ids_are_taken_from_the_earlier_plan():
    earlier = plan("A door. [[shot 7: close-up, keep, 5s, take 3]]\n\nA wall. [[shot 9: high]]")
    found = plan("A door.\n\nA wall.", earlier=earlier)
    assert found.ids == ("7", "9")
    assert found.shots == tuple(
        replace(shot, id=shot_id)
        for shot, shot_id in zip(plan("A door.\n\nA wall.").shots, ("7", "9"), strict=True)
    )


@pytest.mark.parametrize("rate", RATES)
def test_lengths_in_seconds_last_at_every_rate(rate):
    text = "A. [[shot: 2.5s, dissolve 0.5s]]\n\nB.\n\nANNA\nYes, I will be there."
    for shot in plan(text, PlanSettings(FrameFormat(rate=rate))).shots:
        at_24 = plan(text).shot(shot.id)
        # Each is rounded to a frame of its own rate.
        error = abs(shot.num_frames / rate - Fraction(at_24.num_frames, 24))
        assert error <= (1 / rate + Fraction(1, 24)) / 2


def test_the_format_is_seen_from_the_text():
    assert detect("| shot | scale |\n|---|---|\n| 1 | wide |") == "table"
    assert detect("shot;scale;action\n1;wide;x") == "table"
    assert detect(' [\n {"prompt": "x"}]') == "records"
    assert detect("[[shot: wide]]\nA door, a wall.") == "fountain"
    assert detect("{curly} prose, with commas, and action.") == "fountain"


def test_settings_out_of_range_are_refused():
    for wrong in ({"format": "pdf"}, {"default_seconds": 0}, {"characters_per_second": 0}):
        with pytest.raises(ValueError):
            PlanSettings(**wrong)


@pytest.mark.parametrize("name", story_names())
def test_a_sample_story_reads_back_equal_from_every_form(name):
    found = plan(read_story(name))
    assert plan(found.to_json()) == found
    assert plan(written_out(found)) == found
    assert len({shot.scale for shot in found.shots}) >= 4
    assert len({shot.movement for shot in found.shots}) >= 4


def test_the_ring_is_eight_shots_in_twenty_four_seconds():
    found = plan(read_story("the_ring.fountain"))
    assert (len(found.shots), sum(shot.num_frames for shot in found.shots)) == (8, 24 * 24)


def test_a_story_is_read_from_a_file_in_the_encodings_of_spreadsheets(tmp_path):
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        path = tmp_path / f"{encoding}.txt"
        path.write_text("\u96e8 falls.", encoding=encoding)
        assert plan(read_story(str(path))).shots[0].description == "\u96e8 falls."
    (tmp_path / "latin.txt").write_bytes(b"A\n\xe9")
    with pytest.raises(PlanError, match=r"line 2: .*UTF-8"):
        read_story(str(tmp_path / "latin.txt"))
    with pytest.raises(PlanError, match="the_ring"):
        read_story("no_such_story")


def test_planning_needs_no_torch():
    code = (
        "import sys; import stage_core.planning.planner, stage_core.planning.written, "
        "stage_core.stories; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
