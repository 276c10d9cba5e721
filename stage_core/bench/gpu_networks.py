"""Networks of real size on a device: in place, streamed, under caps, beside the library's."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import nn

from ..backends.library import WAYS, library_network, library_step, offload_by_library
from ..models import low_bit
from ..offload.host import HostSlabs
from ..offload.placed import Offload, OffloadPolicy, Placement, Task, choose, placed
from ..offload.working import on_meta, working_bytes
from .kept import kept
from .rows import OnRow, Row
from .subjects import (
    KINDS,
    TEXT_TOKENS,
    TEXT_WIDTH,
    Size,
    Subject,
    in_eight_bits,
    pictures,
    plain_qwen,
)

GIB = 2**30
# Steps of a mode are repeated until they have taken so long together.
_ENOUGH_SECONDS = 6.0


@dataclass(frozen=True)
class Scale:
    """What is run: networks by kind, blocks of the slow comparisons, bytes copied.

    `caps` of VRAM in bytes, from small to large; `work` has by kind, from few tokens to many,
    those of them that are tried. `frame` is the size of what is drawn.
    """

    device: str
    dtype: torch.dtype
    heads: dict[str, int]
    head_width: int
    blocks: dict[str, int]
    caps: tuple[int, ...]
    work: dict[str, dict[int, tuple[int, ...]]]
    few_blocks: int
    copied: tuple[int, ...]
    frame: tuple[int, int]
    steps: int = 3

    @property
    def dry(self) -> bool:
        return self.device == "cpu"

    @property
    def fewest(self) -> int:
        """Tokens of Qwen where the link is what a step waits for."""
        return min(self.work["Qwen"])


@dataclass(eq=False)
class Bench:
    """The networks, one in RAM at a time, and what was found so far.

    `link` is in bytes a second; `figures` are the rows by name.
    """

    scale: Scale
    on_row: OnRow
    link: float = math.inf
    figures: dict[str, Row] = field(default_factory=dict)
    _name: tuple[str, int] | None = field(default=None, init=False)
    _subject: Subject | None = field(default=None, init=False)

    @property
    def policy(self) -> OffloadPolicy:
        return OffloadPolicy(Offload.STREAMS, device=self.scale.device)

    def subject(self, kind: str, num_tokens: int, num_layers: int | None = None) -> Subject:
        """The network with work of so many tokens; that of before, where it is the same one.

        Copies in page-locked RAM stay with it.
        """
        scale, name = self.scale, (kind, num_layers or self.scale.blocks[kind])
        if name != self._name:
            self.forget()
            self.on_row(f"{name[1]} blocks of {kind}")
            size = Size(
                name[1], scale.heads[kind], scale.head_width, 0, 1, scale.dtype, scale.device
            )
            # The layers of Qwen are those that the engine uses, and can be made smaller.
            made = KINDS[kind](size, low_bit if kind == "Qwen" else nn)
            options = replace(made.options, slabs=HostSlabs(torch.device(scale.device)))
            self._name, self._subject = name, replace(made, options=options)
        size = replace(self._subject.size, num_tokens=num_tokens)
        return replace(self._subject, size=size)

    def forget(self) -> None:
        """Let go of the network."""
        self._name = self._subject = None
        self.free()

    def free(self) -> None:
        """Give back what nobody holds; the library's hooks refer to each other."""
        gc.collect()
        # A GPU that was lost gives nothing back, and no more figures.
        with suppress(RuntimeError):
            torch.cuda.empty_cache()

    def seconds(self, name: str) -> float:
        """Of a step that was measured before.

        Raises:
            KeyError: it was not.
        """
        return self.figures[f"{name}: step"].value


def named(kind: str, num_tokens: int) -> str:
    """What rows call a workload."""
    return f"{kind}, {num_tokens} tokens"


def capped(num_bytes: int) -> str:
    """What rows call a cap."""
    return f"cap {num_bytes / GIB:.3g} GiB"


def workload(bench: Bench, kind: str, num_tokens: int) -> Iterator[Row]:
    """A whole network: all in place, all streamed, and under caps of VRAM."""
    subject, caps = bench.subject(kind, num_tokens), bench.scale.work[kind][num_tokens]
    yield from _modes(bench, named(kind, num_tokens), subject, caps)


def eight_bits(bench: Bench) -> Iterator[Row]:
    """Qwen with weights of eight bits; the network is another afterwards, and let go."""
    num_tokens = bench.scale.fewest
    subject = bench.subject("Qwen", num_tokens)
    bench.forget()
    subject = in_eight_bits(subject)
    name, wide = named("Qwen in eight bits", num_tokens), named("Qwen", num_tokens)
    yield from _modes(bench, name, subject, bench.scale.caps)
    ours, theirs = (bench.figures[f"{one}, all streamed: efficiency"].value for one in (name, wide))
    yield Row(f"{name}, all streamed: efficiency over that of sixteen", ours / theirs, "x")


