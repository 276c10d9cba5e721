"""Picture, video and sound files: lossless both ways, whole or not at all; sound is mended."""

from fractions import Fraction

import pytest
import torch
from PIL import ExifTags, Image

from stage_core.errors import MissingPackageError, StorageError
from stage_core.media import (
    LOSSLESS_CODECS,
    VideoFrames,
    import_av,
    read_picture,
    read_sound,
    sha256,
    sound_of,
    write_lossless,
    write_picture,
    write_wave,
)
from stage_core.story.timeline import Sound


def noise(num_frames, height, width):
    generator = torch.Generator().manual_seed(num_frames)
    shape = num_frames, height, width, 3
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def test_picture_comes_back_as_it_was_written(tmp_path):
    image = noise(1, 53, 97)[0]
    write_picture(tmp_path / "a.png", image)
    assert torch.equal(read_picture(tmp_path / "a.png"), image)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16", "I"])
def test_every_mode_is_read_as_rgb(tmp_path, mode):
    white = {"I;16": 65535, "I": 65535, "1": 1, "CMYK": (0, 0, 0, 0), "P": 255, "LA": (255, 255)}
    image = Image.new(mode, (5, 4), white.get(mode, 255 if mode == "L" else (255,) * 4))
    if mode == "P":
        image.putpalette([level for level in range(256) for _ in range(3)])
    image.save(tmp_path / "a.tif")
    pixels = read_picture(tmp_path / "a.tif")
    assert pixels.shape == (4, 5, 3)
    assert pixels.dtype == torch.uint8
    assert (pixels == 255).all()


def test_transparency_lies_on_middle_grey(tmp_path):
    image = Image.new("RGBA", (2, 1), (255, 0, 0, 255))
    image.putpixel((1, 0), (255, 0, 0, 0))
    for name in ("direct.png", "palette.png"):
        (image if name == "direct.png" else image.quantize()).save(tmp_path / name)
        assert read_picture(tmp_path / name).tolist() == [[[255, 0, 0], [128, 128, 128]]]


def test_orientation_of_the_camera_is_applied(tmp_path):
    image = Image.new("RGB", (3, 2))
    image.putpixel((0, 0), (255, 255, 255))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    image.save(tmp_path / "a.png", exif=exif)
    pixels = read_picture(tmp_path / "a.png")
    # Orientation 6 is a quarter turn clockwise: the upper left corner goes to the upper right.
    assert pixels.shape == (3, 2, 3)
    assert pixels[0, 1].tolist() == [255, 255, 255]


@pytest.mark.parametrize("content", [b"", b"no picture", "half"])
def test_file_that_is_no_whole_picture_is_a_storage_error_with_its_path(tmp_path, content):
    path = tmp_path / "a.png"
    write_picture(path, noise(1, 40, 40)[0])
    path.write_bytes(path.read_bytes()[:2500] if content == "half" else content)
    with pytest.raises(StorageError, match=r"a\.png"):
        read_picture(path)


def test_missing_picture_and_missing_folder_are_storage_errors(tmp_path):
    with pytest.raises(StorageError, match="none"):
        read_picture(tmp_path / "none.png")
    with pytest.raises(StorageError, match="none"):
        write_picture(tmp_path / "none" / "a.png", noise(1, 4, 4)[0])


def test_picture_that_does_not_fit_the_disk_leaves_the_old_one(tmp_path, full_disk):
    path = tmp_path / "a.png"
    write_picture(path, noise(1, 8, 8)[0])
    before = path.read_bytes()
    with full_disk(), pytest.raises(StorageError, match=r"a\.png.*large"):
        write_picture(path, noise(1, 90, 90)[0])
    assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("size", [(53, 97), (48, 64), (16, 17)])
@pytest.mark.parametrize("rate", [Fraction(12), Fraction(16), Fraction(24000, 1001)])
def test_video_comes_back_bit_by_bit_every_time_it_is_played(tmp_path, size, rate):
    frames, path = noise(5, *size), tmp_path / "a.mkv"
    assert write_lossless(path, frames, rate) == 5
    video = VideoFrames(path, 5, size[1], size[0])
    for _ in range(2):
        assert torch.equal(torch.stack(list(video)), frames)
    assert len(video) == 5


def test_without_the_first_codec_video_is_as_lossless(tmp_path, monkeypatch):
    av, frames, path = import_av(), noise(5, 35, 51), tmp_path / "a.mkv"
    monkeypatch.setattr(av, "codecs_available", {"ffv1"})
    write_lossless(path, frames, Fraction(12))
    with av.open(str(path)) as film:
        assert film.streams.video[0].codec_context.name in LOSSLESS_CODECS
    assert torch.equal(torch.stack(list(VideoFrames(path, 5, 51, 35))), frames)
    monkeypatch.setattr(av, "codecs_available", set())
    with pytest.raises(MissingPackageError, match="no lossless codec; renew it with pip"):
        write_lossless(path, frames, Fraction(12))


def test_video_is_closed_when_its_reader_stops(tmp_path):
    import gc

    path = tmp_path / "a.mkv"
    write_lossless(path, noise(5, 16, 16), Fraction(12))
    playing = iter(VideoFrames(path, 5, 16, 16))
    next(playing)
    playing.close()
    gc.collect()
    path.unlink()
    with pytest.raises(StopIteration):
        next(playing)


