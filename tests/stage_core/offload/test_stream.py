"""Streamed blocks compute what they compute in place, and are left as they were found."""

import gc
import threading
import time

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from stage_core.models import low_bit
from stage_core.offload import stream as stream_module
from stage_core.offload.engine import ThreadEngine
from stage_core.offload.plan import Demand, HostTier, Means, Plan, plan
from stage_core.offload.slab import ALIGNMENT, Packed, pack
from stage_core.offload.stream import StreamOptions, streamed

from .networks import LEVEL_LAYERS, eight_bits, held, qwen, qwen_calls, wan, wan_calls, with_lora


def plan_for(blocks, resident=(), slots=2, tier=HostTier.PAGED):
    return Plan(frozenset(resident), slots, (tier,) * len(blocks), 0, 0.0)


def layers(count=6, width=8):
    """Blocks of one layer each, and what they make of a token one after another."""
    generator = torch.Generator().manual_seed(5)
    blocks = nn.ModuleList(nn.Linear(width, width) for _ in range(count))
    for weight in blocks.parameters():
        nn.init.normal_(weight, std=0.5, generator=generator)
    token = torch.randn(1, width, generator=generator)

    @torch.no_grad()
    def call(visited=range(count)):
        found = token
        for index in visited:
            found = blocks[index](found)
        return found

    return blocks.requires_grad_(False), call


def addresses(blocks):
    """Where the weights of these blocks are found to lie in the calls that follow."""
    found = set()
    for block in blocks:
        block.register_forward_hook(lambda block, *_: found.add(block.weight.data_ptr()))
    return found


KINDS = {
    "qwen float32": lambda: qwen(),
    "qwen bfloat16": lambda: qwen(dtype=torch.bfloat16),
    "qwen with LoRA": lambda: with_lora(qwen()),
    "wan float32": lambda: wan(),
    "wan bfloat16": lambda: wan(dtype=torch.bfloat16),
    "wan with LoRA": lambda: with_lora(wan()),
}


def parts(network):
    if hasattr(network, "blocks"):
        return network.blocks, wan_calls(network), StreamOptions()
    return network.transformer_blocks, qwen_calls(network), StreamOptions(LEVEL_LAYERS)


@pytest.mark.parametrize("tier", [HostTier.LOCKED, HostTier.PAGED])
@pytest.mark.parametrize("kind", KINDS)
def test_guided_velocities_are_those_of_resident_weights(kind, tier):
    network = KINDS[kind]()
    blocks, call, options = parts(network)
    times = (0.9, 0.5, 0.1)
    wanted = [call(time) for time in times]
    with streamed(blocks, plan_for(blocks, {2}, tier=tier), "cpu", options):
        found = [call(time) for time in times]
    assert all(map(torch.equal, found, wanted))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("wide", [False, True])
def test_weights_of_eight_bits_stream_as_such_and_give_the_same(dtype, wide):
    network = qwen(dtype=dtype, ops=low_bit)
    blocks = eight_bits(network, network.transformer_blocks).transformer_blocks
    with_lora(network)
    call = qwen_calls(network)
    wanted = call()
    options = StreamOptions(LEVEL_LAYERS, low_bit.Widener(dtype) if wide else None)
    with streamed(blocks, plan_for(blocks, {1}), "cpu", options) as stream:
        assert torch.equal(call(), wanted) and torch.equal(call(), wanted)
        num_weights = sum(w.numel() for w in blocks.parameters()) * 2 / 3
        # One byte for most of them; scales, LoRA and norms are the rest.
        assert stream.traffic.fetched_bytes < 2 * 2 * num_weights
    assert all(
        layer.wide is None for layer in blocks.modules() if isinstance(layer, low_bit.Linear)
    )


