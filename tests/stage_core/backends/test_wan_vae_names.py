"""VAEs in single files of their authors' names are those of diffusers' folders."""

import re
import shutil

import pytest
import torch

from stage_core.backends.wan_files import WanFiles
from stage_core.backends.wan_networks import WanSettings, open_networks
from stage_core.backends.wan_vae_names import diffusers_name

from .wan_folders import diffusers_folder, save

diffusers = pytest.importorskip("diffusers")
pytest.importorskip("transformers")
LATER = {"decoder_base_dim": 3, "z_dim": 48, "is_residual": True, "patch_size": 2}
LATER |= {"in_channels": 12, "out_channels": 12, "scale_factor_spatial": 16}
KINDS = {"two experts": ("wan_2.1_vae", {}), "small": ("wan2.2_vae", LATER)}
BLOCK = {"norm1": "residual.0", "conv1": "residual.2", "norm2": "residual.3", "conv2": "residual.6"}
BLOCK["conv_shortcut"] = "shortcut"


def tiny(config):
    """Of the released shape, as thin as can be."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return diffusers.AutoencoderKLWan(base_dim=2, **config).requires_grad_(False)


def authors(name):
    """The authors' name of diffusers' `name`, but for the blocks."""
    name = re.sub(r"^(post_)?quant_conv", lambda found: f"conv{2 if found[1] else 1}", name)
    for ours, theirs in (("conv_in", "conv1"), ("norm_out", "head.0"), ("conv_out", "head.2")):
        name = name.replace(f"coder.{ours}", f"coder.{theirs}")
    name = name.replace("mid_block.attentions.0", "middle.1")
    name = re.sub(
        r"mid_block\.resnets\.(.)\.(\w+)", lambda f: f"middle.{2 * int(f[1])}.{BLOCK[f[2]]}", name
    )
    name = re.sub(
        r"(down|up)_blocks\.(.)\.\1sampler\.",
        lambda f: f"{f[1]}samples.{f[2]}.{f[1]}samples.{'2' if f[1] == 'down' else '3'}.",
        name,
    )
    name = re.sub(
        r"up_blocks\.(.)\.upsamplers\.0", lambda f: f"upsamples.{4 * int(f[1]) + 3}", name
    )
    return name


def grouped(name, later):
    """The name of a block, which the two VAEs number in other ways."""
    found = re.fullmatch(r"(\w+)\.(down|up)_blocks\.(\d+)\.(?:resnets\.(\d)\.)?(\w+)\.(.+)", name)
    if found is None:
        return name
    side, way, group, place, part, rest = found.groups()
    if part in ("resample", "time_conv"):
        return f"{side}.{way}samples.{group}.{part}.{rest}"
    if later:
        return f"{side}.{way}samples.{group}.{way}samples.{place}.{BLOCK[part]}.{rest}"
    row = group if place is None else 4 * int(group) + int(place)
    return f"{side}.{way}samples.{row}.{BLOCK[part]}.{rest}"


def stored(network):
    later = network.config.is_residual
    return {grouped(authors(k), later): tensor for k, tensor in network.state_dict().items()}


@pytest.mark.parametrize("kind", KINDS)
def test_a_vae_of_the_authors_names_is_read_from_a_single_file(tmp_path, kind):
    file, config = KINDS[kind]
    folder, wanted = diffusers_folder(tmp_path / "wan", kind), tiny(config)
    shutil.rmtree(folder / "vae")
    save(folder / "vae" / file, stored(wanted))
    found = open_networks(WanFiles.in_folder(folder), WanSettings(torch.float32)).load().vae
    state = found.network.state_dict()
    assert state.keys() == wanted.state_dict().keys()
    assert all(torch.equal(state[name], weight) for name, weight in wanted.state_dict().items())
    # What no weight tells is that of the release.
    assert found.side == (16 if kind == "small" else 8)
    assert len(found.network.config.latents_std) == found.channels
    assert found.network.config.patch_size == config.get("patch_size")


def test_the_names_of_both_are_those_that_their_authors_gave():
    """A few read in the files that the authors released."""
    for theirs, ours in {
        "conv2.bias": "post_quant_conv.bias",
        "encoder.downsamples.1.downsamples.0.shortcut.weight": (
            "encoder.down_blocks.1.resnets.0.conv_shortcut.weight"
        ),
        "encoder.downsamples.2.downsamples.2.time_conv.weight": (
            "encoder.down_blocks.2.downsampler.time_conv.weight"
        ),
        "decoder.upsamples.0.upsamples.3.resample.1.bias": (
            "decoder.up_blocks.0.upsampler.resample.1.bias"
        ),
        "decoder.upsamples.14.residual.6.weight": "decoder.up_blocks.3.resnets.2.conv2.weight",
        "decoder.middle.2.residual.3.gamma": "decoder.mid_block.resnets.1.norm2.gamma",
        "something.else": "something.else",
    }.items():
        assert diffusers_name(theirs) == ours
