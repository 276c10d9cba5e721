"""Networks of real size on a GPU: how near streaming comes to what its link and memory allow.

Takes ten minutes at most on a large card. Without a GPU the same is done in small on the CPU, to
see that it works; no goal is met or missed then.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch

from ..backends.library import (
    SEQUENTIAL,
    WAYS,
    library_network,
    library_step,
    offload_by_library,
)
from ..errors import MissingPackageError
from ..models import low_bit
from ..offload.host import HostSlabs
from ..offload.placed import Offload, OffloadPolicy, Placement, Task, choose, placed
from ..offload.working import on_meta, working_bytes
from .activations import activations
from .kernel_speed import speeds
from .rows import OnRow, Row, at_least, at_most
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
CAPS = (8, 12, 16, 24)
# What the link, or nothing, has to cost: steps over those with all weights in place.
_OVER_IN_PLACE = {
    "Wan, 7808 tokens, all streamed": 1.08,
    "Wan, 14048 tokens, all streamed": 1.03,
    "Wan, 14048 tokens, cap 8 GiB": 1.03,
    "Qwen, 9216 tokens, cap 8 GiB": 1.2,
    "Qwen, 9216 tokens, cap 24 GiB": 1.03,
    "Qwen in eight bits, 4096 tokens, cap 24 GiB": 1.03,
}
# Ours over the library's ways, where no goal is of the kind.
_OVER_LIBRARY = {"compiled": 0.98, "group offload by leaf": 1.9, SEQUENTIAL: 20.0}
_OVER_LIBRARY_IN_PLACE = {"Qwen": 1.22, "Wan": 1.12}
_LINK = 0.95
_MOST_SECONDS = 600
_FINISH_SECONDS = 60


@dataclass(frozen=True)
class Scale:
    """What is run: networks by kind, tokens of each, blocks of the comparison, bytes copied."""

    device: str
    dtype: torch.dtype
    heads: dict[str, int]
    head_width: int
    blocks: dict[str, int]
    tokens: dict[str, tuple[int, ...]]
    few_blocks: int
    copied: tuple[int, ...]
    caps: tuple[int, ...]
    steps: int = 3

    @property
    def dry(self) -> bool:
        return self.device == "cpu"


REAL = Scale(
    device="cuda",
    dtype=torch.bfloat16,
    heads={"Qwen": 24, "Wan": 40},
    head_width=128,
    blocks={"Qwen": 60, "Wan": 40},
    tokens={"Qwen": (4096, 9216), "Wan": (7808, 14048)},
    few_blocks=16,
    copied=(2**20, 2**24, 680 * 2**20),
    caps=tuple(cap * GIB for cap in CAPS),
)
DRY = Scale(
    device="cpu",
    dtype=torch.float32,
    heads={"Qwen": 2, "Wan": 2},
    head_width=16,
    blocks={"Qwen": 6, "Wan": 6},
    tokens={"Qwen": (64,), "Wan": (64,)},
    few_blocks=4,
    copied=(2**16,),
    caps=(2**19, 2**20),
    steps=1,
)


def measure(on_row: OnRow) -> tuple[Row, ...]:
    """All parts, as many as there is time for."""
    gpu = torch.cuda.is_available()
    scale = REAL if gpu else DRY
    begun, rows = time.monotonic(), []
    parts = [lambda: ceilings(scale, on_row), lambda: activations(on_row)]
    for kind in KINDS:
        parts.append(lambda kind=kind: whole(kind, scale, on_row, rows))
    for kind in KINDS:
        parts.append(lambda kind=kind: beside_library(kind, scale, on_row))
    parts.append(lambda: eight_bits(scale, on_row, rows))
    parts.append(lambda: without_table(scale, on_row))
    if scale.dry or torch.version.cuda is not None:
        parts.insert(2, lambda: speeds(on_row, scale.device))
    for done, part in enumerate(parts):
        if time.monotonic() - begun > _MOST_SECONDS - _FINISH_SECONDS:
            rows.append(Row("parts left out for want of time", len(parts) - done))
            break
        rows += part()
        gc.collect()  # The library's hooks refer to each other.
        if gpu:
            torch.cuda.empty_cache()
    rows.append(at_most("time of all", time.monotonic() - begun, _MOST_SECONDS, "s"))
    return tuple(rows if gpu else (replace(row, met=None) for row in rows))


def ceilings(scale: Scale, on_row: OnRow) -> list[Row]:
    """What the card and its link can do, without any network."""
    on_row("ceilings")
    device, rows = torch.device(scale.device), []
    side = 64 if scale.dry else 8192
    one = torch.ones(side, side, dtype=scale.dtype, device=device)
    seconds = _best(lambda: one @ one, device)
    rows.append(Row("ceiling: matrix product", 2 * side**3 / seconds / 1e12, "TFLOP/s"))
    memory = torch.empty(2, scale.copied[-1], dtype=torch.uint8, device=device)
    seconds = _best(lambda: memory[0].copy_(memory[1]), device)
    rows.append(Row("ceiling: copy in VRAM, read and written", 2e-9 * scale.copied[-1] / seconds))
    for num_bytes in scale.copied:
        for locked in (True, False):
            host = torch.empty(num_bytes, dtype=torch.uint8, pin_memory=locked and not scale.dry)
            place = memory[0, :num_bytes]
            copy = _best(lambda h=host, p=place: p.copy_(h, non_blocking=True), device)
            name = f"{num_bytes / 1e6:.0f} MB {'page-locked' if locked else 'pageable'}"
            rows.append(Row(f"ceiling: link, {name}", num_bytes / copy / 1e9, "GB/s"))
    return [replace(row, unit=row.unit or "GB/s") for row in rows]


def whole(kind: str, scale: Scale, on_row: OnRow, before: Iterable[Row]) -> list[Row]:
    """A whole network: all resident, all streamed, and under caps of VRAM."""
    rows: list[Row] = []
    subject = _subject(kind, scale, scale.blocks[kind])
    slabs = HostSlabs(torch.device(scale.device))
    subject = replace(subject, options=replace(subject.options, slabs=slabs))
    for num_tokens in scale.tokens[kind]:
        subject = replace(subject, size=replace(subject.size, num_tokens=num_tokens))
        rows += _modes(f"{kind}, {num_tokens} tokens", subject, scale, on_row, _link(before))
    return rows


def eight_bits(scale: Scale, on_row: OnRow, before: Iterable[Row]) -> list[Row]:
    """Qwen with weights of eight bits, as far as caps let it stay."""
    num_tokens = scale.tokens["Qwen"][0]
    subject = _subject("Qwen", scale, scale.blocks["Qwen"], eight=True)
    name = f"Qwen in eight bits, {num_tokens} tokens"
    return _modes(name, subject, scale, on_row, _link(before))


def without_table(scale: Scale, on_row: OnRow) -> list[Row]:
    """What it costs when the blocks of Qwen make their modulation in every step."""
    subject, num = _subject("Qwen", scale, scale.few_blocks), scale.few_blocks
    seconds = []
    for one in (subject, plain_qwen(subject)):
        on_row(f"{num} blocks of Qwen {'with' if one is subject else 'without'} the table")
        call = one.call(scale.device)
        with placed(_task(one), OffloadPolicy(Offload.STREAMS, device=scale.device)) as place:
            seconds.append([_time(place, call, scale, count) for count in (num, 0)])
    (table, streamed), (plain, plain_streamed) = seconds
    label = f"{num} blocks of Qwen, without the table over with it"
    return [
        at_least(f"{label}, in place", plain / table, 1),
        at_least(f"{label}, streamed", plain_streamed / streamed, 1),
    ]


def beside_library(kind: str, scale: Scale, on_row: OnRow) -> list[Row]:
    """A few blocks of a network: ours and the library's, in place and streamed."""
    label, half = f"{scale.few_blocks} blocks of {kind}", scale.few_blocks // 2
    subject = _subject(kind, scale, scale.few_blocks)
    task, call = _task(subject), subject.call(scale.device)
    policy = OffloadPolicy(Offload.STREAMS, device=scale.device)
    on_row(f"{label}, ours")
    with placed(task, policy) as place:
        streams, spread = (_time(place, call, scale, count) for count in (0, half))
        place.stream.resize(0)
        # The first blocks, as others do it.
        place.stream.resident = frozenset(range(half))
        prefix = _time(place, call, scale)
        stays = _time(place, call, scale, scale.few_blocks)
    rows = [
        Row(f"{label}: ours in place", stays, "s"),
        Row(f"{label}: ours streamed", streams, "s"),
        at_least(f"{label}: half in place as a prefix, over spread", prefix / spread, 1.2),
    ]
    for way in ("in place", "compiled", *WAYS):
        if scale.dry and way != "in place":
            break
        on_row(f"{label}, the library {way}")
        ours = stays if way in ("in place", "compiled") else streams
        goal = _OVER_LIBRARY.get(way, 1)
        goal = _OVER_LIBRARY_IN_PLACE[kind] if way == "in place" else goal
        try:
            theirs = _library_seconds(subject, scale, way)
        except MissingPackageError as error:
            on_row(str(error))
            break
        rows.append(at_least(f"{label}: the library {way}, over ours", theirs / ours, goal))
    return rows


