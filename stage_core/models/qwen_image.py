"""The Qwen-Image transformer, with the parameter names of diffusers' QwenImageTransformer2DModel.

Source: Wu et al. 2025, arXiv:2508.02324; the two frames of a pair are one tall picture to it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import ModuleType

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

_THETA = 10_000.0
_EPSILON = 1e-6
_SINUSOIDS = 256
_TIME_SCALE = 1000.0

Rotation = tuple[Tensor, Tensor]
"""Rotary factors of text and picture tokens, complex64 [L, D / heads / 2] and [N, D / heads / 2]"""


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

    def __post_init__(self):
        if sum(self.axes_dims_rope) != self.attention_head_dim:
            raise ValueError(
                f"rotary axes {tuple(self.axes_dims_rope)} do not add up to "
                f"{self.attention_head_dim}, the width of an attention head"
            )

    @property
    def width(self) -> int:
        """Width D of a token inside the network."""
        return self.num_attention_heads * self.attention_head_dim


class QwenImage(nn.Module):
    """Predicts velocities of picture tokens: text and pictures in one attention.

    `ops` is the namespace of its layers, torch.nn or one with the same names (`low_bit`).
    """

    def __init__(self, config: QwenImageConfig, ops: ModuleType = nn):
        super().__init__()
        self.config = config
        width = config.width
        self.time_text_embed = _TimeEmbedding(width, ops)
        self.txt_norm = ops.RMSNorm(config.joint_attention_dim, eps=_EPSILON)
        self.img_in = ops.Linear(config.in_channels, width)
        self.txt_in = ops.Linear(config.joint_attention_dim, width)
        self.transformer_blocks = nn.ModuleList(
            _Block(width, config.num_attention_heads, ops) for _ in range(config.num_layers)
        )
        self.norm_out = _FinalNorm(width, ops)
        self.proj_out = ops.Linear(width, config.patch_size**2 * config.out_channels)

    @property
    def dtype(self) -> torch.dtype:
        """That of tokens, which weights of eight bits do not share."""
        return self.txt_norm.weight.dtype

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.txt_norm.weight.device

    def forward(self, tokens: Tensor, text: Tensor, time: Tensor, rotation: Rotation) -> Tensor:
        """Velocities [B, N, 64] of all picture tokens.

        Args:
            tokens: [B, N, 64], those to be denoised, then those of memory frames.
            text: [B, L, D_text], from the text encoder.
            time: noise level in [0, 1], [B], in the dtype of the tokens.
            rotation: from `rotation`.
        """
        picture, text = self.img_in(tokens), self.txt_in(self.txt_norm(text))
        embedding = self.time_text_embed(time, picture.dtype)
        for block in self.transformer_blocks:
            picture, text = block(picture, text, embedding, rotation)
        return self.proj_out(self.norm_out(picture, embedding))

    def rotation(self, text_positions: Tensor, positions: Tensor) -> Rotation:
        """What `forward` needs of the places of text [L, 3] and of picture tokens [N, 3].

        Raises:
            ValueError: positions that are not three to a token.
        """
        for places in (text_positions, positions):
            if places.ndim != 2 or places.shape[1] != 3:
                raise ValueError(f"positions of shape {tuple(places.shape)}; they are [N, 3]")
        axes = self.config.axes_dims_rope
        return rotary_factors(text_positions, axes), rotary_factors(positions, axes)


def rotary_factors(positions: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Rotary factors [N, sum(axes) / 2], complex64, one axis after another.

    Args:
        positions: integers [N, len(axes)].
        axes: how many channels of a head turn with each axis.

    Source: Su et al. 2021, arXiv:2104.09864.
    """
    angles = []
    for axis, size in enumerate(axes):
        falling = torch.arange(0, size, 2, device=positions.device, dtype=torch.float32) / size
        angles.append(positions[:, axis, None].float() * (1.0 / _THETA**falling))
    turned = torch.cat(angles, dim=1)
    return torch.polar(torch.ones_like(turned), turned)


class _TimeEmbedding(nn.Module):
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


