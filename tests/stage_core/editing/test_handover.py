"""Handover: files that other programs open, and lists that agree with them frame for frame."""

import io
from fractions import Fraction
from xml.etree import ElementTree

import av
import pytest
import torch

from stage_core.editing.handover import (
    FILM,
    NO_MEDIA,
    Delivery,
    edit_list,
    hand_over,
    handover_rate,
)
from stage_core.errors import StorageError
from stage_core.media import read_sound
from stage_core.story.cinematography import CUT, Transition, TransitionKind
from stage_core.story.shot_list import FrameFormat, Shot, ShotList
from stage_core.story.timeline import Clip, Sound, Timeline

opentimelineio = pytest.importorskip("opentimelineio")
pycmx = pytest.importorskip("pycmx")

NTSC_30 = Fraction(30_000, 1001)
STEM = "Zwei T\u00fcren"


def moving(num_frames, seed):
    """Smooth frames that grow brighter."""
    noise = torch.rand(1, 3, 3, 4, generator=torch.Generator().manual_seed(seed))
    base = torch.nn.functional.interpolate(noise, size=(48, 64), mode="bicubic")[0]
    frames = [(base * 100 + 40 + 4 * i).clamp(0, 255) for i in range(num_frames)]
    return torch.stack(frames).movedim(1, -1).to(torch.uint8)


def film(rate=NTSC_30, sound=None, edge=CUT):
    edge = edge if edge is not CUT else Transition(TransitionKind.DISSOLVE, 3)
    shots = (
        Shot("1", "IDA opens a door.", num_frames=8, transition=edge),
        Shot("2A", "She looks.", num_frames=9),
    )
    plan = ShotList(STEM, frame_format=FrameFormat(64, 48, rate), shots=shots)
    clips = (
        Clip("1", moving(8, 1), rate, sound, name="1_t02"),
        Clip("2A", moving(9, 2), rate),
    )
    return Timeline(rate, clips, (CUT, edge, CUT)), plan


def decoded(path):
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def names(files):
    return sorted(path.name for path in files)


@pytest.mark.parametrize(("media", "codec"), [("prores", "prores"), ("h264", "h264")])
def test_every_shot_is_a_file_with_its_whole_clip_and_timecode(tmp_path, media, codec):
    timeline, plan = film()
    files, notes = hand_over(timeline, plan, tmp_path / "handover", Delivery(STEM, media))
    assert notes == () and names(files) == names((tmp_path / "handover").iterdir())
    assert names(files)[:3] == [f"{STEM}.edl", f"{STEM}.fcpxml", f"{STEM}.otio"]
    for name, clip in (
        (f"{STEM}_1_t02.mov", timeline.clips[0]),
        (f"{STEM}_2A.mov", timeline.clips[1]),
    ):
        path = tmp_path / "handover" / name
        shown = decoded(path)
        assert len(shown) == len(clip.frames)
        for own, frame in zip(shown, clip.frames, strict=True):
            assert (torch.from_numpy(own).float() - frame.float()).abs().mean() < 4
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            assert (stream.codec_context.name, stream.average_rate) == (codec, NTSC_30)
            assert stream.metadata["timecode"] == "00:00:00;00"
            assert int(stream.codec_context.colorspace) == 1


def test_prores_is_422_hq_in_ten_bits(tmp_path):
    timeline, plan = film()
    hand_over(timeline, plan, tmp_path, Delivery("a", lists=("otio",)))
    with av.open(str(tmp_path / "a_2A.mov")) as container:
        context = container.streams.video[0].codec_context
        assert (context.profile, context.pix_fmt) == ("HQ", "yuv422p10le")


def test_lists_name_the_files_that_are_there(tmp_path):
    sound = Sound(torch.zeros(2, 12_000), 48_000)
    timeline, plan = film(sound=sound)
    files, _ = hand_over(timeline, plan, tmp_path, Delivery(STEM, "h264", sounds={"score": sound}))
    made = {path.name for path in files}
    read = opentimelineio.adapters.read_from_file(str(tmp_path / f"{STEM}.otio"))
    urls = [clip.media_reference.target_url for clip in read.find_clips()]
    named = {opentimelineio.url_utils.filepath_from_url(url) for url in urls}
    lists = {f"{STEM}.{kind}" for kind in ("otio", "edl", "fcpxml")}
    assert named == made - lists
    text = (tmp_path / f"{STEM}.edl").read_text(encoding="utf-8")
    edits = [e for event in pycmx.parse_cmx3600(io.StringIO(text)).events for e in event.edits]
    assert {edit.source_file for edit in edits} == named
    root = ElementTree.parse(tmp_path / f"{STEM}.fcpxml").getroot()
    sources = {asset.find("media-rep").get("src") for asset in root.iter("asset")}
    assert sources == {f"./{url}" for url in urls}


