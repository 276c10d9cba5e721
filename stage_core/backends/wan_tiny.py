"""Wan's real classes, a few thousand times smaller, with random weights: to test and to measure."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import torch
from torch import nn

from ..models import low_bit
from ..models.wan import Wan
from ..models.wan_layers import WanConfig
from ..models.wan_vace import VaceConfig, WanVace
from ..packages import need_packages
from .protocol import Grid
from .wan import WanShots
from .wan_conditions import STRIDE
from .wan_encoders import WanSight, WanText, WanVAE
from .wan_networks import WanNetworks, WanSource
from .wan_sampling import own_sampling

KINDS = ("two experts", "seeing", "small", "led")
_TEXT_WIDTH, _SIGHT_WIDTH, _PATCHES = 16, 32, 5
_SIZES = {
    "num_layers": 2,
    "num_attention_heads": 2,
    "attention_head_dim": 12,
    "ffn_dim": 32,
    "text_dim": _TEXT_WIDTH,
    "freq_dim": 16,
}
_CONFIGS = {
    "two experts": WanConfig(**_SIZES),
    "seeing": WanConfig(
        **_SIZES,
        image_dim=_SIGHT_WIDTH,
        added_kv_proj_dim=24,
        pos_embed_seq_len=2 * _PATCHES,
    ),
    "small": WanConfig(**_SIZES, in_channels=48, out_channels=48),
    "led": VaceConfig(**_SIZES, vace_layers=(0,)),
}


def tiny_wan(kind: str = "two experts", seed: int = 0, steps: int = 4) -> WanShots:
    """The shot model of one of KINDS, whose clips are of 48 by 32 pixels or so.

    Raises:
        MissingPackageError: diffusers or transformers is not installed.
    """
    need_packages("the shot model")
    two = kind == "two experts"
    source = WanSource(
        _CONFIGS[kind], two, f"{seed} tiny {kind}", lambda: tiny_networks(kind, seed)
    )
    own = own_sampling(source)
    multiple, rate = own.grid.multiple, Fraction(8)
    grid = Grid(48 * 32 if multiple == 16 else 96 * 64, multiple, rate, STRIDE)
    return WanShots(source, replace(own, grid=grid, steps=steps))


def tiny_networks(kind: str = "two experts", seed: int = 0) -> WanNetworks:
    """The networks of one of KINDS; the global generator stays as it is."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        high, low = _transformer(kind), _transformer(kind)
        return WanNetworks(
            high,
            WanVAE(_vae(kind)),
            WanText(_text(), lambda text: [*text.encode()[:100], 1]),
            low if kind == "two experts" else None,
            WanSight(_sight()) if kind == "seeing" else None,
        )


def _transformer(kind: str) -> Wan:
    config = _CONFIGS[kind]
    network = (WanVace if isinstance(config, VaceConfig) else Wan)(config, low_bit)
    for name, weight in network.named_parameters():
        # So few layers add up to little: what leads the video must be seen in it.
        nn.init.normal_(weight, std=0.6 if "vace" in name else 0.2)
    return network.requires_grad_(False).eval()


def _vae(kind: str) -> nn.Module:
    from diffusers import AutoencoderKLWan

    sizes = {"base_dim": 4, "dim_mult": [1, 1, 1, 1], "num_res_blocks": 1}
    if kind == "small":
        patched = {"is_residual": True, "patch_size": 2, "in_channels": 12, "out_channels": 12}
        latents = {"z_dim": 48, "latents_mean": [0.1] * 48, "latents_std": [1.5] * 48}
        sizes |= {**patched, **latents, "scale_factor_spatial": 16}
    network = AutoencoderKLWan(**sizes).requires_grad_(False).eval()
    # As new networks come, all pictures are nearly the same to them.
    network.quant_conv.weight.mul_(8)
    return network


def _text() -> nn.Module:
    from transformers import UMT5Config, UMT5EncoderModel

    config = UMT5Config(
        vocab_size=256,
        d_model=_TEXT_WIDTH,
        d_kv=8,
        d_ff=32,
        num_layers=2,
        num_heads=2,
        feed_forward_proj="gated-gelu",
    )
    return UMT5EncoderModel(config).encoder.requires_grad_(False).eval()


def _sight() -> nn.Module:
    from transformers import CLIPVisionConfig, CLIPVisionModel

    config = CLIPVisionConfig(
        hidden_size=_SIGHT_WIDTH,
        intermediate_size=40,
        num_hidden_layers=3,
        num_attention_heads=4,
        image_size=28,
        patch_size=14,
    )
    return CLIPVisionModel(config).requires_grad_(False).eval()
