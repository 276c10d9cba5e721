"""What streaming costs: the same numbers, a little time, two blocks of memory."""

from __future__ import annotations

import ctypes
import random
import re
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from ..models import low_bit
from ..models.checkpoint import open_weights
from ..offload.placed import Offload, OffloadPolicy, Task, placed
from ..offload.plan import SPEEDS, Demand, HostTier, Means, Plan, plan
from ..offload.slab import pack
from ..offload.stream import streamed
from ..offload.working import on_meta, peak_bytes, working_bytes
from ..threads import one_thread
from .rows import OnRow, Row, at_most
from .subjects import KINDS, Size, Subject, in_eight_bits, qwen, with_lora

SMALL = Size(6, 2, 16, 64)
TIMED = Size(8, 4, 128, 512, 1)
HELD = Size(12, 6, 128, 64, 1, torch.bfloat16)
LONG = replace(SMALL, num_tokens=1024)
# So few tokens that what weights take is most of it.
WIDE = Size(6, 2, 64, 64, dtype=torch.bfloat16)
_PAIRS = 9
_STEPS = 200
_STEPS_TIMED = 3
_MACHINES = 300
_CASES = ("guided", "LoRA", "skipped blocks", "eight bits", "eight bits and LoRA")


def measure(on_row: OnRow) -> tuple[Row, ...]:
    """Equality, time, memory, bytes, and how near plans come to what they say."""
    parts = (equality, times, memory, traffic, simulated, predicted)
    return tuple(row for part in parts for row in part(on_row))


def equality(on_row: OnRow, size: Size = SMALL) -> list[Row]:
    """Numbers that differ from those of weights in place: none, in any of these cases."""
    rows = []
    for kind, make in KINDS.items():
        for dtype in (torch.float32, torch.bfloat16):
            for case in _CASES:
                name = f"{kind} {str(dtype).removeprefix('torch.')}, {case}"
                on_row(name)
                small = "eight bits" in case
                subject = make(replace(size, dtype=dtype), low_bit if small else torch.nn)
                subject = with_lora(subject) if "LoRA" in case else subject
                subject = in_eight_bits(subject) if small else subject
                wrong = _different(subject, case == "skipped blocks")
                rows.append(at_most(f"A1 {name}: numbers that differ", wrong, 0))
    return rows


