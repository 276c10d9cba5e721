"""Sound, models for frames, and handover on the nodes, with the host's real classes."""

import io
from contextlib import nullcontext
from fractions import Fraction

import av
import pytest
import torch

from .test_nodes import SCRIPT, STORY

pycmx = pytest.importorskip("pycmx")

pytestmark = pytest.mark.comfy


@pytest.fixture
def board(run):
    plan = run("Script", text=STORY, **SCRIPT)[0]
    return run("STEP2Storyboard", storyboard=plan, shots="", redraw="what I changed")[0]


def audio(seconds, sample_rate=44_100, level=0.5, batch=1, channels=2):
    wave = torch.sin(torch.arange(int(seconds * sample_rate)) / sample_rate * 2765) * level
    return {"waveform": wave.expand(batch, channels, -1).clone(), "sample_rate": sample_rate}


def heard(video):
    """The samples of a video at 48 kHz, [C, S]; None where it is silent."""
    with av.open(str(video.get_stream_source())) as container:
        if not container.streams.audio:
            return None
        pieces = [frame.to_ndarray() for frame in container.decode(audio=0)]
    return torch.cat([torch.from_numpy(piece) for piece in pieces], dim=1)


def test_a_film_without_sound_has_no_sound_track(run, board):
    assert heard(run("ShotStitcher", storyboard=board)[0]) is None


def test_dialogue_begins_with_its_shot_and_the_film_keeps_its_length(run, board, said):
    video, _ = run("ShotStitcher", storyboard=board, dialogue=audio(9), dialogue_at="2")
    samples = heard(video)
    # Three shots of a quarter of a second; AAC comes in packets of 1024 samples.
    assert 36_000 <= samples.shape[1] <= 36_000 + 2048
    assert video.get_duration() == pytest.approx(0.75, abs=0.05)
    assert samples[:, :11_000].abs().max() < 0.01 < 0.3 < samples[:, 13_000:20_000].abs().max()
    assert "dialogue at 2 is 8.50 s longer than the film" in said[-1]


def test_every_sound_of_a_batch_has_its_place(run, board):
    lines = audio(0.1, batch=2)
    places = "1, 3+0.05s"
    samples = heard(run("ShotStitcher", storyboard=board, dialogue=lines, dialogue_at=places)[0])
    levels = [samples[:, round(s * 48_000) :][:, :2400].abs().max() for s in (0.03, 0.3, 0.57)]
    assert levels[0] > 0.3 and levels[1] < 0.01 and levels[2] > 0.3
    with pytest.raises(ValueError, match="1 places for 2 sounds of dialogue"):
        run("ShotStitcher", storyboard=board, dialogue=lines, dialogue_at="1")


def test_sounds_are_placed_one_after_the_other(run, board):
    (first,) = run("PlaceSound", storyboard=board, audio=audio(0.1, channels=1), at="3")
    placed = {"audio": audio(0.1), "at": "0:00.05", "placed_before": first}
    (both,) = run("PlaceSound", storyboard=board, **placed)
    assert both["waveform"].shape == (1, 2, 36_000) and both["sample_rate"] == 48_000
    levels = [
        both["waveform"][..., round(s * 48_000) :][..., :2400].abs().max()
        for s in (0.07, 0.3, 0.52)
    ]
    assert levels[0] > 0.3 and levels[1] == 0 and levels[2] > 0.3
    samples = heard(run("ShotStitcher", storyboard=board, dialogue=both)[0])
    assert samples[:, 25_000:28_000].abs().max() > 0.3


def test_bad_samples_are_mended_and_said(run, board, said):
    score = audio(0.5, channels=6, level=1.5)
    score["waveform"][0, 0, 100:200] = float("nan")
    video, _ = run("ShotStitcher", storyboard=board, score=score)
    assert heard(video).isfinite().all()
    assert "100 samples that are no number" in said[-1] and "above full level" in said[-1]


def test_an_unknown_place_is_answered_with_the_shots_there_are(run, board):
    with pytest.raises(ValueError, match=r"'9'.*1, 2, 3"):
        run("ShotStitcher", storyboard=board, score=audio(1), score_at="9")


def test_the_edit_list_of_a_film_at_16_has_its_cuts_at_24(run, board):
    _, text = run("ShotStitcher", storyboard=board)
    events = pycmx.parse_cmx3600(io.StringIO(text)).events
    places = [edit.record_in for event in events for edit in event.edits]
    # Four frames at 16 are six at 24.
    assert places == ["01:00:00:00", "01:00:00:06", "01:00:00:12"]


@pytest.mark.parametrize(
    ("media", "count"),
    [("H.264, a file per shot", 3), ("the film as one file", 1), ("lists only", 0)],
)
def test_handover_names_every_file_it_has_written(run, board, output, media, count):
    inputs = {"media": media, "lists": "OTIO, EDL and FCPXML", "score": audio(1)}
    (files,) = run("Handover", storyboard=board, **inputs)
    names = files.splitlines()
    assert all((output / name).is_file() for name in names)
    folder = output / "stage" / "Two Doors" / "handover"
    assert len(names) == len(list(folder.iterdir())) == 3 + count + (count > 0)
    for path in folder.glob("*.m*"):
        with av.open(str(path)) as container:
            assert container.streams.video[0].average_rate == 24


