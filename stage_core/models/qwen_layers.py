"""The layers of the Qwen-Image transformer, for several sequences at a time.

Source: Wu et al. 2025, arXiv:2508.02324; parameter names are those of diffusers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType

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


@dataclass(frozen=True, eq=False)
class Half:
    """What the noise level does to one half of a block: before it, and to its result.

    The gate is [B, R, D]; R is 2 where some tokens are without noise.
    """

    norm: Modulation
    gate: Tensor


Halves = tuple[Half, Half]
"""That of the attention and that of the MLP."""


@dataclass(frozen=True, eq=False)
class BlockLevel:
    """What the noise level does in one block.

    To words, to the pictures of a sequence whose tokens all have it, and, in a model with
    `zero_cond_t`, to those of one where some are without noise.
    """

    words: Halves
    pictures: Halves
    two_times: Halves | None


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
        level: BlockLevel | None,
    ) -> list[State]:
        """Pictures and words of every sequence, one layer on."""
        level = level or self._level(self.img_mod(embedding), self.txt_mod(self._noisy(embedding)))
        following = []
        for (picture, text), one in zip(states, sequences, strict=True):
            split = one.num_noisy if self._times == 2 else None
            pictures = level.pictures if split is None else level.two_times
            following.append(
                self._one(picture, text, one.rotation, level.words, pictures, split or 0)
            )
        return following

    def levels(self, embeddings: Sequence[Tensor]) -> list[BlockLevel]:
        """What `forward` takes as `level`, for each embedding."""
        pictures = applied_on(self.img_mod, embeddings)
        texts = applied_on(self.txt_mod, [self._noisy(one) for one in embeddings])
        return list(map(self._level, pictures, texts))

    def level_layers(self) -> tuple[nn.Module, nn.Module]:
        """The linear layers that see the noise level alone."""
        return self.img_mod[1], self.txt_mod[1]

    def _level(self, picture: Tensor, text: Tensor) -> BlockLevel:
        """From rows for the pictures [R B, 6 D], of one time or of two, and for the words."""
        two_times = _halves(picture, 2) if self._times == 2 else None
        return BlockLevel(_halves(text, 1), _halves(self._noisy(picture), 1), two_times)

    def _noisy(self, rows: Tensor) -> Tensor:
        """Of rows for both times those of the noise level itself."""
        return rows[: len(rows) // self._times]

    def _one(
        self,
        picture: Tensor,
        text: Tensor,
        rotation: Rotation,
        of_text: Halves,
        of_picture: Halves,
        split: int,
    ) -> State:
        parts = self._modules
        text_first, text_second = of_text
        first, second = of_picture
        text_mixed, mixed = parts["attn"].mixed(
            norm_modulate(text, text_first.norm),
            norm_modulate(picture, first.norm, split),
            rotation,
        )
        text, shifted_text = gate_residual_norm_modulate(
            text, text_mixed, text_first.gate, text_second.norm
        )
        picture, shifted = gate_residual_norm_modulate(
            picture, mixed, first.gate, second.norm, split
        )
        text = gate_residual(text, parts["txt_mlp"].widened(shifted_text), text_second.gate)
        picture = gate_residual(picture, parts["img_mlp"].widened(shifted), second.gate, split)
        return picture, text


def _halves(rows: Tensor, times: int) -> Halves:
    """From rows [R B, 6 D] of so many times."""
    rows = rows.unflatten(0, (times, -1)).transpose(0, 1)  # [B, R, 6 D]
    shift, scale, gate, other_shift, other_scale, other_gate = rows.chunk(6, dim=-1)
    return (
        Half(Modulation(scale, shift), gate),
        Half(Modulation(other_scale, other_shift), other_gate),
    )


class _JointAttention(nn.Module):
    """An attention that is no call of a module, and whose layers are taken from the register.

    By a call, and by their names, they take Python longer than all else around the work does.
    """

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

    def mixed(self, text: Tensor, picture: Tensor, rotation: Rotation) -> tuple[Tensor, Tensor]:
        """Words [B, L, D] and pictures [B, N, D] after they have met."""
        own = self._modules
        queries = self._joint(
            own["add_q_proj"](text),
            own["norm_added_q"],
            own["to_q"](picture),
            own["norm_q"],
            rotation,
        )
        keys = self._joint(
            own["add_k_proj"](text),
            own["norm_added_k"],
            own["to_k"](picture),
            own["norm_k"],
            rotation,
        )
        values = torch.cat([own["add_v_proj"](text), own["to_v"](picture)], dim=1)
        values = values.unflatten(2, (self.heads, -1)).transpose(1, 2)
        mixed = functional.scaled_dot_product_attention(queries, keys, values)
        mixed = mixed.transpose(1, 2).flatten(2)  # [B, L + N, D]
        length = text.shape[1]
        out = own["to_out"]._modules["0"]
        return own["to_add_out"](mixed[:, :length]), out(mixed[:, length:])

    def _joint(
        self,
        text: Tensor,
        text_norm: nn.Module,
        picture: Tensor,
        norm: nn.Module,
        rotation: Rotation,
    ) -> Tensor:
        """Heads [B, heads, L + N, D / heads] of both streams, each normed and turned."""
        batch, length, width = text.shape
        joint = text.new_empty(batch, length + picture.shape[1], self.heads, width // self.heads)
        weight, other = text_norm._parameters["weight"], norm._parameters["weight"]
        qk_norm_rope_pack(text, weight, rotation[0], joint[:, :length], text_norm.eps)
        qk_norm_rope_pack(picture, other, rotation[1], joint[:, length:], norm.eps)
        return joint.transpose(1, 2)


class _MLP(nn.Module):
    def __init__(self, width: int, ops: ModuleType):
        super().__init__()
        # The place in the middle is a dropout's in the library: without it names would differ.
        self.net = nn.ModuleList(
            [_Widening(width, 4 * width, ops), nn.Identity(), ops.Linear(4 * width, width)]
        )

    def widened(self, tokens: Tensor) -> Tensor:
        """Tokens [B, N, D] through the wide layer and back."""
        length = tokens.shape[1]
        if length <= _CHUNK:
            return self._whole(tokens)
        # Each is as wide as a whole one only while it is computed. All are of one length: a
        # library may round a product of few rows otherwise.
        chunks = -(-length // _CHUNK)
        return torch.cat([self._whole(some) for some in tokens.chunk(chunks, dim=1)], dim=1)

    def _whole(self, tokens: Tensor) -> Tensor:
        layers = self._modules["net"]._modules
        wide = layers["0"]._modules["proj"](tokens)
        return layers["2"](functional.gelu(wide, approximate="tanh"))


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
