"""What the nodes do, one call after the other, with the embedded models."""

import inspect

import pytest
import torch

pytestmark = pytest.mark.comfy

STORY = """Title: Two Doors

INT. OFFICE - DAY

[[shot: wide, 0.25s]]
IDA opens a door.

[[shot: medium, 0.25s]]
IDA looks at the second door.

[[shot: close-up, 0.25s]]
The handle turns.
"""
SCRIPT = {"title": "", "look": "", "negative": "", "width": 64, "height": 48, "rate": "16"}
SCRIPT |= {"seed": 0, "format": "auto"}


@pytest.fixture
def plan(run):
    return run("Script", text=STORY, **SCRIPT)[0]


@pytest.fixture
def drawn(run, plan):
    return run("STEP2Storyboard", storyboard=plan)[0]


def red(height=48, width=64):
    return torch.tensor([1.0, 0.0, 0.0]).expand(1, height, width, 3)


def test_a_script_becomes_a_film(run, drawn, output):
    board, strip = run("DualEncoderShotSampler", storyboard=drawn)
    video, _ = run("ShotStitcher", storyboard=board)
    assert video.get_dimensions() == (64, 48)
    assert strip.ndim == 4 and strip.dtype == torch.float32
    assert len(list((output / "stage" / "Two Doors").glob("*.mkv"))) == 3


def test_text_with_ids_gives_the_same_plan(run, plan):
    _, text = run("Script", text=STORY, **SCRIPT)
    again, _ = run("Script", text=text, **SCRIPT)
    assert again.shot_list == plan.shot_list


def test_the_fingerprint_of_a_script_is_its_plan(node, plan, drawn):
    fingerprint = node("STAGE_Script").fingerprint_inputs
    assert fingerprint(text=STORY, **SCRIPT) == plan.shot_list.to_json()
    assert fingerprint(text=None, **SCRIPT) == fingerprint(text=None, **SCRIPT)


def test_a_script_that_cannot_be_read_has_a_fingerprint_too(node, output):
    assert "empty" in node("STAGE_Script").fingerprint_inputs(text=" ", **SCRIPT)


def test_the_storyboard_draws_nothing_twice(run, plan, said):
    run("STEP2Storyboard", storyboard=plan)
    assert said[0] == "draws 3 of 3 shots (3 new), 0 kept"
    said.clear()
    run("STEP2Storyboard", storyboard=plan)
    assert said[0] == "draws 0 of 3 shots, 3 kept"
    said.clear()
    run("STEP2Storyboard", storyboard=plan, redraw="everything")
    assert said[0] == "draws 3 of 3 shots (3 asked for), 0 kept"


def test_only_the_chosen_shots_are_drawn(run, plan):
    board, memory, sheet = run("STEP2Storyboard", storyboard=plan, shots="2-3")
    assert set(board.pairs) == {"2", "3"} and len(memory.recent) == 4
    assert sheet.shape[0] == 1


def test_a_swapped_keyframe_films_one_shot(run, drawn, said):
    run("DualEncoderShotSampler", storyboard=drawn)
    (swapped,) = run("ReplaceKeyframes", storyboard=drawn, shot="2", end=red())
    run("DualEncoderShotSampler", storyboard=swapped)
    assert said[-1].startswith("filmed 1 of 3 shots, 2 from takes")
    run("DualEncoderShotSampler", storyboard=drawn)
    assert said[-1].startswith("filmed 0 of 3 shots, 3 from takes")


def test_a_picture_before_the_storyboard_is_drawn_around(run, plan):
    (given,) = run("ReplaceKeyframes", storyboard=plan, shot="2", start=red(96, 96))
    board = run("STEP2Storyboard", storyboard=given)[0]
    pair = board.pair("2")
    assert pair.given == {"start"} and pair.complete
    assert (pair.start.width, pair.start.height) == (96, 72)


def test_replacing_nothing_changes_nothing(run, drawn):
    (board,) = run("ReplaceKeyframes", storyboard=drawn, shot="1")
    assert board.pair("1").digests == drawn.pair("1").digests


