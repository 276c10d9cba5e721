"""The command line, as a newcomer uses it: from script to film, and again after a change."""

import json
import shutil
import subprocess
import sys
from fractions import Fraction

import pytest
import torch

from stage_core import media
from stage_core.__main__ import main
from stage_core.backends.load import load_storyboard_model
from stage_core.backends.protocol import Grid
from stage_core.backends.qwen_networks import QwenSource
from stage_core.backends.tiny import TinyStoryboard
from stage_core.command.speaking import Progress, watching
from stage_core.editing.conform import conform
from stage_core.story.shot_list import FrameFormat, Shot
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


def shooting(tmp_path):
    """Makes the film of a story text in a folder; gives its report."""

    def run(text=STORY, *options):
        story = tmp_path / "story.md"
        story.write_text(text, encoding="utf-8")
        arguments = ["make", str(story), "--out", str(tmp_path / "film.mp4")]
        report = tmp_path / "report.json"
        arguments += ["--size", "128x72", "--title", "Key", "--report", str(report)]
        # The tiny models are quick; what is made again does not depend on who makes it.
        arguments += options if "sketch" in options else [*TINY, *options]
        assert main(arguments) == 0
        return json.loads(report.read_text(encoding="utf-8"))

    return run


@pytest.fixture
def shoot(tmp_path):
    return shooting(tmp_path)


