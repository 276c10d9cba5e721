"""The command line, as a newcomer uses it: from script to film, and again after a change."""

import json
import subprocess
import sys
from fractions import Fraction

import pytest
import torch

from stage_core import media
from stage_core.__main__ import main
from stage_core.backends.load import load_storyboard_model
from stage_core.backends.protocol import Grid
from stage_core.editing.conform import conform
from stage_core.story.shot_list import FrameFormat
from stage_core.story.timeline import Clip

from .vectors import needs_vectors, released_folder, save

STORY = """\
| shot | scale | movement | description | seconds | continues |
| --- | --- | --- | --- | --- | --- |
| 1 | wide | static | An empty kitchen at night. | 0.5 | |
| 2 | close-up | dolly in | MARA lifts a key. | 0.5 | |
| 3 | medium | pan left | MARA turns to the door. | 0.5 | yes |
"""


TINY = ("--storyboard-model", "tiny", "--shot-model", "tiny")


@pytest.fixture
def shoot(tmp_path):
    """Makes the film of a story text; gives its report."""

    def run(text=STORY, *options):
        story = tmp_path / "story.md"
        story.write_text(text, encoding="utf-8")
        arguments = ["make", str(story), "--out", str(tmp_path / "film.mp4")]
        report = tmp_path / "report.json"
        arguments += ["--size", "320x180", "--title", "Key", "--report", str(report)]
        # The tiny models are quick; what is made again does not depend on who makes it.
        arguments += options if "sketch" in options else [*TINY, *options]
        assert main(arguments) == 0
        return json.loads(report.read_text(encoding="utf-8"))

    return run


def made(report):
    return [[shot["id"] for shot in report["shots"] if shot[verb]] for verb in ("drawn", "filmed")]


def test_a_story_becomes_a_film_of_the_planned_length(shoot, tmp_path):
    report = shoot()
    assert report["film"] == {"frames": 36, "rate": "24", "width": 320, "height": 180}
    assert [shot["first_frame"] for shot in report["shots"]] == [0, 12, 24]
    assert made(report) == [["1", "2", "3"], ["1", "2", "3"]]
    assert report["peak_rss_bytes"] > 2**20
    frames = media.VideoFrames(tmp_path / "film.mp4", 36, 320, 180)
    assert len(list(frames)) == 36


def test_a_second_run_makes_nothing_and_says_so(shoot, capsys):
    shoot()
    capsys.readouterr()
    assert made(shoot()) == [[], []]
    said = capsys.readouterr().err
    assert "drawn 0 of 3 shots, 3 kept" in said
    assert "filmed 0 of 3 shots, 3 kept" in said


def test_a_changed_shot_is_made_with_what_continues_from_it(shoot, capsys):
    shoot()
    changed = STORY.replace("An empty kitchen", "A forest")
    assert made(shoot(changed)) == [["1"], ["1"]]
    assert "drawn with older memory: 2, 3" in capsys.readouterr().err
    changed = STORY.replace("lifts a key", "drops a knife")
    assert made(shoot(changed)) == [["2", "3"], ["2", "3"]]


def test_another_size_rate_or_transition_makes_nothing(shoot):
    shoot()
    assert made(shoot(STORY, "--size", "640x360")) == [[], []]
    assert made(shoot(STORY, "--rate", "30")) == [[], []]
    dissolving = STORY.replace("continues |\n| ---", "continues | transition |\n| --- | ---")
    dissolving = dissolving.replace("0.5 | |\n", "0.5 | | dissolve 4 frames |\n")
    dissolving = dissolving.replace("yes |", "yes | cut |")
    report = shoot(dissolving)
    assert made(report) == [[], []]
    assert report["film"]["frames"] == 36 - 2 * 4


def test_shots_that_are_not_asked_for_play_as_fill_ins(shoot):
    report = shoot(STORY, "--shots", "2")
    assert made(report) == [["2"], ["2"]]
    assert report["film"]["frames"] == 36


def test_inserting_first_makes_one_shot_and_deleting_or_reordering_none(shoot):
    plain = "The sea at dawn.\n\nA gull lands.\n\nA boat leaves the harbour.\n"
    shoot(plain)
    assert made(shoot("Fog over the water.\n\n" + plain))[0] == ["A1"]
    assert made(shoot("A boat leaves the harbour.\n\nThe sea at dawn.\n\nA gull lands.\n")) == [
        [],
        [],
    ]
    assert made(shoot("The sea at dawn.\n\nA boat leaves the harbour.\n")) == [[], []]


def test_the_frame_at_a_cut_is_the_drawn_frame(shoot, tmp_path):
    report = shoot(STORY, "--storyboard-model", "sketch")
    film = list(media.VideoFrames(tmp_path / "film.mp4", 36, 320, 180))
    for shot in report["shots"]:
        last = shot["first_frame"] + shot["frames"] - 1
        for half, place in (("start", shot["first_frame"]), ("end", last)):
            drawn = media.read_picture(tmp_path / "Key" / f"{shot['id']}_d01_{half}.png")
            still = conform(Clip("1", drawn[None], Fraction(24)), 1, FrameFormat(320, 180))
            (drawn,) = still.frames
            assert (film[place].float() - drawn.float()).abs().mean() <= 6


