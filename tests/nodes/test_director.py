"""Director Brief and Cast, and what Script and Memory Pack Builder do with them."""

import json

import pytest

from .test_nodes import SCRIPT, red

pytestmark = pytest.mark.comfy

ANSWER = {
    "title": "Well",
    "characters": [{"name": "Nour", "description": "blue scarf"}],
    "shots": [{"description": "Nour crosses a square."}, {"description": "A rope."}],
}
MEMBER = {"name": "Nour", "kind": "character", "description": "red coat", "load": "", "save": ""}


@pytest.fixture
def given(tmp_path, pack, output, monkeypatch):
    """ComfyUI's input folder, empty."""
    import folder_paths

    (tmp_path / "input").mkdir()
    monkeypatch.setattr(folder_paths, "input_directory", str(tmp_path / "input"))
    return tmp_path / "input"


@pytest.fixture
def script(run, output):
    def script(text, **inputs):
        return run("Script", text=text, **SCRIPT, **inputs)[0].shot_list

    return script


def brief(run, **inputs):
    inputs = {"theme": "IDA finds a well.", "num_shots": 4, "seconds": 0.0, **inputs}
    return run("DirectorBrief", **{"look": "ink", "language": "English", **inputs})


def test_a_brief_asks_for_as_many_shots_as_script_then_demands(run, script):
    instruction, template, count = brief(run)
    assert "Exactly 4 shots" in instruction and "ink" in instruction and count == 4
    assert len(script(template, num_shots=count).shots) == 4
    assert brief(run, num_shots=0, seconds=30.0)[2] == 10


def test_an_answer_is_read_and_held_to_its_number(script):
    found = script(f"Sure!\n```json\n{json.dumps(ANSWER)}\n```", num_shots=2)
    assert [shot.cast for shot in found.shots] == [("Nour",), ()]
    assert found.cast[0].description == "blue scarf"
    with pytest.raises(ValueError, match="2 shots, and 3 were asked for; send this back"):
        script(json.dumps(ANSWER), num_shots=3)


def test_a_cast_goes_into_the_plan_the_prompt_and_the_memory(run, script, said):
    (cast, preview) = run("Cast", **MEMBER, image=red())
    plan = script("Nour waits. NOOR runs.\n\nRain.", cast=cast)
    assert plan.cast[0].description == "red coat" and "Nour" in plan.shots[0].cast
    assert "did you mean 'Nour'?" in said[-1]
    memory, _ = run("MemoryPackBuilder", cast=cast)
    assert memory.references == () and [frame.names for frame in memory.cast] == [("Nour",)]
    assert "1 of the cast" in said[-1] and preview.shape[0] == 1


def test_a_cast_is_in_what_is_asked(run):
    cast, _ = run("Cast", **MEMBER)
    assert "Nour: red coat" in brief(run, cast=cast)[0]


def test_who_has_no_picture_stands_as_a_card_of_name_and_look(run):
    cast, card = run("Cast", **MEMBER)
    other = run("Cast", **{**MEMBER, "description": "green coat"})[1]
    assert card.shape == other.shape and not card.equal(other)
    both = run("Cast", **{**MEMBER, "name": "Bo"}, image=red(), cast=cast)[1]
    assert both.shape[2] > card.shape[2] and (both[..., 0] - both[..., 1]).max() > 0.9
    nobody = run("Cast", **{**MEMBER, "name": "", "description": ""})[1]
    empty = [run("MemoryPackBuilder", capacity=n)[1] for n in (8, 9)]
    assert not empty[0].equal(empty[1])
    for image in (card, nobody, *empty):
        assert image.std() > 0.01, "an empty grey says nothing"


def test_casts_are_chained_kept_and_loaded(run, given, output):
    first, _ = run("Cast", **MEMBER, image=red())
    run("Cast", **{**MEMBER, "name": "Bo", "save": "two"}, cast=first)
    assert (output / "stage" / "cast" / "two" / "cast.json").is_file()
    loaded, _ = run("Cast", **{**MEMBER, "name": "", "description": "", "load": "two"})
    assert [member.name for member in loaded.members] == ["Nour", "Bo"]
    assert len(loaded.references()) == 1
    (output / "stage" / "cast" / "two").rename(given / "shared")
    shared, _ = run("Cast", **{**MEMBER, "name": "", "description": "", "load": "shared"})
    assert shared.members == loaded.members


@pytest.mark.parametrize("name", ["../x", "/etc", "a/b", "..", "C:\\x", "con"])
@pytest.mark.parametrize("widget", ["load", "save"])
def test_no_folder_outside_is_read_or_written(run, given, widget, name):
    with pytest.raises(ValueError, match="no name of a folder"):
        run("Cast", **{**MEMBER, widget: name})


def test_a_link_out_of_the_folder_is_refused(run, given, output, tmp_path):
    (output / "stage" / "cast").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (output / "stage" / "cast" / "x").symlink_to(tmp_path / "outside")
    with pytest.raises(OSError, match="leads out"):
        run("Cast", **{**MEMBER, "save": "x"})
    assert list((tmp_path / "outside").iterdir()) == []


def test_the_fingerprint_of_a_cast_follows_its_folder(node, run, given):
    fingerprint = node("STAGE_Cast").fingerprint_inputs
    run("Cast", **{**MEMBER, "save": "c"})
    before = fingerprint(**{**MEMBER, "load": "c"})
    run("Cast", **{**MEMBER, "description": "green coat", "save": "c"})
    assert fingerprint(**{**MEMBER, "load": "c"}) != before
    assert fingerprint(**MEMBER) == "" and "no cast" in fingerprint(**{**MEMBER, "load": "gone"})


def test_a_description_without_a_name_is_refused(run, given):
    with pytest.raises(ValueError, match="no name"):
        run("Cast", **{**MEMBER, "name": " "})