@pytest.fixture(scope="module")
def made_once(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    shooting(folder)()
    return folder


@pytest.fixture
def shoot_again(made_once, tmp_path):
    """As `shoot`, where the film of STORY has been made before."""
    shutil.copytree(made_once, tmp_path, dirs_exist_ok=True)
    return shooting(tmp_path)


def made(report):
    return [[shot["id"] for shot in report["shots"] if shot[verb]] for verb in ("drawn", "filmed")]


def test_a_story_becomes_a_film_of_the_planned_length(shoot, tmp_path):
    report = shoot()
    assert report["film"] == {"frames": 36, "rate": "24", "width": 128, "height": 72}
    assert [shot["first_frame"] for shot in report["shots"]] == [0, 12, 24]
    assert made(report) == [["1", "2", "3"], ["1", "2", "3"]]
    assert report["peak_rss_bytes"] > 2**20
    frames = media.VideoFrames(tmp_path / "film.mp4", 36, 128, 72)
    assert len(list(frames)) == 36


def test_a_second_run_makes_nothing_and_says_so(shoot_again, capsys):
    assert made(shoot_again()) == [[], []]
    said = capsys.readouterr().err
    assert "drawn 0 of 3 shots, 3 kept" in said
    assert "filmed 0 of 3 shots, 3 kept" in said


def test_a_changed_shot_is_made_with_what_continues_from_it(shoot_again, capsys):
    changed = STORY.replace("An empty kitchen", "A forest")
    assert made(shoot_again(changed)) == [["1"], ["1"]]
    said = "2, 3: drawn to match earlier frames that have changed since; --redraw remembering"
    assert said in capsys.readouterr().err
    changed = STORY.replace("lifts a key", "drops a knife")
    assert made(shoot_again(changed)) == [["2", "3"], ["2", "3"]]


def test_another_size_rate_or_transition_makes_nothing(shoot_again):
    assert made(shoot_again(STORY, "--size", "160x90")) == [[], []]
    assert made(shoot_again(STORY, "--rate", "30")) == [[], []]
    dissolving = STORY.replace("continues |\n| ---", "continues | transition |\n| --- | ---")
    dissolving = dissolving.replace("0.5 | |\n", "0.5 | | dissolve 4 frames |\n")
    dissolving = dissolving.replace("yes |", "yes | cut |")
    report = shoot_again(dissolving)
    assert made(report) == [[], []]
    assert report["film"]["frames"] == 36 - 2 * 4


def test_a_film_under_another_title_is_not_made_again(shoot_again, tmp_path, capsys):
    longer = STORY.replace("| 2 |", "| |").replace("| 3 |", "| |").replace("| 1 |", "| |")
    longer = longer.replace("| | close-up", "| | wide | static | A clock. | 0.5 | |\n| | close-up")
    assert made(shoot_again(longer)) == [["1A"], ["1A"]]
    capsys.readouterr()
    assert made(shoot_again(longer, "--title", "Lock")) == [[], []]
    said = capsys.readouterr().err
    assert "drawn 0 of 4 shots, 4 kept (4 from the film Key)" in said
    assert "filmed 0 of 4 shots, 4 kept (4 from the film Key)" in said
    own = ("--title", "Door", "--project", str(tmp_path / "own"), "--shots", "1")
    assert made(shoot_again(longer, *own)) == [["1"], ["1"]]


def test_shots_that_are_not_asked_for_play_as_fill_ins(shoot):
    report = shoot(STORY, "--shots", "2")
    assert made(report) == [["2"], ["2"]]
    assert report["film"]["frames"] == 36


def test_inserting_first_makes_one_shot_and_deleting_or_reordering_none(shoot):
    plain = "The sea at dawn.\n\nA gull lands.\n\nA boat leaves the harbour.\n"
    small = ("--rate", "8", "--size", "64x36")
    shoot(plain, *small)
    assert made(shoot("Fog over the water.\n\n" + plain, *small))[0] == ["A1"]
    moved = "A boat leaves the harbour.\n\nThe sea at dawn.\n\nA gull lands.\n"
    assert made(shoot(moved, *small)) == [[], []]
    fewer = "The sea at dawn.\n\nA boat leaves the harbour.\n"
    assert made(shoot(fewer, *small)) == [[], []]


@pytest.mark.usefixtures("small_sketches")
def test_the_frame_at_a_cut_is_the_drawn_frame(shoot, tmp_path):
    report = shoot(STORY, "--storyboard-model", "sketch")
    film = list(media.VideoFrames(tmp_path / "film.mp4", 36, 128, 72))
    for shot in report["shots"]:
        last = shot["first_frame"] + shot["frames"] - 1
        for half, place in (("start", shot["first_frame"]), ("end", last)):
            drawn = media.read_picture(tmp_path / "Key" / f"{shot['id']}_d01_{half}.png")
            still = conform(Clip("1", drawn[None], Fraction(24)), 1, FrameFormat(128, 72))
            (drawn,) = still.frames
            assert (film[place].float() - drawn.float()).abs().mean() <= 6


@pytest.mark.usefixtures("small_sketches")
def test_a_board_is_a_folder_of_frames_a_sheet_and_a_plan_that_can_be_filmed(tmp_path):
    story = tmp_path / "story.md"
    story.write_text(STORY, encoding="utf-8")
    board = tmp_path / "board"
    assert main(["board", str(story), "--out", str(board)]) == 0
    names = {path.name for path in board.iterdir()}
    frames = {f"{shot}_{half}.png" for shot in (1, 2, 3) for half in ("start", "end")}
    files = {"sheet.png", "sheet.pdf", "storyboard.json", "storyboard.stage.zip"}
    assert names == frames | files
    assert main(["board", str(board / "storyboard.json"), "--out", str(board)]) == 0


@pytest.mark.usefixtures("small_sketches")
def test_the_sheet_of_a_board_is_a_story(tmp_path, capsys):
    assert main(["board", "the_ring", "--out", str(tmp_path / "a")]) == 0
    total = len(list((tmp_path / "a").glob("*_start.png")))
    assert main(["board", str(tmp_path / "a" / "sheet.png"), "--out", str(tmp_path / "b")]) == 0
    assert f"drawn 0 of {total} shots, {total} kept" in capsys.readouterr().err
    same = (tmp_path / name / "storyboard.json" for name in "ab")
    assert next(same).read_bytes() == next(same).read_bytes()


@pytest.mark.usefixtures("small_sketches")
def test_a_sample_without_a_title_is_titled_by_its_name(tmp_path, capsys):
    assert main(["board", "first_snow", "--out", str(tmp_path / "a")]) == 0
    assert (tmp_path / "First Snow" / "board.json").exists()


@pytest.mark.usefixtures("small_sketches")
def test_what_a_model_does_not_read_is_said_once_and_only_if_asked_for(tmp_path, capsys):
    story = tmp_path / "story.md"
    story.write_text("The sea at dawn.\n", encoding="utf-8")
    board = ["board", str(story), "--out", str(tmp_path / "a")]
    assert main(board) == 0
    assert "not read" not in capsys.readouterr().err
    assert main([*board, "--look", "ink", "--memory", "paper"]) == 0
    said = capsys.readouterr().err
    assert said.count("--look is not read by sketch, whose work it does not change") == 1
    assert said.count("--memory is not read by sketch") == 1
    assert main([*board, *TINY[:2], "--look", "ink", "--memory", "paper"]) == 0
    assert "not read" not in capsys.readouterr().err


def test_a_saved_storyboard_is_a_story_and_draws_nothing_on_another_disk(tmp_path, capsys):
    (tmp_path / "story.md").write_text(STORY, encoding="utf-8")
    tiny = ["--storyboard-model", "tiny"]
    assert main(["board", str(tmp_path / "story.md"), "--out", str(tmp_path / "a"), *tiny]) == 0
    saved = tmp_path / "a" / "storyboard.stage.zip"
    folder = ["--project", str(tmp_path / "other disk"), *tiny]
    assert main(["board", str(saved), "--out", str(tmp_path / "b"), *folder]) == 0
    assert "drawn 0 of 3 shots, 3 kept" in capsys.readouterr().err
    same = (tmp_path / name / "2_end.png" for name in "ab")
    assert next(same).read_bytes() == next(same).read_bytes()


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


def test_an_unknown_shot_model_is_one_sentence_that_names_the_choices(tmp_path, capsys):
    out = tmp_path / "film.mp4"
    assert main(["make", "the_ring", "--out", str(out), "--shot-model", "sora"]) == 1
    said = capsys.readouterr().err
    assert "animatic, tiny" in said
    assert "folder of a Wan model" in said
    assert not out.exists()


def test_what_is_measured_is_said_now_and_then_where_nobody_watches(capsys):
    say_now = watching()
    for number in range(3):
        say_now(f"shot {number}")
    assert capsys.readouterr().err == "  shot 0\n"


def test_a_shot_that_is_filmed_in_phases_is_counted_once(capsys):
    progress = Progress("filmed", ("1", "2"), {})
    for step in (1, 2):
        for shot in (Shot("1"), Shot("2")):
            progress.on_step(shot, step, 2)
    progress.close(kept=3)
    said = capsys.readouterr().err
    assert said.count("filmed 1 (1 to go") == said.count("filmed 2 (0 to go") == 1
    assert "filmed 2 of 5 shots, 3 kept" in said


def test_settings_of_drawing_draw_again_and_film_only_what_has_changed(shoot_again):
    drawn, filmed = made(shoot_again(STORY, "--memory", "paper"))
    assert drawn == ["1", "2", "3"]
    assert "1" not in filmed  # Drawn without memory, so its pictures are the same.
    assert made(shoot_again(STORY, "--memory", "paper", "--steps", "4"))[1] == []
    assert made(shoot_again(STORY, "--memory", "paper", "--guidance", "1")) == [["1", "2", "3"]] * 2


def test_drawing_settings_out_of_range_are_one_sentence(tmp_path, capsys):
    arguments = ["board", "the_ring", "--out", str(tmp_path / "board"), *TINY[:2], "--steps", "1"]
    assert main(arguments) == 1
    assert "1 sampler steps" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "status", "says"),
    [
        (MemoryError("shot 2: out of memory on cuda"), 1, "shot 2: out of memory on cuda"),
        (ValueError("weights.safetensors is cut short"), 1, "weights.safetensors is cut short"),
        (KeyboardInterrupt(), 130, "what was finished is kept"),
    ],
)
def test_what_stops_a_shot_leaves_the_pairs_before_it_and_one_sentence(
    tmp_path, capsys, monkeypatch, error, status, says
):
    story = tmp_path / "story.md"
    story.write_text(STORY, encoding="utf-8")
    arguments = ["board", str(story), "--out", str(tmp_path / "board"), "--title", "Key", *TINY[:2]]
    draw = TinyStoryboard.draw

    def stops(model, brief, *more):
        if brief.shot.id == "2":
            raise error
        return draw(model, brief, *more)

    with monkeypatch.context() as broken:
        broken.setattr(TinyStoryboard, "draw", stops)
        assert main(arguments) == status
    said = capsys.readouterr().err.splitlines()[-1]
    assert says in said
    assert len(list((tmp_path / "Key").glob("1_d01_*.png"))) == 2
    assert main(arguments) == 0
    assert "drawn 2 of 3 shots, 1 kept" in capsys.readouterr().err


