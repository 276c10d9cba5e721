"""Copies on a GPU's own stream: in order, after what was computed, and without stopping.

Without a GPU, a stand-in for torch.cuda writes down what it is told, and copies at once.
"""

from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from stage_core.offload import engine as engine_module
from stage_core.offload.engine import CudaEngine, engine_for
from stage_core.offload.host import HostSlabs
from stage_core.offload.plan import HostTier, Plan
from stage_core.offload.slab import new_slab, pack
from stage_core.offload.stream import StreamOptions, streamed

CPU, GPU = torch.device("cpu"), torch.device("cuda")


class Recorded:
    """A stand-in for torch.cuda: `log` has (stream, what it was told, which event)."""

    def __init__(self, lockable=True):
        self.log, self.registered, self.events = [], {}, 0
        self.computing = self.queue("computing")
        self.current = self.computing
        self.code = 0 if lockable else 2

    def queue(self, name):
        def record_event():
            self.events += 1
            number = self.events
            self.log.append((name, "record", number))
            return SimpleNamespace(
                number=number, synchronize=lambda: self.log.append(("thread", "waits", number))
            )

        return SimpleNamespace(
            name=name,
            record_event=record_event,
            wait_event=lambda event: self.log.append((name, "wait", event.number)),
            synchronize=lambda: self.log.append((name, "synchronize", None)),
        )

    def Stream(self, device):
        return self.queue("copying")

    def current_stream(self, device):
        return self.computing

    @contextmanager
    def stream(self, queue):
        yield

    def cudart(self):
        def register(address, num_bytes, flags):
            if not self.code:
                self.registered[address] = num_bytes
            return self.code

        return SimpleNamespace(
            cudaHostRegister=register,
            cudaHostUnregister=lambda address: self.registered.pop(address),
        )


@pytest.fixture
def cuda(monkeypatch):
    recorded = Recorded()
    monkeypatch.setattr(engine_module.torch, "cuda", recorded)
    return recorded


@pytest.fixture
def slabs(cuda):
    """RAM locked by the stand-in."""
    made = HostSlabs(GPU)
    yield made
    made.close()


@pytest.fixture
def engine(cuda, slabs):
    """Copies to RAM by the stand-in."""
    made = CudaEngine(CPU, slabs)
    yield made
    made.close()


def block(value=1.0):
    made = nn.Linear(30, 30).requires_grad_(False)
    for weight in made.parameters():
        weight.fill_(value)
    return pack(made)


@pytest.mark.parametrize("locked", [True, False])
def test_a_copy_waits_for_its_slot_and_computations_wait_for_the_copy(cuda, slabs, engine, locked):
    packed = block()
    slab = slabs.copy_of(packed) if locked else None
    place = new_slab(packed.num_bytes, CPU)
    free = engine.mark()
    fetch = engine.fetch(packed, slab, place, free)
    engine.arrive(fetch)
    engine.close()
    assert packed.views(place)[0].eq(1).all()
    assert cuda.log == [
        ("computing", "record", 1),
        ("copying", "wait", 1),
        ("copying", "record", 2),
        ("computing", "wait", 2),
        ("copying", "synchronize", None),
    ]


def test_a_staging_buffer_is_filled_again_when_its_copy_has_left(cuda, engine):
    blocks = [block(value) for value in range(5)]
    places = [new_slab(packed.num_bytes, CPU) for packed in blocks]
    free = engine.mark()
    for packed, place in zip(blocks, places, strict=True):
        engine.arrive(engine.fetch(packed, None, place, free))
    assert [int(p.views(place)[0][0, 0]) for p, place in zip(blocks, places, strict=True)] == [
        *range(5)
    ]
    # Two buffers: the third block takes that of the first, whose copy is event 2.
    assert [number for who, _, number in cuda.log if who == "thread"] == [2, 3, 4]
    assert len(cuda.registered) == 2
    engine.close()
    assert not cuda.registered


def test_all_is_unlocked_at_the_end_also_when_the_device_is_lost(cuda, slabs, engine, caplog):
    slabs.copy_of(block())
    assert len(cuda.registered) == 1

    def lost():
        raise RuntimeError("CUDA error")

    engine._stream.synchronize = lost
    engine.close()
    slabs.close()
    assert "the GPU was lost" in caplog.text and not cuda.registered


