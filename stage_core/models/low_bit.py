"""Layers whose weights are stored in eight bits and widened where they are used.

A namespace of layers like torch.nn, for the `ops` of our transformers.
"""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

LayerNorm = nn.LayerNorm
RMSNorm = nn.RMSNorm

EIGHT_BITS = (torch.float8_e4m3fn, torch.float8_e5m2)
_BLOCK = 64
_LARGEST = torch.finfo(torch.float8_e4m3fn).max
_LEAST_SCALE = 1e-8


class Linear(nn.Linear):
    """A linear layer of any weight dtype; `scale_weight`, where there is one, multiplies it."""

    def __init__(self, in_features: int, out_features: int, bias: bool = True):
        super().__init__(in_features, out_features, bias)
        self.register_buffer("scale_weight", None)

    def forward(self, tokens: Tensor) -> Tensor:
        weight = dequantise(self.weight, self.scale_weight).to(tokens.dtype)
        return functional.linear(tokens, weight, self.bias)

    def quantise(self) -> None:
        """Store the weight in eight bits, unless it is."""
        if self.weight.dtype not in EIGHT_BITS:
            weight, self.scale_weight = quantise(self.weight)
            self.weight = nn.Parameter(weight, requires_grad=False)


def quantise(weight: Tensor) -> tuple[Tensor, Tensor]:
    """A weight [out, in] as float8_e4m3fn, and the scales that give it back, in its dtype.

    One scale for every 64 inputs of an output, [out, in / 64, 1]; if 64 does not divide the
    inputs, one for each output, [out, 1]. As the release does it.
    """
    divides = weight.shape[1] % _BLOCK == 0
    groups = rearrange(weight, "o (b i) -> o b i", i=_BLOCK) if divides else weight
    scale = groups.abs().amax(dim=-1, keepdim=True).div(_LARGEST).clamp_min(_LEAST_SCALE)
    small = (groups / scale).clamp(-_LARGEST, _LARGEST).to(torch.float8_e4m3fn)
    return small.reshape(weight.shape), scale


def dequantise(weight: Tensor, scale: Tensor | None) -> Tensor:
    """The weight in the dtype of its scale; as it is where it has none.

    A scale is one number, one per output [out, 1], or one per output and block [out, b, 1].
    """
    if scale is None:
        return weight
    wide = weight.to(scale.dtype)
    if scale.ndim < 3:
        return wide * scale
    return (rearrange(wide, "o (b i) -> o b i", b=scale.shape[1]) * scale).reshape(wide.shape)
