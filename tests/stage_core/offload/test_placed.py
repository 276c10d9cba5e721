"""A network runs where its user wants it, and is then where it was."""

from dataclasses import replace

import pytest
import torch

from stage_core.backends.qwen_edit import DrawingOrder, denoise
from stage_core.models import low_bit
from stage_core.offload import placed as placed_module
from stage_core.offload.placed import Offload, OffloadPolicy, Task, choose, placed
from stage_core.offload.plan import HostTier
from stage_core.offload.stream import StreamOptions

from .networks import LEVEL_LAYERS, eight_bits, held, qwen, qwen_calls, wan, wan_calls

OPTIONS = StreamOptions(LEVEL_LAYERS)
STREAMING = (Offload.STREAMS, Offload.LITTLE_RAM)


def qwen_task(network, working_bytes=1000):
    return Task(network, network.transformer_blocks, working_bytes, OPTIONS)


@pytest.mark.parametrize("mode", Offload)
@pytest.mark.parametrize("vram_bytes", [None, 10**6])
def test_a_network_gives_the_same_in_every_mode_and_is_left_as_it_was(mode, vram_bytes):
    network = qwen()
    call = qwen_calls(network)
    before, wanted = held(network), call()
    policy = OffloadPolicy(mode, vram_bytes)
    with placed(qwen_task(network), policy) as placement:
        assert torch.equal(placement.attempt(call), wanted)
        assert (placement.stream is not None) == (mode in STREAMING)
        said = str(placement.report("it"))
        assert said.startswith(f"it: {mode.value}, ")
        assert ("predicted peak" in said) == (mode in STREAMING)
    assert held(network) == before


def test_another_network_needs_its_own_blocks_and_nothing_else():
    network = wan()
    call = wan_calls(network)
    wanted = call()
    task = Task(network, network.blocks, 1000)
    with placed(task, OffloadPolicy(Offload.STREAMS)) as placement:
        assert torch.equal(placement.attempt(call), wanted)


@pytest.mark.parametrize("mode", STREAMING)
def test_a_budget_decides_how_many_blocks_stay(mode):
    task = qwen_task(qwen())
    least = choose(task, OffloadPolicy(mode))
    block = (choose(task, OffloadPolicy(mode, 10**9)).peak_bytes - least.peak_bytes) // 3
    # All 6 blocks instead of 3 slots are 3 blocks more.
    assert least.resident == frozenset() and least.slots == 3
    for more in (1, 2):
        found = choose(task, OffloadPolicy(mode, least.peak_bytes + more * block))
        assert len(found.resident) == more
    assert len(choose(task, OffloadPolicy(mode, 10**9)).resident) == 6


def test_vram_that_others_need_is_given_up_and_taken_back():
    network = qwen()
    call, task = qwen_calls(network), qwen_task(network)
    wanted, least = call(), choose(task, OffloadPolicy(Offload.STREAMS)).peak_bytes
    with placed(task, OffloadPolicy(Offload.STREAMS, 10**9)) as placement:
        found = [placement.attempt(call)]
        # Begun without slots, it has two when blocks come to stream, and room for one more.
        for room, count in ((least, 1), (10**9, 6), (least - 10, 0)):
            placement.fit(room)
            assert len(placement.stream.resident) == count
            found.append(placement.attempt(call))
        with pytest.raises(ValueError, match=r"needs .* every block streamed.* allow more"):
            placement.fit(1000)
    assert all(torch.equal(one, wanted) for one in found)


def test_blocks_make_room_for_work_that_grows():
    network = qwen()
    call, task = qwen_calls(network), qwen_task(network)
    wanted, room = call(), choose(task, OffloadPolicy(Offload.STREAMS, 10**9)).peak_bytes + 100
    with placed(task, OffloadPolicy(Offload.STREAMS, room)) as placement:
        before = placement.report("it")
        placement.work(2000)
        after = placement.report("it")
        assert before.resident == 6 > after.resident
        assert before.planned_bytes < room and after.planned_bytes <= room
        assert torch.equal(placement.attempt(call), wanted)
        with pytest.raises(ValueError, match=r"needs .* every block streamed.* allow more"):
            placement.work(10**9)