def test_a_board_is_a_folder_of_frames_a_sheet_and_a_plan_that_can_be_filmed(tmp_path):
    story = tmp_path / "story.md"
    story.write_text(STORY, encoding="utf-8")
    board = tmp_path / "board"
    assert main(["board", str(story), "--out", str(board)]) == 0
    names = {path.name for path in board.iterdir()}
    frames = {f"{shot}_{half}.png" for shot in (1, 2, 3) for half in ("start", "end")}
    assert names == frames | {"sheet.png", "storyboard.json"}
    assert main(["board", str(board / "storyboard.json"), "--out", str(board)]) == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        ("| shot | colour |\n| --- | --- |\n| 1 | red |\n", "colour"),
        ('{"shots": ', "line 1"),
    ],
)
def test_a_bad_story_is_one_sentence_and_no_file(tmp_path, capsys, text, words):
    story = tmp_path / "story.txt"
    story.write_text(text, encoding="utf-8")
    assert main(["make", str(story), "--out", str(tmp_path / "film.mp4")]) == 1
    said = capsys.readouterr().err.strip()
    assert words in said
    assert "\n" not in said
    assert list(tmp_path.iterdir()) == [story]


def test_a_missing_story_names_the_samples(tmp_path, capsys):
    assert main(["make", "no_such_story", "--out", str(tmp_path / "film.mp4")]) == 1
    assert "the_ring" in capsys.readouterr().err


def test_an_unknown_storyboard_model_is_one_sentence_that_names_the_choices(tmp_path, capsys):
    out = tmp_path / "board"
    assert main(["board", "the_ring", "--out", str(out), "--storyboard-model", "sora"]) == 1
    said = capsys.readouterr().err
    assert "sketch, tiny" in said
    assert "folder" in said
    assert said.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_settings_of_drawing_draw_again_and_film_only_what_has_changed(shoot):
    shoot()
    drawn, filmed = made(shoot(STORY, "--memory", "paper"))
    assert drawn == ["1", "2", "3"]
    assert "1" not in filmed  # Drawn without memory, so its pictures are the same.
    assert made(shoot(STORY, "--memory", "paper", "--steps", "4"))[1] == []
    assert made(shoot(STORY, "--memory", "paper", "--guidance", "1")) == [["1", "2", "3"]] * 2


def test_drawing_settings_out_of_range_are_one_sentence(tmp_path, capsys):
    arguments = ["board", "the_ring", "--out", str(tmp_path / "board"), *TINY[:2], "--steps", "1"]
    assert main(arguments) == 1
    assert "1 sampler steps" in capsys.readouterr().err


@needs_vectors
def test_a_folder_of_weights_draws_a_board_and_says_where(tmp_path, capsys, monkeypatch):
    pytest.importorskip("diffusers")

    def small(*arguments):
        model = load_storyboard_model(*arguments)
        model.grid = Grid(area=64 * 48, multiple=16)
        return model

    monkeypatch.setattr("stage_core.__main__.load_storyboard_model", small)
    story = tmp_path / "story.md"
    # One shot: frames of memory are read at a megapixel, which takes its time.
    story.write_text("The sea at dawn.\n", encoding="utf-8")
    folder = released_folder(tmp_path / "step2", lora=True)
    arguments = ["board", str(story), "--out", str(tmp_path / "board")]
    arguments += ["--storyboard-model", str(folder), "--steps", "2"]
    assert main(arguments) == 0
    said = capsys.readouterr().err
    assert f"weights in {folder}, on c" in said
    assert "drawn 1 of 1 shots" in said
    assert main(arguments) == 0
    assert "drawn 0 of 1 shots, 1 kept" in capsys.readouterr().err


@pytest.mark.parametrize("package", ["diffusers", "transformers"])
def test_a_missing_library_is_one_sentence_that_says_what_to_install(
    tmp_path, capsys, monkeypatch, package
):
    monkeypatch.setitem(sys.modules, package, None)
    (tmp_path / "weights" / "unet").mkdir(parents=True)
    arguments = ["board", "the_ring", "--out", str(tmp_path / "board")]
    assert main([*arguments, "--storyboard-model", str(tmp_path / "weights")]) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert f"needs {package}; install it with pip install" in said


def test_convert_says_what_it_made_and_what_was_left_out(tmp_path, capsys):
    layer = "lora_unet_transformer_blocks_0_attn_to_q"
    tensors = {f"{layer}.lora_down.0.weight": torch.ones(2, 4)}
    tensors |= {f"{layer}.lora_up.0.weight": torch.ones(4, 2), "other": torch.ones(1)}
    source = save(tmp_path / "lora.safetensors", tensors)
    assert main(["convert", str(source), "--out", str(tmp_path / "loras")]) == 0
    said = capsys.readouterr().err
    assert (
        "stage_step2_lora_comfyui.safetensors: 1 layers of the transformer, 0 of the text" in said
    )
    assert "1 keys that fit neither left out" in said
    assert "our own wording" in said
    assert main(["convert", str(source)]) == 1
    assert "--out DIR" in capsys.readouterr().err


MANY = """
import sys
from stage_core.__main__ import main
rows = "".join(
    f"| {n} | medium | dolly in | Person {n % 5} walks past house {n}. | 1 |\\n"
    for n in range(1, int(sys.argv[1]) + 1)
)
open("story.md", "w").write("| shot | scale | movement | description | seconds |\\n"
                            "| --- | --- | --- | --- | --- |\\n" + rows)
main(["make", "story.md", "--out", "film.mp4", "--report", "report.json"])
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_memory_of_a_long_film_is_that_of_a_short_one(tmp_path):
    peaks = []
    for count in (8, 60):
        folder = tmp_path / str(count)
        folder.mkdir()
        subprocess.run([sys.executable, "-c", MANY, str(count)], cwd=folder, check=True)
        peaks.append(json.loads((folder / "report.json").read_text())["peak_rss_bytes"])
    assert peaks[0] < 900 * 10**6
    assert peaks[1] - peaks[0] < 100 * 10**6
