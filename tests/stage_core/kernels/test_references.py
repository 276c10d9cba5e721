"""The references: what they define, and that a model may call them in place of its own lines."""

import pytest
import torch
from torch.nn import functional

from stage_core.kernels import dequantise as k3
from stage_core.kernels import gate_residual_norm_modulate as k1
from stage_core.kernels import launch
from stage_core.kernels import qk_norm_rope_pack as k2
from stage_core.kernels.pieces import in_pieces
from stage_core.models import low_bit

DTYPES = [torch.float32, torch.bfloat16]
N, D, HEADS = 11, 48, 3


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_modulation_in_the_dtype_of_tokens_is_that_of_qwen_image_bit_for_bit(dtype):
    x, y = torch.randn(2, 2, N, D).to(dtype)
    gate, scale, shift = torch.randn(3, 2, 1, D).to(dtype)
    plain_sum = torch.addcmul(x, gate, y)
    normed = functional.layer_norm(plain_sum, (D,), eps=1e-6)
    total, out = k1.gate_residual_norm_modulate(x, y, gate, k1.Modulation(scale, shift))
    assert torch.equal(total, plain_sum)
    assert torch.equal(out, torch.addcmul(shift, normed, 1 + scale))
    assert torch.equal(k1.gate_residual(x, y, gate), total)
    assert torch.equal(k1.norm_modulate(total, k1.Modulation(scale, shift)), out)


def test_wider_factors_modulate_as_in_wan_bit_for_bit():
    x, y = torch.randn(2, 1, N, D).bfloat16()
    gate, scale, shift = torch.randn(3, 1, 1, D)
    plain_sum = (x.float() + y.float() * gate).to(x.dtype)
    normed = functional.layer_norm(plain_sum.float(), (D,), eps=1e-6)
    total, out = k1.gate_residual_norm_modulate(x, y, gate, k1.Modulation(scale, shift))
    assert torch.equal(total, plain_sum)
    assert torch.equal(out, (normed * (1 + scale) + shift).to(x.dtype))


def test_weight_and_bias_are_those_of_a_layer_norm_in_float32():
    x, norm = torch.randn(1, N, D).bfloat16(), torch.nn.LayerNorm(D, eps=1e-6)
    torch.nn.init.normal_(norm.weight)
    plain = norm(x.float()).to(x.dtype)
    assert torch.equal(k1.norm_modulate(x, k1.Affine(norm.weight, norm.bias)), plain)


@pytest.mark.parametrize("split", [0, 4, N])
def test_two_ranges_of_tokens_are_two_sequences_side_by_side(split):
    x, y = torch.randn(2, 2, N, D).bfloat16()
    gate, scale, shift = torch.randn(3, 2, 2, D).bfloat16()
    both = k1.gate_residual_norm_modulate(x, y, gate, k1.Modulation(scale, shift), split)
    for part, row in ((slice(None, split), 0), (slice(split, None), 1)):
        its_gate, *its = (factor[:, row : row + 1] for factor in (gate, scale, shift))
        alone = k1.gate_residual_norm_modulate(
            x[:, part], y[:, part], its_gate, k1.Modulation(*its)
        )
        assert all(torch.equal(one[:, part], its) for one, its in zip(both, alone, strict=True))