def test_a_budget_holds_for_work_that_grows_where_no_block_stays():
    network = qwen()
    call, task = qwen_calls(network), qwen_task(network)
    wanted, least = call(), choose(task, OffloadPolicy(Offload.STREAMS)).peak_bytes
    with placed(task, OffloadPolicy(Offload.STREAMS, least + 100)) as placement:
        assert not placement.stream.resident and placement.stream.num_slots == 3
        # A slot less makes room for a little more, and nothing for a lot.
        placement.work(2000)
        assert placement.stream.num_slots == 2 and placement.plan.peak_bytes <= least + 100
        assert torch.equal(placement.attempt(call), wanted)
        with pytest.raises(ValueError, match=r"needs .* every block streamed.* allow more"):
            placement.work(10**9)
        assert placement.plan.peak_bytes <= least + 100
        assert torch.equal(placement.attempt(call), wanted)


def test_without_a_budget_what_streams_grows_with_its_work_and_asks_for_that():
    asked = []
    with placed(qwen_task(qwen()), OffloadPolicy(Offload.STREAMS), asked.append) as placement:
        before = placement.plan.peak_bytes
        placement.work(10**9)
        assert placement.plan.peak_bytes == before + 10**9 - 1000
        assert not placement.stream.resident
    assert len(asked) == 2 and 10**9 <= asked[1] < 1.1 * 10**9


def test_streams_asks_the_host_for_its_plan_and_others_for_every_block(monkeypatch):
    monkeypatch.setattr(placed_module, "free_vram_bytes", lambda device: 10**12)
    task, asked = qwen_task(qwen()), {}
    for mode in Offload:
        policy = OffloadPolicy(mode, device="cuda")
        plan = choose(task, policy, lambda num_bytes, mode=mode: asked.update({mode: num_bytes}))
        # With what the plan leaves free of it.
        assert plan.peak_bytes <= asked[mode] < 1.1 * plan.peak_bytes
    assert asked[Offload.STREAMS] < asked[Offload.AUTO] == asked[Offload.FITS]


def test_room_that_was_asked_for_is_enough_for_the_plan(monkeypatch):
    task, free = qwen_task(qwen()), []
    monkeypatch.setattr(placed_module, "free_vram_bytes", lambda device: free[-1])
    for mode in Offload:
        plan = choose(task, OffloadPolicy(mode, device="cuda"), free.append)
        assert plan.slots == (3 if mode is Offload.STREAMS else 0)


@pytest.mark.parametrize("mode", [Offload.AUTO, Offload.STREAMS])
def test_a_task_for_a_short_while_locks_no_ram(monkeypatch, mode):
    monkeypatch.setattr(placed_module, "free_vram_bytes", lambda device: 1_800_000)
    often = qwen_task(qwen())
    for task, tier in ((often, HostTier.LOCKED), (replace(often, locks=False), HostTier.PAGED)):
        found = choose(task, OffloadPolicy(mode, device="cuda"))
        streamed = [one for i, one in enumerate(found.tiers) if i not in found.resident]
        assert streamed and set(streamed) == {tier}


def test_a_rehearsal_aside_fetches_nothing():
    network = qwen()
    call = qwen_calls(network)
    wanted = call()
    with placed(qwen_task(network), OffloadPolicy(Offload.STREAMS)) as placement:
        assert torch.equal(call(), wanted)
        fetches = placement.stream.traffic.fetches
        with placement.stream.aside():
            call()
        assert placement.stream.traffic.fetches == fetches
        assert torch.equal(call(), wanted)


def test_little_ram_takes_no_slabs():
    found = choose(qwen_task(qwen()), OffloadPolicy(Offload.LITTLE_RAM))
    assert set(found.tiers) == {HostTier.MAPPED}