def prefix(bench: Bench) -> Iterator[Row]:
    """Half of the blocks in place: the first ones, as others do it, beside every other one."""
    num_tokens, half = bench.scale.fewest, bench.scale.blocks["Qwen"] // 2
    subject, name = bench.subject("Qwen", num_tokens), named("Qwen", num_tokens)
    call = subject.call(bench.scale.device)
    with placed(_task(subject), bench.policy) as place:
        bench.on_row(f"{name}, half in place")
        spread = _time(bench, place, call, half)
        place.stream.resize(0)
        place.stream.resident = frozenset(range(half))
        first = _time(bench, place, call)
    yield Row(f"{name}, half in place, spread: step", spread, "s")
    yield Row(f"{name}, half in place: the first blocks over spread ones", first / spread, "x")


def guided(bench: Bench) -> Iterator[Row]:
    """Steps of two branches over those of one, in place and streamed."""
    num_tokens = bench.scale.fewest
    subject, name = bench.subject("Qwen", num_tokens), named("Qwen", num_tokens)
    pair = replace(subject, size=replace(subject.size, num_sequences=2))
    calls = [one.call(bench.scale.device) for one in (subject, pair)]
    with placed(_task(pair), bench.policy) as place:
        for num_resident, where in ((len(subject.blocks), "in place"), (0, "all streamed")):
            bench.on_row(f"{name}, guided, {where}")
            one, two = (_time(bench, place, call, num_resident) for call in calls)
            yield Row(f"{name}, {where}: guided over one branch", two / one, "x")


def library_whole(bench: Bench, kind: str, num_tokens: int) -> Iterator[Row]:
    """Steps of the library's network, as it is and compiled, over ours, all of it in place."""
    scale, name = bench.scale, named(kind, num_tokens)
    ours = bench.seconds(f"{name}, in place")
    subject, device = bench.subject(kind, num_tokens), torch.device(scale.device)
    network = library_network(subject.network).to(device)
    step = _library_step(network, subject, scale)
    bench.on_row(f"{name}, the library")
    yield Row(f"{name}: the library in place, over ours", _best(step, device, scale.steps) / ours)
    if scale.dry:
        return
    bench.on_row(f"{name}, the library compiled")
    network.compile_repeated_blocks()
    yield Row(f"{name}: the library compiled, first step", _best(step, device, 0), "s")
    yield Row(f"{name}: the library compiled, over ours", _best(step, device, scale.steps) / ours)


def library_ways(bench: Bench) -> Iterator[Row]:
    """Steps of some blocks of Qwen that the library offloads, over ours that stream."""
    scale, label = bench.scale, f"{bench.scale.few_blocks} blocks of Qwen"
    subject = bench.subject("Qwen", scale.fewest, scale.few_blocks)
    call, device = subject.call(scale.device), torch.device(scale.device)
    with placed(_task(subject), bench.policy) as place:
        ours = _time(bench, place, call, 0)
    yield Row(f"{label}, all streamed: step", ours, "s")

    def measured(way: str) -> Iterator[Row]:
        network = library_network(subject.network)
        offload_by_library(network, way, device)
        step = _library_step(network, subject, scale)
        yield Row(f"{label}: {way}, over ours", _best(step, device, scale.steps) / ours)

    for way in () if scale.dry else WAYS:
        bench.on_row(f"{label}, {way}")
        yield from kept(f"{label}: {way}", partial(measured, way))
        bench.free()


def without_table(bench: Bench) -> Iterator[Row]:
    """What it costs when blocks of Qwen make their modulation in every step."""
    scale = bench.scale
    num, subject = scale.few_blocks, bench.subject("Qwen", scale.fewest, scale.few_blocks)
    label, seconds = f"{num} blocks of Qwen, without the table over with it", []
    for one in (subject, plain_qwen(subject)):
        bench.on_row(f"{num} blocks of Qwen {'with' if one is subject else 'without'} the table")
        call = one.call(scale.device)
        with placed(_task(one), bench.policy) as place:
            seconds.append([_time(bench, place, call, count) for count in (num, 0)])
    (table, streamed), (plain, plain_streamed) = seconds
    yield Row(f"{label}, in place", plain / table, "x")
    yield Row(f"{label}, streamed", plain_streamed / streamed, "x")


def best_seconds(call: Callable[[], object], device: torch.device) -> float:
    """Seconds of the best of several runs after one."""
    return _best(call, device, 5)


@contextmanager
def in_place(bench: Bench, subject: Subject) -> Iterator[Placement]:
    """The subject's network on the device, with all of its blocks there."""
    with placed(_task(subject), bench.policy) as place:
        place.stream.resize(len(subject.blocks))
        yield place


@dataclass(frozen=True, eq=False)
class _Running:
    """A step of a task that is in place, and its seconds with all blocks there."""

    task: Task
    place: Placement
    call: Callable[[], object]
    in_place: float


