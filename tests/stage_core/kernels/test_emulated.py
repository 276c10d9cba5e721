"""The CUDA sources, run on the processor, against float64."""

import pytest
import torch

from stage_core.kernels.dequantise import Adapter, dequantise
from stage_core.kernels.gate_residual_norm_modulate import (
    Affine,
    Modulation,
    gate_residual,
    gate_residual_norm_modulate,
    norm_modulate,
)
from stage_core.kernels.qk_norm_rope_pack import qk_norm_rope_pack

from .emulation import LIMITS, emulator, far, needs_compiler

pytestmark = needs_compiler
DTYPES = [torch.float32, torch.bfloat16, torch.float16]
# Tokens and width: one vector of eight; a part of a warp; several vectors for each thread.
SIZES = [(1, 8), (7, 40), (3, 2056)]


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def ranged(factor, split, length):
    """A factor [B, R, D] for each token, [B, N, D]."""
    place = (torch.arange(length) >= split).long() % factor.shape[1]
    return factor.double()[:, place]


def exact_sum(x, y, gate, split):
    return x.double() + ranged(gate, split, x.shape[1]) * y.double()


def exact_norm(x, norm, split):
    x = x.double()
    normed = (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True, correction=0) + 1e-6).sqrt()
    if isinstance(norm, Affine):
        return normed * norm.scale.double() + norm.shift.double()
    scale, shift = (ranged(factor, split, x.shape[1]) for factor in (norm.scale, norm.shift))
    return normed * (1 + scale) + shift


def exact_heads(tokens, weight, rotation, heads):
    tokens = tokens.double().unflatten(2, (heads, -1))
    dims = -1 if len(weight) == tokens.shape[-1] else (-2, -1)
    normed = tokens / (tokens.pow(2).mean(dims, keepdim=True) + 1e-6).sqrt()
    normed = normed * weight.double().view(-1, tokens.shape[-1])
    if rotation is None:
        return normed
    rotation = torch.complex(*rotation) if isinstance(rotation, tuple) else rotation
    pairs = torch.view_as_complex(normed.unflatten(-1, (-1, 2)).contiguous())
    return torch.view_as_real(pairs * rotation[:, None].to(torch.complex128)).flatten(-2)


@pytest.mark.parametrize(
    ("dtype", "length", "width"),
    [
        *((dtype, *size) for dtype in DTYPES[:2] for size in SIZES),
        (DTYPES[2], *SIZES[1]),
        # Float16 takes the way of bfloat16 but for the conversion of a number.
        *(
            pytest.param(DTYPES[2], *size, marks=pytest.mark.slow)
            for size in SIZES
            if size != SIZES[1]
        ),
    ],
    ids=str,
)
@pytest.mark.parametrize("ranges", [1, 2])
def test_sum_and_modulated_norm_are_exact(dtype, length, width, ranges):
    x, y = torch.randn(2, 2, length, width).to(dtype)
    gate, *factors = torch.randn(3, 2, ranges, width).to(dtype)
    norm, split = Modulation(*factors), length // 3
    with emulator():
        total, out = gate_residual_norm_modulate(x, y, gate, norm, split)
        first = norm_modulate(x, norm, split)
        last = gate_residual(x, y, gate, split)
    assert far(total, exact_sum(x, y, gate, split)) < LIMITS[dtype]
    assert far(out, exact_norm(total, norm, split)) < LIMITS[dtype]
    assert far(first, exact_norm(x, norm, split)) < LIMITS[dtype]
    assert torch.equal(last, total) and out.dtype == total.dtype == dtype


def test_factors_may_be_wider_than_tokens_and_shared_by_the_batch():
    x, y = torch.randn(2, 3, 5, 72).bfloat16()
    gate, *factors = torch.randn(3, 1, 1, 72)
    norm = Modulation(*factors)
    with emulator():
        total, out = gate_residual_norm_modulate(x, y, gate, norm)
    assert far(total, exact_sum(x, y, gate, 0)) < LIMITS[x.dtype]
    assert far(out, exact_norm(total, norm, 0)) < LIMITS[x.dtype]


def test_without_a_gate_and_with_weight_and_bias():
    x, y = torch.randn(2, 2, 5, 72).bfloat16()
    norm = Affine(*torch.randn(2, 72))
    with emulator():
        total, out = gate_residual_norm_modulate(x, y, None, norm)
    assert torch.equal(total, x + y)
    assert far(out, exact_norm(total, norm, 0)) < LIMITS[x.dtype]


def test_a_large_mean_does_not_cost_the_norm_its_digits():
    x = torch.randn(1, 4, 256) + 300
    norm = Modulation(*torch.zeros(2, 1, 1, 256))
    with emulator():
        out = norm_modulate(x, norm)
    assert far(out, exact_norm(x, norm, 0)) < 1e-4


