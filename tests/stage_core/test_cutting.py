"""The command line's film: sound, handover, and a cut whose places are known before it is made."""

import io
import math
from fractions import Fraction

import av
import pytest
import torch

from stage_core.__main__ import main
from stage_core.backends.load import load_shot_model, load_storyboard_model
from stage_core.cutting import cut, planned
from stage_core.editing.finish import Finish
from stage_core.media import write_wave
from stage_core.pipeline import fill
from stage_core.story.cinematography import CUT, Transition, TransitionKind
from stage_core.story.shot_list import FrameFormat, Shot, ShotList
from stage_core.story.storyboard import Storyboard
from stage_core.story.timeline import Sound

opentimelineio = pytest.importorskip("opentimelineio")
pycmx = pytest.importorskip("pycmx")

STORY = """\
| shot | scale | movement | description | seconds | transition |
| --- | --- | --- | --- | --- | --- |
| 1 | wide | static | An empty kitchen at night. | 1.5 | dissolve |
| 2 | close-up | dolly in | MARA lifts a key. | 1.5 | |
"""
FILL_IN = load_storyboard_model("sketch"), load_shot_model("animatic")


@pytest.fixture
def make(tmp_path, monkeypatch):
    """Runs `stage-film make` in an empty folder; gives its exit status."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "story.md").write_text(STORY, encoding="utf-8")

    def run(*options):
        size = ("--size", "64x48", "--rate", "16", "--title", "Key")
        models = ("--storyboard-model", "tiny", "--shot-model", "tiny")
        return main(["make", "story.md", "--out", "film.mp4", *size, *models, *options])

    return run


class Counted:
    """The sketch, which tells whom it has drawn."""

    def __init__(self):
        self.drawn = []

    def draw(self, brief, sampling, on_step):
        self.drawn.append(brief.shot.id)
        return FILL_IN[0].draw(brief, sampling, on_step)


def test_fill_ins_are_sketched_when_they_play_and_one_goes_on_from_the_other():
    shots = (
        Shot("1", "A kitchen.", num_frames=8),
        Shot("2", "MARA waits.", num_frames=8, continues=True),
        Shot("3", "A door.", num_frames=8),
    )
    plan, sketch = (
        ShotList("x", frame_format=FrameFormat(64, 48, Fraction(12)), shots=shots),
        Counted(),
    )
    clips = fill(Storyboard(plan), sketch, FILL_IN[1], marked=False).clips
    assert sketch.drawn == []
    first, second = (list(clips[shot_id].frames) for shot_id in ("1", "2"))
    assert sketch.drawn == ["1", "2"]
    assert torch.equal(first[-1], second[0]) and not torch.equal(second[0], second[-1])
    assert torch.equal(torch.stack(list(clips["2"].frames)), torch.stack(second))


def tone(path, seconds, sample_rate=44_100):
    wave = torch.sin(torch.arange(round(seconds * sample_rate)) / sample_rate * 440 * 2 * math.pi)
    write_wave(path, Sound((0.5 * wave)[None].contiguous(), sample_rate))


def test_score_and_dialogue_are_in_the_film(make, tmp_path, capsys):
    tone(tmp_path / "score.wav", 30)
    tone(tmp_path / "line.wav", 0.2, 32_000)
    assert make("--score", "score.wav", "--dialogue", "2+0.1s=line.wav") == 0
    with av.open("film.mp4") as container:
        assert float(
            container.streams.audio[0].duration * container.streams.audio[0].time_base
        ) == (pytest.approx(float(container.duration / av.time_base), abs=0.05))
    assert "score.wav is 28.00 s longer than the film" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--score", "missing.wav"), "missing.wav"),
        (("--dialogue", "9=line.wav"), "'9' is no time such as 0:12 and no shot"),
    ],
)
def test_a_wrong_sound_is_told_before_anything_is_drawn(make, tmp_path, capsys, options, says):
    tone(tmp_path / "line.wav", 0.2)
    assert make(*options) == 1
    text = capsys.readouterr().err
    assert says in text and "drawn" not in text


def test_a_handover_has_lists_that_agree_frame_for_frame(make, tmp_path):
    tone(tmp_path / "score.wav", 1)
    assert make("--handover", "out", "--media", "h264", "--score", "score.wav") == 0
    folder = tmp_path / "out"
    names = {path.name for path in folder.iterdir()}
    lists = {f"Key.{kind}" for kind in ("otio", "edl", "fcpxml")}
    assert names == lists | {"Key_1_t01.mov", "Key_2_t01.mov", "Key_score.wav"}
    # Shots of 24 frames at 16 are 36 at 24.
    read = opentimelineio.adapters.read_from_file(str(folder / "Key.otio"))
    lengths = [
        clip.available_range().duration.value for clip in read.video_tracks()[0].find_clips()
    ]
    assert lengths == [36, 36] and read.duration().rate == 24
    for name in ("Key_1_t01.mov", "Key_2_t01.mov"):
        with av.open(str(folder / name)) as container:
            assert len(list(container.decode(video=0))) == 36
    text = (folder / "Key.edl").read_text(encoding="utf-8")
    last = list(pycmx.parse_cmx3600(io.StringIO(text)).events)[1].edits[-1]
    record_out = opentimelineio.opentime.from_timecode(last.record_out, 24)
    assert record_out - read.global_start_time == read.duration()


def test_otio_alone_keeps_the_rate_of_the_film(make, tmp_path):
    assert make("--handover", "out", "--media", "none", "--lists", "otio") == 0
    (path,) = (tmp_path / "out").iterdir()
    assert opentimelineio.adapters.read_from_file(str(path)).duration().rate == 16


@pytest.mark.parametrize("rate", [None, Fraction(24), Fraction(30_000, 1001)])
def test_what_is_planned_is_what_is_cut(rate):
    dissolve = Transition(TransitionKind.DISSOLVE, 5)
    shots = (Shot("1", num_frames=9, transition=dissolve), Shot("2A", num_frames=12))
    board = Storyboard(ShotList("Key", frame_format=FrameFormat(32, 16, Fraction(16)), shots=shots))
    made, plan = cut(board, Finish(), FILL_IN, True, rate)
    empty, same_plan = planned(board, rate)
    assert plan == same_plan and made.transitions == empty.transitions
    assert made.first_frames() == empty.first_frames() and made.num_frames == empty.num_frames
    assert made.rate == (rate or 16) and made.transitions[0] == CUT
