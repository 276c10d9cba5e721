"""Blocks whose weights come when they are needed: a plan, carried out.

Each block that streams has one slab, copied as a whole into one of a few slots while blocks
before it compute. The order of visits repeats, so at the end of a sweep the first blocks of the
next one are under way, be it another step, another branch of guidance or another shot. Calls of
the same block one after another are one visit.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn

from .engine import CopyEngine, Fetch, Mark, engine_for
from .host import HostSlabs
from .plan import SLOTS, HostTier, Plan, resident_among
from .slab import new_slab, pack

T = TypeVar("T")


@dataclass
class Traffic:
    """Copies asked for so far; `dropped_bytes` of them were for blocks that were not visited."""

    fetches: int = 0
    fetched_bytes: int = 0
    dropped_bytes: int = 0


class Widener(Protocol):
    """Weights stored in fewer bits, widened while their block is visited.

    It is given the modules of a block whose own weights stream.
    """

    def num_bytes(self, layers: Sequence[nn.Module]) -> int:
        """What the wide weights of these take."""

    def widen(self, layers: Sequence[nn.Module], room: Tensor) -> None:
        """Let them compute with wide weights, made of their own in `room`, uint8."""

    def narrow(self, layers: Sequence[nn.Module]) -> None:
        """Let them compute with their own weights."""


@dataclass(frozen=True)
class StreamOptions:
    """How blocks are streamed.

    `left_out`: children of blocks that are not called, by their path; they are not copied.
    `slabs`: where copies in RAM are kept for the next time; None: only while it lasts.
    """

    left_out: tuple[str, ...] = ()
    widener: Widener | None = None
    slabs: HostSlabs | None = None


_PLAIN = StreamOptions()


@dataclass(eq=False)
class _Slot:
    room: Tensor
    free_after: Mark
    views: dict[int, tuple[Tensor, ...]]


@dataclass(eq=False)
class _OnItsWay:
    block: int
    slot: _Slot
    fetch: Fetch


class Stream:
    """The blocks of one network, from `streamed`, which also ends it.

    What is computed between is for inference only: a weight is elsewhere, or overwritten, once
    its block has been left.
    """

    def __init__(
        self,
        blocks: Sequence[nn.Module],
        plan: Plan,
        device: torch.device,
        engine: CopyEngine,
        slabs: HostSlabs,
        options: StreamOptions,
    ):
        self.traffic = Traffic()
        self.resident = plan.resident
        self._device, self._engine = device, engine
        self._blocks = [pack(block, options.left_out) for block in blocks]
        tiers = zip(self._blocks, plan.tiers, strict=True)
        fast = [packed if tier is HostTier.LOCKED else None for packed, tier in tiers]
        slabs.keep(packed for packed in fast if packed)
        self._locked = [packed and slabs.copy_of(packed) for packed in fast]
        self._order = tuple(range(len(self._blocks)))
        self._num_slots = plan.slots
        self._slots: tuple[_Slot, ...] = ()
        self._free: deque[_Slot] = deque()
        self._widener = options.widener
        self._wide: Tensor | None = None
        self._stay: dict[int, _OnItsWay] = {}
        self._queue: deque[_OnItsWay] = deque()
        self._current: int | None = None
        self._in_slot: _Slot | None = None
        self._aside = False
        self._next = 0  # Place in the order of what is fetched next.

    @property
    def wait_seconds(self) -> float:
        """How long the program has waited for weights."""
        return self._engine.wait_seconds

    @property
    def num_slots(self) -> int:
        """How many slots there are as soon as a block streams."""
        return self._num_slots or SLOTS[0]

    def visit_only(self, blocks: Sequence[int]) -> None:
        """From now on a sweep visits these, in this order; others are not fetched.

        A visit of another is still right, and has to wait for its weights.

        Raises:
            ValueError: a block that there is not, or one twice.
        """
        known = range(len(self._blocks))
        if len(set(blocks)) != len(blocks) or not set(blocks) <= set(known):
            raise ValueError(
                f"blocks to visit {list(blocks)}; use each of 0 to {len(self._blocks) - 1} "
                "at most once"
            )
        self._leave()
        self._drop_queue()
        self._order, self._next = tuple(blocks), 0

    def resize(self, num_resident: int, num_slots: int | None = None) -> None:
        """Let as many blocks stay in VRAM, where others need it or leave it.

        Args:
            num_slots: for those that stream; None for as many as there are.

        Raises:
            ValueError: more than there are, or fewer than none.
        """
        count = len(self._blocks)
        if not 0 <= num_resident <= count:
            raise ValueError(f"{num_resident} blocks to stay; there are {count}")
        self._leave()
        self._drop_queue()
        self.resident = resident_among(count, num_resident)
        for block in self._stay.keys() - self.resident:
            self._engine.arrive(self._stay.pop(block).fetch)
            self._blocks[block].restore()
        self._num_slots = num_slots or self.num_slots
        small = any(slot.room.numel() < self._slot_bytes() for slot in self._slots)
        if small or len(self._slots) != self._num_slots:
            self.free_slots()

    def free_slots(self) -> None:
        """Leave VRAM to others until a block is visited again; only blocks that stay are there."""
        self._leave()
        self._drop_queue()
        self._slots = ()
        self._free.clear()

    def attempt(self, call: Callable[[], T]) -> T:
        """What `call` gives; when VRAM runs out, again with one block fewer in VRAM.

        Raises:
            torch.OutOfMemoryError: it is not enough with every block streamed either.
        """
        while True:
            try:
                return call()
            except torch.OutOfMemoryError:
                if not self.resident and self._num_slots <= SLOTS[0]:
                    raise
            # Outside of the handler, which holds what the failed call had made.
            if self.resident:
                self.resize(len(self.resident) - 1)
            else:
                self.resize(0, SLOTS[0])
            if self._device.type == "cuda":
                torch.cuda.empty_cache()

    def enter(self, block: int) -> None:
        """Be at a block: its weights are there for what is computed from now on.

        Raises:
            ValueError: gradients are recorded, for which weights would be needed later.
            Exception: what went wrong with its copy.
        """
        if block == self._current or self._aside:
            return
        if torch.is_grad_enabled():
            raise ValueError("weights that stream cannot be trained through; use torch.no_grad()")
        self._leave()
        here = self._expect(block)
        try:
            self._prefetch(block)
            self._engine.arrive(here.fetch)
            self._bind(here)
        except BaseException:
            self._forget(here)
            raise
        self._current = block
        self._in_slot = None if block in self._stay else here.slot

    @contextmanager
    def aside(self) -> Iterator[None]:
        """For calls on tensors without numbers: no weights come for those."""
        self._leave()
        self._aside = True
        try:
            yield
        finally:
            self._aside = False

    def close(self) -> None:
        """Give the blocks back the weights they had; slots and slabs are freed."""
        if self._current is not None:
            self._unbind(self._current)
        for packed in self._blocks:
            packed.restore()
        self._current = self._in_slot = self._wide = None
        self._slots = ()
        for held in (self._blocks, self._queue, self._stay, self._locked, self._free):
            held.clear()

    def _leave(self) -> None:
        if self._current is not None:
            self._unbind(self._current)
        if self._in_slot is not None:
            self._give_back(self._in_slot)
        self._current = self._in_slot = None

    def _give_back(self, slot: _Slot) -> None:
        slot.free_after = self._engine.mark()
        self._free.append(slot)

    def _expect(self, block: int) -> _OnItsWay:
        """The block's weights on their way, at the head of all that is."""
        if block in self.resident:
            if block not in self._stay:
                self._fetch_to_stay(block)
            return self._stay[block]
        if all(coming.block != block for coming in self._queue):
            self._drop_queue()
            if block in self._order:
                self._next = self._order.index(block)
                self._step()
            self._fetch_to_slot(block)
        while self._queue[0].block != block:
            self._drop(self._queue.popleft())
        return self._queue.popleft()

    def _prefetch(self, block: int) -> None:
        """Ask for what comes next, as far as there are free slots and one sweep reaches."""
        if block not in self._order:
            return
        here = self._order.index(block)
        if self._next == here:
            self._step()
        while self._next != here:
            coming = self._order[self._next]
            if coming not in self.resident:
                if not self._ring():
                    return
                self._fetch_to_slot(coming)
            elif coming not in self._stay:
                self._fetch_to_stay(coming)
            self._step()

    def _step(self) -> None:
        self._next = (self._next + 1) % len(self._order)

    def _ring(self) -> deque[_Slot]:
        """The free slots; all are made at the first use."""
        if not self._slots:
            room = self._slot_bytes()
            self._slots = tuple(self._new_slot(room) for _ in range(self._num_slots))
            self._free.extend(self._slots)
        return self._free

    def _slot_bytes(self) -> int:
        sizes = (b.num_bytes for i, b in enumerate(self._blocks) if i not in self.resident)
        return max(sizes, default=0)

    def _wide_room(self) -> Tensor:
        if self._wide is None:
            room = max(self._widener.num_bytes(packed.layers) for packed in self._blocks)
            self._wide = new_slab(room, self._device)
        return self._wide

    def _new_slot(self, num_bytes: int) -> _Slot:
        return _Slot(new_slab(num_bytes, self._device), self._engine.mark(), {})

    def _fetch_to_stay(self, block: int) -> None:
        slot = self._new_slot(self._blocks[block].num_bytes)
        self._stay[block] = _OnItsWay(block, slot, self._fetch(block, slot))

    def _fetch_to_slot(self, block: int) -> None:
        slot = self._ring().popleft()
        self._queue.append(_OnItsWay(block, slot, self._fetch(block, slot)))

    def _fetch(self, block: int, slot: _Slot) -> Fetch:
        packed = self._blocks[block]
        self.traffic.fetches += 1
        self.traffic.fetched_bytes += packed.num_bytes
        place = slot.room[: packed.num_bytes]
        return self._engine.fetch(packed, self._locked[block], place, slot.free_after)

    def _drop_queue(self) -> None:
        while self._queue:
            self._drop(self._queue.popleft())

    def _drop(self, coming: _OnItsWay) -> None:
        self._engine.drop(coming.fetch)
        self.traffic.dropped_bytes += self._blocks[coming.block].num_bytes
        self._give_back(coming.slot)

    def _bind(self, coming: _OnItsWay) -> None:
        block, slot = coming.block, coming.slot
        packed = self._blocks[block]
        if block not in slot.views:
            slot.views[block] = packed.views(slot.room)
        packed.bind(slot.views[block])
        if self._widener:
            self._widener.widen(packed.layers, self._wide_room())

    def _unbind(self, block: int) -> None:
        packed = self._blocks[block]
        if self._widener:
            self._widener.narrow(packed.layers)
        if block not in self._stay:
            # Who looks at a weight while its block is not visited finds the numbers in RAM.
            packed.restore()

    def _forget(self, coming: _OnItsWay) -> None:
        """A visit that came to nothing, for want of VRAM or of the device."""
        if self._stay.pop(coming.block, None) is None:
            self._drop(coming)
        else:
            self._engine.drop(coming.fetch)
        self._unbind(coming.block)


@contextmanager
def streamed(
    blocks: Sequence[nn.Module],
    plan: Plan,
    device: torch.device | str,
    options: StreamOptions = _PLAIN,
) -> Iterator[Stream]:
    """Blocks of a network, called one after another, with their weights where `plan` says.

    The weights that are not of blocks are the caller's; see `placed`. At the end, also after an
    exception, the blocks have the tensors that they had.

    Raises:
        ValueError: weights that are not in RAM, or a device to which nothing can stream.
    """
    device = torch.device(device)
    slabs = options.slabs or HostSlabs(device)
    engine = engine_for(device, slabs)
    hooks, stream = [], None
    try:
        stream = Stream(blocks, plan, device, engine, slabs, options)
        for index, block in enumerate(blocks):
            hooks.append(block.register_forward_pre_hook(_entering(stream, index)))
        yield stream
    finally:
        for hook in hooks:
            hook.remove()
        engine.close()
        if stream is not None:
            stream.close()
        if options.slabs is None:
            slabs.close()


def _entering(stream: Stream, index: int) -> Callable[[nn.Module, tuple], None]:
    def enter(block: nn.Module, arguments: tuple) -> None:
        stream.enter(index)

    return enter
