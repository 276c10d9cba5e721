"""A file of the host's own VAEs of Wan is read by our engine and gives the host's numbers."""

import pytest
import torch

from stage_core.backends.wan_encoders import WanVAE
from stage_core.backends.wan_networks import read_vae
from stage_core.models.checkpoint import open_weights

from .small_wan import filled

pytestmark = pytest.mark.comfy
SIZES = {"dim": 8, "dim_mult": [1, 2, 4, 4], "num_res_blocks": 2, "attn_scales": []}
SIZES |= {"temperal_downsample": [False, True, True], "dropout": 0.0}


@torch.no_grad()
@pytest.mark.parametrize("name", ["wan_2.1_vae", "wan2.2_vae"])
def test_a_vae_of_the_hosts_file_encodes_and_decodes_as_the_host(pack, tmp_path, name):
    import comfy.ldm.wan.vae
    import comfy.ldm.wan.vae2_2
    from safetensors.torch import save_file

    pytest.importorskip("diffusers")
    if name == "wan_2.1_vae":
        host = comfy.ldm.wan.vae.WanVAE(z_dim=16, **SIZES)
    else:
        host = comfy.ldm.wan.vae2_2.WanVAE(z_dim=48, dec_dim=6, **SIZES)
    state = filled(host, 3, 0.2)
    host.load_state_dict(state)
    save_file(state, tmp_path / f"{name}.safetensors")
    ours = WanVAE(read_vae(open_weights(tmp_path / f"{name}.safetensors", "a Wan VAE")))
    video = torch.rand(1, 3, 5, 32, 48, generator=torch.Generator().manual_seed(0)) * 2 - 1
    wanted, found = host.encode(video), ours.encode(video)
    latents = ours.network.config
    mean, deviation = (
        torch.tensor(values)[None, :, None, None, None]
        for values in (latents.latents_mean, latents.latents_std)
    )
    # In float32 through a few dozen convolutions.
    assert (found * deviation + mean - wanted).abs().max() < 1e-4
    pixels = host.decode(wanted)[0].movedim(0, -1).mul(0.5).add(0.5).clamp(0, 1)
    assert (ours.decode(found) - pixels).abs().max() < 1e-4
