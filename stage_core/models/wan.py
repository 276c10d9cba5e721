"""The Wan video transformer, with the parameter names of diffusers' WanTransformer3DModel.

Source: Wan Team 2025, arXiv:2503.20314. All prompts of a prediction pass a block together, so an
engine that streams weights fetches each block once; keys and values of the words, which never
change, are made once per prompt.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import ModuleType

import torch
from einops import rearrange
from torch import Tensor, nn

from ..kernels.gate_residual_norm_modulate import (
    Modulation,
    gate_residual,
    gate_residual_norm_modulate,
    norm_modulate,
)
from .wan_layers import (
    THETA,
    Embedders,
    FeedForward,
    Heads,
    PromptAttention,
    Rotation,
    SelfAttention,
    WanConfig,
    affine,
)


@dataclass(eq=False)
class Prompt:
    """What one branch follows: words [1, L, D], what the pictures show [1, P, D] or None.

    `heads`: keys and values that blocks have made of them, by block. Only for the network that
    read it.
    """

    words: Tensor
    sights: Tensor | None
    heads: dict[str, tuple[Heads, Heads | None]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Level:
    """What the noise level, or the two of them, do to tokens.

    `embedding` [R, D] at the end, `modulation` [R, 6, D] in blocks.

    So many tokens as `split` come first that have the first of two levels, 0 where there is one.
    """

    embedding: Tensor
    modulation: Tensor
    split: int


class Wan(nn.Module):
    """Predicts velocities of video latents.

    `ops` is the namespace of its layers, torch.nn or one with the same names (`low_bit`).
    """

    def __init__(self, config: WanConfig, ops: ModuleType = nn):
        super().__init__()
        self.config = config
        width = config.width
        self.patch_embedding = ops.Conv3d(
            config.in_channels, width, config.patch_size, config.patch_size
        )
        self.condition_embedder = Embedders(config, ops)
        self.blocks = nn.ModuleList(
            WanBlock(config, ops, f"blocks.{place}") for place in range(config.num_layers)
        )
        self.norm_out = ops.LayerNorm(width, eps=config.eps, elementwise_affine=False)
        self.proj_out = ops.Linear(width, config.out_channels * math.prod(config.patch_size))
        self.scale_shift_table = nn.Parameter(torch.empty(1, 2, width))

    @property
    def dtype(self) -> torch.dtype:
        """That of tokens, which weights of eight bits do not share."""
        return self.patch_embedding.weight.dtype

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.patch_embedding.weight.device

    @property
    def visited(self) -> tuple[nn.Module, ...]:
        """The blocks in the order in which `forward` visits them."""
        return tuple(self.blocks)

    def read(self, words: Tensor, sights: Tensor | None = None) -> Prompt:
        """The prompt of words [1, L, D_text] and of pictures [1, P, D_image], if it sees any."""
        embedders = self.condition_embedder
        words = embedders.text_embedder(words.to(self.device, self.dtype))
        if sights is not None:
            sights = embedders.image_embedder(sights.to(self.device, self.dtype))
        return Prompt(words, sights)

    def forward(
        self, latents: Tensor, timesteps: Tensor, prompts: Sequence[Prompt], rotation: Rotation
    ) -> tuple[Tensor, ...]:
        """Velocities [1, C_out, T, h, w], one for each prompt.

        Args:
            latents: [1, C_in, T, h, w], with the channels of the condition.
            timesteps: 1000 times the noise level, [1], or [2], the first latent frame's and that
                of all others.
            rotation: from `rotation`.
        """
        shape, level = latents.shape, self.level(timesteps, latents)
        streams = [self.tokens(self.patch_embedding, latents)] * len(prompts)
        for block in self.blocks:
            block(streams, prompts, level, rotation)
        return tuple(self.velocity(stream, level, shape) for stream in streams)

    def level(self, timesteps: Tensor, latents: Tensor) -> Level:
        """What the noise level does to the tokens of latents [1, C, T, h, w]."""
        embedding, modulation = self.condition_embedder.times(timesteps, latents.dtype)
        _, rows, columns = self.config.patch_size
        first = latents.shape[3] // rows * (latents.shape[4] // columns)
        return Level(embedding, modulation, first if len(timesteps) == 2 else 0)

    def tokens(self, embedding: nn.Module, latents: Tensor) -> Tensor:
        """The tokens [1, N, D] that an embedding makes of latents, frame by frame, row by row."""
        return rearrange(embedding(latents), "b d t h w -> b (t h w) d")

    def velocity(self, tokens: Tensor, level: Level, shape: tuple[int, ...]) -> Tensor:
        """Velocities for latents of `shape` from the tokens [1, N, D] after the last block."""
        shift, scale = (self.scale_shift_table + level.embedding[:, None]).float().unbind(1)
        modulation = Modulation(scale[None], shift[None], self.norm_out.eps)
        tokens = self.proj_out(norm_modulate(tokens, modulation, level.split))
        times, high, wide = self.config.patch_size
        return rearrange(
            tokens,
            "b (t h w) (pt ph pw c) -> b c (t pt) (h ph) (w pw)",
            t=shape[2] // times,
            h=shape[3] // high,
            pt=times,
            ph=high,
            pw=wide,
        )

    def rotation(self, times: Tensor, height: int, width: int) -> Rotation:
        """What `forward` needs of the places of all tokens.

        Args:
            times: the place in time of every latent frame, [T], any real numbers.
            height, width: of the latents.
        """
        rows, columns = height // self.config.patch_size[1], width // self.config.patch_size[2]
        axes = times.cpu(), torch.arange(rows), torch.arange(columns)
        grids = torch.meshgrid(*(places.double() for places in axes), indexing="ij")
        side = 2 * (self.config.attention_head_dim // 6)
        sizes = self.config.attention_head_dim - 2 * side, side, side
        angles = []
        for places, size in zip(grids, sizes, strict=True):
            falling = torch.arange(0, size, 2, dtype=torch.float64) / size
            angles.append(places.reshape(-1, 1) * (1.0 / THETA**falling))
        turned = torch.cat(angles, dim=1)
        return turned.cos().float().to(self.device), turned.sin().float().to(self.device)


class WanBlock(nn.Module):
    """One layer: every token meets all others, then the prompt, then itself.

    `name` is where the block keeps its keys and values in a prompt.
    """

    def __init__(self, config: WanConfig, ops: ModuleType, name: str):
        super().__init__()
        self.name = name
        width, eps = config.width, config.eps
        self.norm1 = ops.LayerNorm(width, eps=eps, elementwise_affine=False)
        self.attn1 = SelfAttention(config, ops)
        self.attn2 = PromptAttention(config, ops)
        self.norm2 = ops.LayerNorm(width, eps=eps)
        self.ffn = FeedForward(width, config.ffn_dim, ops)
        self.norm3 = ops.LayerNorm(width, eps=eps, elementwise_affine=False)
        self.scale_shift_table = nn.Parameter(torch.empty(1, 6, width))

    def forward(
        self,
        streams: list[Tensor],
        prompts: Sequence[Prompt],
        level: Level,
        rotation: Rotation,
    ) -> None:
        """Moves the streams [1, N, D] of all prompts on, in the list that holds them."""
        six = (self.scale_shift_table + level.modulation.float())[None].unbind(2)
        for prompt in prompts:
            # Taken out of the list, so that a stream goes when what follows it is there.
            heads = self._heads(prompt)
            streams.append(self._moved(streams.pop(0), heads, (six, level.split), rotation))

    def _heads(self, prompt: Prompt) -> tuple[Heads, Heads | None]:
        if self.name not in prompt.heads:
            prompt.heads[self.name] = self.attn2.heads_of(prompt.words, prompt.sights)
        return prompt.heads[self.name]

    def _moved(
        self,
        tokens: Tensor,
        heads: tuple[Heads, Heads | None],
        modulation: tuple[Sequence[Tensor], int],
        rotation: Rotation,
    ) -> Tensor:
        (shift, scale, gate, last_shift, last_scale, last_gate), split = modulation
        first = Modulation(scale, shift, self.norm1.eps)
        last = Modulation(last_scale, last_shift, self.norm3.eps)
        # One name for all that branches off: what it meant before is gone as soon as it can be.
        branch = self.attn1(norm_modulate(tokens, first, split), rotation)
        tokens, branch = gate_residual_norm_modulate(
            tokens, branch, gate, affine(self.norm2), split
        )
        branch = self.attn2(branch, heads)
        tokens, branch = gate_residual_norm_modulate(tokens, branch, None, last, split)
        branch = self.ffn(branch)
        return gate_residual(tokens, branch, last_gate, split)