def test_work_in_pieces_changes_nothing(monkeypatch):
    x, y = torch.randn(2, 1, N, D).bfloat16()
    gate, scale, shift = torch.randn(3, 1, 1, D)
    weight, rotation = torch.randn(D // HEADS).bfloat16(), torch.randn(N, D // HEADS // 2) * 1j

    def everything():
        packed = torch.empty(1, N, HEADS, D // HEADS, dtype=x.dtype)
        k2.qk_norm_rope_pack(x, weight, rotation, packed)
        return (*k1.gate_residual_norm_modulate(x, y, gate, k1.Modulation(scale, shift)), packed)

    whole, lengths = everything(), []
    monkeypatch.setattr("stage_core.kernels.pieces.NUMBERS_AT_ONCE", 3 * D)
    monkeypatch.setattr(k2, "NUMBERS_AT_ONCE", 3 * D)
    in_pieces(lambda some: lengths.append(some.shape[1]) or some, x)
    assert lengths == [3, 3, 3, 2]
    assert all(map(torch.equal, whole, everything()))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_packed_heads_are_the_joint_heads_of_qwen_image_bit_for_bit(dtype):
    text, picture = torch.randn(2, 5, D).to(dtype), torch.randn(2, N, D).to(dtype)
    weights = torch.randn(2, D // HEADS).to(dtype)
    angles = [100 * torch.rand(length, D // HEADS // 2) for length in (5, N)]
    turns = [torch.polar(torch.ones_like(angle), angle) for angle in angles]
    parts = []
    for tokens, weight, rotation in zip((text, picture), weights, turns, strict=True):
        heads = tokens.unflatten(2, (HEADS, -1)).transpose(1, 2)
        heads = functional.rms_norm(heads, weight.shape, weight, 1e-6)
        pairs = torch.view_as_complex(heads.float().unflatten(-1, (-1, 2)).contiguous())
        parts.append(torch.view_as_real(pairs * rotation).flatten(-2).to(dtype))
    joint = torch.empty(2, 5 + N, HEADS, D // HEADS, dtype=dtype)
    k2.qk_norm_rope_pack(text, weights[0], turns[0], joint[:, :5])
    k2.qk_norm_rope_pack(picture, weights[1], turns[1], joint[:, 5:])
    plain = torch.cat(parts, dim=2)
    assert torch.equal(joint.transpose(1, 2), plain)
    # Attention sees the same, though the heads lie in memory in another order.
    attention = functional.scaled_dot_product_attention
    assert torch.equal(attention(*[joint.transpose(1, 2)] * 3), attention(*[plain] * 3))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_packed_heads_are_those_of_wan_bit_for_bit(dtype):
    tokens, weight = torch.randn(1, N, D).to(dtype), torch.randn(D).to(dtype)
    angles = 100 * torch.rand(N, D // HEADS // 2)
    cosine, sine = angles.cos(), angles.sin()
    normed = functional.rms_norm(tokens, (D,), weight, 1e-6)
    heads = normed.unflatten(2, (HEADS, -1)).transpose(1, 2)
    one, two = heads.float().unflatten(-1, (-1, 2)).unbind(-1)
    turned = torch.stack([one * cosine - two * sine, one * sine + two * cosine], dim=-1)
    out = torch.empty(1, N, HEADS, D // HEADS, dtype=dtype)
    k2.qk_norm_rope_pack(tokens, weight, (cosine, sine), out)
    assert torch.equal(out.transpose(1, 2), turned.flatten(-2).to(dtype))
    k2.qk_norm_rope_pack(tokens, weight, None, out)
    assert torch.equal(out.transpose(1, 2), heads)


@pytest.mark.parametrize("inputs", [192, 72])
def test_widened_weights_are_those_of_a_low_bit_layer_bit_for_bit(inputs):
    small, scale = low_bit.quantise(torch.randn(16, inputs).bfloat16())
    slot = torch.empty(16, inputs, dtype=torch.bfloat16)
    k3.dequantise(small, scale, slot)
    assert torch.equal(slot, low_bit.dequantise(small, scale))


def test_gradients_pass():
    x, y, gate, scale, shift = (torch.randn(1, n, D) for n in (N, N, 1, 1, 1))
    weight, rotation = torch.rand(D), torch.randn(N, D // 2) * 1j
    tensors = [tensor.requires_grad_() for tensor in (x, y, gate, scale, shift, weight)]
    _, out = k1.gate_residual_norm_modulate(x, y, gate, k1.Modulation(scale, shift))
    packed = torch.empty(1, N, 1, D)
    k2.qk_norm_rope_pack(out, weight, rotation, packed)
    grads = torch.autograd.grad(packed.pow(2).sum(), tensors)
    assert all(grad.abs().sum() > 0 for grad in grads)


def test_operators_keep_torchs_rules():
    x, y = torch.randn(2, 2, N, D)
    gate, scale, shift = torch.randn(3, 1, 2, D)
    norm = (scale, shift, 3, 1e-6)
    packed, weight = torch.empty(2, N, HEADS, D // HEADS), torch.randn(D)
    turns = torch.randn(N, D // HEADS // 2) * 1j
    large, numbers = torch.randn(16, 64), torch.rand(16, 4, 1)
    for operator, arguments in (
        (k1._norm_modulate, (x, *norm)),
        (k1._gate_residual, (x, y, None, 3)),
        (k1._gate_residual_norm_modulate, (x, y, gate, *norm)),
        (k2._write, (x, weight, turns, None, packed, 1e-6)),
        (k3._write, (large, numbers, torch.empty(16, 64))),
    ):
        torch.library.opcheck(operator, arguments, test_utils=("test_schema", "test_faketensor"))


def test_what_does_not_fit_is_refused_with_its_shape_before_a_kernel_reads_it(monkeypatch):
    monkeypatch.setattr(launch, "fuses", lambda *_: True)
    x, norm = torch.randn(1, N, D), k1.Modulation(*torch.randn(2, 1, 1, D))
    with pytest.raises(ValueError, match=r"split 12 is not between 0 and the 11 tokens"):
        k1.norm_modulate(x, norm, 12)
    with pytest.raises(ValueError, match=r"cannot be added"):
        k1.gate_residual(x, x[:, 1:], None)
    with pytest.raises(ValueError, match=r"a factor \(1, 3, 48\); it is \[1 or 1, 1 or 2, 48\]"):
        k1.gate_residual(x, x, torch.randn(1, 3, D))
    with pytest.raises(ValueError, match=r"are \[48\]"):
        k1.norm_modulate(x, k1.Affine(*torch.randn(2, 8)))
    with pytest.raises(ValueError, match=r"do not fit into"):
        k2.qk_norm_rope_pack(x, torch.ones(D), None, torch.empty(1, N, 2, D))
    with pytest.raises(ValueError, match=r"rotary factors \(3, 24\); they are \[11, 24\]"):
        k2.qk_norm_rope_pack(x, torch.ones(D), torch.ones(3, 24) * 1j, x[:, :, None].clone())
    with pytest.raises(ValueError, match=r"does not fit into a slot"):
        k3.dequantise(x[0], None, torch.empty(3, D))
    with pytest.raises(ValueError, match=r"scales \(5, 1\) for a weight"):
        k3.dequantise(x[0], torch.ones(5, 1), torch.empty(N, D))
