"""The similarity transform between two pictures, found from their pixels alone."""

from __future__ import annotations

import cmath
import math

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional

from ...threads import one_thread
from .warp import Similarity, sampling_grid

# Long sides in pixels of the pictures compared: all transforms are tried on the first, the
# best are refined on each.
SIDES = (64, 128, 256)
SCALES = tuple(1.1**k for k in range(-8, 9))
ROTATIONS = tuple(math.radians(degrees) for degrees in (-16, -8, 0, 8, 16))
CANDIDATES = 4
MIN_OVERLAP = 0.3

# Measured on 80 synthetic pairs: chance reaches 0.3, once 0.49; a moved view of one world has
# 0.8 and more, still 0.5 with noise, wobble and a third of the picture replaced.
MIN_AGREEMENT = 0.5
# In picture widths: a quarter of a pixel in a picture of 832, about what the search resolves.
MIN_MOTION = 3e-4
MAX_SCALE = 2.5
MAX_ROTATION = math.radians(25)


@one_thread()
def similarity_between(start: Tensor, end: Tensor) -> Similarity:
    """The map from points of `start` to where `end` shows the same; the identity if none fits.

    Scales from 1/2 to 2, rotations to 20 degrees and shifts to two thirds of the frame are found.

    Args:
        start, end: [H, W, 3] uint8, of one size.

    Sources: normalised correlation of masked pictures after Padfield 2012, "Masked object
    registration in the Fourier domain"; refinement by robust least squares with gain and bias.
    """
    levels = [(_luminance(start, side), _luminance(end, side)) for side in SIDES]
    found = [_refine(candidate, *levels[0]) for candidate in _search(*levels[0])]
    best = max(found, key=lambda candidate: _agreement(candidate, *levels[0]))
    for level in levels[1:]:
        best = _refine(best, *level)
    if not _plausible(best) or best.farthest(start.shape[1] / start.shape[0]) < MIN_MOTION:
        return Similarity()
    agreement = _agreement(best, *levels[-1])
    still = _agreement(Similarity(), *levels[-1])
    return best if agreement >= max(MIN_AGREEMENT, still) else Similarity()


def _plausible(motion: Similarity) -> bool:
    scale, rotation = cmath.polar(motion.turn)
    return 1 / MAX_SCALE <= scale <= MAX_SCALE and abs(rotation) <= MAX_ROTATION


def _luminance(picture: Tensor, side: int) -> Tensor:
    """[h, w] float32 in [0, 1], the longer side `side` pixels."""
    height, width, _ = picture.shape
    scale = side / max(height, width)
    size = max(8, round(height * scale)), max(8, round(width * scale))
    rgb = rearrange(picture, "h w c -> 1 c h w").float() / 255
    small = functional.interpolate(rgb, size=size, mode="bilinear", antialias=True)[0]
    return torch.tensordot(torch.tensor([0.299, 0.587, 0.114]), small, 1)


def _texture(luminance: Tensor, width: float) -> Tensor:
    """Luminance without what varies slower than `width` pixels, at even local contrast, [h, w].

    It does not see exposure and slow light, which differ between pictures of one place.
    """
    detail = luminance - _blur(luminance, width)
    contrast = _blur(detail**2, 1.5 * width).sqrt()
    return detail / (contrast + 0.5 * detail.std() + 1e-3)


def _blur(image: Tensor, sigma: float) -> Tensor:
    radius = min(math.ceil(2 * sigma), min(image.shape) - 1)
    kernel = torch.exp(-0.5 * (torch.arange(-radius, radius + 1) / sigma) ** 2)
    kernel = kernel / kernel.sum()
    padded = functional.pad(image[None, None], [radius] * 4, mode="reflect")
    rows = functional.conv2d(padded, kernel.view(1, 1, 1, -1))
    return functional.conv2d(rows, kernel.view(1, 1, -1, 1))[0, 0]


def _textures(motion: Similarity, start: Tensor, end: Tensor, width: float) -> tuple:
    """Both textures, each of the width at which it shows the same things as the other."""
    zoom = abs(motion.turn) ** 0.5
    return _texture(start, width / zoom), _texture(end, width * zoom)


def _sample(images: Tensor, maps: list[Similarity], size: tuple) -> tuple[Tensor, Tensor]:
    """`images` [C, H, W] through each map, [B, C, h, w], and where that is inside, [B, h, w]."""
    grid = sampling_grid(maps, images.shape[-2:], size)
    batch = images.expand(len(maps), -1, -1, -1)
    values = functional.grid_sample(batch, grid, padding_mode="border", align_corners=False)
    return values, (grid.abs().amax(-1) <= 1).float()


def _search(start: Tensor, end: Tensor) -> list[Similarity]:
    """The transforms under which the textures correlate best, one per scale and rotation."""
    start, end = (_texture(image, max(image.shape) / 12) for image in (start, end))
    height, width = start.shape
    margin = height // 4, width // 4
    turns = [cmath.rect(scale, rotation) for scale in SCALES for rotation in ROTATIONS]
    window = height + 2 * margin[0], width + 2 * margin[1]
    ends, inside = _sample(end[None], [Similarity(turn) for turn in turns], window)
    score = _correlation(start, ends[:, 0] * inside, inside)

    # Place d of the correlation is a shift by d - margin. Shifts beyond three quarters of the
    # frame wrap around in a transform of twice its size.
    shifts = [
        (torch.arange(2 * n) - m + n) % (2 * n) - n
        for n, m in zip((height, width), margin, strict=True)
    ]
    score[:, shifts[0].abs() > 0.75 * height] = -1
    score[:, :, shifts[1].abs() > 0.75 * width] = -1
    best, place = rearrange(score, "b h w -> b (h w)").max(1)
    candidates = []
    for index in best.argsort(descending=True)[:CANDIDATES].tolist():
        y, x = divmod(place[index].item(), 2 * width)
        shift = complex(shifts[1][x].item(), shifts[0][y].item()) / width
        candidates.append(Similarity(turns[index], turns[index] * shift))
    return candidates