def test_an_unknown_shot_is_answered_with_the_ids_there_are(run, drawn):
    for node_id, inputs in (("ReplaceKeyframes", {"shot": "9"}), ("PickShot", {"shot": "9"})):
        with pytest.raises(ValueError, match=r"9.*1, 2, 3"):
            run(node_id, storyboard=drawn, **inputs)
    with pytest.raises(ValueError, match=r"9.*1, 2, 3"):
        run("DualEncoderShotSampler", storyboard=drawn, shots="9")


def test_film_at_most_counts_all_takes_and_zero_only_plays(run, drawn, output):
    def takes(**inputs):
        board, _ = run("DualEncoderShotSampler", storyboard=drawn, **inputs)
        return len(board.clips), len(list((output / "stage" / "Two Doors").glob("*.mkv")))

    assert takes(film_at_most=0) == (0, 0)
    assert takes(film_at_most=2) == (2, 2)
    assert takes(film_at_most=-1) == (3, 3)
    assert takes(takes=2, film_at_most=1) == (3, 4)
    assert takes(takes=2, shots="1") == (3, 4)
    assert takes(takes=2) == (3, 6)


def test_the_board_uses_the_take_of_the_script(run, plan, drawn):
    text = STORY.replace("close-up, 0.25s", "close-up, 0.25s, take 2")
    other = run("STEP2Storyboard", storyboard=run("Script", text=text, **SCRIPT)[0])[0]
    first, _ = run("DualEncoderShotSampler", storyboard=drawn, takes=2)
    second, _ = run("DualEncoderShotSampler", storyboard=other, takes=2)
    assert first.clips["3"].name == "3_t01" and second.clips["3"].name == "3_t02"


def test_pick_shot_gives_what_another_graph_needs(run, drawn):
    picked = run("PickShot", storyboard=drawn, shot="2")
    start, end, prompt, _, length, rate, width, height, seed, memory, shot = picked
    assert start.shape == end.shape and "second door" in prompt
    assert (length, rate, width, height) == (4, 16.0, 64, 48)
    assert memory.shape[0] == 2 and seed >= 0 and shot.id == "2"


def test_pick_shot_goes_on_to_the_next_shot_to_film(run, node, drawn):
    fingerprint = node("STAGE_PickShot").fingerprint_inputs
    picked, marks = [], [fingerprint(storyboard=None, shot="")]
    for _ in range(3):
        picked.append(run("PickShot", storyboard=drawn)[-1].id)
        run("DualEncoderShotSampler", storyboard=drawn, film_at_most=1)
        marks.append(fingerprint(storyboard=None, shot=""))
    assert picked == ["1", "2", "3"]
    assert len({str(mark) for mark in marks}) == 4
    assert type(run("PickShot", storyboard=drawn)[-1]).__name__ == "ExecutionBlocker"


def test_an_unfinished_board_plays_whole(run, plan, drawn):
    lengths = []
    for board in (plan, drawn):
        video, _ = run("ShotStitcher", storyboard=board)
        lengths.append(video.get_duration())
    assert lengths == pytest.approx([0.75, 0.75])


def test_references_are_named_and_unknown_names_reported(run, plan, said):
    batch = torch.cat([red(), red()])
    pack, preview = run(
        "MemoryPackBuilder", storyboard=plan, image_2=batch, name_2="ida, Bob", policy="paper"
    )
    assert [frame.names for frame in pack.references] == [("ida", "Bob")] * 2
    assert "no shot has Bob; the cast is Ida" in said[-1] and "tokens" in said[-1]
    assert preview.shape[0] == 1


def test_an_empty_memory_pack_is_a_memory_pack(run):
    pack, _ = run("MemoryPackBuilder")
    assert pack.references == () and pack.capacity == 8


def test_execute_takes_the_inputs_that_the_schema_names(pack):
    for cls in pack.nodes.extension.NODES:
        names = {slot.id for slot in cls.GET_SCHEMA().inputs}
        parameters = inspect.signature(cls.execute).parameters.values()
        named = {p.name for p in parameters if p.kind is not p.VAR_KEYWORD}
        assert named <= names and (named == names or len(named) < len(parameters))