def _modes(bench: Bench, name: str, subject: Subject, caps: tuple[int, ...]) -> Iterator[Row]:
    """Step times of a subject in all ways to keep its blocks."""
    task, count = _task(subject), len(subject.blocks)
    call = subject.call(bench.scale.device)
    with placed(task, bench.policy) as place:
        bench.on_row(f"{name}, in place")
        running = _Running(task, place, call, _time(bench, place, call, count))
        yield Row(f"{name}, in place: step", running.in_place, "s")
        if (held := len(place.stream.resident)) < count:
            # A card on which not all fits has no other measure of computing alone.
            yield Row(f"{name}, in place: blocks that did not fit", count - held)
        label = f"{name}, all streamed"
        bench.on_row(label)
        yield from kept(label, partial(_mode, bench, label, running, 0))
        for cap in caps:
            label = f"{name}, {capped(cap)}"
            bench.on_row(label)
            yield from kept(label, partial(_under, bench, label, running, cap))


def _under(bench: Bench, name: str, running: _Running, cap: int) -> Iterator[Row]:
    """A mode with as many blocks in place as a cap allows, and what that came to."""
    try:
        chosen = choose(running.task, replace(bench.policy, vram_bytes=cap))
    except ValueError:
        yield Row(f"{name}: does not fit", cap / GIB, "GiB")
        return
    # As it would be with nothing before: a plan may have fewer slots, or none.
    running.place.stream.resize(0, chosen.slots or None)
    running.place.stream.free_slots()
    with _capped(cap, bench.scale):
        yield from _mode(bench, name, running, len(chosen.resident))
        if not bench.scale.dry:
            peak = torch.cuda.max_memory_allocated()
            yield Row(f"{name}: peak", peak / GIB, "GiB")
            yield Row(f"{name}: peak over the cap", peak / cap, "x")
            yield Row(f"{name}: plan off by", 100 * abs(chosen.peak_bytes / peak - 1), "%")


def _mode(bench: Bench, name: str, running: _Running, num_resident: int) -> Iterator[Row]:
    """What a step takes, and how much of it the link or the computing accounts for."""
    place, link, stays = running.place, bench.link, running.in_place
    traffic, fetched = place.stream.traffic, 0

    def step() -> None:
        nonlocal fetched
        begun = traffic.fetched_bytes
        place.attempt(running.call)
        fetched = traffic.fetched_bytes - begun

    place.stream.resize(num_resident)
    if not bench.scale.dry:
        torch.cuda.reset_peak_memory_stats()
    seconds = _best(step, place.device, bench.scale.steps)
    yield Row(f"{name}: step", seconds, "s")
    yield Row(f"{name}: fetched", fetched / 1e9, "GB")
    yield Row(f"{name}: over in place", seconds / stays, "x")
    yield Row(f"{name}: efficiency", max(stays, fetched / link) / seconds, "x")
    if fetched / link > stays:
        # Only then is it the link that the step waits for.
        yield Row(f"{name}: of the link", fetched / seconds / link, "x")
    if (dropped := num_resident - len(place.stream.resident)) > 0:
        yield Row(f"{name}: blocks dropped for want of VRAM", dropped)


def _time(
    bench: Bench, place: Placement, call: Callable[[], object], num_resident: int | None = None
) -> float:
    """Seconds of a step, once the weights that stay are there; None: those that do now."""
    if num_resident is not None:
        place.stream.resize(num_resident)
    return _best(lambda: place.attempt(call), place.device, bench.scale.steps)


@torch.no_grad()
def _best(call: Callable[[], object], device: torch.device, runs: int) -> float:
    """Seconds of the best of several runs after one, fewer of slow ones; with 0 of that one."""
    first, times = seconds_of(call, device), []
    while len(times) < runs and sum(times) < _ENOUGH_SECONDS:
        times.append(seconds_of(call, device))
    return max(min(times, default=first), 1e-9)


def seconds_of(call: Callable[[], object], device: torch.device) -> float:
    """Seconds of one call, with all that the device has to do for it."""
    settle(device)
    begun = time.perf_counter()
    call()
    settle(device)
    return time.perf_counter() - begun


def settle(device: torch.device) -> None:
    """Wait until all that was asked of a GPU is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _library_step(network: nn.Module, subject: Subject, scale: Scale) -> Callable[[], object]:
    text = torch.ones(1, TEXT_TOKENS, TEXT_WIDTH, dtype=scale.dtype, device=scale.device)
    return library_step(network, pictures(subject).to(scale.device), [text], 0.5)


@contextmanager
def _capped(cap: int, scale: Scale) -> Iterator[None]:
    if scale.dry:
        yield
        return
    _, total = torch.cuda.mem_get_info()
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(min(1.0, cap / total))
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def _task(subject: Subject) -> Task:
    network, blocks, options = subject.network, subject.blocks, subject.options
    working = working_bytes(network, subject.step(on_meta), blocks, options.widener)
    return Task(network, blocks, working, options)
