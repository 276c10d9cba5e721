import contextlib
import json
from dataclasses import fields, replace
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stage_core.errors import PlanError
from stage_core.story import shot_list as module
from stage_core.story.cinematography import (
    CameraAngle,
    CameraMovement,
    ShotScale,
    Transition,
    TransitionKind,
)
from stage_core.story.members import Member, MemberKind
from stage_core.story.shot_list import FrameFormat, Scene, Shot, ShotList, duration, load_json

TEXT = st.text(max_size=12)
SEED = st.integers(0, 2**64 - 1)
TRANSITIONS = st.one_of(
    st.just(Transition()),
    st.builds(
        Transition,
        st.sampled_from([TransitionKind.DISSOLVE, TransitionKind.FADE]),
        st.integers(1, 48),
        st.sampled_from(["black", "white"]),
    ),
)
FORMATS = st.builds(
    FrameFormat,
    st.integers(16, 8192),
    st.integers(16, 8192),
    st.fractions(1, 240, max_denominator=1001) | st.floats(1, 240).map(Fraction),
)
SHOTS = st.builds(
    Shot,
    id=st.from_regex(r"[A-Za-z0-9_-]{1,32}", fullmatch=True),
    description=TEXT,
    scene=st.builds(Scene, TEXT, st.sampled_from([None, True, False]), TEXT),
    cast=st.lists(TEXT, max_size=3).map(tuple),
    dialogue=TEXT,
    beat=TEXT,
    scale=st.sampled_from(ShotScale),
    angle=st.sampled_from(CameraAngle),
    movement=st.sampled_from(CameraMovement),
    num_frames=st.integers(2, 100_000),
    transition=TRANSITIONS,
    prompt=TEXT,
    negative=TEXT,
    continues=st.booleans(),
    keep=st.booleans(),
    seed=st.none() | SEED,
    drawing=st.integers(1, 9999),
    take=st.integers(1, 9999),
    copy_of=st.just("") | st.from_regex(r"[A-Za-z0-9_-]{1,32}", fullmatch=True),
)
LISTS = st.builds(
    ShotList,
    title=TEXT,
    theme=TEXT,
    look=TEXT,
    negative=TEXT,
    frame_format=FORMATS,
    shots=st.lists(SHOTS, min_size=1, max_size=4, unique_by=lambda s: s.id.casefold()).map(tuple),
    seed=SEED,
    cast=st.lists(
        st.builds(
            Member,
            st.from_regex(r"[A-Z][a-z]{0,5}", fullmatch=True),
            st.sampled_from(MemberKind),
            TEXT,
        ),
        max_size=3,
        unique_by=lambda member: member.name.casefold(),
    ).map(tuple),
)
FILM = ShotList(shots=(Shot("1"), Shot("2A"), Shot("B-side"), Shot("4")))


@settings(max_examples=60, deadline=None)
@given(LISTS)
def test_json_brings_an_equal_list_back(plan):
    back = ShotList.from_json(plan.to_json())
    assert back == plan
    assert hash(back) == hash(plan)


def test_the_strategies_cover_every_field():
    # A new field that is left at its default would not be tested for its round trip.
    assert {f.name for f in fields(Shot)} == set(SHOTS.wrapped_strategy.kwargs) - {"self"}


def record(**changes):
    return {**json.loads(FILM.to_json()), **changes}


