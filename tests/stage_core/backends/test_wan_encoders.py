"""The encoders against the libraries' own way of running them."""

import pytest
import torch
from torch import nn

from stage_core.backends.wan_encoders import WanText
from stage_core.backends.wan_tiny import tiny_networks
from stage_core.backends.wan_turns import Turns, num_bytes

pytest.importorskip("diffusers")
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


def test_bytes_of_a_part_are_those_of_weights_and_buffers():
    part = nn.Linear(3, 2).half()
    part.register_buffer("seen", torch.zeros(5, dtype=torch.uint8))
    assert num_bytes(part) == 2 * (6 + 2) + 5
