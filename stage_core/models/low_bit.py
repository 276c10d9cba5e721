"""Layers whose weights are stored in eight bits and widened where they are used.

A namespace of layers like torch.nn, for the `ops` of our transformers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from ..kernels import dequantise as kernels

Conv3d = nn.Conv3d
LayerNorm = nn.LayerNorm
RMSNorm = nn.RMSNorm

EIGHT_BITS = (torch.float8_e4m3fn, torch.float8_e5m2)
_BLOCK = 64
_ALIGNMENT = 256
_LARGEST = torch.finfo(torch.float8_e4m3fn).max
_LEAST_SCALE = 1e-8


class Linear(nn.Linear):
    """A linear layer of any weight dtype; `scale_weight`, where there is one, multiplies it.

    `wide` is the weight as numbers of that size, where a `Widener` keeps it for a while. Of the
    `adapters` that `lora.attach` gives a layer, those of a weight that is widened join it there;
    a weight that is wide stays as it is and has them beside it.

    A call is `forward` and nothing else: to look for hooks takes Python longer than all of this,
    a dozen times in a block.
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True):
        super().__init__(in_features, out_features, bias)
        self.register_buffer("scale_weight", None)
        self.wide: Tensor | None = None

    def forward(self, tokens: Tensor) -> Tensor:
        # From the registers: by name they take as long as the rest.
        own = self._parameters
        weight = own["weight"]
        if weight.dtype == tokens.dtype and self._buffers["scale_weight"] is None:
            output = functional.linear(tokens, weight, own["bias"])
            return self._adapted(output, tokens) if self._modules else output
        wide = self.wide
        if wide is None or wide.dtype != tokens.dtype:
            wide = torch.empty_like(weight, dtype=tokens.dtype)
            self.widen(wide)
        return functional.linear(tokens, wide, own["bias"])

    __call__ = forward

    def widen(self, out: Tensor) -> None:
        """Write the weight as numbers of the size of `out`, [out, in], the adapters in it."""
        changes = [adapter.change for adapter in self._adapters()]
        kernels.dequantise(self.weight, self.scale_weight, out, changes)

    def quantise(self) -> None:
        """Store the weight in eight bits, unless it is."""
        if self.weight.dtype not in EIGHT_BITS:
            weight, self.scale_weight = quantise(self.weight)
            self.weight = nn.Parameter(weight, requires_grad=False)

    def _adapted(self, output: Tensor, tokens: Tensor) -> Tensor:
        return output + sum(adapter(tokens) for adapter in self._adapters())

    def _adapters(self) -> Iterable[nn.Module]:
        return self._modules.get("adapters", ())


class Widener:
    """Widens the eight-bit weights among layers once for all that is computed with them.

    `dtype` is that of the tokens. The numbers are those that each layer would make itself.
    """

    def __init__(self, dtype: torch.dtype):
        self._dtype = dtype

    def num_bytes(self, layers: Sequence[nn.Module]) -> int:
        """What the wide weights take."""
        return sum(self._room(layer) for layer in _narrow(layers))

    def widen(self, layers: Sequence[nn.Module], room: Tensor) -> None:
        """Let the layers use wide weights, which are put into `room`, uint8."""
        start = 0
        for layer in _narrow(layers):
            weight = layer.weight
            inside = room[start : start + weight.numel() * self._dtype.itemsize]
            layer.wide = inside.view(self._dtype).view(weight.shape)
            layer.widen(layer.wide)
            start += self._room(layer)

    def narrow(self, layers: Sequence[nn.Module]) -> None:
        """Let the layers make their weights wide themselves."""
        for layer in _narrow(layers):
            layer.wide = None

    def _room(self, layer: Linear) -> int:
        return -(-layer.weight.numel() * self._dtype.itemsize // _ALIGNMENT) * _ALIGNMENT


def widener_for(network: nn.Module, dtype: torch.dtype) -> Widener | None:
    """What widens the weights of a network, None where none of them needs it."""
    return Widener(dtype) if _narrow(tuple(network.modules())) else None


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


def fits(scale: Sequence[int], weight: Sequence[int]) -> bool:
    """Whether scales of this shape are such as `dequantise` takes for a weight of that shape."""
    if len(weight) != 2:
        return math.prod(scale) == 1 and len(scale) < 3
    rows, columns = weight
    number = math.prod(scale)
    one_each = tuple(scale) == (rows, 1)
    blocks = number > 0 and len(scale) == 3 and (scale[0], scale[2]) == (rows, 1)
    return number == 1 or one_each or (blocks and columns % scale[1] == 0)


def _narrow(layers: Sequence[nn.Module]) -> list[Linear]:
    return [
        layer for layer in layers if isinstance(layer, Linear) and layer.weight.dtype in EIGHT_BITS
    ]