def _correlation(start: Tensor, ends: Tensor, inside: Tensor) -> Tensor:
    """Correlation of `start` with each of `ends` at every shift, [B, 2h, 2w] in [-1, 1].

    It counts the overlap only, and is weighed down where that is small, as chance is large there.
    """
    height, width = start.shape
    size = 2 * height, 2 * width

    def transform(image: Tensor) -> Tensor:
        return torch.fft.rfft2(image, s=size)

    def correlate(one: Tensor, other: Tensor) -> Tensor:
        return torch.fft.irfft2(one.conj() * other, s=size)

    whole, masks = transform(torch.ones_like(start)), transform(inside)
    product = correlate(transform(start), transform(ends))
    power = correlate(transform(start**2), masks).clamp_min(1e-3)
    powers = correlate(whole, transform(ends**2)).clamp_min(1e-3)
    largest = inside.sum((1, 2)).clamp(max=height * width)
    overlap = correlate(whole, masks) / rearrange(largest, "b -> b 1 1")
    score = product / (power * powers).sqrt() * overlap.clamp(0, 1).sqrt()
    return torch.where(overlap > MIN_OVERLAP, score, -1.0)


def _refine(motion: Similarity, start: Tensor, end: Tensor, steps: int = 8) -> Similarity:
    """`motion` improved by Gauss-Newton steps on the robust difference of the textures."""
    # The wider view is the reference, so that every pixel of the closer one counts.
    if abs(motion.turn) > 1:
        return _refine_into(motion.part(-1), end, start, steps).part(-1)
    return _refine_into(motion, start, end, steps)


def _refine_into(motion: Similarity, start: Tensor, end: Tensor, steps: int) -> Similarity:
    size = start.shape
    start, end = _textures(motion, start, end, max(size) / 16)
    down, across = torch.gradient(end)
    layers = torch.stack([end, across * size[1], down * size[1]])
    for _ in range(steps):
        step = _newton_step(motion, start, layers)
        if step is None:
            break
        motion = Similarity(step.turn * motion.turn, step(motion.shift))
        if step.farthest(size[1] / size[0]) < 0.01 / size[1]:
            break
    return motion


def _newton_step(motion: Similarity, start: Tensor, layers: Tensor) -> Similarity | None:
    """The small map after `motion` that brings the end's texture nearest to the start's.

    `layers` [3, h, w]: the end's texture and its slopes per width. None: too little overlap.
    """
    size = start.shape
    grid = sampling_grid([motion], size, size)[0]
    (values,), (inside,) = _sample(layers, [motion], size)
    if inside.mean() < 0.1:
        return None
    end, across, down = values
    x, y = grid[..., 0] / 2, grid[..., 1] / 2 * size[0] / size[1]
    columns = [across * x + down * y, down * x - across * y, across, down, end]
    design = rearrange([*columns, torch.ones_like(end)], "n h w -> (h w) n")
    target = rearrange(start, "h w -> (h w) 1")

    residual = start - end
    spread = 1.48 * residual[inside > 0].abs().median() + 1e-3
    # Cauchy weights: what moved on its own, or is in one picture only, hardly counts.
    weight = rearrange(inside / (1 + (residual / (2 * spread)) ** 2), "h w -> (h w) 1")
    normal = (design.T @ (design * weight)).double() + 1e-6 * torch.eye(6)
    solved = torch.linalg.solve(normal, (design.T @ (target * weight)).double())
    zoom, rotation, dx, dy, gain, _ = solved[:, 0].tolist()
    # A step farther than the picture's slopes reach is shortened.
    gain = max(gain, 0.3)
    turn, shift = complex(zoom, rotation) / gain, complex(dx, dy) / gain
    shorten = 0.1 / max(0.1, abs(turn), abs(shift))
    return Similarity(1 + shorten * turn, shorten * shift)


def _agreement(motion: Similarity, start: Tensor, end: Tensor) -> float:
    """Share in [0, 1] of the fine texture that agrees under `motion`, block by block."""
    if abs(motion.turn) > 1:
        motion, start, end = motion.part(-1), end, start
    size = start.shape
    # Below two pixels of width only sampling noise is left.
    start, end = _textures(motion, start, end, max(2.0, max(size) / 48))
    (values,), (inside,) = _sample(end[None], [motion], size)
    end, block = values[0], max(4, max(size) // 16)

    def mean(image: Tensor) -> Tensor:
        return functional.avg_pool2d((image * inside)[None], block)[0] / share.clamp_min(1e-3)

    share = functional.avg_pool2d(inside[None], block)[0]
    power_start = mean(start**2) - mean(start) ** 2
    power_end = mean(end**2) - mean(end) ** 2
    common = mean(start * end) - mean(start) * mean(end)
    correlation = common / (power_start * power_end).clamp_min(1e-6).sqrt()
    # Empty blocks say nothing, blocks with texture in one picture only say no.
    weight = (power_start + power_end).clamp_min(0).sqrt() * (share > 0.5)
    return ((correlation > 0.5) * weight).sum().item() / max(weight.sum().item(), 1e-6)