SCALES = {
    "none": lambda weight: None,
    "one number": lambda weight: torch.tensor(0.013),
    "one an output": lambda weight: torch.rand(weight.shape[0], 1),
    "one a block": lambda weight: torch.rand(weight.shape[0], weight.shape[1] // 8, 1),
}


@pytest.mark.parametrize("kind", SCALES)
@pytest.mark.parametrize("small", low_bit.EIGHT_BITS)
def test_scales_of_any_file_are_streamed_with_their_weights(kind, small):
    network = wan(dtype=torch.bfloat16, ops=low_bit)
    for layer in network.blocks.modules():
        if isinstance(layer, low_bit.Linear):
            layer.scale_weight = SCALES[kind](layer.weight)
            layer.weight = nn.Parameter(layer.weight.to(small), requires_grad=False)
    call = wan_calls(network)
    wanted = call()
    options = StreamOptions(widener=low_bit.Widener(torch.bfloat16))
    with streamed(network.blocks, plan_for(network.blocks, {1}), "cpu", options):
        assert all(torch.equal(call(), wanted) for _ in range(2))


def test_wide_weights_are_made_once_a_visit():
    network = eight_bits(network := qwen(ops=low_bit), network.transformer_blocks)
    made, kernel = [], low_bit.kernels.dequantise
    call = qwen_calls(network)
    call()
    options = StreamOptions(LEVEL_LAYERS, low_bit.Widener(torch.float32))
    blocks = network.transformer_blocks
    with pytest.MonkeyPatch.context() as patch, streamed(blocks, plan_for(blocks), "cpu", options):
        patch.setattr(low_bit.kernels, "dequantise", lambda *a: (made.append(1), kernel(*a)))
        call()
    assert len(made) == 6 * 12


@settings(max_examples=30, deadline=None)
@given(
    st.sets(st.integers(0, 5)),
    st.integers(2, 4),
    st.lists(st.integers(0, 5), max_size=30),
    st.sampled_from([HostTier.LOCKED, HostTier.PAGED]),
)
def test_any_order_of_visits_is_right(resident, slots, visits, tier):
    blocks, call = layers()
    wanted = call(visits)
    with streamed(blocks, plan_for(blocks, resident, slots, tier), "cpu"):
        assert torch.equal(call(visits), wanted)


def test_each_block_is_one_copy_and_those_that_stay_are_copied_once():
    blocks, call = layers()
    with streamed(blocks, plan_for(blocks, {0, 3}), "cpu") as stream:
        for _ in range(10):
            call()
        # The first blocks of an eleventh sweep are on their way already.
        assert stream.traffic.fetches == 2 + 10 * 4 + 2 - 1
        assert stream.traffic.dropped_bytes == 0


def test_slots_have_addresses_that_stay_and_are_aligned():
    blocks, call = layers()
    with streamed(blocks, plan_for(blocks, {0}), "cpu"):
        slots = addresses(blocks[1:])
        call()
        first = set(slots)
        for _ in range(5):
            call()
    assert slots == first and len(slots) == 2
    assert all(address % ALIGNMENT == 0 for address in slots)


def test_calls_of_a_block_one_after_another_are_one_visit():
    blocks, call = layers()
    with streamed(blocks, plan_for(blocks), "cpu") as stream:
        call([0, 0, 0, 1, 1, 1, 2, 2, 2])
        # The three, and one that is on its way.
        assert stream.traffic.fetches == 4


def test_skipped_blocks_are_never_fetched():
    blocks, call = layers()
    visited = [0, 1, 5]
    wanted = call(visited)
    with streamed(blocks, plan_for(blocks), "cpu") as stream:
        call()
        stream.visit_only(visited)
        before = stream.traffic.fetched_bytes
        for _ in range(4):
            assert torch.equal(call(visited), wanted)
        one = pack(blocks[0]).num_bytes
        assert stream.traffic.fetched_bytes - before == (4 * 3 + 1) * one
        assert torch.equal(call(), call())  # Wrongly announced is right all the same.


@pytest.mark.parametrize("visited", [[0, 0], [6]])
def test_an_order_with_unknown_blocks_is_refused(visited):
    blocks, _ = layers()
    with (
        streamed(blocks, plan_for(blocks), "cpu") as stream,
        pytest.raises(ValueError, match="use each of 0 to 5"),
    ):
        stream.visit_only(visited)


def test_copies_go_on_while_blocks_compute(monkeypatch):
    copy, work, visits = 0.01, 0.03, 18
    write = Packed.write
    monkeypatch.setattr(Packed, "write", lambda *a: (time.sleep(copy), write(*a)))
    blocks, call = layers()
    for block in blocks:
        block.register_forward_hook(lambda *_: time.sleep(work))
    with streamed(blocks, plan_for(blocks, slots=3), "cpu") as stream:
        for _ in range(visits // 6):
            call()
        # Only the first is waited for; the rest is for what else the machine does.
        assert stream.wait_seconds < visits * copy / 2


def test_the_resident_blocks_can_become_fewer_and_more():
    blocks, call = layers()
    wanted = call()
    with streamed(blocks, plan_for(blocks, {0, 1, 2, 3, 4, 5}, 0), "cpu") as stream:
        for count in (6, 3, 0, 2, 6, 1):
            stream.resize(count)
            assert len(stream.resident) == count
            assert torch.equal(call(), wanted) and torch.equal(call(), wanted)
        with pytest.raises(ValueError, match="7 blocks to stay; there are 6"):
            stream.resize(7)


def test_larger_blocks_that_come_to_stream_find_larger_slots():
    blocks = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 400), nn.Linear(400, 4), nn.Linear(4, 4)])
    blocks.requires_grad_(False)
    token = torch.randn(1, 4)
    with torch.no_grad(), streamed(blocks, plan_for(blocks, {1, 2}), "cpu") as stream:
        found = [nn.Sequential(*blocks)(token)]
        stream.resize(0)
        found += [nn.Sequential(*blocks)(token) for _ in range(2)]
    assert all(torch.equal(one, found[0]) for one in found)