def test_ram_that_cannot_be_locked_is_used_as_it_is(cuda, slabs, engine, caplog, monkeypatch):
    cuda.code = 2
    monkeypatch.setattr(torch, "zeros", lambda *_, **__: None)
    packed = block()
    assert slabs.copy_of(packed) is None and slabs.copy_of(packed) is None
    assert caplog.text.count("no more than 0 MB of RAM could be page-locked") == 1
    place = new_slab(packed.num_bytes, CPU)
    engine.arrive(engine.fetch(packed, None, place, engine.mark()))
    assert packed.views(place)[0].eq(1).all()
    engine.close()


def test_a_copy_nobody_wants_is_behind_what_is_computed_next(cuda, slabs, engine):
    packed = block()
    fetch = engine.fetch(
        packed, slabs.copy_of(packed), new_slab(packed.num_bytes, CPU), engine.mark()
    )
    engine.drop(fetch)
    engine.close()
    assert ("computing", "wait", fetch.arrived.number) in cuda.log


@pytest.mark.parametrize("tier", [HostTier.LOCKED, HostTier.PAGED])
def test_a_network_streams_by_it(cuda, tier, monkeypatch):
    monkeypatch.setattr("stage_core.offload.stream.engine_for", CudaEngine)
    monkeypatch.setattr("stage_core.offload.stream.HostSlabs", lambda _: HostSlabs(GPU))
    blocks = nn.Sequential(*(nn.Linear(30, 30) for _ in range(6))).requires_grad_(False)
    token = torch.randn(1, 30)
    with torch.no_grad():
        wanted = blocks(token)
        with streamed(blocks, Plan(frozenset({3}), 2, (tier,) * 6, 0, 0.0), "cpu") as stream:
            for _ in range(4):
                assert torch.equal(blocks(token), wanted)
            copies = sum(entry[:2] == ("copying", "record") for entry in cuda.log)
            assert copies >= stream.traffic.fetches - 1
            assert ("copying", "synchronize", None) not in cuda.log


def test_only_cuda_and_the_cpu_can_be_streamed_to():
    with pytest.raises(ValueError, match="type meta; use cuda or cpu"):
        engine_for(torch.device("meta"), HostSlabs(CPU))


@pytest.mark.gpu
@pytest.mark.parametrize("tier", [HostTier.LOCKED, HostTier.PAGED])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_gpu_computes_the_same_with_weights_that_stream(tier, dtype):
    blocks = nn.Sequential(*(nn.Linear(2048, 2048) for _ in range(8)))
    blocks.to(dtype).requires_grad_(False)
    token = torch.randn(64, 2048, dtype=dtype, device="cuda")
    with torch.no_grad():
        wanted = blocks.to("cuda")(token)
        blocks.to("cpu")
        addresses = [weight.data_ptr() for weight in blocks.parameters()]
        with streamed(blocks, Plan(frozenset({3}), 2, (tier,) * 8, 0, 0.0), "cuda"):
            assert all(torch.equal(blocks(token), wanted) for _ in range(20))
    assert [weight.data_ptr() for weight in blocks.parameters()] == addresses


def test_slabs_outlive_a_stream_and_are_locked_and_written_once(cuda, slabs, monkeypatch):
    monkeypatch.setattr(
        "stage_core.offload.stream.engine_for", lambda _, slabs: CudaEngine(CPU, slabs)
    )
    blocks = nn.Sequential(*(nn.Linear(30, 30) for _ in range(6))).requires_grad_(False)
    token = torch.randn(1, 30)
    tiers = (HostTier.LOCKED,) * 4 + (HostTier.PAGED,) * 2
    with torch.no_grad():
        wanted = blocks(token)
        for _ in range(3):
            options = StreamOptions(slabs=slabs)
            with streamed(blocks, Plan(frozenset(), 2, tiers, 0, 0.0), "cpu", options):
                assert torch.equal(blocks(token), wanted)
            # Buffers on the way are freed with the stream.
            assert len(cuda.registered) == 4
            addresses = set(cuda.registered)
        assert set(cuda.registered) == addresses
        fewer = (HostTier.PAGED,) * 5 + (HostTier.LOCKED,)
        with streamed(blocks, Plan(frozenset(), 2, fewer, 0, 0.0), "cpu", options):
            assert torch.equal(blocks(token), wanted)
    assert len(cuda.registered) == 1
    slabs.close()
    assert not cuda.registered


def test_slabs_that_nobody_holds_are_unlocked(cuda):
    slabs = HostSlabs(GPU)
    slabs.copy_of(block())
    assert len(cuda.registered) == 1
    del slabs
    assert not cuda.registered
