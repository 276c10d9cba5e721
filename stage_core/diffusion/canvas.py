"""The canvas: start and end frame of a shot as one picture of double height, start above end."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor

PATCH = 2


def pair_noise(shape: tuple[int, ...], seed: int) -> Tensor:
    """Standard normal noise for a pair, [2, *shape] float32 on the CPU, `shape` one frame's.

    Start and end are two successive draws, so they are the same wherever and in whatever dtype a
    model computes; one draw of the taller canvas would be other noise.
    """
    generator = torch.Generator().manual_seed(seed)
    frames = [torch.randn(shape, generator=generator, dtype=torch.float32) for _ in range(2)]
    return torch.stack(frames)


def stack_pair(pair: Tensor) -> Tensor:
    """The canvas [B, C, 2h, w] of the frames [2, B, C, h, w]."""
    return rearrange(pair, "frames b c h w -> b c (frames h) w", frames=2)


def split_pair(canvas: Tensor) -> Tensor:
    """The frames [2, B, C, h, w] of a canvas [B, C, 2h, w], start first."""
    return rearrange(canvas, "b c (frames h) w -> frames b c h w", frames=2)


def patchify(latents: Tensor) -> Tensor:
    """Tokens [B, h/2 w/2, 4 C] of latents [B, C, h, w], row by row, channel outermost in each.

    Of a canvas they are the start frame's tokens followed by the end frame's.
    """
    return rearrange(latents, "b c (h ph) (w pw) -> b (h w) (c ph pw)", ph=PATCH, pw=PATCH)


def unpatchify(tokens: Tensor, height: int) -> Tensor:
    """Latents [B, C, h, w] of the tokens that `patchify` made of latents of this `height` h."""
    return rearrange(
        tokens,
        "b (h w) (c ph pw) -> b c (h ph) (w pw)",
        h=height // PATCH,
        ph=PATCH,
        pw=PATCH,
    )
