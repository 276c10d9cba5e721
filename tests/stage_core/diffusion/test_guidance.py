import pytest
import torch

from stage_core.diffusion.guidance import extrapolate, guide

CONDITIONAL = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(1))
UNCONDITIONAL = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(2))


def test_guidance_of_one_is_the_conditional_prediction():
    assert guide(CONDITIONAL, UNCONDITIONAL, 1) is CONDITIONAL


@pytest.mark.parametrize("guidance", [1.5, 4.0, 10.0])
def test_every_token_keeps_the_norm_of_its_conditional_prediction(guidance):
    guided = guide(CONDITIONAL, UNCONDITIONAL, guidance)
    assert torch.allclose(guided.norm(dim=-1), CONDITIONAL.norm(dim=-1), atol=1e-5)


def test_every_token_points_from_the_unconditional_past_the_conditional():
    guided = guide(CONDITIONAL, UNCONDITIONAL, 4.0)
    direction = UNCONDITIONAL + 4 * (CONDITIONAL - UNCONDITIONAL)
    cosine = torch.cosine_similarity(guided, direction, dim=-1)
    assert torch.allclose(cosine, torch.ones(2, 5), atol=1e-6)


def test_a_hand_computed_token():
    # 1 + 2 (0 - 1) = -1 and 0 + 2 (5 - 0) = 10; the norm is brought back to 5.
    guided = guide(torch.tensor([[[0.0, 5.0]]]), torch.tensor([[[1.0, 0.0]]]), 2.0)
    expected = torch.tensor([[[-1.0, 10.0]]]) * 5 / 101**0.5
    assert torch.allclose(guided, expected)


def test_tokens_do_not_touch_each_other():
    louder = torch.cat([CONDITIONAL[:, :1], 100 * CONDITIONAL[:, 1:]], dim=1)
    guided = guide(louder, UNCONDITIONAL, 4.0)
    assert torch.equal(guided[:, 0], guide(CONDITIONAL, UNCONDITIONAL, 4.0)[:, 0])


def test_a_token_without_any_prediction_stays_zero():
    zeros = torch.zeros(1, 1, 4)
    assert torch.equal(guide(zeros, zeros, 4.0), zeros)


@pytest.mark.parametrize("guidance", [0.99, 0, -1, float("nan")])
def test_guidance_below_one_is_refused(guidance):
    with pytest.raises(ValueError, match="use at least 1"):
        guide(CONDITIONAL, UNCONDITIONAL, guidance)


def test_plain_guidance_goes_on_along_the_line_whatever_the_norm():
    assert extrapolate(torch.tensor([3.0]), torch.tensor([1.0]), 2.5).tolist() == [6.0]