def test_sound_is_beside_the_pictures_and_as_long_as_them(tmp_path):
    own = Sound(torch.full((1, 44_100), 0.25), 44_100)
    score = Sound(torch.full((2, 22_422), 0.5), 48_000)
    timeline, plan = film(sound=own)
    order = Delivery("a", "h264", ("otio",), {"score": score}, score)
    hand_over(timeline, plan, tmp_path, order)
    heard, _ = read_sound(tmp_path / "a_1_t02.wav")
    assert heard.samples.shape == (1, round(8 * 48_000 / NTSC_30)) and heard.sample_rate == 48_000
    assert read_sound(tmp_path / "a_score.wav")[0].samples.shape == (2, 22_422)
    with av.open(str(tmp_path / "a_1_t02.mov")) as container:
        assert not container.streams.audio


def test_the_film_as_one_file_is_cut_where_its_shots_meet(tmp_path):
    sound = Sound(torch.zeros(1, 48_000), 48_000)
    timeline, plan = film(Fraction(25))
    files, _ = hand_over(timeline, plan, tmp_path, Delivery("a", FILM, sound=sound))
    assert names(files) == ["a.edl", "a.fcpxml", "a.mp4", "a.otio"]
    assert len(decoded(tmp_path / "a.mp4")) == timeline.num_frames == 14
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert container.streams.audio
    read = opentimelineio.adapters.read_from_file(str(tmp_path / "a.otio"))
    ranges = [clip.source_range for clip in read.find_clips()]
    assert [(r.start_time.value, r.duration.value) for r in ranges] == [(0, 6), (6, 8)]


def test_lists_alone_write_no_media(tmp_path):
    files, _ = hand_over(*film(), tmp_path, Delivery("a", NO_MEDIA, ("edl",)))
    assert names(files) == names(tmp_path.iterdir()) == ["a.edl"]


def test_a_list_that_cannot_say_the_film_does_not_stop_the_others(tmp_path):
    timeline, plan = film(Fraction(16))
    files, notes = hand_over(timeline, plan, tmp_path, Delivery("a", NO_MEDIA))
    assert names(files) == ["a.otio"]
    assert len(notes) == 2 and all("16 frames per second" in note for note in notes)
    with pytest.raises(ValueError, match="16 frames per second"):
        hand_over(timeline, plan, tmp_path, Delivery("a", NO_MEDIA, ("edl",)))


def test_a_film_at_16_is_handed_over_at_24_unless_otio_alone_is_asked_for():
    assert handover_rate(Fraction(16), ("otio", "edl")) == 24
    assert handover_rate(Fraction(16), ("otio",)) == 16
    assert handover_rate(NTSC_30, ("edl",)) == NTSC_30


def test_a_copy_of_a_shot_has_a_file_of_its_own(tmp_path):
    timeline, plan = film()
    copied = Clip("2A", timeline.clips[0].frames, NTSC_30, name="1_t02")
    timeline = Timeline(NTSC_30, (timeline.clips[0], copied), (CUT, CUT, CUT))
    text = edit_list(timeline, plan, "a")
    assert "a_1_t02.mov" in text and "a_2A_t02.mov" in text


def test_a_fade_to_white_is_said_where_it_cannot_be():
    fade = Transition(TransitionKind.FADE, 3, "white")
    timeline, plan = film(edge=fade)
    assert "COMMENT: white" in edit_list(timeline, plan, "a")


def test_progress_counts_all_frames_and_may_cancel(tmp_path):
    seen = []
    order = Delivery("a", "h264", on_frame=lambda done, total: seen.append((done, total)))
    hand_over(*film(), tmp_path, order)
    assert seen == [(i, 17) for i in range(1, 18)]

    def cancel(done, total):
        if done == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        hand_over(*film(), tmp_path / "b", Delivery("b", "h264", on_frame=cancel))
    # The first shot is whole, the second is not there, and no list names it.
    assert names((tmp_path / "b").iterdir()) == ["b_1_t02.mov"]


def test_a_full_disk_is_a_storage_error_that_leaves_no_half_file(tmp_path, full_disk):
    with full_disk(), pytest.raises(StorageError, match=r"a_1_t02\.mov"):
        hand_over(*film(), tmp_path, Delivery("a"))
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file"):
        hand_over(*film(), tmp_path / "file", Delivery("a"))