@needs_vectors
def test_a_folder_of_weights_draws_a_board_and_says_where(tmp_path, capsys, monkeypatch):
    pytest.importorskip("diffusers")

    made = []

    def small(*arguments):
        made.append(load_storyboard_model(*arguments))
        made[-1].grid = Grid(area=64 * 48, multiple=16)
        return made[-1]

    monkeypatch.setattr("stage_core.command.shooting.load_storyboard_model", small)
    story = tmp_path / "story.md"
    # One shot: frames of memory are read at a megapixel, which takes its time.
    story.write_text("The sea at dawn.\n", encoding="utf-8")
    folder = released_folder(tmp_path / "step2", lora=True)
    arguments = ["board", str(story), "--out", str(tmp_path / "board")]
    arguments += ["--storyboard-model", str(folder), "--steps", "2"]
    arguments += ["--offload", "streams", "--vram", "2", "--eight-bits"]
    assert main(arguments) == 0
    blocks = made[0]._model.networks.transformer.transformer_blocks.state_dict()
    assert blocks["0.attn.to_q.weight"].dtype == torch.float8_e4m3fn
    said = capsys.readouterr().err
    assert f"weights in {folder}, on c" in said
    assert "transformer: streams, 2 of 2 blocks stay on c" in said and "predicted peak" in said
    assert "drawn 1 of 1 shot" in said
    monkeypatch.setattr(QwenSource, "load", None)
    assert main(arguments) == 0
    assert "drawn 0 of 1 shot, 1 kept" in capsys.readouterr().err


@pytest.mark.parametrize("vram", ["0", "-1", "much"])
def test_vram_is_a_number_of_gigabytes(capsys, vram):
    with pytest.raises(SystemExit):
        main(["board", "the_ring", "--out", "x", f"--vram={vram}"])
    assert f"{vram!r} is no VRAM; use gigabytes, such as 8" in capsys.readouterr().err


@pytest.mark.parametrize("package", ["diffusers", "transformers"])
def test_a_missing_library_is_one_sentence_that_says_what_to_install(
    tmp_path, capsys, monkeypatch, package
):
    monkeypatch.setitem(sys.modules, package, None)
    (tmp_path / "weights" / "unet").mkdir(parents=True)
    arguments = ["board", "the_ring", "--out", str(tmp_path / "board")]
    assert main([*arguments, "--storyboard-model", str(tmp_path / "weights")]) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert f"needs {package}; install it with" in said
    assert said.endswith(f"-m pip install {package}")


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
