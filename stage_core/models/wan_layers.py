"""The layers of the Wan transformer: attentions, feed-forward, embedders."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from ..kernels.gate_residual_norm_modulate import Affine, norm_modulate
from ..kernels.pieces import in_pieces
from ..kernels.qk_norm_rope_pack import qk_norm_rope_pack

THETA = 10_000.0
_WIDE_TIMES = 4

Bend = Callable[[Tensor], Tensor]
"""A function of every number."""

Rotation = tuple[Tensor, Tensor]
"""Cosines and sines [N, head width / 2] of the places of all tokens."""

Heads = tuple[Tensor, Tensor]
"""Keys and values [1, heads, L, head width]."""


@dataclass(frozen=True)
class WanConfig:
    """Sizes, by the names of diffusers' config.json; the defaults are Wan 2.2 I2V-A14B's."""

    num_layers: int = 40
    num_attention_heads: int = 40
    attention_head_dim: int = 128
    ffn_dim: int = 13824
    in_channels: int = 36
    out_channels: int = 16
    text_dim: int = 4096
    freq_dim: int = 256
    patch_size: tuple[int, int, int] = (1, 2, 2)
    eps: float = 1e-6
    image_dim: int | None = None
    added_kv_proj_dim: int | None = None
    pos_embed_seq_len: int | None = None

    @property
    def width(self) -> int:
        """Width D of a token inside the network."""
        return self.num_attention_heads * self.attention_head_dim


class SelfAttention(nn.Module):
    """Every token meets all others."""

    def __init__(self, config: WanConfig, ops: ModuleType):
        super().__init__()
        self.heads, width = config.num_attention_heads, config.width
        self.to_q, self.to_k, self.to_v = (ops.Linear(width, width) for _ in range(3))
        self.to_out = nn.ModuleList([ops.Linear(width, width)])
        # Over all heads together, unlike in most transformers.
        self.norm_q, self.norm_k = (ops.RMSNorm(width, eps=config.eps) for _ in range(2))

    def forward(self, tokens: Tensor, rotation: Rotation) -> Tensor:
        # No names for what is as large as all tokens: it would stay until the end.
        mixed = functional.scaled_dot_product_attention(
            _placed(self.to_q(tokens), self.norm_q, self.heads, rotation),
            _placed(self.to_k(tokens), self.norm_k, self.heads, rotation),
            _split(self.to_v(tokens), self.heads),
        )
        return self.to_out[0](_joined(mixed))


class PromptAttention(nn.Module):
    """Every token meets the words, and apart from them what the pictures show."""

    def __init__(self, config: WanConfig, ops: ModuleType):
        super().__init__()
        self.heads, width = config.num_attention_heads, config.width
        self.to_q, self.to_k, self.to_v = (ops.Linear(width, width) for _ in range(3))
        self.to_out = nn.ModuleList([ops.Linear(width, width)])
        self.norm_q, self.norm_k = (ops.RMSNorm(width, eps=config.eps) for _ in range(2))
        if config.added_kv_proj_dim is not None:
            self.add_k_proj, self.add_v_proj = (
                ops.Linear(config.added_kv_proj_dim, width) for _ in range(2)
            )
            self.norm_added_k = ops.RMSNorm(width, eps=config.eps)

    def heads_of(self, words: Tensor, sights: Tensor | None) -> tuple[Heads, Heads | None]:
        """Keys and values of words [1, L, D], and those of pictures [1, P, D] if there are any."""
        of_words = (
            _split(self.norm_k(self.to_k(words)), self.heads),
            _split(self.to_v(words), self.heads),
        )
        if sights is None:
            return of_words, None
        return of_words, (
            _split(self.norm_added_k(self.add_k_proj(sights)), self.heads),
            _split(self.add_v_proj(sights), self.heads),
        )

    def forward(self, tokens: Tensor, heads: tuple[Heads, Heads | None]) -> Tensor:
        # Apart, so that the queries are gone when the result is made.
        return self.to_out[0](_joined(self._mixed(tokens, heads)))

    def _mixed(self, tokens: Tensor, heads: tuple[Heads, Heads | None]) -> Tensor:
        queries = _placed(self.to_q(tokens), self.norm_q, self.heads, None)
        of_words, of_sights = heads
        mixed = functional.scaled_dot_product_attention(queries, *of_words)
        if of_sights is not None:
            mixed = mixed + functional.scaled_dot_product_attention(queries, *of_sights)
        return mixed


class FeedForward(nn.Module):
    """Two linear layers with a bend in the wide middle, `out` wide at the end."""

    def __init__(
        self,
        width: int,
        wide: int,
        ops: ModuleType,
        out: int | None = None,
        bend: Bend | None = None,
    ):
        super().__init__()
        # The place in the middle is a dropout's in the library: without it names would differ.
        self.net = nn.Sequential(
            _Bent(width, wide, ops, bend or _gelu_by_tanh),
            nn.Identity(),
            ops.Linear(wide, out or width),
        )

    def forward(self, tokens: Tensor) -> Tensor:
        return in_pieces(self.net, tokens, times=_WIDE_TIMES)


class _Bent(nn.Module):
    def __init__(self, width: int, wide: int, ops: ModuleType, bend: Bend):
        super().__init__()
        self._bend = bend
        self.proj = ops.Linear(width, wide)

    def forward(self, tokens: Tensor) -> Tensor:
        return self._bend(self.proj(tokens))


class Embedders(nn.Module):
    """Noise level, words and pictures at the width of the network."""

    def __init__(self, config: WanConfig, ops: ModuleType):
        super().__init__()
        self._sinusoids = config.freq_dim
        width = config.width
        self.time_embedder = _Pair(config.freq_dim, width, ops, functional.silu)
        self.time_proj = ops.Linear(width, 6 * width)
        self.text_embedder = _Pair(config.text_dim, width, ops, _gelu_by_tanh)
        if config.image_dim is not None:
            self.image_embedder = _ImageEmbedder(config, ops)

    def times(self, timesteps: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """The embedding [R, D] of R timesteps, and what modulates all blocks, [R, 6, D]."""
        half = self._sinusoids // 2
        places = torch.arange(half, device=timesteps.device, dtype=torch.float32)
        angles = timesteps[:, None].float() * torch.exp(-math.log(THETA) * places / half)
        sinusoids = torch.cat([angles.cos(), angles.sin()], dim=1)
        embedding = self.time_embedder(sinusoids.to(self.time_embedder.linear_1.weight.dtype))
        embedding = embedding.to(dtype)
        vector = self.time_proj(functional.silu(embedding))
        return embedding, rearrange(vector, "r (six d) -> r six d", six=6)


class _Pair(nn.Module):
    def __init__(self, inner: int, width: int, ops: ModuleType, bend: Bend):
        super().__init__()
        self._bend = bend
        self.linear_1 = ops.Linear(inner, width)
        self.linear_2 = ops.Linear(width, width)

    def forward(self, vectors: Tensor) -> Tensor:
        return self.linear_2(self._bend(self.linear_1(vectors)))


class _ImageEmbedder(nn.Module):
    """Of Wan 2.1: what the image encoder saw in the ends of a shot, [1, P, D_image]."""

    def __init__(self, config: WanConfig, ops: ModuleType):
        super().__init__()
        inner, places = config.image_dim, config.pos_embed_seq_len
        self.norm1 = ops.LayerNorm(inner)
        self.ff = FeedForward(inner, inner, ops, config.width, functional.gelu)
        self.norm2 = ops.LayerNorm(config.width)
        self.pos_embed = None
        if places is not None:
            self.pos_embed = nn.Parameter(torch.empty(1, places, inner))

    def forward(self, sights: Tensor) -> Tensor:
        if self.pos_embed is not None:
            sights = sights + self.pos_embed[:, : sights.shape[1]]
        inner = self.ff(norm_modulate(sights, affine(self.norm1)))
        return norm_modulate(inner, affine(self.norm2))


def affine(norm: nn.LayerNorm) -> Affine:
    """The weight and bias of a norm that is computed in float32 and rounded once."""
    return Affine(norm.weight, norm.bias, norm.eps)


def _gelu_by_tanh(values: Tensor) -> Tensor:
    return functional.gelu(values, approximate="tanh")


def _placed(tokens: Tensor, norm: nn.RMSNorm, heads: int, rotation: Rotation | None) -> Tensor:
    """Heads [B, heads, N, D], normalised together and at their places, of [B, N, heads D]."""
    batch, length, width = tokens.shape
    made = tokens.new_empty(batch, length, heads, width // heads)
    qk_norm_rope_pack(tokens, norm.weight, rotation, made, norm.eps)
    return rearrange(made, "b n h d -> b h n d")


def _split(tokens: Tensor, heads: int) -> Tensor:
    return rearrange(tokens, "b n (heads d) -> b heads n d", heads=heads)


def _joined(heads: Tensor) -> Tensor:
    return rearrange(heads, "b heads n d -> b n (heads d)")