class Fails:
    """Raises at the n-th call of a hook, once."""

    def __init__(self, error, at=1):
        self.error, self.left = error, at

    def __call__(self, *_):
        self.left -= 1
        if self.left == 0:
            raise self.error


@pytest.mark.parametrize("resident", [set(), {0, 2, 4}])
def test_out_of_memory_gives_up_a_block_and_does_it_again(resident):
    blocks, call = layers()
    wanted = call()
    blocks[3].register_forward_hook(Fails(torch.OutOfMemoryError("full"), at=2))
    with streamed(blocks, plan_for(blocks, resident, 3), "cpu") as stream:
        call()
        assert torch.equal(stream.attempt(call), wanted)
        assert len(stream.resident) == max(0, len(resident) - 1)


def test_memory_that_is_never_enough_is_an_error_and_the_network_is_whole():
    blocks, call = layers()
    before = held(blocks)

    def full():
        raise torch.OutOfMemoryError("full")

    with (
        pytest.raises(torch.OutOfMemoryError),
        streamed(blocks, plan_for(blocks, {0, 2}, 3), "cpu") as stream,
    ):
        call()
        stream.attempt(full)
    assert held(blocks) == before


def test_a_slab_that_finds_no_memory_gives_up_a_block(monkeypatch):
    blocks, call = layers()
    wanted = call()
    made, room = [], stream_module.new_slab

    def new_slab(num_bytes, device):
        made.append(num_bytes)
        if len(made) in (3, 6):
            raise torch.OutOfMemoryError("full")
        return room(num_bytes, device)

    monkeypatch.setattr(stream_module, "new_slab", new_slab)
    with streamed(blocks, plan_for(blocks, {0, 1, 3, 4}), "cpu") as stream:
        for _ in range(3):
            assert torch.equal(stream.attempt(call), wanted)
        assert len(stream.resident) == 2


@pytest.mark.parametrize("index", range(6))
def test_an_exception_in_any_block_leaves_the_network_as_it_was(index):
    blocks, call = layers()
    before, wanted = held(blocks), call()
    hook = blocks[index].register_forward_hook(Fails(KeyError("x"), at=2))
    with pytest.raises(KeyError), streamed(blocks, plan_for(blocks, {2}), "cpu"):
        for _ in range(3):
            call()
    hook.remove()
    assert held(blocks) == before and torch.equal(call(), wanted)
    assert not any(block._forward_pre_hooks for block in blocks)


def test_after_an_exception_the_stream_itself_goes_on():
    blocks, call = layers()
    wanted = call()
    blocks[3].register_forward_hook(Fails(KeyError("x"), at=2))
    with streamed(blocks, plan_for(blocks, {2}), "cpu"):
        call()
        with pytest.raises(KeyError):
            call()
        slots = addresses([*blocks[:2], *blocks[3:]])
        assert torch.equal(call(), wanted)
        assert len(slots) == 2


