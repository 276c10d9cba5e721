import pytest
import torch

from stage_core.encoding.positions import picture_positions
from stage_core.models.tiny import tiny_networks

NETWORKS = tiny_networks(seed=1)


def some_tokens(count):
    return torch.randn(1, count, 64, generator=torch.Generator().manual_seed(count))


def test_weights_depend_on_the_seed_alone():
    torch.manual_seed(4)
    again, other = tiny_networks(seed=1), tiny_networks(seed=2)
    for mine, same in zip(NETWORKS.parameters(), again.parameters(), strict=True):
        assert torch.equal(mine, same)
    assert not torch.equal(
        NETWORKS.transformer.tokens_in.weight, other.transformer.tokens_in.weight
    )


def test_weights_are_a_few_megabytes_without_gradients():
    assert sum(w.numel() * w.element_size() for w in NETWORKS.parameters()) < 4 * 2**20
    assert not any(w.requires_grad for w in NETWORKS.parameters())


def test_making_networks_leaves_the_global_generator_alone():
    state = torch.random.get_rng_state()
    tiny_networks(seed=1)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_vae_waves_are_orthonormal():
    waves = NETWORKS.vae.basis.flatten(1)
    assert torch.allclose(waves @ waves.T, torch.eye(16), atol=1e-6)


def test_a_latent_that_stays_in_range_survives_decoding_and_encoding():
    latents = 0.05 * torch.randn(1, 16, 4, 6, generator=torch.Generator().manual_seed(1))
    found = NETWORKS.vae.encode(NETWORKS.vae.decode(latents))
    # Divided by the smallest spread, 2 / 3, single precision leaves a few 1e-6.
    assert torch.allclose(found, latents, atol=1e-5)


def test_blocks_are_decoded_alone():
    latents = torch.zeros(1, 16, 4, 4)
    latents[..., 0, 0] = 0.1
    pixels = NETWORKS.vae.decode(latents)
    assert (pixels[..., :8, :8] != 0.5).any()
    assert (pixels[..., 8:, :] == 0.5).all()


@pytest.mark.parametrize(("prompt", "length"), [("", 1), ("fox", 4), ("x" * 1000, 48)])
def test_text_has_at_most_48_tokens_and_a_picture_15_more(prompt, length):
    picture = torch.rand(1, 3, 40, 30, generator=torch.Generator().manual_seed(1))
    assert NETWORKS.text_encoder(prompt).shape == (1, length, 64)
    assert NETWORKS.text_encoder(prompt, picture).shape == (1, length + 15, 64)


def test_the_words_are_read_with_the_picture():
    seen = [NETWORKS.text_encoder("fox", torch.full((1, 3, 8, 8), level)) for level in (0.1, 0.9)]
    assert not torch.allclose(seen[0][:, :4], seen[1][:, :4], atol=1e-3)


def test_only_relative_positions_count():
    tokens, text = some_tokens(6), NETWORKS.text_encoder("fox")
    positions = picture_positions(0, 2, 3)
    moved = NETWORKS.transformer(tokens, positions + 5, text, 0.5)
    # Rotary positions are relative; text follows the largest picture position.
    assert torch.allclose(NETWORKS.transformer(tokens, positions, text, 0.5), moved, atol=1e-4)


def test_tokens_are_told_apart_by_their_positions():
    tokens, text = some_tokens(1).expand(1, 6, 64), NETWORKS.text_encoder("fox")
    found = NETWORKS.transformer(tokens, picture_positions(0, 2, 3), text, 0.5)
    assert not torch.allclose(found[:, 0], found[:, 5], atol=1e-3)


def test_velocity_depends_on_noise_level_and_on_memory_tokens():
    tokens, text = some_tokens(6), NETWORKS.text_encoder("fox")
    target, remembered = picture_positions(0, 2, 3), picture_positions(1, 2, 3)
    alone = NETWORKS.transformer(tokens, target, text, 0.5)
    later = NETWORKS.transformer(tokens, target, text, 0.2)
    both = NETWORKS.transformer(
        torch.cat([tokens, some_tokens(7)[:, :6]], dim=1),
        torch.cat([target, remembered]),
        text,
        0.5,
    )
    assert not torch.allclose(alone, later, atol=1e-2)
    assert not torch.allclose(alone, both[:, :6], atol=1e-2)
