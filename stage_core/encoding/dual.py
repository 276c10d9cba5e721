"""Dual encoding: every picture passes through two encoders, each at a size of its own.

The VAE says how a picture looks and the vision-language encoder what it shows. The two frames of
a pair are encoded one by one and joined to one canvas.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

import torch
from einops import rearrange
from torch import Tensor

from ..diffusion.canvas import PATCH, stack_pair
from ..story.frames import FramePair, Picture
from ..story.memory import MemoryFrame, MemoryPack
from ..story.shot_list import Shot
from .pyramid import shrunk_size

VAE_SIDE = 8
STEP = 16
VISION_STEP = 28
LONGEST_ASPECT = 180
VISION_MEAN = (0.48145466, 0.4578275, 0.40821073)
VISION_DEVIATION = (0.26862954, 0.26130258, 0.27577711)
_VISION_PATCH = 14
_VISION_PIXELS = (56 * 56, 3584 * 3584)
_MERGED = 2
_FRAMES = 2

T = TypeVar("T")


@dataclass(frozen=True)
class EncoderAreas:
    """Pixels at which memory frames are read by the VAE and by the vision-language encoder.

    None is a picture's own area.
    """

    vae: int | None = 1024 * 1024
    vision: int | None = 384 * 384

    def vae_size(self, picture: Picture) -> tuple[int, int]:
        """Width and height at which the VAE reads a picture."""
        width, height = _bounded_size(picture.width, picture.height)
        return bucket(width, height, width * height if self.vae is None else self.vae)


@dataclass
class Once(Generic[T]):
    """Makes a result once for each key, and forgets the least recently used beyond `capacity`."""

    capacity: int
    _made: OrderedDict[Hashable, T] = field(default_factory=OrderedDict)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._made

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The result for `key`, made now if it is not kept."""
        if key not in self._made:
            self._made[key] = make()
            if len(self._made) > self.capacity:
                self._made.popitem(last=False)
        self._made.move_to_end(key)
        return self._made[key]


