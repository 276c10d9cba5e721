import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stage_core.diffusion.schedule import (
    shift_sigmas,
    shifted_sigmas,
    stretched_sigmas,
    trained_sigmas,
)

STEPS = st.integers(2, 60)
SHIFTS = st.floats(0.1, 20)


@given(STEPS, SHIFTS)
def test_schedules_fall_from_one_to_zero(steps, shift):
    for schedule in (shifted_sigmas, stretched_sigmas, trained_sigmas):
        sigmas = schedule(steps, shift)
        assert sigmas.shape == (steps + 1,)
        assert sigmas[0] == 1
        assert sigmas[-1] == 0
        assert (sigmas.diff() < 0).all()


@given(STEPS, SHIFTS, st.floats(0.001, 0.5))
def test_stretched_schedule_reaches_its_terminal_level_before_zero(steps, shift, terminal):
    assert stretched_sigmas(steps, shift, terminal)[-2] == pytest.approx(terminal, abs=1e-6)


def test_twenty_steps_of_shift_2_2_are_those_of_the_stage_release():
    released = (
        "1.0 .97445 .94743 .9188 .88842 .85612 .82172 .78499 .7457 .70358 .65829 .60947 .5567 "
        ".49947 .43718 .36915 .29453 .21233 .12132 .02 0"
    )
    expected = torch.tensor([float(level) for level in released.split()])
    # The numbers are given to five digits.
    assert torch.allclose(stretched_sigmas(20, 2.2), expected, atol=6e-6, rtol=0)


def test_shift_of_one_keeps_every_level():
    sigmas = torch.linspace(0, 1, 11)
    assert torch.equal(shift_sigmas(sigmas, 1), sigmas)


def test_shifts_multiply():
    sigmas = torch.linspace(0, 1, 11)
    twice = shift_sigmas(shift_sigmas(sigmas, 2), 3)
    assert torch.allclose(twice, shift_sigmas(sigmas, 6), atol=1e-6)


def test_one_step_is_the_whole_way_but_cannot_be_stretched():
    assert shifted_sigmas(1, 3.0).tolist() == [1, 0]
    with pytest.raises(ValueError, match="1 sampler steps"):
        stretched_sigmas(1, 3.0)


@pytest.mark.parametrize("shift", [0, -1, math.nan, math.inf])
def test_shift_that_is_not_a_positive_number_is_refused(shift):
    with pytest.raises(ValueError, match="use a positive number"):
        shifted_sigmas(4, shift)


@pytest.mark.parametrize("terminal", [0, 1, -0.1])
def test_terminal_outside_zero_and_one_is_refused(terminal):
    with pytest.raises(ValueError, match="between 0 and 1"):
        stretched_sigmas(4, 2.0, terminal)


def test_trained_levels_are_even_between_the_first_and_the_last_that_wan_saw():
    # 1000, 667, 334 and 1 are even; the last is where the next step would begin.
    assert trained_sigmas(3, 1.0).tolist() == pytest.approx([1, 0.667, 0.334, 0])


def test_no_steps_are_refused():
    for schedule in (shifted_sigmas, trained_sigmas):
        with pytest.raises(ValueError, match="0 sampler steps; use at least 1"):
            schedule(0, 1.0)