def test_a_link_out_of_the_films_folder_is_refused(run, board, output, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    link = output / "stage" / "Two Doors" / "handover"
    link.symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    with pytest.raises(OSError, match="leads out of"):
        run("Handover", storyboard=board, media="lists only", lists="OTIO")
    assert not list((tmp_path / "elsewhere").iterdir())


def frames_of(num_frames, height=64, width=96):
    generator = torch.Generator().manual_seed(3)
    size = {"size": (height, width), "mode": "bicubic"}
    noise = torch.rand(num_frames, 3, 4, 5, generator=generator)
    made = torch.nn.functional.interpolate(noise, **size).clamp(0, 1).mul(255)
    return made.movedim(1, -1).round().to(torch.uint8)


@pytest.fixture(params=["ifnet", "film_net"])
def interpolation(pack, request):
    """A small random network of one of the host's own classes as INTERP_MODEL."""
    models = pytest.importorskip(f"comfy_extras.frame_interpolation_models.{request.param}")
    from comfy.model_patcher import CoreModelPatcher

    torch.manual_seed(0)
    if request.param == "ifnet":
        network = models.IFNet(channels=(8, 8, 8, 8, 8)).eval()
    else:
        network = models.FILMNet(filters=4, flow_filters=(4, 4, 4, 4)).eval()
    for weight in network.parameters():
        # The host's layers begin uninitialised.
        torch.nn.init.normal_(weight, std=0.05 if weight.ndim > 1 else 0.0)
    cpu = torch.device("cpu")
    return CoreModelPatcher(network, load_device=cpu, offload_device=cpu)


def test_16_into_24_is_every_second_frame_of_the_hosts_times_three(pack, interpolation):
    from comfy_extras.nodes_frame_interpolation import FrameInterpolate

    core = pack.stage_core
    frames = frames_of(5)
    (tripled,) = FrameInterpolate.execute(interpolation, frames.float() / 255, 3).result
    between = pack.nodes.cutting.Interpolator(interpolation)
    film = core.story.shot_list.FrameFormat(96, 64, Fraction(24))
    clip = core.story.timeline.Clip("1", frames, Fraction(16))
    shown = torch.stack(list(core.editing.conform.conform(clip, 7, film, between).frames))
    assert (shown[1] != shown[0]).any()
    # A level is the rounding to 8 bits.
    assert (shown.float() - tripled[::2] * 255).abs().max() <= 0.51


def test_an_upscale_model_does_what_the_hosts_own_node_does(pack):
    spandrel = pytest.importorskip("spandrel")
    from comfy.model_patcher import CoreModelPatcher
    from comfy_extras.nodes_upscale_model import ImageUpscaleWithModel
    from spandrel.architectures.Compact.__arch.SRVGG import SRVGGNetCompact

    torch.manual_seed(0)
    network = SRVGGNetCompact(num_feat=8, num_conv=1, upscale=2)
    model = spandrel.ModelLoader().load_from_state_dict(network.state_dict()).eval()
    cpu = torch.device("cpu")
    model.patcher = CoreModelPatcher(model.model, load_device=cpu, offload_device=cpu)
    (frame,) = frames_of(1)
    (expected,) = ImageUpscaleWithModel.execute(model, frame[None].float() / 255).result
    made = pack.nodes.cutting.upscaler(model)(frame)
    assert made.shape == (128, 192, 3)
    assert (made.float() - expected[0] * 255).abs().max() <= 0.51
    # Hosts before 0.33 give the model without a patcher.
    del model.patcher
    assert torch.equal(pack.nodes.cutting.upscaler(model)(frame), made)


@pytest.mark.parametrize("made", ["ShotStitcher", "Handover"])
@pytest.mark.parametrize("stopped", [False, True])
def test_an_upscale_model_of_an_old_host_is_sent_back_when_the_film_is_done_or_stopped(
    run, board, pack, monkeypatch, made, stopped
):
    class Old:
        scale = 2.0

        def __init__(self):
            self.places = []

        def to(self, place):
            self.places.append(str(place))

        def __call__(self, image):
            if stopped:
                raise KeyboardInterrupt
            return torch.nn.functional.interpolate(image, scale_factor=2)

    widgets = {"takes": 1, "film": "what changed", "film_at_most": -1}
    filmed, _ = run("DualEncoderShotSampler", storyboard=board, shots="2", **widgets)
    model, enhance = Old(), pack.nodes.native.enhance
    monkeypatch.setattr(enhance, "_load_upscaler", lambda model, frame: model.to("cuda"))
    with pytest.raises(KeyboardInterrupt) if stopped else nullcontext():
        run(made, storyboard=filmed, upscale_model=model)
    *loaded, last = model.places
    assert set(loaded) == {"cuda"} and last == "cpu"


# FILM halves a picture six times, and this film is 48 pixels high.
@pytest.mark.parametrize("interpolation", ["ifnet"], indirect=True)
def test_a_filmed_shot_goes_through_both_models_and_a_filled_one_through_none(
    run, board, interpolation, said
):
    core_board, _ = run(
        "DualEncoderShotSampler",
        storyboard=board,
        shots="2",
        takes=1,
        film="what changed",
        film_at_most=-1,
    )
    video, _ = run(
        "ShotStitcher", storyboard=core_board, interp_model=interpolation, match_colours=True
    )
    assert video.get_frame_count() == 12
    assert "shot 2: colours" in said[-1] and "shot 1: colours" not in said[-1]