def shot_record(**changes):
    return record(shots=[{"id": "1", **changes}])


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ([], "a shot list is a JSON object"),
        (record(schema="stage.ShotList.3"), "newer version"),
        (record(schema=None), "newer version"),
        (record(shots=[]), "no shots"),
        (record(shots={}), "shots is dict, not a list"),
        (record(shots=["1"]), "shots 0 is str, not an object"),
        (record(colour="red"), "unknown field 'colour'"),
        (record(seed=-1), "seed -1"),
        (record(cast={}), "cast is dict, not a list"),
        (record(cast=["Ida"]), "cast 0 is str, not an object"),
        (record(cast=[{"name": "Ida"}, {"name": "IDA"}]), "'Ida' and 'IDA'; a name counts once"),
        (record(cast=[{"name": "a", "kind": "ghost"}]), "'ghost' is no member kind"),
        (record(seed=True), "seed is True; it should be int"),
        (record(seed=1.5), "seed is 1.5; it should be int"),
        (record(title=3), "title is 3; it should be str"),
        (record(frame_format={"rate": True}), "use 24 or '24000/1001'"),
        (record(frame_format={"rate": 23.976}), "use 24 or '24000/1001'"),
        (record(frame_format={"rate": "24/0"}), "use 24 or '24000/1001'"),
        (record(frame_format={"rate": 0}), "0 frames per second"),
        (record(frame_format={"rate": "1e999999999"}), "use 24 or '24000/1001'"),
        (record(frame_format={"width": 7}), "each side has 16"),
        (record(frame_format={"width": "832"}), "width is '832'; it should be int"),
        (record(shots=[{"id": "2a"}, {"id": "2A"}]), "'2a' and '2A'; ids are unique"),
        (record(shots=[{"id": "1"}, {"id": "1"}]), "'1' and '1'; ids are unique"),
        (record(shots=[{}]), "id"),
        (shot_record(id="../x"), "letters, digits"),
        (shot_record(id=1), "id is 1; it should be str"),
        (shot_record(num_frames=True), "num_frames is True; it should be int"),
        (shot_record(num_frames=1), "1 frames; use 2"),
        (shot_record(keep=1), "keep is 1; it should be bool"),
        (shot_record(continues="no"), "it should be bool"),
        (shot_record(seed=True), "seed is True"),
        (shot_record(drawing=0), "both count from 1"),
        (shot_record(cast="Ana"), "cast is str, not a list"),
        (shot_record(cast=["Ana", 3]), "cast 1 is 3; it should be str"),
        (shot_record(scale="enormous"), "'enormous' is no shot scale"),
        (shot_record(scale=None), "scale is None; it should be str"),
        (shot_record(scene={"interior": 0}), "interior is 0; it should be bool"),
        (shot_record(scene={"weather": "rain"}), "unknown field 'weather'"),
        (shot_record(transition={"kind": "fade"}), "a dissolve or a fade at least 1"),
        (shot_record(transition={"kind": "cut", "colour": "red"}), "neither 'black' nor 'white'"),
        (shot_record(description="\ud800"), "half of a surrogate pair"),
        (shot_record(x="y" * 10_000), "unknown field 'x'"),
    ],
)
def test_a_bad_list_is_answered_in_one_short_sentence(bad, message):
    with pytest.raises(PlanError) as caught:
        ShotList.from_json(json.dumps(bad))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not valid JSON"),
        ('{"schema": ', "not valid JSON"),
        ('{"a": NaN}', "NaN, which is no number"),
        ("[-Infinity]", "-Infinity, which is no number"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a":' * 100_000, "nested too deeply"),
        ("1" * 5000, "a number of too many digits"),
    ],
)
def test_bad_json_is_answered_in_one_short_sentence(text, message):
    with pytest.raises(PlanError) as caught:
        load_json(text)
    assert message in str(caught.value)
    assert len(str(caught.value)) < 300


def test_bad_json_is_answered_with_its_line():
    with pytest.raises(PlanError, match="line 2: not valid JSON") as caught:
        load_json('{"a": 1,\n"b" 2}')
    assert caught.value.line == 2


def test_huge_json_is_refused_unread(monkeypatch):
    monkeypatch.setattr(module, "MAX_JSON_CHARACTERS", 100)
    with pytest.raises(PlanError, match="101 characters; at most 100"):
        load_json("x" * 101)


@settings(max_examples=60, deadline=None)
@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False)
        | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
        max_leaves=8,
    ),
    st.sampled_from([f.name for f in fields(Shot)]),
)
def test_any_json_in_any_field_is_read_or_refused_as_a_plan_error(value, field):
    with contextlib.suppress(PlanError):
        ShotList.from_json(json.dumps(shot_record(**{field: value})))


def test_an_alias_written_by_hand_is_read():
    found = ShotList.from_json(json.dumps(shot_record(scale="ECU", movement="push in")))
    assert found.shots[0].scale is ShotScale.EXTREME_CLOSE_UP
    assert found.shots[0].movement is CameraMovement.DOLLY_IN


def test_text_of_every_script_stays_readable_in_the_file():
    plan = ShotList("\u96e8 \U0001f3ac", shots=(Shot("1"),))
    assert "\u96e8 \U0001f3ac" in plan.to_json()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": ""}, "letters, digits"),
        ({"id": "a" * 33}, "letters, digits"),
        ({"id": "a.b"}, "letters, digits"),
        ({"num_frames": 100_001}, "100001 frames"),
        ({"seed": 2**64}, "seed"),
        ({"take": 10_000}, "take 10000"),
    ],
)
def test_a_shot_out_of_range_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        Shot(**{"id": "1", **changes})


def test_an_unknown_shot_is_answered_with_the_known_ones():
    assert FILM.shot("2A") is FILM.shots[1]
    with pytest.raises(ValueError, match="no shot '9'; this film has 1, 2A, B-side, 4"):
        FILM.shot("9")


def test_with_shot_replaces_one_shot_in_its_place():
    changed = FILM.with_shot(replace(FILM.shots[1], beat="turn"))
    assert changed.ids == FILM.ids
    assert [a == b for a, b in zip(changed.shots, FILM.shots, strict=True)] == [
        True,
        False,
        True,
        True,
    ]


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("", None),
        (" , ", None),
        ("2A", {"2A"}),
        ("1, 4", {"1", "4"}),
        ("2A-4", {"2A", "B-side", "4"}),
        ("B-side", {"B-side"}),
        ("1-B-side", {"1", "2A", "B-side"}),
        ("1;4", {"1", "4"}),
    ],
)
def test_a_choice_of_shots_is_read(text, ids):
    assert FILM.select(text) == ids


@pytest.mark.parametrize(("text", "message"), [("4-1", "backwards"), ("9", "no shots '9'")])
def test_a_choice_that_names_no_shots_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        FILM.select(text)


def test_duration_is_exact():
    assert duration(66, Fraction(24000, 1001)) == Fraction(66 * 1001, 24000)
