import math

import pytest
import torch

from stage_core.diffusion.flow import velocity_target
from stage_core.diffusion.sampling import (
    SamplerState,
    euler,
    euler_step,
    sample,
    unipc_step,
)
from stage_core.diffusion.schedule import shifted_sigmas, stretched_sigmas, trained_sigmas

ALL = pytest.mark.parametrize("step", [euler_step, unipc_step])
NOISE = torch.randn(1, 4, 3, generator=torch.Generator().manual_seed(1))


def quiet(done, total):
    pass


def sampled(step, velocity, noise, sigmas):
    """The latents after all steps."""
    levels = sigmas.tolist()
    return sample(step, velocity, SamplerState(noise), levels, len(levels) - 1).latents


@ALL
@pytest.mark.parametrize("steps", [2, 7])
def test_true_velocity_leads_to_the_data(step, steps):
    data = torch.linspace(-2, 2, 12).reshape(1, 4, 3)
    target = velocity_target(data, NOISE)
    found = sampled(step, lambda x, sigma: target, NOISE, stretched_sigmas(steps, 2.2))
    assert torch.allclose(found, data, atol=2e-6)


def test_one_euler_step_by_hand():
    found = euler(lambda x, sigma: x * sigma, torch.tensor([2.0]), torch.tensor([0.5, 0.25]), quiet)
    # 2 + (0.25 - 0.5) * (2 * 0.5)
    assert found.tolist() == [1.75]


def exponential_error(step, steps):
    """Error of the sampled solution of dx/dsigma = x, which is x = exp(sigma - 0.9)."""
    sigmas = torch.linspace(0.9, 0.5, steps + 1, dtype=torch.float64)
    found = sampled(step, lambda x, sigma: x, torch.ones(1), sigmas)
    return abs(found.item() - math.exp(-0.4))


@pytest.mark.parametrize(("step", "order"), [(euler_step, 1), (unipc_step, 2)])
def test_twice_the_steps_divide_the_error_by_two_to_the_order(step, order):
    ratio = exponential_error(step, 8) / exponential_error(step, 16)
    assert ratio == pytest.approx(2**order, rel=0.1)


@ALL
def test_models_are_asked_once_a_step_and_never_at_zero(step):
    asked = []

    def velocity(latents, sigma):
        asked.append(sigma)
        return latents

    sampled(step, velocity, NOISE, shifted_sigmas(6, 3.0))
    assert len(asked) == 6
    assert min(asked) > 0


def test_steps_are_reported_one_by_one_up_to_all():
    reports = []
    euler(lambda x, s: x, NOISE, shifted_sigmas(3, 1.0), lambda *step: reports.append(step))
    assert reports == [(1, 3), (2, 3), (3, 3)]


def test_an_exception_in_the_report_cancels_before_the_next_step():
    asked = []

    def velocity(latents, sigma):
        asked.append(sigma)
        return latents

    def cancel(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        euler(velocity, NOISE, shifted_sigmas(5, 1.0), cancel)
    assert len(asked) == 1


@ALL
def test_noise_is_not_written_to_and_the_model_sees_its_dtype(step):
    noise, seen = NOISE.to(torch.bfloat16), []
    before = noise.clone()

    def velocity(latents, sigma):
        seen.append(latents.dtype)
        return latents

    assert sampled(step, velocity, noise, shifted_sigmas(3, 1.0)).dtype == torch.bfloat16
    assert set(seen) == {torch.bfloat16}
    assert torch.equal(noise, before)


def test_a_half_precision_step_is_rounded_once():
    # 1 + 1/256 is no bfloat16; a sum in bfloat16 would lose the small step before it is scaled.
    noise = torch.full((1,), 1.0, dtype=torch.bfloat16)
    slope = torch.full((1,), -1 / 256, dtype=torch.bfloat16)
    found = euler(lambda x, sigma: slope, noise, torch.tensor([1.0, -2.0]), quiet)
    assert found.item() == torch.tensor(1 + 3 / 256).to(torch.bfloat16).item()


@pytest.mark.parametrize("shift", [1.0, 5.0, 16.0])
@pytest.mark.parametrize("steps", [1, 2, 3, 4, 20])
def test_unipc_takes_the_steps_of_diffusers_scheduler(steps, shift):
    library = pytest.importorskip("diffusers")
    scheduler = library.UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=shift
    )
    scheduler.set_timesteps(steps)

    def velocity(latents, time):
        return torch.tanh(latents * (1 + time / 500)) + latents.mean() * time / 1000

    wanted, noise = NOISE[None], NOISE[None]
    for time in scheduler.timesteps:
        wanted = scheduler.step(velocity(wanted, int(time)), time, wanted).prev_sample
    sigmas = trained_sigmas(steps, shift)
    found = sampled(unipc_step, lambda x, s: velocity(x, int(1000 * s)), noise, sigmas)
    assert torch.allclose(found, wanted, atol=1e-5)


@ALL
@pytest.mark.parametrize("half", range(7))
def test_a_run_in_two_parts_through_a_file_is_bit_for_bit_the_run_in_one(step, half):
    levels = trained_sigmas(6, 5.0).tolist()

    def run(state, until):
        return sample(step, lambda x, sigma: torch.sin(3 * x) * sigma, state, levels, until)

    whole = run(SamplerState(NOISE), 6)
    rested = SamplerState.of(run(SamplerState(NOISE), half).tensors())
    assert rested.done == half
    assert torch.equal(run(rested, 6).latents, whole.latents)


def test_steps_one_by_one_are_euler():
    sigmas = trained_sigmas(5, 3.0)
    found = sampled(euler_step, lambda x, sigma: x.cos(), NOISE, sigmas)
    assert torch.equal(found, euler(lambda x, sigma: x.cos(), NOISE, sigmas, quiet))
