"""The layers of the Qwen-Image transformer, for several sequences at a time.

Source: Wu et al. 2025, arXiv:2508.02324; parameter names are those of diffusers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from ..kernels.gate_residual_norm_modulate import (
    Modulation,
    gate_residual,
    gate_residual_norm_modulate,
    norm_modulate,
)
from ..kernels.qk_norm_rope_pack import qk_norm_rope_pack
from .modulation import applied_on

_THETA = 10_000.0
EPSILON = 1e-6
_SINUSOIDS = 256
_TIME_SCALE = 1000.0
# The wide inner layer of a feed-forward and float32 copies exist for so many tokens at once.
_CHUNK = 2048

Rotation = tuple[Tensor, Tensor]
"""Rotary factors of text and picture tokens, complex64 [L, D / heads / 2] and [N, D / heads / 2]"""


State = tuple[Tensor, Tensor]
"""What a sequence is between blocks: its pictures [B, N, D] and its words [B, L, D]."""


@dataclass(frozen=True)
class QwenImageConfig:
    """Sizes, by the names of diffusers' config.json; the defaults are the released model's."""

    num_layers: int = 60
    attention_head_dim: int = 128
    num_attention_heads: int = 24
    joint_attention_dim: int = 3584
    axes_dims_rope: tuple[int, int, int] = (16, 56, 56)
    in_channels: int = 64
    out_channels: int = 16
    patch_size: int = 2
    zero_cond_t: bool = False

    def __post_init__(self):
        if sum(self.axes_dims_rope) != self.attention_head_dim:
            raise ValueError(
                f"rotary axes {tuple(self.axes_dims_rope)} do not add up to "
                f"{self.attention_head_dim}, the width of an attention head"
            )

    @property
    def num_times(self) -> int:
        """Of how many times an embedding is: its own, and zero for what is without noise."""
        return 2 if self.zero_cond_t else 1

    @property
    def width(self) -> int:
        """Width D of a token inside the network."""
        return self.num_attention_heads * self.attention_head_dim


@dataclass(frozen=True, eq=False)
class JointTokens:
    """Pictures and words that attend to each other: one guidance branch of one shot.

    `tokens` [B, N, 64] of the pictures, those to be denoised first. `words` [B, L, D] are from
    `QwenImage.words`, `rotation` from `QwenImage.rotation`. Of a model with `zero_cond_t` tokens
    from `num_noisy` on are without noise; None: all have the same.
    """

    tokens: Tensor
    words: Tensor
    rotation: Rotation
    num_noisy: int | None = None


class TimeEmbedding(nn.Module):
    def __init__(self, width: int, ops: ModuleType):
        super().__init__()
        self.timestep_embedder = _TimeMLP(width, ops)

    def forward(self, time: Tensor, dtype: torch.dtype) -> Tensor:
        half = _SINUSOIDS // 2
        places = torch.arange(half, device=time.device, dtype=torch.float32)
        frequencies = torch.exp(-math.log(_THETA) * places / half)
        angles = _TIME_SCALE * (time[:, None].float() * frequencies)
        sinusoids = torch.cat([angles.cos(), angles.sin()], dim=1)
        return self.timestep_embedder(sinusoids.to(dtype))


class _TimeMLP(nn.Module):
    def __init__(self, width: int, ops: ModuleType):
        super().__init__()
        self.linear_1 = ops.Linear(_SINUSOIDS, width)
        self.linear_2 = ops.Linear(width, width)

    def forward(self, sinusoids: Tensor) -> Tensor:
        return self.linear_2(functional.silu(self.linear_1(sinusoids)))


class QwenBlock(nn.Module):
    """One layer: both streams are modulated by the noise level and meet in the attention."""

    def __init__(self, config: QwenImageConfig, ops: ModuleType):
        super().__init__()
        width, heads = config.width, config.num_attention_heads
        self._times = config.num_times
        self.img_mod = nn.Sequential(nn.SiLU(), ops.Linear(width, 6 * width))
        self.txt_mod = nn.Sequential(nn.SiLU(), ops.Linear(width, 6 * width))
        self.attn = _JointAttention(width, heads, ops)
        self.img_mlp = _MLP(width, ops)
        self.txt_mlp = _MLP(width, ops)

    def forward(
        self,
        states: list[State],
        sequences: Sequence[JointTokens],
        embedding: Tensor,
        rows: tuple[Tensor, ...] | None,
    ) -> list[State]:
        """Pictures and words of every sequence, one layer on."""
        rows = rows or (self.img_mod(embedding), self.txt_mod(self._noisy(embedding)))
        words = _halves(rows[1], 1, 0)
        made: dict[int | None, tuple[_Half, _Half]] = {}
        following = []
        for (picture, text), one in zip(states, sequences, strict=True):
            num_noisy = one.num_noisy if self._times == 2 else None
            if num_noisy not in made:
                made[num_noisy] = self._picture_changes(rows[0], num_noisy)
            following.append(self._one(picture, text, one.rotation, (*made[num_noisy], *words)))
        return following

    def modulations(self, embeddings: Sequence[Tensor]) -> list[tuple[Tensor, ...]]:
        """What `forward` takes as `rows`, for each embedding."""
        pictures = applied_on(self.img_mod, embeddings)
        texts = applied_on(self.txt_mod, [self._noisy(one) for one in embeddings])
        return list(zip(pictures, texts, strict=True))

    def level_layers(self) -> tuple[nn.Module, nn.Module]:
        """The linear layers that see the noise level alone."""
        return self.img_mod[1], self.txt_mod[1]

    def _noisy(self, rows: Tensor) -> Tensor:
        """Of rows for both times those of the noise level itself."""
        return rows[: len(rows) // self._times]

    def _picture_changes(self, row: Tensor, num_noisy: int | None) -> tuple[_Half, _Half]:
        if num_noisy is None:
            return _halves(self._noisy(row), 1, 0)
        return _halves(row, 2, num_noisy)

    def _one(
        self, picture: Tensor, text: Tensor, rotation: Rotation, changes: tuple[_Half, ...]
    ) -> State:
        first, second, text_first, text_second = changes
        text_mixed, mixed = self.attn(
            norm_modulate(text, text_first.norm),
            norm_modulate(picture, first.norm, first.split),
            rotation,
        )
        text, shifted_text = gate_residual_norm_modulate(
            text, text_mixed, text_first.gate, text_second.norm
        )
        picture, shifted = gate_residual_norm_modulate(
            picture, mixed, first.gate, second.norm, first.split
        )
        text = gate_residual(text, self.txt_mlp(shifted_text), text_second.gate)
        picture = gate_residual(picture, self.img_mlp(shifted), second.gate, second.split)
        return picture, text


class _Half(NamedTuple):
    """What the noise level does to one half of a block: before it, and to its result.

    The gate is [B, R, D]; R is 2 where tokens from `split` on are without noise.
    """

    norm: Modulation
    gate: Tensor
    split: int


def _halves(row: Tensor, ranges: int, split: int) -> tuple[_Half, _Half]:
    """For the attention and for the MLP, from [R B, 6 D]."""
    row = row.unflatten(0, (ranges, -1)).transpose(0, 1)  # [B, R, 6 D]
    shift, scale, gate, other_shift, other_scale, other_gate = row.chunk(6, dim=-1)
    return (
        _Half(Modulation(scale, shift), gate, split),
        _Half(Modulation(other_scale, other_shift), other_gate, split),
    )


class _JointAttention(nn.Module):
    def __init__(self, width: int, heads: int, ops: ModuleType):
        super().__init__()
        self.heads = heads
        self.to_q, self.to_k, self.to_v = (ops.Linear(width, width) for _ in range(3))
        self.add_q_proj, self.add_k_proj, self.add_v_proj = (
            ops.Linear(width, width) for _ in range(3)
        )
        self.to_out = nn.ModuleList([ops.Linear(width, width)])
        self.to_add_out = ops.Linear(width, width)
        head_width = width // heads
        self.norm_q, self.norm_k, self.norm_added_q, self.norm_added_k = (
            ops.RMSNorm(head_width, eps=EPSILON) for _ in range(4)
        )

    def forward(self, text: Tensor, picture: Tensor, rotation: Rotation) -> tuple[Tensor, Tensor]:
        query = self._joint(
            self.add_q_proj(text), self.norm_added_q, self.to_q(picture), self.norm_q, rotation
        )
        key = self._joint(
            self.add_k_proj(text), self.norm_added_k, self.to_k(picture), self.norm_k, rotation
        )
        value = torch.cat([self.add_v_proj(text), self.to_v(picture)], dim=1)
        mixed = functional.scaled_dot_product_attention(query, key, self._split(value))
        mixed = mixed.transpose(1, 2).flatten(2)  # [B, L + N, D]
        length = text.shape[1]
        return self.to_add_out(mixed[:, :length]), self.to_out[0](mixed[:, length:])

    def _joint(
        self,
        text: Tensor,
        text_norm: nn.Module,
        picture: Tensor,
        picture_norm: nn.Module,
        rotation: Rotation,
    ) -> Tensor:
        """Heads [B, heads, L + N, D / heads] of both streams, each normed and turned."""
        batch, length, width = text.shape
        joint = text.new_empty(batch, length + picture.shape[1], self.heads, width // self.heads)
        weight, other = text_norm.weight, picture_norm.weight
        qk_norm_rope_pack(text, weight, rotation[0], joint[:, :length], text_norm.eps)
        qk_norm_rope_pack(picture, other, rotation[1], joint[:, length:], picture_norm.eps)
        return joint.transpose(1, 2)

    def _split(self, tokens: Tensor) -> Tensor:
        return tokens.unflatten(2, (self.heads, -1)).transpose(1, 2)


class _MLP(nn.Module):
    def __init__(self, width: int, ops: ModuleType):
        super().__init__()
        # The place in the middle is a dropout's in the library: without it names would differ.
        self.net = nn.ModuleList(
            [_Widening(width, 4 * width, ops), nn.Identity(), ops.Linear(4 * width, width)]
        )

    def forward(self, tokens: Tensor) -> Tensor:
        chunks = -(-tokens.shape[1] // _CHUNK)
        if chunks <= 1:
            return self._whole(tokens)
        # Each is as wide as a whole one only while it is computed. All are of one length: a
        # library may round a product of few rows otherwise.
        return torch.cat([self._whole(some) for some in tokens.chunk(chunks, dim=1)], dim=1)

    def _whole(self, tokens: Tensor) -> Tensor:
        first, _, last = self.net
        return last(functional.gelu(first.proj(tokens), approximate="tanh"))


class _Widening(nn.Module):
    """There for its name: in the library the first layer bends what it gives."""

    def __init__(self, width: int, wide: int, ops: ModuleType):
        super().__init__()
        self.proj = ops.Linear(width, wide)


class FinalNorm(nn.Module):
    def __init__(self, width: int, ops: ModuleType):
        super().__init__()
        self.linear = ops.Linear(width, 2 * width)

    def forward(self, tokens: Tensor, embedding: Tensor) -> Tensor:
        modulation = self.linear(functional.silu(embedding))
        # Scale before shift, the other way round than in the blocks.
        scale, shift = rearrange(modulation, "b (two d) -> two b 1 d", two=2)
        return norm_modulate(tokens, Modulation(scale, shift))