def bucket(width: int, height: int, area: int) -> tuple[int, int]:
    """Width and height, multiples of 16 and of no more than `area`, nearest in aspect.

    Raises:
        ValueError: an area, or an aspect, that leaves no multiple of 16.
    """
    aspect = width / height
    middle = int(math.sqrt(area * aspect)) // STEP * STEP
    widths = (middle + STEP * steps for steps in range(-2, 3))
    sizes = [(w, area // w // STEP * STEP) for w in widths if w > 0]
    sizes = [(w, h) for w, h in sizes if h > 0]
    if not sizes:
        raise ValueError(
            f"a picture of {width}x{height} has no size of multiples of {STEP} in {area} pixels; "
            f"use one of at least {STEP}x{STEP}"
        )
    return min(sizes, key=lambda size: abs(size[0] / size[1] - aspect))


def fitted(image: Tensor, width: int, height: int) -> Tensor:
    """Pixels [height, width, 3] uint8 that fill this size, what sticks out cut off evenly."""
    if tuple(image.shape[:2]) == (height, width):
        return image
    scale = max(width / image.shape[1], height / image.shape[0])
    # Eight-bit Lanczos, as in training: resizing floating point is up to a grey level off.
    wide, high = (math.floor(side * scale + 0.5) for side in (image.shape[1], image.shape[0]))
    left, top = (wide - width) // 2, (high - height) // 2
    resized = _resized(image, wide, high, "LANCZOS")
    return resized[top : top + height, left : left + width].contiguous()


def read_at(image: Tensor, area: int | None) -> Tensor:
    """Pixels [H, W, 3] uint8 in the bucket of `area`, None for the picture's own area.

    Raises:
        ValueError: a picture too small for any bucket.
    """
    width, height = _bounded_size(image.shape[1], image.shape[0])
    image = _resized(image, width, height, "LANCZOS")
    return fitted(image, *bucket(width, height, width * height if area is None else area))


def vae_pixels(image: Tensor) -> Tensor:
    """What a VAE reads, [1, 3, H, W] float32 in [-1, 1], of pixels [H, W, 3] uint8."""
    return rearrange(image, "h w c -> 1 c h w").float() / 127.5 - 1


def vision_pixels(image: Tensor) -> Tensor:
    """The picture at the size Qwen2.5-VL sees it: each side the nearest multiple of 28, uint8."""
    height, width = _vision_size(*image.shape[:2])
    return _resized(image, width, height, "BICUBIC")


def vision_patches(image: Tensor) -> tuple[Tensor, tuple[int, int]]:
    """What Qwen2.5-VL's vision tower reads of pixels [H, W, 3] uint8, and its grid of patches.

    Patches [N, 1176] float32, the four that become a token one after another; the grid is rows
    and columns of patches, two of each to a token.
    """
    seen = vision_pixels(image).float() / 255
    height, width, _ = seen.shape
    seen = (seen - torch.tensor(VISION_MEAN)) / torch.tensor(VISION_DEVIATION)
    patches = rearrange(
        seen.expand(_FRAMES, -1, -1, -1),
        "t (h mh ph) (w mw pw) c -> (h w mh mw) (c t ph pw)",
        mh=_MERGED,
        mw=_MERGED,
        ph=_VISION_PATCH,
        pw=_VISION_PATCH,
    )
    return patches, (height // _VISION_PATCH, width // _VISION_PATCH)


def merged(grid: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of the tokens that a grid of vision patches becomes."""
    return grid[0] // _MERGED, grid[1] // _MERGED


def memory_tokens(frames: Sequence[MemoryFrame], areas: EncoderAreas) -> int:
    """How many tokens these memory frames cost a model at every step."""
    sizes = (
        shrunk_size(height // VAE_SIDE, width // VAE_SIDE, frame.side)
        for frame in frames
        for width, height in [areas.vae_size(frame.picture)]
    )
    return sum(height * width // PATCH**2 for height, width in sizes)


def pack_tokens(pack: MemoryPack, size: tuple[int, int], areas: EncoderAreas) -> int:
    """How many tokens a full memory pack costs a model at every step.

    Args:
        size: width and height of the frames of shots.
    """
    width, height = size
    blank = MemoryFrame(Picture.of(torch.zeros(height, width, 3, dtype=torch.uint8)), "end")
    full = replace(pack, recent=(blank,) * pack.capacity)
    return memory_tokens(full.shown(Shot("1", "")), areas)


def held_canvas(
    given: FramePair, encode: Callable[[Picture], Tensor], shape: tuple[int, ...]
) -> tuple[Tensor, Tensor]:
    """The canvas of the halves that are given, and where it is to be held.

    Args:
        encode: latents [B, C, h, w] of one frame.
        shape: of those latents; a half that is missing is zeros.

    Returns:
        Latents [B, C, 2h, w] in float32 and a mask [1, 1, 2h, 1], true in given halves.
    """
    halves = (given.start, given.end)
    frames = [torch.zeros(shape) if half is None else encode(half).float() for half in halves]
    held = torch.tensor([half is not None for half in halves])
    return stack_pair(torch.stack(frames)), held.repeat_interleave(shape[2])[None, None, :, None]


def _vision_size(height: int, width: int) -> tuple[int, int]:
    sides = [max(1, round(side / VISION_STEP)) * VISION_STEP for side in (height, width)]
    least, most = _VISION_PIXELS
    if math.prod(sides) > most:
        ratio = math.sqrt(most / (height * width))
        sides = [max(1, int(s * ratio / VISION_STEP)) * VISION_STEP for s in (height, width)]
    elif math.prod(sides) < least:
        ratio = math.sqrt(least / (height * width))
        sides = [math.ceil(s * ratio / VISION_STEP) * VISION_STEP for s in (height, width)]
    return tuple(sides)


def _bounded_size(width: int, height: int) -> tuple[int, int]:
    """The size, its longer side at most 180 times the shorter."""
    return min(width, LONGEST_ASPECT * height), min(height, LONGEST_ASPECT * width)


def _resized(image: Tensor, width: int, height: int, filter_name: str) -> Tensor:
    import numpy
    from PIL import Image

    if tuple(image.shape[:2]) == (height, width):
        return image
    still = Image.fromarray(image.numpy())
    resized = still.resize((width, height), getattr(Image.Resampling, filter_name))
    return torch.from_numpy(numpy.array(resized))
