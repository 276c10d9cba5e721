"""The encoders against the libraries' own way of running them."""

import pytest
import torch
from torch import nn

from stage_core.backends.wan_encoders import WanText, WanVAE
from stage_core.backends.wan_tiny import tiny_networks
from stage_core.backends.wan_turns import Turns, num_bytes
from stage_core.offload.working import peak_bytes

AutoencoderKLWan = pytest.importorskip("diffusers").AutoencoderKLWan
pytest.importorskip("transformers")


def characters(text):
    return [*text.encode(), 1]


@torch.no_grad()
@pytest.mark.parametrize("words", ["Ana waits by the window", "", "x" * 700])
def test_words_equal_the_librarys_padded_and_masked_ones(words):
    text = WanText(tiny_networks().text.network, characters)
    ids = characters(words)
    # A text that is too long loses its end, but not the token that ends it.
    ids = ids if len(ids) <= 512 else [*ids[:511], 1]
    tokens, mask = torch.zeros(2, 1, 512, dtype=torch.long)
    tokens[0, : len(ids)], mask[0, : len(ids)] = torch.tensor(ids), 1
    wanted = text.network(input_ids=tokens, attention_mask=mask).last_hidden_state
    found = text.encode(words)
    assert found.shape == (1, 512, 16)
    assert (found - wanted * mask[..., None]).abs().max() < 1e-5


def test_spaces_and_line_ends_do_not_count():
    text = WanText(tiny_networks().text.network, characters)
    with torch.no_grad():
        assert torch.equal(text.encode(" Ana\n waits "), text.encode("Ana waits"))


@torch.no_grad()
@pytest.mark.parametrize(("kind", "side"), [("two experts", 8), ("small", 16)])
def test_the_first_frame_has_a_latent_of_its_own_and_every_four_share_one(kind, side):
    vae = tiny_networks(kind).vae
    latents = vae.encode(torch.zeros(1, 3, 9, 32, 64))
    assert latents.shape == (1, vae.channels, 3, 32 // side, 64 // side)
    frames = vae.decode(latents)
    assert frames.shape == (9, 32, 64, 3)
    assert frames.min() >= 0
    assert frames.max() <= 1


@torch.no_grad()
@pytest.mark.parametrize("kind", ["two experts", "small"])
def test_a_video_for_which_vram_does_not_suffice_is_decoded_in_tiles(kind, monkeypatch):
    vae = tiny_networks(kind).vae
    latents = torch.randn(1, vae.channels, 1, 288 // vae.side, 320 // vae.side)
    whole, decode = vae.decode(latents), vae.network.decode

    def narrow(raw):
        if not vae.network.use_tiling:
            raise torch.OutOfMemoryError("full")
        return decode(raw)

    monkeypatch.setattr(vae.network, "decode", narrow)
    tiled = vae.decode(latents)
    assert vae.num_tiled == 1 and not vae.network.use_tiling
    assert tiled.shape == whole.shape
    # A tile does not see beyond its edge, in these networks less than in large ones.
    assert (tiled - whole).abs().mean() < 0.05


def test_latents_are_normalised_by_the_files_own_numbers():
    vae = tiny_networks().vae
    with torch.no_grad():
        raw = vae.network.encode(torch.zeros(1, 3, 1, 16, 16)).latent_dist.mode()
        found = vae.encode(torch.zeros(1, 3, 1, 16, 16))
    config = vae.network.config
    for channel in (0, 15):
        wanted = (raw[0, channel] - config.latents_mean[channel]) / config.latents_std[channel]
        assert torch.allclose(found[0, channel], wanted, atol=1e-6)


def test_a_part_keeps_its_turn_until_it_is_anothers():
    turns, one, two = Turns("cpu"), nn.Linear(3, 2), nn.Linear(2, 2)
    assert [turns.take(part) for part in (one, one, two, one)] == [True, False, True, True]
    turns.leave()
    assert turns.take(one)


def test_vram_for_a_part_and_its_work_is_asked_for_once_a_turn():
    asked = []
    turns, part, other = Turns("cuda", asked.append), nn.Identity(), nn.Identity()
    for taken, work in ((part, 70), (part, 70), (other, 90)):
        turns.take(taken, work)
    assert asked == [70, 90]


@torch.no_grad()
@pytest.mark.parametrize("num_frames", [9, 41])
def test_the_work_of_a_vae_as_large_as_the_released_is_known_before(num_frames):
    with torch.device("meta"):
        vae = WanVAE(AutoencoderKLWan().to(torch.bfloat16).eval())
    said = vae.work_bytes(num_frames, 96, 64)
    latents = torch.empty(1, 16, num_frames // 4 + 1, 8, 12, device="meta")
    assert 0.9 * said < peak_bytes(lambda: vae.network.decode(latents.bfloat16())) <= said
    video = torch.empty(1, 3, num_frames, 64, 96, dtype=torch.bfloat16, device="meta")
    assert peak_bytes(lambda: vae.network.encode(video)) <= said


def test_bytes_of_a_part_are_those_of_weights_and_buffers():
    part = nn.Linear(3, 2).half()
    part.register_buffer("seen", torch.zeros(5, dtype=torch.uint8))
    assert num_bytes(part) == 2 * (6 + 2) + 5
