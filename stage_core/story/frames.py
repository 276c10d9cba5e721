"""Still pictures of a shot: a picture, a keyframe in time, the pair that anchors a shot."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .shot_list import Shot

HALVES = ("start", "end")


@dataclass(frozen=True, eq=False)
class Picture:
    """One still of 8-bit RGB, held in memory or read from its file each time it is needed.

    `digest` is the SHA-256 of size and pixels, so equal pictures have equal digests wherever
    they are kept. `read` gives a tensor [H, W, 3] uint8 that nobody writes to.
    """

    height: int
    width: int
    digest: str
    read: Callable[[], Tensor]

    @classmethod
    def of(cls, image: Tensor) -> Picture:
        """The picture of these pixels, kept in memory.

        Args:
            image: [H, W, 3], uint8 in 0 to 255 or floating point in [0, 1], any device.

        Raises:
            ValueError: another shape or type, an empty picture, or values that are not finite.
        """
        # A copy: the tensor may be a view of a whole clip, or be written to later.
        pixels = as_pixels(image).clone()
        return cls(pixels.shape[0], pixels.shape[1], pixel_digest(pixels), lambda: pixels)

    @property
    def image(self) -> Tensor:
        """The pixels, [H, W, 3] uint8; not to be written to."""
        return self.read()


def as_pixels(image: Tensor) -> Tensor:
    """`image` as [H, W, 3] uint8 on the CPU; floating point is clamped to [0, 1] and rounded.

    Raises:
        ValueError: another shape or type, an empty picture, or values that are not finite.
    """
    if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(f"a picture of shape {tuple(image.shape)}; it should be [H, W, 3]")
    if image.dtype == torch.uint8:
        return image.detach().cpu().contiguous()
    if not image.is_floating_point():
        raise ValueError(f"a picture of {image.dtype}; it should be uint8 or floating point")
    if not torch.isfinite(image).all():
        raise ValueError("a picture with values that are not finite; the model that made it failed")
    return image.detach().float().clamp(0, 1).mul(255).round().to(torch.uint8).cpu().contiguous()


def pixel_digest(pixels: Tensor) -> str:
    """SHA-256 of the size and the bytes of [H, W, 3] uint8 pixels, in hexadecimal."""
    height, width, _ = pixels.shape
    digest = hashlib.sha256(f"{height}x{width}:".encode())
    digest.update(memoryview(pixels.contiguous().numpy()))
    return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class Keyframe:
    """A picture at its place in a shot: `index` counts frames from 0."""

    index: int
    picture: Picture

    @property
    def image(self) -> Tensor:
        """The pixels, [H, W, 3] uint8."""
        return self.picture.image


@dataclass(frozen=True, eq=False)
class FramePair:
    """The start and the end frame of a shot; either may be missing.

    `given` names the halves ('start', 'end') that the artist gave and no model may change.
    `name` is the drawing's name in the film's folder, empty while it is kept nowhere.
    `older_memory`: earlier shots have changed since a model drew this pair from their frames.
    """

    shot_id: str
    start: Picture | None = None
    end: Picture | None = None
    given: frozenset[str] = frozenset()
    name: str = ""
    older_memory: bool = False

    def __post_init__(self):
        for half in self.given:
            if half not in HALVES or getattr(self, half) is None:
                raise ValueError(f"shot {self.shot_id}: given {half!r}, but there is no such frame")

    @property
    def complete(self) -> bool:
        """Whether both frames are there."""
        return self.start is not None and self.end is not None

    @property
    def digests(self) -> tuple[str, str]:
        """The pictures' digests, start then end; an empty string for a missing one."""
        return tuple(p.digest if p else "" for p in (self.start, self.end))

    def keyframes(self, num_frames: int) -> tuple[Keyframe, ...]:
        """The frames that are there as keyframes of a shot of `num_frames`."""
        ends = ((0, self.start), (num_frames - 1, self.end))
        return tuple(Keyframe(index, picture) for index, picture in ends if picture is not None)

    def only_given(self) -> FramePair:
        """The pair reduced to the halves the artist gave."""
        return FramePair(
            self.shot_id,
            self.start if "start" in self.given else None,
            self.end if "end" in self.given else None,
            self.given,
        )

    def with_given(self, given: FramePair) -> FramePair:
        """The pair with the given halves of another one in place of its own.

        One that changes so is kept nowhere.
        """
        halves = {half: getattr(given, half) for half in given.given}
        pair = replace(self, **halves, given=self.given | given.given)
        return pair if pair.digests == self.digests else replace(pair, name="")


def no_frames(shot: Shot) -> FramePair:
    """A pair of which nothing is there yet."""
    return FramePair(shot.id)