def _library_seconds(subject: Subject, scale: Scale, way: str) -> float:
    device, network = torch.device(scale.device), library_network(subject.network)
    if way in WAYS:
        offload_by_library(network, way, device)
    else:
        network.to(device)
    if way == "compiled":
        network.compile_repeated_blocks()
    text = torch.ones(1, TEXT_TOKENS, TEXT_WIDTH, dtype=scale.dtype, device=device)
    step = library_step(network, pictures(subject).to(device), [text], 0.5)
    with torch.no_grad():
        return _best(step, device, 1 if "no stream" in way else scale.steps)


def _modes(name: str, subject: Subject, scale: Scale, on_row: OnRow, link: float) -> list[Row]:
    """Step times of a subject in all ways to keep its blocks."""
    task, call, count = _task(subject), subject.call(scale.device), len(subject.blocks)
    with placed(task, OffloadPolicy(Offload.STREAMS, device=scale.device)) as place:
        on_row(f"{name}, in place")
        stays = _time(place, call, scale, count)
        # A card on which not all fits has no other measure of computing alone.
        held = len(place.stream.resident)
        rows = [Row(f"{name}: {held} of {count} blocks in place", stays, "s")]
        rows += _mode(f"{name}, all streamed", place, call, scale, (0, stays, link))
        for cap in scale.caps:
            label = f"{name}, cap {cap / GIB:.3g} GiB"
            on_row(label)
            try:
                chosen = choose(task, OffloadPolicy(Offload.STREAMS, cap, scale.device))
            except ValueError:
                rows.append(Row(f"{label}: does not fit", cap / GIB, "GiB"))
                continue
            with _capped(cap, scale):
                num = len(chosen.resident)
                rows += _mode(label, place, call, scale, (num, stays, link), chosen.peak_bytes)
    return rows


