"""Files of pictures, moving pictures and sound, read and written without loss."""

from __future__ import annotations

import hashlib
import wave
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from .atomic import replacing
from .errors import MissingPackageError, StorageError
from .story.timeline import Frames, Sound

INSTALL = 'pip install "stage-film[film]"'
MATTE = (128, 128, 128)
"""What shows through where a picture is transparent."""

_CHUNK_BYTES = 2**20
_24_BITS = 2**23
# H.264 without loss takes less than half of the time that FFV1 does, and the same room.
# Without it, as in a PyAV that was built under other terms, FFV1 does; it was version 0.1's too.
_LOSSLESS = {"libx264rgb": "rgb24", "ffv1": "bgr0"}
LOSSLESS_CODECS = ("h264", "ffv1")
"""What a kept film may hold."""
# How loud each channel is in left and right, by the number of channels, in FFmpeg's order (FL FR
# FC LFE BL BR SL SR). Centre and surround at -3 dB and no low effects: ITU-R BS.775-3, table 2.
_3DB = 0.5**0.5
_TO_STEREO = {
    3: ((1, 0, _3DB), (0, 1, _3DB)),
    4: ((1, 0, _3DB, 0), (0, 1, 0, _3DB)),
    5: ((1, 0, _3DB, _3DB, 0), (0, 1, _3DB, 0, _3DB)),
    6: ((1, 0, _3DB, 0, _3DB, 0), (0, 1, _3DB, 0, 0, _3DB)),
    8: ((1, 0, _3DB, 0, _3DB, 0, _3DB, 0), (0, 1, _3DB, 0, 0, _3DB, 0, _3DB)),
}


def read_picture(path: Path) -> Tensor:
    """The still in a picture file, upright, [H, W, 3] uint8.

    Any mode is read: transparency lies on middle grey, 16 bits become 8, the camera's
    orientation is applied. Of a moving picture this is the first frame.

    Raises:
        StorageError: no such file, no picture, or one that is cut short.
    """
    numpy, image_module, image_ops = import_pillow()
    try:
        with image_module.open(path) as image:
            image.load()
            pixels = numpy.array(_opaque(image_ops.exif_transpose(image)))
    except (image_module.DecompressionBombError, SyntaxError, ValueError, EOFError) as error:
        raise StorageError(f"{path} is not a picture that can be read: {error}") from None
    except OSError as error:
        raise StorageError(f"{path} cannot be read as a picture: {_reason(error)}") from None
    return torch.from_numpy(pixels)


def write_picture(path: Path, image: Tensor) -> None:
    """Write [H, W, 3] uint8 pixels as a PNG, whole or not at all.

    Raises:
        StorageError: the file cannot be written.
    """
    _, image_module, _ = import_pillow()
    picture = image_module.fromarray(image.contiguous().numpy())
    with replacing(path) as part:
        # Level 1 is four times as quick as the default, for files a tenth larger.
        picture.save(part, format="PNG", compress_level=1)


@dataclass(frozen=True)
class VideoFrames(Frames):
    """The pictures of a video file in order, read each time they are played.

    Iterating raises StorageError when the file is missing, damaged, of another size or shorter.
    """

    path: Path
    num_frames: int
    width: int
    height: int

    def __len__(self) -> int:
        return self.num_frames

    def __iter__(self) -> Iterator[Tensor]:
        count = 0
        av = import_av()
        with storing(self.path, "played"), av.open(str(self.path)) as container:
            if not container.streams.video:
                raise StorageError(f"{self.path} holds no moving picture")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            # One for all frames: each frame's own would set up its tables anew.
            to_rgb = av.video.reformatter.VideoReformatter()
            for picture in container.decode(stream):
                if (picture.width, picture.height) != (self.width, self.height):
                    raise StorageError(
                        f"{self.path} is {picture.width}x{picture.height}, "
                        f"not {self.width}x{self.height}"
                    )
                yield torch.from_numpy(to_rgb.reformat(picture, format="rgb24").to_ndarray())
                count += 1
                if count == self.num_frames:
                    return
        raise StorageError(f"{self.path} ends after {count} of {self.num_frames} frames")


