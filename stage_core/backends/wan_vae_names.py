"""The VAEs of Wan under their authors' names: single files, as ComfyUI has them, for diffusers."""

from __future__ import annotations

import re
from typing import Any

from ..models.checkpoint import Weights

# Of the latents of Wan 2.2's own VAE, as its authors measured them: mean and deviation by channel.
_MEANS = (
    "-0.2289 -0.0052 -0.1323 -0.2339 -0.2799 0.0174 0.1838 0.1557 "
    "-0.1382 0.0542 0.2813 0.0891 0.157 -0.0098 0.0375 -0.1825 "
    "-0.2246 -0.1207 -0.0698 0.5109 0.2665 -0.2108 -0.2158 0.2502 "
    "-0.2055 -0.0322 0.1109 0.1567 -0.0729 0.0899 -0.2799 -0.123 "
    "-0.0313 -0.1649 0.0117 0.0723 -0.2839 -0.2083 -0.052 0.3748 "
    "0.0152 0.1957 0.1433 -0.2944 0.3573 -0.0548 -0.1681 -0.0667 "
)
_DEVIATIONS = (
    "0.4765 1.0364 0.4514 1.1677 0.5313 0.499 0.4818 0.5013 "
    "0.8158 1.0344 0.5894 1.0901 0.6885 0.6165 0.8454 0.4978 "
    "0.5759 0.3523 0.7135 0.6804 0.5833 1.4146 0.8986 0.5659 "
    "0.7069 0.5338 0.4889 0.4917 0.4069 0.4999 0.6866 0.4093 "
    "0.5709 0.6065 0.6415 0.4944 0.5726 1.2042 0.5458 1.6887 "
    "0.3971 1.06 0.3943 0.5537 0.5444 0.4089 0.7468 0.7744 "
)
_IN_A_BLOCK = {
    "residual.0.": "norm1.",
    "residual.2.": "conv1.",
    "residual.3.": "norm2.",
    "residual.6.": "conv2.",
    "shortcut.": "conv_shortcut.",
}
_IN_THE_MIDDLE = {"0": "resnets.0.", "1": "attentions.0.", "2": "resnets.1."}
_ENDS = {"conv1.": "conv_in.", "head.0.": "norm_out.", "head.2.": "conv_out."}
_OUTSIDE = {"conv1.": "quant_conv.", "conv2.": "post_quant_conv."}
_SIDE = re.compile(r"(encoder|decoder)\.(?:(down|up)samples\.(\d+)\.|middle\.(\d)\.)?(.+)")
_NESTED = re.compile(r"(?:down|up)samples\.(\d+)\.(.+)")
# Wan 2.1's decoder has its blocks in one row: three and what makes the picture larger, and again.
_ROW = 4


def is_the_authors(weights: Weights) -> bool:
    """Whether a VAE has its authors' names."""
    return "decoder.conv1.weight" in weights.tensors


def in_diffusers_names(weights: Weights) -> Weights:
    """Weights of the authors' names under those of diffusers' `AutoencoderKLWan`."""
    return weights.renamed(diffusers_name)


def diffusers_name(name: str) -> str:
    """What diffusers calls the weight that the authors call `name`; unknown ones stay."""
    found = _SIDE.fullmatch(name)
    if found is None:
        return _replaced(name, _OUTSIDE)
    side, way, block, middle, rest = found.groups()
    if middle is not None:
        return f"{side}.mid_block.{_IN_THE_MIDDLE[middle]}{_replaced(rest, _IN_A_BLOCK)}"
    if block is None:
        return f"{side}.{_replaced(rest, _ENDS)}"
    nested = _NESTED.fullmatch(rest)
    if nested is not None:
        return f"{side}.{way}_blocks.{block}." + _in_a_group(*nested.groups(), f"{way}sampler.")
    if way == "down":
        return f"{side}.down_blocks.{block}.{_replaced(rest, _IN_A_BLOCK)}"
    group, place = divmod(int(block), _ROW)
    return f"{side}.up_blocks.{group}." + _in_a_group(str(place), rest, "upsamplers.0.")


def vae_config(weights: Weights) -> dict[str, Any]:
    """The sizes of a VAE of the authors' names, as diffusers' class takes them."""
    shapes = weights.shapes
    config: dict[str, Any] = {"base_dim": shapes["encoder.conv1.weight"][0]}
    if "encoder.downsamples.0.downsamples.0.residual.0.gamma" not in shapes:
        return config
    return config | {
        "decoder_base_dim": shapes["decoder.head.0.gamma"][0],
        "z_dim": shapes["conv2.weight"][0],
        "is_residual": True,
        "patch_size": 2,
        "in_channels": 12,
        "out_channels": 12,
        "scale_factor_spatial": 16,
        "latents_mean": [float(value) for value in _MEANS.split()],
        "latents_std": [float(value) for value in _DEVIATIONS.split()],
    }


def _in_a_group(place: str, rest: str, sampler: str) -> str:
    """A part of a group of blocks, the last of which makes the picture larger or smaller."""
    named = _replaced(rest, _IN_A_BLOCK)
    return f"{sampler}{rest}" if named == rest else f"resnets.{place}.{named}"


def _replaced(name: str, names: dict[str, str]) -> str:
    """The name with its beginning replaced, where it is one of these."""
    for old, new in names.items():
        if name.startswith(old):
            return new + name.removeprefix(old)
    return name
