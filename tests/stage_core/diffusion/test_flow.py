import pytest
import torch

from stage_core.diffusion.flow import data_from_velocity, hold, mix, velocity_target
from stage_core.diffusion.sampling import SamplerState, euler_step, sample, unipc_step
from stage_core.diffusion.schedule import stretched_sigmas

DATA = torch.randn(1, 6, 4, generator=torch.Generator().manual_seed(1))
NOISE = torch.randn(1, 6, 4, generator=torch.Generator().manual_seed(2))


def test_sigma_zero_is_data_and_one_is_noise():
    assert torch.equal(mix(DATA, NOISE, 0.0), DATA)
    assert torch.equal(mix(DATA, NOISE, 1.0), NOISE)


@pytest.mark.parametrize("sigma", [0.02, 0.5, 1.0])
def test_data_comes_back_from_any_point_and_its_velocity(sigma):
    found = data_from_velocity(mix(DATA, NOISE, sigma), velocity_target(DATA, NOISE), sigma)
    assert torch.allclose(found, DATA, atol=1e-6)


def test_velocity_is_the_slope_of_the_mix():
    slope = (mix(DATA, NOISE, 0.75) - mix(DATA, NOISE, 0.25)) / 0.5
    assert torch.allclose(slope, velocity_target(DATA, NOISE), atol=1e-6)


@pytest.mark.parametrize("step", [euler_step, unipc_step])
def test_held_tokens_pass_on_the_line_to_their_data_and_others_follow_the_model(step):
    held = torch.tensor([True, False, True, False, False, True])[None, :, None]
    passed = []

    def velocity(latents, sigma):
        passed.append((latents, sigma))
        return latents

    def sampled(along):
        levels = stretched_sigmas(5, 2.2).tolist()
        return sample(step, along, SamplerState(NOISE), levels, 5).latents

    found = sampled(hold(velocity, DATA, NOISE, held))
    free = sampled(lambda latents, sigma: latents)
    # Five float32 steps: a few units in the last place of numbers below 4.
    assert torch.allclose(found[:, held[0, :, 0]], DATA[:, held[0, :, 0]], atol=2e-6)
    assert torch.equal(found[:, ~held[0, :, 0]], free[:, ~held[0, :, 0]])
    for latents, sigma in passed:
        line = mix(DATA, NOISE, sigma)
        assert torch.allclose(latents[:, held[0, :, 0]], line[:, held[0, :, 0]], atol=2e-6)