def _mode(
    name: str,
    place: Placement,
    call: Callable[[], object],
    scale: Scale,
    known: tuple[int, float, float],
    planned: int | None = None,
) -> list[Row]:
    """`known`: how many blocks stay, seconds in place, bytes a second of the link."""
    num_resident, stays, link = known
    if not scale.dry:
        torch.cuda.reset_peak_memory_stats()
    seconds = _time(place, call, scale, num_resident)
    begun = place.stream.traffic.fetched_bytes
    call()
    fetched = place.stream.traffic.fetched_bytes - begun
    best = max(stays, fetched / link)
    rows = [
        Row(f"{name}: step", seconds, "s"),
        Row(f"{name}: fetched", fetched / 1e9, "GB"),
        _over_in_place(name, seconds / stays),
        at_least(f"{name}: efficiency", best / seconds, 0.95),
    ]
    if fetched / link > stays:
        # Only then is it the link that the step waits for.
        rows.append(at_least(f"{name}: of the link", fetched / seconds / link, _LINK))
    if planned is not None and not scale.dry:
        peak = torch.cuda.max_memory_allocated()
        rows.append(Row(f"{name}: peak", peak / GIB, "GiB"))
        rows.append(at_most(f"{name}: plan off by", 100 * abs(planned / peak - 1), 5, "%"))
    return rows


def _over_in_place(name: str, ratio: float) -> Row:
    row = f"{name}: over in place"
    return at_most(row, ratio, _OVER_IN_PLACE[name]) if name in _OVER_IN_PLACE else Row(row, ratio)


def _time(
    place: Placement, call: Callable[[], object], scale: Scale, num_resident: int | None = None
) -> float:
    """Seconds of a step, once the weights that stay are there."""
    if num_resident is not None:
        place.stream.resize(num_resident)
    return _best(lambda: place.attempt(call), place.device, scale.steps)


def _best(call: Callable[[], object], device: torch.device, runs: int = 5) -> float:
    """Seconds of the best of several runs after one."""
    times = []
    for _ in range(runs + 1):
        _settle(device)
        begun = time.perf_counter()
        call()
        _settle(device)
        times.append(time.perf_counter() - begun)
    return max(min(times[1:]), 1e-9)


def _settle(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


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


def _subject(kind: str, scale: Scale, num_layers: int, eight: bool = False) -> Subject:
    size = Size(
        num_layers,
        scale.heads[kind],
        scale.head_width,
        scale.tokens[kind][0],
        1,
        scale.dtype,
        scale.device,
    )
    subject = KINDS[kind](size, low_bit if eight else torch.nn)
    return in_eight_bits(subject) if eight else subject


def _task(subject: Subject) -> Task:
    working = working_bytes(subject.network, subject.step(on_meta))
    return Task(subject.network, subject.blocks, working, subject.options)


def _link(rows: Iterable[Row]) -> float:
    """Bytes a second of the largest page-locked copy among the ceilings."""
    found = [row.value for row in rows if "page-locked" in row.name]
    return found[-1] * 1e9
