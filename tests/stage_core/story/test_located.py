"""A stranger's shot list is refused with the line on which it is wrong."""

import json

import pytest

from stage_core.errors import PlanError
from stage_core.planning.planner import PlanSettings, plan
from stage_core.story.located import line_of, lines_in
from stage_core.story.shot_list import Shot, ShotList

TEXT = ShotList("Two Doors", shots=(Shot("1"), Shot("2"))).to_json()


def changed(*path_and_value):
    """The text with one value changed."""
    *path, value = path_and_value
    record = inside = json.loads(TEXT)
    for step in path[:-1]:
        inside = inside[step]
    inside[path[-1]] = value
    return json.dumps(record, indent=1)


@pytest.mark.parametrize(
    ("path_and_value", "message"),
    [
        (("schema", "stage.ShotList.9"), "newer version"),
        (("shots", 1, "id", "1"), "ids are unique"),
        (("shots", 1, "id", "../../etc/passwd"), "letters, digits"),
        (("shots", 1, "take", "1"), "take is '1'"),
        (("shots", 1, "num_frames", 10**9), "1000000000 frames"),
        (("shots", 1, "file", "/etc/passwd"), "unknown field 'file'"),
        (("shots", 1, "seed", float("nan")), "NaN, which is no number"),
        (("shots", 1, 7), "not an object"),
        (("shots", {}), "not a list"),
        (("frame_format", "width", 10**9), "each side has"),
        (("seed", -1), "seed -1"),
        (("include", "../other.json"), "unknown field 'include'"),
    ],
    ids=str,
)
def test_a_shot_list_that_is_not_sound_is_refused_with_its_line(path_and_value, message):
    text, (*path, value) = changed(*path_and_value), path_and_value
    with pytest.raises(PlanError, match=message) as caught:
        plan(text, PlanSettings(format="records"))
    # A shot or a field of the film is named as a whole; what is no number by itself.
    where = path if value != value else path[: 2 if path[0] == "shots" else 1]
    assert caught.value.line == line_of(text, *where) > 1
    assert "\n" not in str(caught.value)


def test_a_line_is_that_of_the_value_or_of_what_would_hold_it():
    text = '{\n "a": [\n  1,\n  {"b": 2}],\n "c": 3\n}'
    assert [line_of(text, *path) for path in ((), ("a",), ("a", 1), ("a", 1, "b"), ("c",))] == [
        *(1, 2, 4),
        *(4, 5),
    ]
    assert line_of(text, "a", 9) == 2 and line_of(text, "x", "y") == 1


def test_the_lines_inside_a_value_are_those_of_each_found_in_one_go(monkeypatch):
    record = {"shots": {f"{n}": {"take": [n]} for n in range(30)}, "rest": [1, [2], {}]}
    text = json.dumps(record, indent=1)
    for path in (("shots",), ("rest",), ()):
        inside = record[path[0]] if path else record
        names = range(len(inside)) if isinstance(inside, list) else inside
        assert lines_in(text, *path) == {name: line_of(text, *path, name) for name in names}
    assert lines_in(text, "rest", 0) == {}
    decoded = []
    decode = json.JSONDecoder.raw_decode
    monkeypatch.setattr(
        json.JSONDecoder, "raw_decode", lambda *all: decoded.append(all[2]) or decode(*all)
    )
    lines_in(text, "shots")
    # The name "shots", and name and value of each shot.
    assert len(decoded) == 1 + 2 * 30
