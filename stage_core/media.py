"""Files of pictures and of moving pictures, read and written without loss."""

from __future__ import annotations

import hashlib
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
from .story.timeline import Frames

INSTALL = 'pip install "stage-film[film]"'
MATTE = (128, 128, 128)
"""What shows through where a picture is transparent."""

_CHUNK_BYTES = 2**20


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
            for picture in container.decode(stream):
                if (picture.width, picture.height) != (self.width, self.height):
                    raise StorageError(
                        f"{self.path} is {picture.width}x{picture.height}, "
                        f"not {self.width}x{self.height}"
                    )
                yield torch.from_numpy(picture.to_ndarray(format="rgb24"))
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
    """Gives a function that appends one frame to the FFV1 stream of a new Matroska file."""
    av = import_av()
    if "bgr0" not in {form.name for form in av.codec.Codec("ffv1", "w").video_formats or ()}:
        raise MissingPackageError(f"this PyAV has no FFV1 in bgr0; renew it with {INSTALL}")
    with storing(path):
        container = av.open(str(path), mode="w", format="matroska")
    stream, count = None, 0

    def encode(frame: Tensor) -> None:
        nonlocal stream, count
        height, width, _ = frame.shape
        with storing(path):
            if stream is None:
                stream = _add_ffv1(container, width, height, rate)
            elif (stream.width, stream.height) != (width, height):
                raise ValueError(
                    f"{path.name}: frame {count} is {width}x{height} after frames of "
                    f"{stream.width}x{stream.height}"
                )
            picture = av.VideoFrame.from_ndarray(frame.contiguous().numpy(), format="rgb24")
            picture = picture.reformat(format="bgr0")
            picture.pts, picture.time_base = count, 1 / rate
            container.mux(stream.encode(picture))
            count += 1

    with finishing(container, path):
        yield encode
        with storing(path):
            if stream is not None:
                container.mux(stream.encode(None))


def _add_ffv1(container: Any, width: int, height: int, rate: Fraction) -> Any:
    stream = container.add_stream("ffv1", rate=rate)
    stream.width, stream.height, stream.pix_fmt = width, height, "bgr0"
    stream.codec_context.time_base = 1 / rate
    stream.thread_type = "AUTO"
    # Version 3 codes slices apart, so that threads share a picture, writing and reading.
    stream.options = {"level": "3", "slices": "4", "g": "1"}
    return stream


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
