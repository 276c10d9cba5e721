"""Random transformers of any size, with work as a sampler gives it to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import ModuleType
from typing import TypeVar

import torch
from torch import Tensor, nn

from ..models import low_bit
from ..models.checkpoint import empty
from ..models.lora import Factors, Lora, attach
from ..models.modulation import NoiseLevel
from ..models.qwen_image import QwenImage
from ..models.qwen_layers import JointTokens, QwenImageConfig
from ..models.wan import Wan
from ..models.wan_layers import WanConfig
from ..offload.stream import StreamOptions
from ..offload.working import each_tensor

T = TypeVar("T")

Place = Callable[[T], T]
"""What is done with the arguments of a step, such as putting them on a device."""

Step = Callable[[], Sequence[Tensor]]
"""Makes the velocities of a step."""

QWEN_OPTIONS = StreamOptions(left_out=("img_mod", "txt_mod"))
TEXT_TOKENS, TEXT_WIDTH = 16, 64
_FRAME, _FRAME_TOKENS = (8, 16), 32
_RANK = 4


@dataclass(frozen=True)
class Size:
    """Blocks, heads and their width; picture tokens and sequences of a step; numbers.

    Weights are in RAM; `drawn_on` is the device that makes them up.
    """

    num_layers: int
    num_heads: int
    head_width: int
    num_tokens: int
    num_sequences: int = 2
    dtype: torch.dtype = torch.float32
    drawn_on: str = "cpu"

    @property
    def width(self) -> int:
        return self.num_heads * self.head_width


@dataclass(frozen=True, eq=False)
class Subject:
    """A network, the name of its list of blocks, and how a step of it is made."""

    network: nn.Module
    size: Size
    list_name: str
    options: StreamOptions
    make_step: Callable[[nn.Module, Size, Place], Step]

    @property
    def blocks(self) -> nn.ModuleList:
        return getattr(self.network, self.list_name)

    def step(self, place: Place) -> Step:
        """The call that makes one step with what `place` makes of the arguments."""
        with torch.no_grad():
            return self.make_step(self.network, self.size, place)

    def call(self, device: str = "cpu") -> Callable[[], Tensor]:
        """One step on a device, all its velocities in a row."""
        made = self.step(lambda value: each_tensor(value, lambda tensor: tensor.to(device)))

        @torch.no_grad()
        def call() -> Tensor:
            return torch.cat([velocity.flatten() for velocity in made()])

        return call

    @contextmanager
    def visiting(self, indices: Sequence[int]) -> Iterator[None]:
        """The network with these of its blocks alone, as with a cache that skips the others."""
        every = self.blocks
        setattr(self.network, self.list_name, nn.ModuleList(every[i] for i in indices))
        try:
            yield
        finally:
            setattr(self.network, self.list_name, every)


def qwen(size: Size, ops: ModuleType = nn) -> Subject:
    """A transformer like Qwen-Image; head width a multiple of 16."""
    turned = 3 * size.head_width // 8
    config = QwenImageConfig(
        num_layers=size.num_layers,
        attention_head_dim=size.head_width,
        num_attention_heads=size.num_heads,
        joint_attention_dim=TEXT_WIDTH,
        axes_dims_rope=(size.head_width - 2 * turned, turned, turned),
    )
    network = filled(empty(lambda: QwenImage(config, ops)), size)
    return Subject(network, size, "transformer_blocks", QWEN_OPTIONS, _qwen_step)


def wan(size: Size, ops: ModuleType = nn) -> Subject:
    """A transformer like Wan 14B, for frames of 32 tokens."""
    config = WanConfig(
        num_layers=size.num_layers,
        num_attention_heads=size.num_heads,
        attention_head_dim=size.head_width,
        ffn_dim=size.width * 27 // 10,
        text_dim=TEXT_WIDTH,
    )
    network = filled(empty(lambda: Wan(config, ops)), size)
    return Subject(network, size, "blocks", StreamOptions(), _wan_step)


KINDS = {"Qwen": qwen, "Wan": wan}


def pictures(subject: Subject) -> Tensor:
    """Tokens [1, N, 64] for Qwen-Image, latents [1, C, T, 8, 16] for Wan."""
    size, draw = subject.size, drawing(subject.size)
    if isinstance(subject.network, QwenImage):
        return draw(1, size.num_tokens, 64)
    channels = subject.network.config.in_channels
    return draw(1, channels, size.num_tokens // _FRAME_TOKENS, *_FRAME)


def plain_qwen(subject: Subject) -> Subject:
    """The same network, whose blocks make in every step what a table would have kept."""

    def step(network: nn.Module, size: Size, place: Place) -> Step:
        level = NoiseLevel(drawing(size)(network.config.num_times, size.width))
        sequences, level = place((_qwen_sequences(size), level))
        return lambda: network.forward_many(sequences, level)

    return replace(subject, options=StreamOptions(), make_step=step)


def _qwen_step(network: nn.Module, size: Size, place: Place) -> Step:
    level = network.levels(torch.tensor([0.5], dtype=size.dtype))[0]
    sequences, level = place((_qwen_sequences(size), level))
    return lambda: network.forward_many(sequences, level)


def _qwen_sequences(size: Size) -> list[JointTokens]:
    draw = drawing(size)
    rotation = tuple(
        torch.ones(n, size.head_width // 2, dtype=torch.complex64)
        for n in (TEXT_TOKENS, size.num_tokens)
    )
    return [
        JointTokens(draw(1, size.num_tokens, 64), draw(1, TEXT_TOKENS, size.width), rotation)
        for _ in range(size.num_sequences)
    ]


def _wan_step(network: nn.Module, size: Size, place: Place) -> Step:
    draw, frames = drawing(size), size.num_tokens // _FRAME_TOKENS
    prompts = [network.read(draw(1, TEXT_TOKENS, TEXT_WIDTH)) for _ in range(size.num_sequences)]
    latents = draw(1, network.config.in_channels, frames, *_FRAME)
    rotation = network.rotation(torch.arange(frames), *_FRAME)
    given = place((latents, torch.tensor([500.0]), prompts, rotation))
    return lambda: network(*given)


def with_lora(subject: Subject) -> Subject:
    """The subject with adapters beside a third of the layers."""
    layers = {}
    for name, layer in subject.network.named_modules():
        if name.endswith(("to_q", "to_v", "net.2")):
            down = torch.full((_RANK, layer.in_features), 0.01, dtype=layer.bias.dtype)
            up = torch.full((layer.out_features, _RANK), 0.01, dtype=layer.bias.dtype)
            layers[name.replace(".", "_")] = Factors(down, up, 1.0)
    attach(Lora("a random LoRA", layers, 0), [subject.network])
    return subject


def in_eight_bits(subject: Subject) -> Subject:
    """The subject with blocks of eight bits; its layers are those of `low_bit`."""
    for block in subject.blocks:
        for layer in block.modules():
            if isinstance(layer, low_bit.Linear):
                layer.to(subject.size.drawn_on).quantise()
                layer.to("cpu")
    widener = low_bit.Widener(subject.size.dtype)
    return replace(subject, options=replace(subject.options, widener=widener))


def filled(network: nn.Module, size: Size) -> nn.Module:
    """A network of `empty` with random numbers, as large as those of a trained one."""
    draw = drawing(size)
    for layer in network.modules():
        for name, weight in layer.named_parameters(recurse=False):
            numbers = draw(*weight.shape).mul_(0.5 / max(weight[0].numel(), 1) ** 0.5)
            setattr(layer, name, nn.Parameter(numbers, requires_grad=False))
    return network


def drawing(size: Size) -> Callable[..., Tensor]:
    """What makes up numbers, always the same, and puts them into RAM."""
    generator = torch.Generator(size.drawn_on).manual_seed(0)

    def draw(*shape: int) -> Tensor:
        made = torch.randn(*shape, generator=generator, dtype=size.dtype, device=size.drawn_on)
        return made.cpu()

    return draw
