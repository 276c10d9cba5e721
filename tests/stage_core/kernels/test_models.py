"""Whole transformers through the CUDA sources, beside the same through the references."""

import pytest
import torch
from torch import nn

from stage_core.kernels import launch
from stage_core.models.modulation import NoiseLevel
from stage_core.models.qwen_image import QwenImage
from stage_core.models.qwen_layers import JointTokens, QwenImageConfig
from stage_core.models.wan import Wan
from stage_core.models.wan_layers import WanConfig

from .emulation import emulator, needs_compiler

pytestmark = needs_compiler


def random(network):
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.2)
    return network


def qwen(zero_cond_t):
    """A prediction of a small random network for two pictures of which a part may be clean."""
    sizes = {"attention_head_dim": 32, "num_attention_heads": 3, "joint_attention_dim": 40}
    config = QwenImageConfig(
        num_layers=2, axes_dims_rope=(8, 12, 12), zero_cond_t=zero_cond_t, **sizes
    )
    network = random(QwenImage(config))
    rotation = network.rotation(torch.randint(9, (7, 3)), torch.randint(9, (37, 3)))
    words, noisy = network.words(torch.randn(2, 7, 40)), 20 if zero_cond_t else None
    joint = JointTokens(torch.randn(2, 37, 64), words, rotation, noisy)
    level = NoiseLevel(network._embedding(torch.tensor([0.3, 0.3])))
    return network.forward_many([joint], level)[0]


def wan(num_times):
    """Predictions of a small random network for two prompts, frames of one time or of two."""
    sizes = {"num_attention_heads": 3, "attention_head_dim": 24, "ffn_dim": 64, "text_dim": 16}
    network = random(Wan(WanConfig(num_layers=2, in_channels=4, out_channels=4, **sizes)))
    prompts = [network.read(torch.randn(1, 5, 16)) for _ in range(2)]
    times, rotation = torch.tensor([300.0, 0.0]), network.rotation(torch.arange(3), 8, 8)
    return torch.stack(network(torch.randn(1, 4, 3, 8, 8), times[:num_times], prompts, rotation))


@pytest.mark.parametrize(
    "predict, setting",
    [(qwen, False), (qwen, True), (wan, 1), (wan, 2)],
    ids=["Qwen", "Qwen, clean tokens", "Wan", "Wan, two times"],
)
@torch.no_grad()
def test_a_transformer_of_kernels_is_the_transformer_of_references(predict, setting, monkeypatch):
    torch.manual_seed(0)
    plain = predict(setting)
    torch.manual_seed(0)
    with emulator():
        used, choose = set(), launch.kernel
        monkeypatch.setattr(
            launch,
            "kernel",
            lambda program, *rest: used.add(program.name) or choose(program, *rest),
        )
        fused = predict(setting)
    assert used == {"gate_residual_norm_modulate", "qk_norm_rope_pack"}
    # Float32 of another order, over two layers.
    assert (fused - plain).norm() < 1e-5 * plain.norm()


@pytest.mark.parametrize("predict", [qwen, wan], ids=["Qwen", "Wan"])
def test_gradients_pass_through_a_whole_transformer(predict):
    torch.manual_seed(0)
    assert predict(1).requires_grad
    predict(1).sum().backward()
