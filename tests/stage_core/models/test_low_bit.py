"""Weights in eight bits give back what they were made from, as nearly as eight bits can."""

import pytest
import torch
from torch.nn import functional

from stage_core.models import low_bit

from ..vectors import case, largest, needs_vectors


def weight(outputs, inputs):
    return torch.randn(outputs, inputs, generator=torch.Generator().manual_seed(inputs))


@pytest.mark.parametrize("inputs", [128, 72])
def test_a_weight_comes_back_within_a_sixteenth(inputs):
    wanted = weight(6, inputs)
    found = low_bit.dequantise(*low_bit.quantise(wanted))
    # Three bits of mantissa: half a step is a sixteenth; numbers near 0 have steps of their own.
    assert (found - wanted).abs().le(wanted.abs() / 16 + 1e-2).all()


def test_scales_are_per_block_of_64_where_64_divides_the_inputs():
    assert low_bit.quantise(weight(6, 128))[1].shape == (6, 2, 1)
    assert low_bit.quantise(weight(6, 72))[1].shape == (6, 1)


def test_zeros_stay_zeros():
    assert low_bit.dequantise(*low_bit.quantise(torch.zeros(2, 64))).eq(0).all()


@pytest.mark.parametrize("scale", [None, torch.tensor(0.5), torch.rand(6, 1), torch.rand(6, 2, 1)])
def test_a_layer_multiplies_its_weight_by_its_scale_of_any_layout(scale):
    layer = low_bit.Linear(128, 6)
    layer.weight = torch.nn.Parameter(layer.weight.to(torch.float8_e4m3fn), requires_grad=False)
    layer.scale_weight = scale
    tokens = torch.randn(1, 3, 128)
    wide = layer.weight.float()
    if scale is not None:
        wide = (
            (wide.view(6, 2, 64) * scale.expand(6, 2)[..., None]).view(6, 128)
            if (scale.ndim == 2)
            else (wide.view(6, 2, 64) * scale).view(6, 128)
        )
    assert torch.allclose(layer(tokens), functional.linear(tokens, wide, layer.bias), atol=1e-6)


def test_a_layer_of_wide_weights_is_a_plain_one():
    layer = low_bit.Linear(8, 4)
    tokens = torch.randn(2, 8)
    assert torch.equal(layer(tokens), functional.linear(tokens, layer.weight, layer.bias))


@needs_vectors
@pytest.mark.parametrize("which", ["block", "channel"])
def test_eight_bit_weights_and_scales_are_the_authors(which):
    stored = case("fp8", which)
    small, scale = low_bit.quantise(stored["weight"])
    assert torch.equal(small.float(), stored["weight_fp8"].float())
    assert largest(scale, stored["scale"]) < 1e-9
