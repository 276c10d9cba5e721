"""The film file: right colours, right length, whole or not at all."""

import json
import math
from fractions import Fraction

import av
import numpy as np
import pytest
import torch

from stage_core.editing.export import ExportOptions, export
from stage_core.errors import StorageError
from stage_core.media import sound_of
from stage_core.story.timeline import Sound

COLOURS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (200, 30, 90), (128, 128, 128)]


def chart(height=96, width=192):
    """Six upright bars of saturated colours."""
    bars = torch.tensor(COLOURS, dtype=torch.uint8).repeat_interleave(width // 6, dim=0)
    return bars.expand(height, width, 3)


def moving(num_frames, height=120, width=160):
    """A smooth pattern that moves by two pixels a frame."""
    y, x, c = torch.arange(height)[:, None, None], torch.arange(width)[:, None], torch.arange(3)
    for index in range(num_frames):
        wave = torch.sin((x + 2 * index) / 15 + c) + torch.cos(y / 21 - c)
        yield (127.5 + 60 * wave).to(torch.uint8)


def decoded(path):
    with av.open(str(path)) as container:
        return [torch.from_numpy(f.to_ndarray(format="rgb24")) for f in container.decode(video=0)]


def mean_error(first, second):
    return float((first.float() - second.float()).abs().mean())


def decoded_sound(path):
    with av.open(str(path)) as container:
        pieces = [frame.to_ndarray() for frame in container.decode(audio=0)]
    return np.concatenate(pieces, axis=1)


def test_colours_are_converted_by_bt709_in_limited_range(tmp_path):
    export([chart()] * 2, tmp_path / "a.mp4", Fraction(24), 2)
    with av.open(str(tmp_path / "a.mp4")) as container:
        planes = next(container.decode(video=0)).to_ndarray(format="yuv420p")
    for index, (red, green, blue) in enumerate(COLOURS):
        # ITU-R BT.709-6, items 3.2 to 3.5: luma, then 219 steps above 16.
        luma = 0.2126 * red + 0.7152 * green + 0.0722 * blue
        assert planes[48, 32 * index + 16] == pytest.approx(16 + luma * 219 / 255, abs=2)
    blue_difference = planes[96:120].reshape(48, 96)
    # The green and the blue bar: 224 steps around 128.
    assert blue_difference[24, 16 + 8] == pytest.approx(128 - 0.3854 * 224, abs=2)
    assert blue_difference[24, 32 + 8] == pytest.approx(128 + 0.5 * 224, abs=2)


def test_file_says_what_its_colours_are_and_starts_with_its_index(tmp_path):
    export(moving(3), tmp_path / "a.mp4", Fraction(24000, 1001), 3)
    with av.open(str(tmp_path / "a.mp4")) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        # 1 is BT.709 in all three tables of ITU-T H.273; range 1 is FFmpeg's limited range.
        tags = context.colorspace, context.color_primaries, context.color_trc, context.color_range
        assert [int(tag) for tag in tags] == [1, 1, 1, 1]
        assert (context.name, context.pix_fmt) == ("h264", "yuv420p")
        assert stream.average_rate == Fraction(24000, 1001)
    content = (tmp_path / "a.mp4").read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")


def test_every_frame_is_there_and_close_to_what_was_given(tmp_path):
    given = list(moving(30))
    export(iter(given), tmp_path / "a.mp4", Fraction(24), 30)
    shown = decoded(tmp_path / "a.mp4")
    assert len(shown) == 30
    for index in range(1, 29):
        errors = [mean_error(shown[index], given[index + step]) for step in (-1, 0, 1)]
        assert errors[1] == min(errors)
        # What the film may lose anywhere; PyAV before 17 loses half of it in reading BT.709.
        assert errors[1] <= 6


def test_odd_sizes_are_made_even_by_repeating_the_edge(tmp_path):
    export(moving(2, 53, 97), tmp_path / "a.mp4", Fraction(12), 2)
    first = decoded(tmp_path / "a.mp4")[0]
    assert first.shape == (54, 98, 3)
    assert mean_error(first[-1], first[-2]) < 3
    assert mean_error(first[:, -1], first[:, -2]) < 3


@pytest.mark.parametrize("sample_rate", [22050, 48000])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("seconds", [0.3, 2.0])
def test_sound_is_cut_or_filled_to_the_length_of_the_film(tmp_path, sample_rate, channels, seconds):
    wave = torch.sin(torch.arange(int(seconds * sample_rate)) * (2 * math.pi * 440 / sample_rate))
    sound = Sound(0.5 * wave.expand(channels, -1).contiguous(), sample_rate)
    export(moving(24, 16, 16), tmp_path / "a.mp4", Fraction(24), 24, ExportOptions(sound))
    heard = decoded_sound(tmp_path / "a.mp4")
    assert heard.shape[0] == channels
    # AAC comes in packets of 1024 samples.
    assert 48_000 <= heard.shape[1] <= 48_000 + 2048
    assert np.abs(heard[:, 5000:12000]).max() == pytest.approx(0.5, abs=0.1)
    assert (np.abs(heard[:, 20_000:40_000]).max() > 0.3) == (seconds > 1)


def test_bad_samples_are_mended_and_said(tmp_path):
    samples = torch.full((1, 48_000), 3.0)
    samples[0, :24_000] = float("nan")
    sound, notes = sound_of(samples, 48_000, "score")
    export(moving(24, 16, 16), tmp_path / "a.mp4", Fraction(24), 24, ExportOptions(sound))
    heard = decoded_sound(tmp_path / "a.mp4")
    assert np.isfinite(heard).all()
    assert np.abs(heard[:, 4000:20_000]).max() < 0.1
    assert "24000 samples" in "".join(notes)


def test_metadata_comes_back_under_its_own_names(tmp_path):
    metadata = {"prompt": json.dumps({"1": "\u00e9"}), "workflow": '{"nodes": []}'}
    options = ExportOptions(metadata=metadata)
    export(moving(2, 16, 16), tmp_path / "a.mp4", Fraction(24), 2, options)
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert {key: container.metadata[key] for key in metadata} == metadata


def test_progress_counts_every_frame_and_may_cancel(tmp_path):
    seen = []
    options = ExportOptions(on_frame=lambda done, total: seen.append((done, total)))
    export(moving(3, 16, 16), tmp_path / "a.mp4", Fraction(24), 3, options)
    assert seen == [(1, 3), (2, 3), (3, 3)]

    def cancel(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(
            moving(3, 16, 16), tmp_path / "b.mp4", Fraction(24), 3, ExportOptions(on_frame=cancel)
        )
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


@pytest.mark.parametrize("planned", [2, 4])
def test_another_length_than_planned_is_refused_and_leaves_the_old_film(tmp_path, planned):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"old")
    with pytest.raises(ValueError, match=f"{planned} frames"):
        export(moving(3, 16, 16), path, Fraction(24), planned)
    assert path.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


def test_frames_of_two_sizes_and_no_frames_are_refused(tmp_path):
    two = [*moving(1, 16, 16), *moving(1, 16, 18)]
    with pytest.raises(ValueError, match="frame 1"):
        export(two, tmp_path / "a.mp4", Fraction(24), 2)
    with pytest.raises(ValueError, match="without frames"):
        export([], tmp_path / "a.mp4", Fraction(24), 0)
    assert not list(tmp_path.iterdir())


def test_what_a_take_says_about_itself_is_not_blamed_on_the_film(tmp_path):
    def frames():
        yield from moving(1, 16, 16)
        raise StorageError("take 2A_t01.mkv ends early")

    with pytest.raises(StorageError, match=r"^take 2A_t01\.mkv ends early$"):
        export(frames(), tmp_path / "a.mp4", Fraction(24), 3)
    assert not list(tmp_path.iterdir())


def test_full_disk_and_missing_folder_are_storage_errors(tmp_path, full_disk):
    with pytest.raises(StorageError, match="none"):
        export(moving(2, 16, 16), tmp_path / "none" / "a.mp4", Fraction(24), 2)
    with full_disk(), pytest.raises(StorageError, match=r"a\.mp4.*large"):
        export(moving(30), tmp_path / "a.mp4", Fraction(24), 30)
    assert not list(tmp_path.iterdir())
