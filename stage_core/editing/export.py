"""The film as a file: H.264 and AAC in MP4, which plays everywhere, or ProRes for editing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..atomic import replacing
from ..media import finishing, import_av, playing, storing
from ..story.timeline import Sound
from .sound import SAMPLE_RATE

# Constants of ITU-T H.273: BT.709 is 1 in all three tables, limited range is FFmpeg's 1.
_BT709 = 1
_LIMITED = 1
_AAC_BIT_RATE = 192_000


@dataclass(frozen=True)
class Codec:
    """A way to write pictures: FFmpeg's encoder, its pixels and settings."""

    encoder: str
    pixels: str
    settings: Mapping[str, str]


# Visually lossless: the mean error is that of 4:2:0 alone. 'faster' takes twice the time for
# files of the same size.
H264 = Codec("libx264", "yuv420p", {"crf": "16", "preset": "veryfast"})
# Profile 3 is 422 HQ; the vendor is what Apple's own encoder writes, which some readers ask for.
PRORES = Codec("prores_ks", "yuv422p10le", {"profile": "3", "vendor": "apl0"})


@dataclass(frozen=True, eq=False)
class ExportOptions:
    """What a film file may carry beside its pictures, and how these are written.

    `metadata`: tags as ComfyUI writes them, such as 'prompt' and 'workflow' with JSON text.
    `timecode`: of the first frame, such as '00:00:00:00', in a track of its own.
    `on_frame` is called with frames written and frames in all; raising from it cancels.
    """

    sound: Sound | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    on_frame: Callable[[int, int], None] | None = None
    codec: Codec = H264
    timecode: str = ""


def export(
    frames: Iterable[Tensor],
    path: Path,
    rate: Fraction,
    num_frames: int,
    options: ExportOptions | None = None,
) -> None:
    """Write frames [H, W, 3] uint8 as a film file, .mp4 or .mov, whole or not at all.

    Colours are BT.709 in limited range and say so. A side of odd length is made even by
    repeating its edge. Sound is cut, or filled with silence, to the length of the film.

    Raises:
        StorageError: the file cannot be written.
        ValueError: another number of frames than `num_frames`, or frames of different sizes.
    """
    options = options or ExportOptions()
    count = 0
    with replacing(path) as part, playing(frames) as pictures:
        first = next(pictures, None)
        if first is None:
            raise ValueError(f"{path.name}: a film without frames")
        with storing(path):
            movie = _Movie(part, rate, first, options)
        with finishing(movie.container, path):
            picture = first
            while picture is not None and count < num_frames:
                with storing(path):
                    movie.write(picture)
                count += 1
                if options.on_frame:
                    options.on_frame(count, num_frames)
                picture = next(pictures, None)
            if count != num_frames or picture is not None:
                raise ValueError(f"{path.name}: the film has not the {num_frames} frames planned")
            with storing(path):
                movie.finish()


class _Movie:
    """An open MP4 or MOV file: pictures go in one by one, and sound beside them."""

    def __init__(self, path: Path, rate: Fraction, first: Tensor, options: ExportOptions):
        self.av = import_av()
        self.rate, self.shape, self.count = rate, first.shape, 0
        self.codec = options.codec
        # use_metadata_tags keeps names that MP4 does not know, as ComfyUI does.
        flags = {"movflags": "use_metadata_tags+faststart"}
        form = "mov" if path.suffix == ".mov" else "mp4"
        self.container = self.av.open(str(path), mode="w", format=form, options=flags)
        if options.timecode:
            self.container.metadata["timecode"] = options.timecode
        for key, value in options.metadata.items():
            self.container.metadata[key] = value
        self.video = self._add_video()
        # One for all frames: each frame's own would set up its tables anew.
        self.reformatter = self.av.video.reformatter.VideoReformatter()
        self.sound = None
        if options.sound is not None:
            self.sound = _SoundTrack(self.container, options.sound)

    def write(self, picture: Tensor) -> None:
        """Appends one frame, and the sound that lasts until its end."""
        if picture.shape != self.shape:
            raise ValueError(
                f"frame {self.count} is {tuple(picture.shape)} in a film of {tuple(self.shape)}"
            )
        pixels = _even(picture).contiguous().numpy()
        frame = self.av.VideoFrame.from_ndarray(pixels, format="rgb24")
        to = {"dst_colorspace": _BT709, "dst_color_range": _LIMITED}
        frame = self.reformatter.reformat(frame, format=self.codec.pixels, **to)
        frame.pts, frame.time_base = self.count, 1 / self.rate
        self.container.mux(self.video.encode(frame))
        self.count += 1
        if self.sound is not None:
            self.sound.write_until(self.count / self.rate)

    def finish(self) -> None:
        """Writes what the encoders still hold."""
        self.container.mux(self.video.encode(None))
        if self.sound is not None:
            self.sound.finish()

    def _add_video(self) -> Any:
        stream = self.container.add_stream(self.codec.encoder, rate=self.rate)
        height, width, _ = self.shape
        stream.width, stream.height = width + width % 2, height + height % 2
        stream.pix_fmt, stream.options = self.codec.pixels, dict(self.codec.settings)
        stream.thread_type = "AUTO"
        context = stream.codec_context
        context.time_base = 1 / self.rate
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = _LIMITED
        return stream


class _SoundTrack:
    """The AAC stream of an open file, written along with the pictures."""

    def __init__(self, container: Any, sound: Sound):
        self.av, self.container = import_av(), container
        self.rate, self.written = sound.sample_rate, 0
        self.samples = sound.samples
        self.layout = "mono" if sound.samples.shape[0] == 1 else "stereo"
        self.stream = container.add_stream("aac", rate=SAMPLE_RATE, layout=self.layout)
        self.stream.bit_rate = _AAC_BIT_RATE
        self.resampler = self.av.AudioResampler("fltp", self.layout, SAMPLE_RATE)

    def write_until(self, seconds: Fraction) -> None:
        """Appends sound up to this time of the film; silence after its end."""
        end = round(seconds * self.rate)
        piece = self.samples[:, self.written : end]
        piece = F.pad(piece, (0, end - self.written - piece.shape[1])).contiguous()
        if not piece.shape[1]:
            return
        frame = self.av.AudioFrame.from_ndarray(piece.numpy(), format="fltp", layout=self.layout)
        frame.sample_rate, frame.pts = self.rate, self.written
        frame.time_base = Fraction(1, self.rate)
        self._encode(frame)
        self.written = end

    def finish(self) -> None:
        """Writes what resampler and encoder still hold."""
        self._encode(None)
        self.container.mux(self.stream.encode(None))

    def _encode(self, frame: Any) -> None:
        for resampled in self.resampler.resample(frame):
            self.container.mux(self.stream.encode(resampled))


def _even(picture: Tensor) -> Tensor:
    """The picture with its last row or column repeated where their number is odd."""
    height, width, _ = picture.shape
    if height % 2:
        picture = torch.cat([picture, picture[-1:]], dim=0)
    if width % 2:
        picture = torch.cat([picture, picture[:, -1:]], dim=1)
    return picture