def write_lossless(path: Path, frames: Iterable[Tensor], rate: Fraction) -> int:
    """Write frames [H, W, 3] uint8 as they come into a Matroska file, bit by bit the same RGB.

    The first frame gives the size. Nothing is left at `path` when a frame or the disk fails.

    Returns:
        The number of frames written.

    Raises:
        StorageError: the file cannot be written.
        ValueError: no frames, or frames of different sizes.
    """
    count = 0
    with erased_on_failure(path), _lossless_encoder(path, rate) as encode:
        for count, frame in enumerate(frames, 1):  # noqa: B007
            encode(frame)
        if not count:
            raise ValueError(f"{path.name}: a moving picture without frames")
    return count


def sound_of(samples: Tensor, sample_rate: int, name: str) -> tuple[Sound, tuple[str, ...]]:
    """Samples [C, S] as mono or stereo within full level, and what was mended, in words.

    Surround is mixed down to stereo. `name` is for the notes.

    Raises:
        ValueError: another shape, no samples, or a number of channels that no layout has.
    """
    if samples.ndim != 2 or 0 in samples.shape:
        raise ValueError(f"{name} has the shape {tuple(samples.shape)}; it should be [C, samples]")
    if samples.shape[0] not in (1, 2, *_TO_STEREO):
        raise ValueError(f"{name} has {samples.shape[0]} channels; use mono, stereo, 5.1 or 7.1")
    samples, notes = _mended(samples.detach().cpu().float(), name)
    if samples.shape[0] > 2:
        gains = torch.tensor(_TO_STEREO[samples.shape[0]], dtype=torch.float32)
        samples = gains @ samples
        # Channels that add up above full level are turned down together: a file would clip them.
        samples /= samples.abs().max().clamp(min=1)
    return Sound(samples.contiguous(), int(sample_rate)), notes


def read_sound(path: Path) -> tuple[Sound, tuple[str, ...]]:
    """The sound of any file that FFmpeg reads, and what was mended in it.

    Raises:
        StorageError: no such file, or none with sound.
        ValueError: a number of channels that no layout has.
    """
    av = import_av()
    pieces, sample_rate = [], 0
    with storing(path, "read"), av.open(str(path)) as container:
        if not container.streams.audio:
            raise StorageError(f"{path} holds no sound")
        sample_rate = container.streams.audio[0].codec_context.sample_rate
        resampler = None
        for frame in container.decode(audio=0):
            if resampler is None:
                resampler = av.AudioResampler("fltp", frame.layout, sample_rate)
            pieces += [torch.from_numpy(made.to_ndarray()) for made in resampler.resample(frame)]
    if not pieces:
        raise StorageError(f"{path} holds no sound")
    return sound_of(torch.cat(pieces, dim=1), sample_rate, path.name)


