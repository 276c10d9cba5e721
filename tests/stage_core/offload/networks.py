"""Small random transformers of our own, and calls of them as a sampler makes them."""

import torch

from stage_core.encoding.positions import picture_positions, text_positions
from stage_core.models import low_bit
from stage_core.models.lora import Factors, Lora, attach
from stage_core.models.qwen_image import QwenImage
from stage_core.models.qwen_layers import JointTokens, QwenImageConfig
from stage_core.models.wan import Wan
from stage_core.models.wan_layers import WanConfig

LEVEL_LAYERS = ("img_mod", "txt_mod")


def random_weights(network, dtype=torch.float32):
    generator = torch.Generator().manual_seed(1)
    for weight in network.parameters():
        torch.nn.init.normal_(weight, std=0.2, generator=generator)
    return network.to(dtype).eval().requires_grad_(False)


def qwen(num_layers=6, dtype=torch.float32, ops=torch.nn):
    config = QwenImageConfig(
        num_layers=num_layers,
        attention_head_dim=16,
        num_attention_heads=4,
        joint_attention_dim=20,
        axes_dims_rope=(4, 6, 6),
    )
    return random_weights(QwenImage(config, ops), dtype)


def qwen_calls(network, guided=True):
    """Velocities of one step of two branches, in one visit of each block."""
    generator = torch.Generator().manual_seed(2)
    places = picture_positions(0, 4, 5)
    tokens = torch.randn(1, 20, 64, generator=generator).to(network.dtype)
    texts = [
        torch.randn(1, length, 20, generator=generator).to(network.dtype)
        for length in ((4, 3) if guided else (4,))
    ]

    @torch.no_grad()
    def call(time=0.5):
        level = network.levels(torch.tensor([time]).to(network.dtype))[0]
        sequences = [
            JointTokens(
                tokens,
                network.words(text),
                network.rotation(text_positions(places, text.shape[1]), places),
            )
            for text in texts
        ]
        return torch.cat(network.forward_many(sequences, level))

    return call


def wan(num_layers=6, dtype=torch.float32, ops=torch.nn):
    config = WanConfig(
        num_layers=num_layers,
        num_attention_heads=2,
        attention_head_dim=12,
        ffn_dim=40,
        in_channels=8,
        out_channels=4,
        text_dim=16,
        freq_dim=16,
    )
    return random_weights(Wan(config, ops), dtype)


def wan_calls(network):
    """Velocities of one step of two branches."""
    generator = torch.Generator().manual_seed(3)
    latents = torch.randn(1, 8, 3, 4, 6, generator=generator).to(network.dtype)
    texts = [torch.randn(1, length, 16, generator=generator) for length in (5, 2)]

    @torch.no_grad()
    def call(time=0.5):
        prompts = [network.read(text) for text in texts]
        rotation = network.rotation(torch.arange(3), 4, 6)
        times = torch.tensor([1000 * time])
        return torch.cat(network(latents, times, prompts, rotation))

    return call


def with_lora(network, rank=2):
    """The network with adapters beside some layers of every block."""
    generator = torch.Generator().manual_seed(4)
    layers = {}
    for name, layer in network.named_modules():
        if name.endswith(("to_q", "net.2")):
            size = layer.weight.shape
            down = torch.randn(rank, size[1], generator=generator)
            up = torch.randn(size[0], rank, generator=generator)
            layers[name.replace(".", "_")] = Factors(down, up, 0.1)
    attach(Lora("test", layers, 0), [network])
    return network


def eight_bits(network, blocks):
    for block in blocks:
        for layer in block.modules():
            if isinstance(layer, low_bit.Linear):
                layer.quantise()
    return network


def held(network):
    """What must not change: every tensor of the network with its place and its numbers."""
    named = [*network.named_parameters(), *network.named_buffers()]
    return {name: (id(t), t.data_ptr(), t.shape, t.device, t.double().sum()) for name, t in named}
