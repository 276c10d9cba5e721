"""The Wan transformer led by a video with gaps, with the names of WanVACETransformer3DModel.

Source: Jiang et al. 2025, arXiv:2503.07598. Beside some blocks runs one that reads the control and
adds its hint.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType

from torch import Tensor, nn

from .wan import Level, Prompt, Wan, WanBlock
from .wan_layers import Rotation, WanConfig


@dataclass(frozen=True)
class VaceConfig(WanConfig):
    """Sizes, by the names of diffusers' config.json; the defaults are Wan 2.1 VACE-14B's."""

    in_channels: int = 16
    vace_layers: tuple[int, ...] = (0, 5, 10, 15, 20, 25, 30, 35)
    vace_in_channels: int = 96

    def __post_init__(self):
        if self.vace_layers[:1] != (0,) or self.vace_layers[-1] >= self.num_layers:
            raise ValueError(
                f"control layers {self.vace_layers}; the first is 0 and the last less than "
                f"{self.num_layers}"
            )


class WanVace(Wan):
    """Predicts velocities of video latents beside which the control lies."""

    def __init__(self, config: VaceConfig, ops: ModuleType = nn):
        super().__init__(config, ops)
        self.vace_patch_embedding = ops.Conv3d(
            config.vace_in_channels, config.width, config.patch_size, config.patch_size
        )
        self.vace_blocks = nn.ModuleList(
            _ControlBlock(config, ops, place) for place in range(len(config.vace_layers))
        )

    @property
    def visited(self) -> tuple[nn.Module, ...]:
        """The blocks in the order in which `forward` visits them."""
        hinting = dict(zip(self.config.vace_layers, self.vace_blocks, strict=True))
        both = ((block, hinting.get(place)) for place, block in enumerate(self.blocks))
        return tuple(block for pair in both for block in pair if block is not None)

    def forward(
        self, latents: Tensor, timesteps: Tensor, prompts: Sequence[Prompt], rotation: Rotation
    ) -> tuple[Tensor, ...]:
        """As of `Wan`; the first channels of `latents` are the video's, the others control."""
        config = self.config
        own, control = latents.split([config.in_channels, config.vace_in_channels], dim=1)
        tokens, level = self.tokens(self.patch_embedding, own), self.level(timesteps, own)
        controls = [self.tokens(self.vace_patch_embedding, control)] * len(prompts)
        hinting = dict(zip(config.vace_layers, self.vace_blocks, strict=True))
        streams = [tokens] * len(prompts)
        for place, block in enumerate(self.blocks):
            block(streams, prompts, level, rotation)
            if place in hinting:
                # A hint does not depend on the stream that it is added to.
                for hint in hinting[place](controls, prompts, level, rotation, tokens):
                    streams.append(streams.pop(0) + hint)
        return tuple(self.velocity(stream, level, own.shape) for stream in streams)


class _ControlBlock(WanBlock):
    """A block whose stream is the control; the first one adds the tokens to it."""

    def __init__(self, config: VaceConfig, ops: ModuleType, place: int):
        super().__init__(config, ops, f"vace_blocks.{place}")
        self.proj_in = ops.Linear(config.width, config.width) if place == 0 else None
        self.proj_out = ops.Linear(config.width, config.width)

    def forward(
        self,
        streams: list[Tensor],
        prompts: Sequence[Prompt],
        level: Level,
        rotation: Rotation,
        tokens: Tensor,
    ) -> list[Tensor]:
        """Moves the controls on, in the list that holds them; the hints that they give."""
        if self.proj_in is not None:
            streams[:] = [self.proj_in(stream) + tokens for stream in streams]
        super().forward(streams, prompts, level, rotation)
        return [self.proj_out(stream) for stream in streams]