def test_failing_source_leaves_no_file_and_its_own_exception(tmp_path):
    def frames():
        yield noise(1, 16, 16)[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_lossless(tmp_path / "a.mkv", frames(), Fraction(12))
    assert not list(tmp_path.iterdir())


def test_no_frames_or_frames_of_two_sizes_are_refused(tmp_path):
    with pytest.raises(ValueError, match="without frames"):
        write_lossless(tmp_path / "a.mkv", [], Fraction(12))
    two = [noise(1, 16, 16)[0], noise(1, 16, 18)[0]]
    with pytest.raises(ValueError, match="18x16"):
        write_lossless(tmp_path / "a.mkv", two, Fraction(12))
    assert not list(tmp_path.iterdir())


def test_video_that_does_not_fit_the_disk_is_a_storage_error(tmp_path, full_disk):
    with full_disk(), pytest.raises(StorageError, match=r"a\.mkv.*large"):
        write_lossless(tmp_path / "a.mkv", noise(9, 64, 64), Fraction(12))
    assert not list(tmp_path.iterdir())


def test_video_in_a_missing_folder_is_a_storage_error(tmp_path):
    with pytest.raises(StorageError, match="none"):
        write_lossless(tmp_path / "none" / "a.mkv", noise(1, 16, 16), Fraction(12))


def test_video_cut_short_missing_or_of_another_size_is_a_storage_error(tmp_path):
    path = tmp_path / "a.mkv"
    write_lossless(path, noise(9, 64, 64), Fraction(12))
    with pytest.raises(StorageError, match="64x64, not 32x64"):
        list(VideoFrames(path, 9, 32, 64))
    with pytest.raises(StorageError, match="after 9 of 10"):
        list(VideoFrames(path, 10, 64, 64))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(StorageError, match=r"a\.mkv"):
        list(VideoFrames(path, 9, 64, 64))
    path.write_bytes(b"nothing")
    with pytest.raises(StorageError, match=r"a\.mkv"):
        list(VideoFrames(path, 9, 64, 64))
    path.unlink()
    with pytest.raises(StorageError, match=r"a\.mkv"):
        list(VideoFrames(path, 9, 64, 64))


def test_one_flipped_bit_changes_the_digest(tmp_path):
    path = tmp_path / "a.mkv"
    write_lossless(path, noise(3, 32, 32), Fraction(12))
    before = sha256(path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert sha256(path) != before
    path.unlink()
    with pytest.raises(StorageError, match=r"a\.mkv"):
        sha256(path)


def test_samples_that_are_no_sound_are_mended_and_said():
    samples = torch.tensor([[0.5, float("nan"), 3.0, -float("inf"), -2.0]])
    sound, notes = sound_of(samples, 48_000, "score")
    assert sound.samples.tolist() == [[0.5, 0.0, 1.0, 0.0, -1.0]]
    assert [note.split(" samples")[0] for note in notes] == ["score: 2", "score: 2"]


@pytest.mark.parametrize("channels", [3, 4, 5, 6, 8])
def test_surround_becomes_stereo_with_left_on_the_left(channels):
    left_only = torch.zeros(channels, 8)
    left_only[0] = 0.5
    sound, _ = sound_of(left_only, 48_000, "score")
    assert sound.samples[0].tolist() == [0.5] * 8 and sound.samples[1].tolist() == [0.0] * 8


def test_the_centre_is_heard_on_both_sides_and_low_effects_on_none():
    samples = torch.zeros(6, 4)
    samples[2] = 0.5
    samples[3] = 1.0
    sound, _ = sound_of(samples, 48_000, "score")
    assert torch.allclose(sound.samples, torch.full((2, 4), 0.5 * 0.5**0.5))


def test_other_shapes_and_channels_are_refused_in_words():
    for shape in ((0, 5), (7, 5), (5,)):
        with pytest.raises(ValueError, match="score"):
            sound_of(torch.zeros(shape), 48_000, "score")


@pytest.mark.parametrize("channels", [1, 2])
def test_a_wave_file_reads_back_as_it_was(tmp_path, channels):
    wave = torch.linspace(-1, 1, 4800)
    sound = Sound(wave.expand(channels, -1).contiguous(), 48_000)
    write_wave(tmp_path / "a.wav", sound)
    read, notes = read_sound(tmp_path / "a.wav")
    assert read.sample_rate == 48_000 and not notes
    # 24 bits.
    assert float((read.samples - sound.samples).abs().max()) <= 2**-23
    write_wave(tmp_path / "again.wav", read)
    assert sha256(tmp_path / "again.wav") == sha256(tmp_path / "a.wav")


def test_surround_that_adds_up_above_full_level_is_turned_down_together():
    samples = torch.tensor([[1.0, 0.5]]).expand(6, -1)
    assert sound_of(samples, 48_000, "score")[0].samples[0].tolist() == [1.0, 0.5]


def test_a_file_without_sound_is_a_storage_error(tmp_path):
    (tmp_path / "a.txt").write_text("no sound")
    for name in ("a.txt", "missing.wav"):
        with pytest.raises(StorageError, match=name):
            read_sound(tmp_path / name)