def test_the_work_and_what_is_outside_of_blocks_are_part_of_the_peak():
    network = qwen()
    small, large = (
        choose(qwen_task(network, work), OffloadPolicy(Offload.STREAMS)) for work in (0, 5000)
    )
    assert large.peak_bytes - small.peak_bytes == 5000
    inside = sum(weight.nbytes for weight in network.transformer_blocks.parameters())
    outside = sum(weight.nbytes for weight in network.parameters()) - inside
    slots = 3 * sum(
        -(-weight.nbytes // 256) * 256
        for name, weight in network.transformer_blocks[0].named_parameters()
        if not name.startswith(LEVEL_LAYERS)
    )
    assert small.peak_bytes == outside + slots


def test_wide_weights_are_part_of_the_peak():
    network = qwen(ops=low_bit)
    eight_bits(network, network.transformer_blocks)
    blocks = network.transformer_blocks
    wide = StreamOptions(LEVEL_LAYERS, low_bit.Widener(torch.float32))
    policy = OffloadPolicy(Offload.STREAMS)
    without, with_them = (
        choose(Task(network, blocks, 0, options), policy) for options in (OPTIONS, wide)
    )
    numbers = sum(
        layer.weight.numel()
        for name, layer in blocks[0].named_modules()
        if isinstance(layer, low_bit.Linear) and not name.startswith(LEVEL_LAYERS)
    )
    assert with_them.peak_bytes - without.peak_bytes == 4 * numbers


def test_room_is_asked_for_before_it_is_taken(monkeypatch):
    order, real = [], placed_module.streamed
    monkeypatch.setattr(placed_module, "streamed", lambda *a: (order.append("taken"), real(*a))[1])
    with placed(qwen_task(qwen()), OffloadPolicy(Offload.STREAMS, 10**6), order.append):
        pass
    assert order[0] <= 10**6 and order[1:] == ["taken"]


@pytest.mark.parametrize("error", [KeyError("x"), KeyboardInterrupt(), torch.OutOfMemoryError("x")])
def test_any_end_leaves_the_network_as_it_was(error):
    network = qwen()
    call = qwen_calls(network)
    before = held(network)
    with (
        pytest.raises(type(error)),
        placed(qwen_task(network), OffloadPolicy(Offload.STREAMS)) as placement,
    ):
        placement.attempt(call)
        raise error
    assert held(network) == before


def test_too_small_a_budget_is_refused():
    with pytest.raises(ValueError, match="of VRAM with every block streamed"):
        choose(qwen_task(qwen(), 10**9), OffloadPolicy(Offload.STREAMS, 10**8))
    with pytest.raises(ValueError, match="0 bytes of VRAM"):
        OffloadPolicy(vram_bytes=0)


def order(network, guidance=4.0):
    generator = torch.Generator().manual_seed(6)

    def draw(*shape):
        return torch.randn(shape, generator=generator)

    return DrawingOrder(
        noise=draw(1, 16, 16, 12),
        known=torch.zeros(1, 16, 16, 12),
        held=torch.zeros(1, 1, 16, 1, dtype=torch.bool),
        memory=(draw(1, 16, 8, 12),),
        positive=draw(1, 5, 20),
        negative=draw(1, 3, 20),
        sigmas=torch.tensor([1.0, 0.7, 0.3, 0.0]),
        guidance=guidance,
    )


@pytest.mark.parametrize("guidance", [1.0, 4.0])
def test_a_pair_is_drawn_the_same_and_fetched_once_a_step_for_both_branches(guidance):
    network = qwen()
    asked = order(network, guidance)
    with torch.no_grad():
        wanted = denoise(network, asked, lambda *_: None)
        with placed(qwen_task(network), OffloadPolicy(Offload.STREAMS)) as placement:
            found = denoise(network, asked, lambda *_: None)
            fetches = placement.stream.traffic.fetches
    assert torch.equal(found, wanted)
    # Three steps of six blocks, and two that were on their way to a fourth.
    assert 18 <= fetches <= 18 + 2


def test_a_cancelled_drawing_leaves_the_network_as_it_was():
    network = qwen()
    before = held(network)

    def on_step(done, total):
        if done == 2:
            raise KeyboardInterrupt

    with (
        torch.no_grad(),
        pytest.raises(KeyboardInterrupt),
        placed(qwen_task(network), OffloadPolicy(Offload.STREAMS)),
    ):
        denoise(network, order(network), on_step)
    assert held(network) == before


def test_memory_that_runs_out_in_a_step_costs_a_block_and_not_the_picture():
    network = qwen()
    asked, left = order(network), [2]

    def full(*_):
        left[0] -= 1
        if left[0] == 0:
            raise torch.OutOfMemoryError("full")

    with torch.no_grad():
        wanted = denoise(network, asked, lambda *_: None)
        policy = OffloadPolicy(Offload.STREAMS, 10**9)
        with placed(qwen_task(network), policy) as placement:
            hook = network.transformer_blocks[2].register_forward_hook(full)
            found = placement.attempt(lambda: denoise(network, asked, lambda *_: None))
            hook.remove()
            assert len(placement.stream.resident) == 5
    assert torch.equal(found, wanted)
