"""What a network needs besides weights is known before it is computed."""

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from stage_core.bench.subjects import KINDS, Size, in_eight_bits
from stage_core.models import low_bit
from stage_core.models.modulation import NoiseLevel
from stage_core.models.qwen_layers import JointTokens
from stage_core.offload.working import on_meta, peak_bytes, working_bytes

from .networks import qwen, wan


def allocated(call):
    """The most bytes that torch's allocator gave out in a call."""
    with torch.no_grad(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        call()
    now = peak = 0
    events = seen.profiler.kineto_results.events()
    for event in sorted(events, key=lambda event: event.start_ns()):
        if event.name() == "[memory]":
            now += event.nbytes()
            peak = max(peak, now)
    return peak


def qwen_step(network, num_tokens, branches=2, place=lambda value: value):
    tokens = torch.randn(1, num_tokens, 64, dtype=network.dtype)
    words = torch.randn(1, 30, 64, dtype=network.dtype)
    rotation = torch.ones(30, 8, dtype=torch.complex64), torch.ones(num_tokens, 8).cfloat()
    sequences = place([JointTokens(tokens, words, rotation)] * branches)
    level = place(NoiseLevel(torch.randn(1, 64, dtype=network.dtype)))
    return lambda: network.forward_many(sequences, level)


def wan_step(network, num_frames, place=lambda value: value):
    latents = torch.randn(1, 8, num_frames, 8, 12, dtype=network.dtype)
    prompts = [network.read(torch.randn(1, 5, 16))] * 2
    rotation = network.rotation(torch.arange(num_frames), 8, 12)
    values = place((latents, torch.tensor([500.0]), prompts, rotation))
    return lambda: network(*values)


SIZES = pytest.mark.parametrize(
    ("make", "step", "size"),
    [(qwen, qwen_step, 300), (qwen, qwen_step, 900), (wan, wan_step, 30), (wan, wan_step, 120)],
)


@SIZES
@torch.no_grad()
def test_the_peak_predicted_without_computing_is_the_allocators(make, step, size):
    network = make(3)
    predicted = working_bytes(network, step(network, size, place=on_meta))
    assert abs(predicted / allocated(step(network, size)) - 1) < 0.05


@SIZES
@torch.no_grad()
def test_in_bfloat16_it_is_that_of_the_tensors_there_are(make, step, size):
    # Here the allocator also gives scratch memory to the CPU's kernels, up to a fifth.
    network = make(3, torch.bfloat16)
    predicted = working_bytes(network, step(network, size, place=on_meta))
    assert abs(predicted / peak_bytes(step(network, size)) - 1) < 0.05


@torch.no_grad()
def test_attention_on_meta_makes_no_matrix_of_tokens_by_tokens():
    network = qwen(1)
    # 4000 x 4000 numbers would be 64 MB for each of four heads; 4000 tokens are 1 MB.
    assert working_bytes(network, qwen_step(network, 4000, place=on_meta)) < 30 * 2**20


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_weights_that_a_plan_has_wide_room_for_are_not_work(kind):
    wide = KINDS[kind](Size(2, 2, 64, 64, dtype=torch.bfloat16), low_bit)
    wanted = working_bytes(wide.network, wide.step(on_meta))
    small = in_eight_bits(wide)
    found, own = (
        working_bytes(small.network, small.step(on_meta), small.blocks, widener)
        for widener in (small.options.widener, None)
    )
    assert found == wanted < own
    assert all(getattr(layer, "wide", None) is None for layer in small.network.modules())


def test_the_networks_weights_are_what_they_were():
    network = wan(1)
    before = network.state_dict()
    working_bytes(network, wan_step(network, 2, place=on_meta))
    assert all(network.state_dict()[name] is not None for name in before)
    assert {weight.device.type for weight in network.parameters()} == {"cpu"}


def test_freed_memory_is_used_again():
    def call():
        for _ in range(5):
            torch.ones(1000) + torch.ones(1000)

    assert peak_bytes(call) == 3 * 4000


def test_what_a_call_was_given_does_not_count():
    given = torch.ones(1000)
    assert peak_bytes(lambda: given.view(10, 100).t()) == 0
    assert peak_bytes(lambda: given.add_(1)) == 0


def test_containers_go_to_meta_and_their_originals_stay():
    given = {"a": [torch.ones(2), (torch.ones(3), "x")]}
    found = on_meta(given)
    assert found["a"][0].is_meta and found["a"][1][0].is_meta and found["a"][1][1] == "x"
    assert not given["a"][0].is_meta