@one_thread()
def times(on_row: OnRow, size: Size = TIMED, pairs: int = _PAIRS) -> list[Row]:
    """Streaming all blocks over none, in turns, and how long the program waited for weights.

    One thread computes and another copies, which takes a core of its own: the copy engine of a
    GPU takes nothing from what computes.
    """
    rows = []
    for num_tokens, limit in ((size.num_tokens, 1.15), (size.num_tokens // 4, 1.2)):
        stays, streams = (qwen(replace(size, num_tokens=num_tokens)) for _ in range(2))
        in_place, moving = stays.call(), streams.call()
        ratios, waits = [], []
        packed = replace(_plan(streams, slots=2), tiers=(HostTier.LOCKED,) * len(streams.blocks))
        with streamed(streams.blocks, packed, "cpu", streams.options) as stream:
            for pair in range(pairs + 1):
                on_row(f"{num_tokens} tokens, pair {pair} of {pairs}")
                waited = stream.wait_seconds
                seconds = _seconds(moving)
                waits.append((stream.wait_seconds - waited) / seconds)
                ratios.append(seconds / _seconds(in_place))
        # The first pair waits for the first weights.
        ratio, wait = statistics.median(ratios[1:]), 100 * statistics.median(waits[1:])
        rows += (
            at_most(f"A2 {num_tokens} tokens: time, median of pairs", ratio, limit),
            at_most(f"A2 {num_tokens} tokens: waiting, median", wait, 0.5, "% of the time"),
        )
    return rows


def memory(on_row: OnRow, size: Size = HELD, steps: int = _STEPS) -> list[Row]:
    """Anonymous RAM that weights take which stream from a mapped file, and its growth."""
    with TemporaryDirectory() as folder:
        subject = _mapped(qwen(size), Path(folder))
        block = pack(subject.blocks[0], subject.options.left_out).num_bytes
        call = subject.call()
        call()
        before, held = _anonymous_bytes(), []
        with streamed(subject.blocks, _plan(subject, slots=2), "cpu", subject.options):
            for step in range(steps):
                on_row(f"step {step} of {steps}")
                call()
                held.append(_anonymous_bytes() - before)
        early, late = max(held[: steps // 10]), max(held)
    known = sys.platform == "linux"
    row = at_most("A3 anonymous RAM of streamed weights", late / block, 2.1, "blocks")
    growth = 100 * (late / max(early, 1) - 1)
    grown = at_most(f"A3 growth over {steps} steps", growth, 1, "%")
    return [row if known else replace(row, met=None), grown if known else replace(grown, met=None)]


def traffic(on_row: OnRow, size: Size = SMALL) -> list[Row]:
    """Bytes of a step with guidance, of four shots together, and of skipped blocks."""
    on_row("bytes")
    one, two, four = (_bytes(qwen(replace(size, num_sequences=n))) for n in (1, 2, 4))
    skipped = qwen(size)
    visited = [0, size.num_layers - 1]
    few = _bytes(skipped, visited)
    wanted = sum(pack(skipped.blocks[i], skipped.options.left_out).num_bytes for i in visited)
    return [
        at_most("A6 bytes of a guided step over one branch", two / one, 1.01),
        at_most("A6 bytes per shot of four together over one", four / one / 4, 0.2525),
        at_most("A6 bytes of skipped blocks", few - wanted, 0, "B"),
    ]


def simulated(on_row: OnRow) -> list[Row]:
    """Plans for random machines, by simulation, over the bound for their VRAM with three slots."""
    on_row("simulating")
    dice, worst = random.Random(0), 0.0
    for _ in range(_MACHINES):
        count, size = dice.randint(8, 60), dice.randint(1, 800) * 10**6
        room = dice.randint(4, count + 2)
        link, compute = 10 ** dice.uniform(9, 11), 10 ** dice.uniform(-3, 2)
        speeds = SPEEDS | {HostTier.LOCKED: link}
        demand = Demand((size,) * count, 0, 0, compute)
        found = plan(demand, Means(room * size, 10**15, speeds))
        num_streamed = 0 if room >= count else count - (room - 3)
        bound = max(compute, num_streamed * size / link)
        worst = max(worst, found.sweep_seconds / bound)
    return [at_most(f"A8 {_MACHINES} simulated machines over the bound, worst", worst, 1.02)]


def predicted(on_row: OnRow, size: Size = LONG, eight: Size = WIDE) -> list[Row]:
    """The planned peak beside that of the tensors there were; of `eight` with eight bits."""
    rows = []
    for kind, make in KINDS.items():
        on_row(f"peak of {kind}")
        subject = make(size)
        for name, room in (("all resident", 10**12), ("all streamed", None)):
            rows.append(_off(f"A9 {kind}, {name}: plan off by", subject, room))
        subject = in_eight_bits(make(eight, low_bit))
        rows.append(_off(f"A9 {kind}, eight bits, all streamed: plan off by", subject, None))
    return rows


def _off(name: str, subject: Subject, vram_bytes: int | None) -> Row:
    """How far the plan for a budget is from what there was; None for the least that will do."""
    network, blocks, options = subject.network, subject.blocks, subject.options
    working = working_bytes(network, subject.step(on_meta), blocks, options.widener)
    call = subject.call()
    policy = OffloadPolicy(Offload.STREAMS, vram_bytes)
    with placed(Task(network, blocks, working, options), policy) as place:
        made = peak_bytes(call) + sum(weight.nbytes for weight in _outside(subject))
    return at_most(name, 100 * abs(place.plan.peak_bytes / made - 1), 5, "%")


def _outside(subject: Subject) -> list[torch.Tensor]:
    inside = {id(weight) for weight in subject.blocks.parameters()}
    return [weight for weight in subject.network.parameters() if id(weight) not in inside]


def _plan(subject: Subject, resident: tuple[int, ...] = (), slots: int = 3) -> Plan:
    return Plan(
        frozenset(resident), slots, (HostTier.PAGED,) * len(subject.blocks), 0, sweep_seconds=0.0
    )


def _different(subject: Subject, skip: bool) -> int:
    visited = [0, 3, 4] if skip else range(len(subject.blocks))
    with subject.visiting(visited):
        wanted = subject.call()()
    with streamed(subject.blocks, _plan(subject, (2,)), "cpu", subject.options) as stream:
        stream.visit_only(visited)
        with subject.visiting(visited):
            # Each from new prompts, so that what is kept with them is made of streamed weights.
            found = [subject.call()() for _ in range(3)]
    return sum(int((one != wanted).sum()) for one in found)


def _bytes(subject: Subject, visited: list[int] | None = None) -> int:
    """Fetched in one step of many."""
    call = subject.call()
    with streamed(subject.blocks, _plan(subject), "cpu", subject.options) as stream:
        stream.visit_only(visited or range(len(subject.blocks)))
        with subject.visiting(visited or range(len(subject.blocks))):
            call()
            begun = stream.traffic.fetched_bytes
            call()
            return stream.traffic.fetched_bytes - begun


def _mapped(subject: Subject, folder: Path) -> Subject:
    """The subject with weights in a file, mapped."""
    from safetensors.torch import save_file

    file = folder / "weights.safetensors"
    save_file(subject.network.state_dict(), file)
    open_weights(file, "a random transformer").load_into(subject.network, None, "cpu")
    return subject


def _anonymous_bytes() -> int:
    """RAM that this process uses and no file backs; 0 where the system does not tell."""
    if sys.platform != "linux":
        return 0
    # What was freed and not given back would count before, and be used again without showing.
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"RssAnon:\s+(\d+) kB", status)[1]) * 1024


def _seconds(call: Callable[[], object]) -> float:
    """Of a few steps: what is under way at the end of a step belongs to the next."""
    begun = time.perf_counter()
    for _ in range(_STEPS_TIMED):
        call()
    return time.perf_counter() - begun