def test_tokens_and_factors_may_lie_apart():
    wide = torch.randn(2, 9, 160)
    # A row that does not begin at sixteen bytes, columns apart, and parts of one row of factors.
    for x in (wide[:, 2:7, :72], wide[:, 2:7, 1:73], wide[:, 2:7, :144:2]):
        y = torch.randn(5, 2, 72).transpose(0, 1)
        gate, scale, shift = torch.randn(2, 216)[:, None].chunk(3, dim=-1)
        with emulator():
            total, out = gate_residual_norm_modulate(x, y, gate, Modulation(scale, shift))
        assert far(total, exact_sum(x, y, gate, 0)) < 1e-5
        assert far(out, exact_norm(total, Modulation(scale, shift), 0)) < 1e-5


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("heads, width", [(1, 8), (3, 128), (2, 264)])
@pytest.mark.parametrize("across", [False, True], ids=["each head", "all heads"])
def test_heads_are_normed_turned_and_written_into_their_part_of_the_buffer(
    dtype, heads, width, across
):
    tokens = torch.randn(2, 5, heads * width).to(dtype)
    weight = torch.randn(heads * width if across else width).to(dtype)
    rotation = torch.polar(torch.ones(5, width // 2), 100 * torch.rand(5, width // 2))
    joint = torch.full((2, 9, heads, width), 7.0, dtype=dtype)
    with emulator():
        qk_norm_rope_pack(tokens, weight, rotation, joint[:, 3:8])
    assert far(joint[:, 3:8], exact_heads(tokens, weight, rotation, heads)) < LIMITS[dtype]
    assert (joint[:, :3] == 7).all() and (joint[:, 8:] == 7).all()


@pytest.mark.parametrize("kind", ["none", "apart"])
def test_heads_may_have_no_places_or_cosines_and_sines_apart(kind):
    tokens, weight = torch.randn(2, 5, 120), torch.randn(120)
    angles = 100 * torch.rand(5, 20)
    rotation = None if kind == "none" else (angles.cos(), angles.sin())
    # Heads before tokens, as attention wants them.
    out = torch.full((2, 3, 5, 40), 7.0)
    with emulator():
        qk_norm_rope_pack(tokens, weight, rotation, out.transpose(1, 2))
    assert far(out.transpose(1, 2), exact_heads(tokens, weight, rotation, 3)) < 1e-5


def test_a_stretch_of_tokens_may_lie_within_a_wider_row():
    wide, weight = torch.randn(2, 7, 360), torch.randn(40)
    out = torch.empty(2, 5, 3, 40)
    for tokens in (wide[:, 1:6, 120:240], wide[:, 1:6, 3:123]):
        with emulator():
            qk_norm_rope_pack(tokens, weight, None, out)
        assert far(out, exact_heads(tokens, weight, None, 3)) < 1e-5


def codes(*shape):
    """A weight of eight bits in which all codes occur but those of NaN, which are 127 and 255."""
    count = torch.Size(shape).numel()
    codes = torch.arange(count) % 127 + 128 * (torch.arange(count) % 2)
    return codes.to(torch.uint8).view(torch.float8_e4m3fn).view(shape)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(
    "scale",
    [torch.rand(()), torch.rand(40, 1), torch.rand(40, 3, 1).bfloat16(), None],
    ids=["one", "for each output", "for each block", "none"],
)
def test_weights_of_eight_bits_become_what_the_reference_makes_of_them(dtype, scale):
    weight = codes(40, 24)
    slots, expected = torch.full((3, 40, 24), 7.0, dtype=dtype), torch.empty(40, 24, dtype=dtype)
    dequantise(weight, scale, expected)
    with emulator():
        dequantise(weight, scale, slots[1])
    assert torch.equal(slots[1], expected)
    assert (slots[0] == 7).all() and (slots[2] == 7).all()


def test_what_is_no_number_in_eight_bits_stays_none():
    weight = torch.tensor([[127, 255, *range(6)]], dtype=torch.uint8).view(torch.float8_e4m3fn)
    slot = torch.zeros(1, 8)
    with emulator():
        dequantise(weight, torch.ones(1), slot)
    assert slot.isnan().tolist() == [[True] * 2 + [False] * 6]


def test_blocks_of_64_inputs_have_a_scale_each_as_in_the_release():
    weight, scale = codes(4, 256), torch.rand(4, 4, 1).bfloat16()
    slot = torch.empty(4, 256, dtype=torch.bfloat16)
    with emulator():
        dequantise(weight, scale, slot)
    exact = weight.double().unflatten(1, (4, 64)) * scale.double()
    assert far(slot, exact.flatten(1)) < LIMITS[slot.dtype]


def test_weights_that_are_no_matrix_are_widened_too():
    weight, scale = codes(16, 3, 2, 2, 2), torch.tensor(0.5)
    slot = torch.empty(weight.shape)
    with emulator():
        dequantise(weight, scale, slot)
    assert torch.equal(slot, weight.float() / 2)


def test_adapters_join_the_weight_in_its_slot():
    weight, scale = codes(32, 64), torch.rand(32, 1).bfloat16()
    adapters = [Adapter(torch.randn(32, 4), torch.randn(4, 64), 0.5) for _ in range(2)]
    slot = torch.empty(32, 64)
    with emulator():
        dequantise(weight, scale, slot, adapters)
    plain = torch.empty(32, 64)
    dequantise(weight, scale, plain)
    change = sum(a.strength * a.up.double() @ a.down.double() for a in adapters)
    assert far(slot, plain.double() + change) < 1e-5