def write_wave(path: Path, sound: Sound) -> None:
    """Write sound as a WAV file of 24 bits, whole or not at all; what was read comes out the same.

    Raises:
        StorageError: the file cannot be written.
    """
    levels = sound.samples.clamp(-1, 1).double().mul(_24_BITS).round().clamp(max=_24_BITS - 1)
    # 24 bits are the upper three bytes of a little-endian number of 32.
    numbers = levels.to(torch.int32).mul_(256).t().contiguous().numpy()
    data = numbers.astype("<i4").view("u1").reshape(*numbers.shape, 4)[..., 1:]
    with replacing(path) as part, part.open("wb") as file, wave.open(file, "wb") as out:
        out.setnchannels(sound.samples.shape[0])
        out.setsampwidth(3)
        out.setframerate(sound.sample_rate)
        out.writeframes(data.tobytes())


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal.

    Raises:
        StorageError: the file cannot be read.
    """
    digest = hashlib.sha256()
    with storing(path, "read"), path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


@contextmanager
def erased_on_failure(path: Path) -> Iterator[None]:
    """Removes the file at `path` when the block raises anything at all."""
    try:
        yield
    except BaseException:
        path.unlink(missing_ok=True)
        raise


@contextmanager
def storing(path: Path, verb: str = "written") -> Iterator[None]:
    """Turns what the system or FFmpeg reports about `path` into one StorageError."""
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        raise StorageError(f"{path} cannot be {verb}: {_reason(error)}") from error
    except Exception as error:
        if not isinstance(error, import_av().error.FFmpegError):
            raise
        raise StorageError(f"{path} cannot be {verb}: {_reason(error)}") from error


@contextmanager
def finishing(container: Any, path: Path) -> Iterator[None]:
    """Closes a container that is being written, in which FFmpeg may still report a full disk."""
    try:
        yield
    except BaseException:
        # The first failure is the one to tell; what closing half a file adds is noise.
        with suppress(OSError, import_av().error.FFmpegError):
            container.close()
        raise
    with storing(path):
        container.close()


@contextmanager
def playing(frames: Iterable[Tensor]) -> Iterator[Iterator[Tensor]]:
    """An iteration over frames whose file is closed with the block, not some time later."""
    pictures = iter(frames)
    try:
        yield pictures
    finally:
        close = getattr(pictures, "close", None)
        if close is not None:
            close()


def import_av() -> ModuleType:
    """PyAV.

    Raises:
        MissingPackageError: it is not installed.
    """
    try:
        import av
    except ImportError:
        raise MissingPackageError(f"video files need PyAV; install it with {INSTALL}") from None
    return av


def import_pillow() -> tuple[ModuleType, ModuleType, ModuleType]:
    try:
        import numpy
        from PIL import Image, ImageOps
    except ImportError:
        raise MissingPackageError(
            f"picture files need Pillow and numpy; install them with {INSTALL}"
        ) from None
    return numpy, Image, ImageOps


def _opaque(image: Any) -> Any:
    """A Pillow image of any mode as RGB."""
    numpy, image_module, _ = import_pillow()
    if image.mode.startswith("I"):
        # Pillow would clip 16-bit greys to 255 instead of scaling them.
        greys = numpy.array(image).clip(0, 65535) // 256
        return image_module.fromarray(greys.astype(numpy.uint8)).convert("RGB")
    if not image.has_transparency_data:
        return image.convert("RGB")
    matte = image_module.new("RGBA", image.size, (*MATTE, 255))
    return image_module.alpha_composite(matte, image.convert("RGBA")).convert("RGB")


@contextmanager
def _lossless_encoder(path: Path, rate: Fraction) -> Iterator[Callable[[Tensor], None]]:
    """Gives a function that appends one frame to the lossless stream of a new Matroska file."""
    av = import_av()
    codec = next((name for name in _LOSSLESS if name in av.codecs_available), None)
    if codec is None:
        raise MissingPackageError(f"this PyAV has no lossless codec; renew it with {INSTALL}")
    with storing(path):
        container = av.open(str(path), mode="w", format="matroska")
    stream, count = None, 0

    def encode(frame: Tensor) -> None:
        nonlocal stream, count
        height, width, _ = frame.shape
        with storing(path):
            if stream is None:
                stream = _add_lossless(container, codec, (width, height), rate)
            elif (stream.width, stream.height) != (width, height):
                raise ValueError(
                    f"{path.name}: frame {count} is {width}x{height} after frames of "
                    f"{stream.width}x{stream.height}"
                )
            picture = av.VideoFrame.from_ndarray(frame.contiguous().numpy(), format="rgb24")
            picture.pts, picture.time_base = count, 1 / rate
            container.mux(stream.encode(picture))
            count += 1

    with finishing(container, path):
        yield encode
        with storing(path):
            if stream is not None:
                container.mux(stream.encode(None))


def _add_lossless(container: Any, codec: str, size: tuple[int, int], rate: Fraction) -> Any:
    stream = container.add_stream(codec, rate=rate)
    stream.width, stream.height = size
    stream.pix_fmt = _LOSSLESS[codec]
    stream.codec_context.time_base = 1 / rate
    stream.thread_type = "AUTO"
    stream.options = {"qp": "0", "preset": "ultrafast"} if codec == "libx264rgb" else {}
    return stream


def _mended(samples: Tensor, name: str) -> tuple[Tensor, tuple[str, ...]]:
    """Samples that are numbers within full level, and what was done to make them so."""
    missing, loud = ~samples.isfinite(), samples.abs() > 1
    counts = {
        "that are no number are silent now": int(missing.sum()),
        "above full level are clipped": int((loud & ~missing).sum()),
    }
    notes = tuple(f"{name}: {count} samples {what}" for what, count in counts.items() if count)
    mended = samples.nan_to_num(0.0, posinf=0.0, neginf=0.0).clamp(-1, 1) if notes else samples
    return mended, notes


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