class _Block(nn.Module):
    """One layer: both streams are modulated by the noise level and meet in the attention."""

    def __init__(self, width: int, heads: int, ops: ModuleType):
        super().__init__()
        self.img_mod = nn.Sequential(nn.SiLU(), ops.Linear(width, 6 * width))
        self.txt_mod = nn.Sequential(nn.SiLU(), ops.Linear(width, 6 * width))
        self.norm = ops.LayerNorm(width, eps=_EPSILON, elementwise_affine=False)
        self.attn = _JointAttention(width, heads, ops)
        self.img_mlp = _MLP(width, ops)
        self.txt_mlp = _MLP(width, ops)

    def forward(
        self, picture: Tensor, text: Tensor, embedding: Tensor, rotation: Rotation
    ) -> tuple[Tensor, Tensor]:
        text_first, text_second = _modulations(self.txt_mod(embedding))
        first, second = _modulations(self.img_mod(embedding))
        text_mixed, mixed = self.attn(
            text_first.shifted(self.norm(text)), first.shifted(self.norm(picture)), rotation
        )
        text = text + text_first.gate * text_mixed
        picture = picture + first.gate * mixed
        text = text + text_second.gate * self.txt_mlp(text_second.shifted(self.norm(text)))
        picture = picture + second.gate * self.img_mlp(second.shifted(self.norm(picture)))
        return picture, text


@dataclass(frozen=True, eq=False)
class _Modulation:
    """What the noise level does to one half of a block; each [B, 1, D]."""

    shift: Tensor
    scale: Tensor
    gate: Tensor

    def shifted(self, normed: Tensor) -> Tensor:
        return normed * (1 + self.scale) + self.shift


def _modulations(vector: Tensor) -> tuple[_Modulation, _Modulation]:
    """For the attention and for the MLP, from [B, 6 D]."""
    six = rearrange(vector, "b (six d) -> six b 1 d", six=6)
    return _Modulation(*six[:3]), _Modulation(*six[3:])


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
            ops.RMSNorm(head_width, eps=_EPSILON) for _ in range(4)
        )

    def forward(self, text: Tensor, picture: Tensor, rotation: Rotation) -> tuple[Tensor, Tensor]:
        text_rotation, picture_rotation = rotation
        text_heads = (
            _rotate(self.norm_added_q(self._split(self.add_q_proj(text))), text_rotation),
            _rotate(self.norm_added_k(self._split(self.add_k_proj(text))), text_rotation),
            self._split(self.add_v_proj(text)),
        )
        picture_heads = (
            _rotate(self.norm_q(self._split(self.to_q(picture))), picture_rotation),
            _rotate(self.norm_k(self._split(self.to_k(picture))), picture_rotation),
            self._split(self.to_v(picture)),
        )
        joint = (torch.cat(both, dim=2) for both in zip(text_heads, picture_heads, strict=True))
        mixed = functional.scaled_dot_product_attention(*joint)
        mixed = rearrange(mixed, "b heads n d -> b n (heads d)")
        text_mixed, picture_mixed = mixed.split([text.shape[1], picture.shape[1]], dim=1)
        return self.to_add_out(text_mixed), self.to_out[0](picture_mixed)

    def _split(self, tokens: Tensor) -> Tensor:
        return rearrange(tokens, "b n (heads d) -> b heads n d", heads=self.heads)


class _MLP(nn.Module):
    def __init__(self, width: int, ops: ModuleType):
        super().__init__()
        # The place in the middle is a dropout's in the library: without it names would differ.
        self.net = nn.Sequential(
            _GELU(width, 4 * width, ops), nn.Identity(), ops.Linear(4 * width, width)
        )

    def forward(self, tokens: Tensor) -> Tensor:
        return self.net(tokens)


class _GELU(nn.Module):
    def __init__(self, width: int, wide: int, ops: ModuleType):
        super().__init__()
        self.proj = ops.Linear(width, wide)

    def forward(self, tokens: Tensor) -> Tensor:
        return functional.gelu(self.proj(tokens), approximate="tanh")


class _FinalNorm(nn.Module):
    def __init__(self, width: int, ops: ModuleType):
        super().__init__()
        self.norm = ops.LayerNorm(width, eps=_EPSILON, elementwise_affine=False)
        self.linear = ops.Linear(width, 2 * width)

    def forward(self, tokens: Tensor, embedding: Tensor) -> Tensor:
        modulation = self.linear(functional.silu(embedding))
        # Scale before shift, the other way round than in the blocks.
        scale, shift = rearrange(modulation, "b (two d) -> two b 1 d", two=2)
        return self.norm(tokens) * (1 + scale) + shift


def _rotate(heads: Tensor, rotation: Tensor) -> Tensor:
    """Pairs of channels of [B, heads, N, D] turned by [N, D / 2], in float32."""
    pairs = rearrange(heads.float(), "b h n (d two) -> b h n d two", two=2).contiguous()
    turned = torch.view_as_real(torch.view_as_complex(pairs) * rotation)
    return rearrange(turned, "b h n d two -> b h n (d two)").to(heads.dtype)
