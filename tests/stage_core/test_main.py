"""The command line, as a newcomer uses it: from script to film, and again after a change."""

import json
import subprocess
import sys
from fractions import Fraction

import pytest

from stage_core import media
from stage_core.__main__ import main
from stage_core.editing.conform import conform
from stage_core.story.shot_list import FrameFormat
from stage_core.story.timeline import Clip

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
