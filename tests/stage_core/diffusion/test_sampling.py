import math

import pytest
import torch

from stage_core.diffusion.flow import velocity_target
from stage_core.diffusion.sampling import (
    SamplerState,
    euler,
    euler_step,
    heun,
    sample,
    unipc,
    unipc_step,
)
from stage_core.diffusion.schedule import shifted_sigmas, stretched_sigmas, trained_sigmas

ALL = pytest.mark.parametrize("sampler", [euler, heun, unipc])
NOISE = torch.randn(1, 4, 3, generator=torch.Generator().manual_seed(1))


def quiet(done, total):
    pass


@ALL
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
    """Error of the sampled solution of dx/dsigma = x, which is x = exp(sigma - 0.9)."""
    sigmas = torch.linspace(0.9, 0.5, steps + 1, dtype=torch.float64)
    found = sampler(lambda x, sigma: x, torch.ones(1), sigmas, quiet)
    return abs(found.item() - math.exp(-0.4))


@pytest.mark.parametrize(("sampler", "order"), [(euler, 1), (heun, 2), (unipc, 2)])
def test_twice_the_steps_divide_the_error_by_two_to_the_order(sampler, order):
    ratio = exponential_error(sampler, 8) / exponential_error(sampler, 16)
    assert ratio == pytest.approx(2**order, rel=0.1)


@pytest.mark.parametrize(("sampler", "calls"), [(euler, 6), (heun, 11), (unipc, 6)])
def test_models_are_asked_so_often_and_never_at_zero(sampler, calls):
    asked = []

    def velocity(latents, sigma):
        asked.append(sigma)
        return latents

    sampler(velocity, NOISE, shifted_sigmas(6, 3.0), quiet)
    assert len(asked) == calls
    assert min(asked) > 0


@ALL
def test_steps_are_reported_one_by_one_up_to_all(sampler):
    reports = []
    sampler(lambda x, s: x, NOISE, shifted_sigmas(3, 1.0), lambda *step: reports.append(step))
    assert reports == [(1, 3), (2, 3), (3, 3)]


@ALL
def test_an_exception_in_the_report_cancels_before_the_next_step(sampler):
    asked = []

    def velocity(latents, sigma):
        asked.append(sigma)
        return latents

    def cancel(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sampler(velocity, NOISE, shifted_sigmas(5, 1.0), cancel)
    assert len(asked) == (2 if sampler is heun else 1)


@ALL
def test_noise_is_not_written_to_and_the_model_sees_its_dtype(sampler):
    noise, seen = NOISE.to(torch.bfloat16), []
    before = noise.clone()

    def velocity(latents, sigma):
        seen.append(latents.dtype)
        return latents

    assert sampler(velocity, noise, shifted_sigmas(3, 1.0), quiet).dtype == torch.bfloat16
    assert set(seen) == {torch.bfloat16}
    assert torch.equal(noise, before)


@pytest.mark.parametrize("sampler", [euler, heun])
def test_a_half_precision_step_is_rounded_once(sampler):
    # 1 + 1/256 is no bfloat16; a sum in bfloat16 would lose the small step before it is scaled.
    noise = torch.full((1,), 1.0, dtype=torch.bfloat16)
    step = torch.full((1,), -1 / 256, dtype=torch.bfloat16)
    found = sampler(lambda x, sigma: step, noise, torch.tensor([1.0, -2.0]), quiet)
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
    found = unipc(lambda x, sigma: velocity(x, int(1000 * sigma)), noise, sigmas, quiet)
    assert torch.allclose(found, wanted, atol=1e-5)


@pytest.mark.parametrize("step", [euler_step, unipc_step])
@pytest.mark.parametrize("half", range(7))
def test_a_run_in_two_parts_through_a_file_is_bit_for_bit_the_run_in_one(step, half):
    levels = trained_sigmas(6, 5.0).tolist()

    def run(state, until):
        return sample(step, lambda x, sigma: torch.sin(3 * x) * sigma, state, levels, until)

    whole = run(SamplerState(NOISE), 6)
    rested = SamplerState.of(run(SamplerState(NOISE), half).tensors())
    assert rested.done == half
    assert torch.equal(run(rested, 6).latents, whole.latents)


@pytest.mark.parametrize(("step", "sampler"), [(euler_step, euler), (unipc_step, unipc)])
def test_steps_one_by_one_are_the_sampler(step, sampler):
    sigmas = trained_sigmas(5, 3.0)
    state = sample(step, lambda x, sigma: x.cos(), SamplerState(NOISE), sigmas.tolist(), 5)
    assert torch.equal(state.latents, sampler(lambda x, sigma: x.cos(), NOISE, sigmas, quiet))
