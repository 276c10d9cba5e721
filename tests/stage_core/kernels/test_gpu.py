"""The kernels on a GPU: parity, graphs, threads and speed."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from stage_core.bench.kernel_cases import cases
from stage_core.bench.kernel_speed import seconds_of
from stage_core.kernels import dequantise as k3
from stage_core.kernels import gate_residual_norm_modulate as k1
from stage_core.kernels import launch
from stage_core.kernels import qk_norm_rope_pack as k2

from .emulation import LIMITS, far

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
DTYPES = list(LIMITS)


@pytest.fixture(autouse=True)
def on_gpu():
    """Random numbers there; what is allocated is poisoned, and no kernel may fail in silence."""
    torch.manual_seed(0)
    launch.warn.cache_clear()
    torch.use_deterministic_algorithms(True)
    with torch.device("cuda"), pytest.MonkeyPatch.context() as patch:
        patch.setattr(launch, "warn", pytest.fail)
        yield
    torch.use_deterministic_algorithms(False)


def wide(*tensors):
    return [tensor.double() for tensor in tensors]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("length, width", [(1, 8), (77, 40), (1031, 3072), (64, 16384)])
@pytest.mark.parametrize("ranges", [1, 2])
def test_sum_and_modulated_norm_are_exact(dtype, length, width, ranges):
    x, y = torch.randn(2, 2, length, 2 * width).to(dtype)[..., :width]
    gate, scale, shift = torch.randn(2, ranges, 3 * width).to(dtype).chunk(3, dim=-1)
    split = length // 3
    total, out = k1.gate_residual_norm_modulate(x, y, gate, k1.Modulation(scale, shift), split)
    x64, y64, gate64, scale64, shift64 = wide(x, y, gate, scale, shift)
    exact, _ = k1.reference(x64, y64, gate64, k1.Modulation(scale64, shift64), split)
    assert far(total, exact) < LIMITS[dtype]
    normed = k1._normed(total.double(), k1.Modulation(scale64, shift64), split)
    assert far(out, normed) < LIMITS[dtype]
    assert torch.equal(k1.gate_residual(x, y, gate, split), total)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("heads, width", [(1, 8), (3, 40), (24, 128), (40, 128)])
@pytest.mark.parametrize("across", [False, True], ids=["each head", "all heads"])
def test_heads_are_exact_in_their_part_of_the_buffer(dtype, heads, width, across):
    tokens = torch.randn(2, 257, heads * width).to(dtype)
    weight = torch.randn(heads * width if across else width).to(dtype)
    angles = 100 * torch.rand(257, width // 2)
    joint, exact = (
        torch.full((2, 300, heads, width), 7.0, dtype=kind) for kind in (dtype, torch.float64)
    )
    rotations = torch.polar(torch.ones_like(angles), angles), (angles.cos(), angles.sin())
    k2.reference(*wide(tokens, weight), rotations[0], exact[:, 20:277])
    for rotation in rotations:
        k2.qk_norm_rope_pack(tokens, weight, rotation, joint[:, 20:277])
        assert far(joint, exact) < LIMITS[dtype]


@pytest.mark.parametrize("scales", [(3072, 48, 1), (3072, 1), (1,)], ids=str)
def test_widened_weights_are_those_of_the_reference_bit_for_bit(scales):
    weight = torch.randn(3072, 3072).to(torch.float8_e4m3fn)
    slot, plain = torch.empty(2, 3072, 3072, dtype=torch.bfloat16)
    scale = torch.rand(scales)
    k3.dequantise(weight, scale, slot)
    k3.reference(weight, scale, plain)
    assert torch.equal(slot, plain)


def test_captured_kernels_follow_their_inputs():
    x, y = torch.randn(2, 1, 300, 3072).bfloat16()
    gate, scale, shift = torch.randn(3, 1, 1, 3072).bfloat16()
    norm = k1.Modulation(scale, shift)
    k1.gate_residual_norm_modulate(x, y, gate, norm)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = k1.gate_residual_norm_modulate(x, y, gate, norm)
    x.normal_()
    graph.replay()
    fresh = k1.gate_residual_norm_modulate(x, y, gate, norm)
    assert all(map(torch.equal, captured, fresh))


def test_compiled_code_calls_the_kernels():
    x, factor = torch.randn(1, 300, 3072), torch.randn(1, 1, 3072)

    def twice(x, factor):
        once = k1.norm_modulate(x, k1.Modulation(factor, factor))
        return k1.norm_modulate(2 * once, k1.Modulation(factor, factor))

    compiled = torch.compile(twice, fullgraph=True)
    assert torch.allclose(compiled(x, factor), twice(x, factor), atol=1e-5)


def test_a_thread_and_a_stream_of_their_own_do():
    x, factor = torch.randn(1, 300, 3072), torch.randn(1, 1, 3072)
    norm = k1.Modulation(factor, factor)
    here = k1.norm_modulate(x, norm)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())

    def elsewhere():
        with torch.cuda.stream(stream):
            return k1.norm_modulate(x, norm)

    with ThreadPoolExecutor(1) as pool:
        there = pool.submit(elsewhere).result()
    stream.synchronize()
    assert torch.equal(here, there)


def test_kernels_are_faster_than_what_they_replace():
    torch.use_deterministic_algorithms(False)
    for case in cases("cuda"):
        fused, plain = seconds_of(torch.device("cuda"), case.fused, case.plain)
        assert fused < plain, case.name