@pytest.mark.parametrize("step", range(4))
def test_a_cancel_in_any_step_leaves_the_network_as_it_was(step):
    network = with_lora(qwen())
    call, blocks = qwen_calls(network), network.transformer_blocks
    before, wanted = held(network), call()
    options = StreamOptions(LEVEL_LAYERS)
    with pytest.raises(KeyboardInterrupt), streamed(blocks, plan_for(blocks), "cpu", options):
        for done in range(4):
            call()
            if done == step:
                raise KeyboardInterrupt
    assert held(network) == before and torch.equal(call(), wanted)


@pytest.mark.parametrize("tier", [HostTier.LOCKED, HostTier.PAGED])
def test_a_lost_device_is_told_and_leaves_the_network_as_it_was(tier, monkeypatch):
    blocks, call = layers()
    before, wanted = held(blocks), call()
    lost, fetch = Fails(RuntimeError("CUDA error: device lost"), at=9), ThreadEngine.fetch

    def failing(engine, packed, locked, place, after):
        def copy(done):
            lost()
            packed.write(place)

        return engine._worker.submit(copy)

    monkeypatch.setattr(ThreadEngine, "fetch", failing)
    with (
        pytest.raises(RuntimeError, match="device lost"),
        streamed(blocks, plan_for(blocks, {2}, tier=tier), "cpu"),
    ):
        for _ in range(5):
            call()
    monkeypatch.setattr(ThreadEngine, "fetch", fetch)
    assert held(blocks) == before and torch.equal(call(), wanted)
    assert "stage-weights" not in [thread.name for thread in threading.enumerate()]


def test_weights_read_between_visits_are_the_blocks_own():
    blocks, call = layers()
    wanted = {name: weight.clone() for name, weight in blocks.state_dict().items()}
    with streamed(blocks, plan_for(blocks, {2}), "cpu"):
        call([0, 1, 2, 3])
        found = blocks.state_dict()
        assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_weights_that_stream_are_not_trained_through():
    blocks, _ = layers()
    with (
        streamed(blocks, plan_for(blocks), "cpu"),
        pytest.raises(ValueError, match="cannot be trained through"),
    ):
        blocks[0](torch.randn(1, 8))


def test_blocks_without_weights_and_unknown_devices_are_refused():
    with pytest.raises(ValueError, match="ReLU has no weights"):
        pack(nn.ReLU())
    blocks, _ = layers()
    with (
        pytest.raises(ValueError, match="device of type meta"),
        streamed(blocks, plan_for(blocks), "meta"),
    ):
        pass
    with pytest.raises(ValueError, match="is on meta; load it on cpu"):
        pack(nn.Linear(2, 2, device="meta"))


@pytest.mark.parametrize(
    ("steps", "shots"), [(20, 6), pytest.param(200, 64, marks=pytest.mark.slow)]
)
def test_many_steps_and_shots_leave_nothing_behind(steps, shots):
    blocks, call = layers(width=64)
    call()
    size = pack(blocks[0]).num_bytes

    def tensors():
        gc.collect()
        return [one for one in gc.get_objects() if issubclass(type(one), torch.Tensor)]

    def more_than(others):
        # Those of other tests may go at any time; held here, they do not take others' places.
        known = set(map(id, others))
        return sum(id(one) not in known for one in tensors())

    def settled(others):
        # The thread that copies may hold the ends of a block at one moment and not at the next.
        return any(not more_than(others) or time.sleep(0.02) for _ in range(50))

    found = plan(Demand((size,) * 6, 0, 0, 1.0), Means(4 * size, 10**9))
    before, threads = tensors(), threading.active_count()
    with streamed(blocks, found, "cpu") as stream:
        for _ in range(steps // 10):
            call()
        after_warm = tensors()
        for _ in range(steps - steps // 10):
            call()
        assert settled(after_warm)
        assert stream.traffic.dropped_bytes == 0
    for _ in range(shots):
        with streamed(blocks, found, "cpu"):
            call()
    del after_warm
    assert not more_than(before) and threading.active_count() == threads
