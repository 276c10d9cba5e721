import math

import pytest
import torch

from stage_core.diffusion.flow import velocity_target
from stage_core.diffusion.sampling import euler, heun
from stage_core.diffusion.schedule import shifted_sigmas, stretched_sigmas

BOTH = pytest.mark.parametrize("sampler", [euler, heun])
NOISE = torch.randn(1, 4, 3, generator=torch.Generator().manual_seed(1))


def quiet(done, total):
    pass


@BOTH
@pytest.mark.parametrize("steps", [2, 7])
def test_true_velocity_leads_to_the_data(sampler, steps):
    data = torch.linspace(-2, 2, 12).reshape(1, 4, 3)
    target = velocity_target(data, NOISE)
    found = sampler(lambda x, sigma: target, NOISE, stretched_sigmas(steps, 2.2), quiet)
    assert torch.allclose(found, data, atol=2e-6)


def test_one_euler_step_by_hand():
    found = euler(lambda x, sigma: x * sigma, torch.tensor([2.0]), torch.tensor([0.5, 0.25]), quiet)
    # 2 + (0.25 - 0.5) * (2 * 0.5)
    assert found.tolist() == [1.75]


def exponential_error(sampler, steps):
    """Error of the sampled solution of dx/dsigma = x, which is x = exp(sigma - 1)."""
    sigmas = torch.linspace(1, 0.5, steps + 1)
    found = sampler(lambda x, sigma: x, torch.ones(1), sigmas, quiet)
    return abs(found.item() - math.exp(-0.5))


@pytest.mark.parametrize(("sampler", "order"), [(euler, 1), (heun, 2)])
def test_twice_the_steps_divide_the_error_by_two_to_the_order(sampler, order):
    ratio = exponential_error(sampler, 8) / exponential_error(sampler, 16)
    assert ratio == pytest.approx(2**order, rel=0.1)


@pytest.mark.parametrize(("sampler", "calls"), [(euler, 6), (heun, 11)])
def test_models_are_asked_once_a_step_by_euler_and_never_at_zero(sampler, calls):
    asked = []

    def velocity(latents, sigma):
        asked.append(sigma)
        return latents

    sampler(velocity, NOISE, shifted_sigmas(6, 3.0), quiet)
    assert len(asked) == calls
    assert min(asked) > 0


@BOTH
def test_steps_are_reported_one_by_one_up_to_all(sampler):
    reports = []
    sampler(lambda x, s: x, NOISE, shifted_sigmas(3, 1.0), lambda *step: reports.append(step))
    assert reports == [(1, 3), (2, 3), (3, 3)]


@BOTH
def test_an_exception_in_the_report_cancels_before_the_next_step(sampler):
    asked = []

    def velocity(latents, sigma):
        asked.append(sigma)
        return latents

    def cancel(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sampler(velocity, NOISE, shifted_sigmas(5, 1.0), cancel)
    assert len(asked) == (1 if sampler is euler else 2)


@BOTH
def test_noise_is_not_written_to_and_the_model_sees_its_dtype(sampler):
    noise, seen = NOISE.to(torch.bfloat16), []
    before = noise.clone()

    def velocity(latents, sigma):
        seen.append(latents.dtype)
        return latents

    assert sampler(velocity, noise, shifted_sigmas(3, 1.0), quiet).dtype == torch.bfloat16
    assert set(seen) == {torch.bfloat16}
    assert torch.equal(noise, before)


@BOTH
def test_a_half_precision_step_is_rounded_once(sampler):
    # 1 + 1/256 is no bfloat16; a sum in bfloat16 would lose the small step before it is scaled.
    noise = torch.full((1,), 1.0, dtype=torch.bfloat16)
    step = torch.full((1,), -1 / 256, dtype=torch.bfloat16)
    found = sampler(lambda x, sigma: step, noise, torch.tensor([1.0, -2.0]), quiet)
    assert found.item() == torch.tensor(1 + 3 / 256).to(torch.bfloat16).item()
