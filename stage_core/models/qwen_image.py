"""The Qwen-Image transformer, with the parameter names of diffusers' QwenImageTransformer2DModel.

Source: Wu et al. 2025, arXiv:2508.02324; the two frames of a pair are one tall picture to it.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from types import ModuleType

import torch
from torch import Tensor, nn

from .modulation import ModulationTable, NoiseLevel
from .qwen_layers import (
    EPSILON,
    FinalNorm,
    JointTokens,
    QwenBlock,
    QwenImageConfig,
    Rotation,
    TimeEmbedding,
)

_THETA = 10_000.0
_LEVEL_LAYERS = (".img_mod.", ".txt_mod.")


class QwenImage(nn.Module):
    """Predicts velocities of picture tokens: text and pictures in one attention.

    `ops` is the namespace of its layers, torch.nn or one with the same names (`low_bit`).
    """

    def __init__(self, config: QwenImageConfig, ops: ModuleType = nn):
        super().__init__()
        self.config = config
        width = config.width
        self.time_text_embed = TimeEmbedding(width, ops)
        self.txt_norm = ops.RMSNorm(config.joint_attention_dim, eps=EPSILON)
        self.img_in = ops.Linear(config.in_channels, width)
        self.txt_in = ops.Linear(config.joint_attention_dim, width)
        self.transformer_blocks = nn.ModuleList(
            QwenBlock(config, ops) for _ in range(config.num_layers)
        )
        self.norm_out = FinalNorm(width, ops)
        self.proj_out = ops.Linear(width, config.patch_size**2 * config.out_channels)
        self._table = ModulationTable()

    @property
    def dtype(self) -> torch.dtype:
        """That of tokens, which weights of eight bits do not share."""
        return self.txt_norm.weight.dtype

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.txt_norm.weight.device

    def forward(self, tokens: Tensor, text: Tensor, time: Tensor, rotation: Rotation) -> Tensor:
        """Velocities [B, N, 64] of all picture tokens, everything computed here and now.

        Args:
            tokens: [B, N, 64], those to be denoised, then those of memory frames.
            text: [B, L, D_text], from the text encoder.
            time: noise level in [0, 1], [B], in the dtype of the tokens.
            rotation: from `rotation`.
        """
        joint = JointTokens(tokens, self.words(text), rotation)
        return self.forward_many([joint], NoiseLevel(self._embedding(time)))[0]

    def forward_many(self, sequences: Sequence[JointTokens], level: NoiseLevel) -> list[Tensor]:
        """Velocities [B, N, 64] of each sequence, all at one noise level.

        Every block is visited once for all of them: where weights stream, guidance and further
        shots cost no further transfer.
        """
        states = [(self.img_in(one.tokens), one.words) for one in sequences]
        for place, block in enumerate(self.transformer_blocks):
            own = level.blocks[place] if level.blocks else None
            states = block(states, sequences, level.embedding, own)
        noisy = level.embedding[: level.embedding.shape[0] // self.config.num_times]
        return [self.proj_out(self.norm_out(picture, noisy)) for picture, _ in states]

    def words(self, text: Tensor) -> Tensor:
        """What the blocks read of a prompt's encoding [B, L, D_text]: [B, L, D], once a prompt."""
        return self.txt_in(self.txt_norm(text))

    def levels(self, times: Tensor) -> list[NoiseLevel]:
        """Noise levels at `times` [T] on the CPU, in the tokens' dtype, each made once and kept.

        Only here are the weights of `is_level_only` used. They may be on another device.
        """
        return self._table.levels(self._level_weights(), times, self._make_levels)

    @property
    def num_levels_made(self) -> int:
        """How many noise levels were computed so far, and not found in the table."""
        return self._table.made

    @torch.no_grad()
    def _make_levels(self, times: Tensor) -> list[NoiseLevel]:
        embeddings = [self._embedding(time[None].to(self.device)) for time in times]
        by_block = [block.levels(embeddings) for block in self.transformer_blocks]
        by_level = zip(*by_block, strict=True)
        return [NoiseLevel(*made) for made in zip(embeddings, by_level, strict=True)]

    def _embedding(self, time: Tensor) -> Tensor:
        times = torch.cat([time, 0 * time][: self.config.num_times])
        return self.time_text_embed(times, self.dtype)

    def _level_weights(self) -> Hashable:
        """Names the adapters on layers that see the noise level alone, with their strength."""
        layers = (block.level_layers() for block in self.transformer_blocks)
        adapters = (a for pair in layers for layer in pair for a in getattr(layer, "adapters", ()))
        return tuple((adapter, adapter.strength) for adapter in adapters)

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


def is_level_only(name: str) -> bool:
    """Whether a parameter of a block sees the noise level alone, so that `levels` replaces it."""
    return any(layer in name for layer in _LEVEL_LAYERS)


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
