"""What a shot costs when many were drawn before it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from ..backends.protocol import Grid, OnStep, Sampling
from ..backends.tiny import TinyStoryboard
from ..pipeline import draw, plan
from ..planning.planner import PlanSettings
from ..project import Project
from ..story.brief import ShotBrief
from ..story.frames import FramePair
from ..story.memory import MemoryFrame, MemoryPack, MemoryScale
from ..story.shot_list import FrameFormat, Shot
from ..story.storyboard import Storyboard
from ..takes import KeptDrawings
from .peak_memory import rss_bytes
from .rows import OnRow, Row, at_most

EARLY_SHOT, NUM_SHOTS = 4, 64
SIZE, SMALL_SIZE = (832, 480), (208, 128)
# The pack is full at the early shot, so that both shots do the same work if nothing else grows.
PACK = MemoryPack(capacity=2 * (EARLY_SHOT - 1), scale=MemoryScale.PAPER)
# The board itself is drawn with the fewest steps there are; what is timed, as the model does.
_QUICK = Sampling(steps=2, guidance=1.0)
# So many rounds at least, and so many seconds: short drawings differ more from one to the next.
_ROUNDS, _ROUNDS_SECONDS = 5, 5.0
_STEP = 16


@dataclass(frozen=True)
class History:
    """What two shots of one board cost, an early one and the last.

    `tokens` of pictures that the transformer sees at every step, `seconds` of the processor for
    the best of several drawings. `rss_bytes_per_shot`: by how much resident memory grew from the
    one to the other.
    """

    memory: str
    size: tuple[int, int]
    shots: tuple[int, int]
    tokens: tuple[int, int]
    seconds: tuple[float, float]
    rss_bytes_per_shot: float


class AllKeyframes(MemoryPack):
    """For contrast: a memory of every frame of the film so far, at full size."""

    def shown(self, shot: Shot) -> tuple[MemoryFrame, ...]:
        return self.recent


def history(
    name: str, memory: MemoryPack, size: tuple[int, int], num_shots: int, on_step: OnStep
) -> History:
    """Draw a board of `num_shots` pairs of this size with the tiny transformer and measure.

    Raises:
        ValueError: no shot after the early one, or a size that is no multiple of 16.
    """
    width, height = size
    if num_shots <= EARLY_SHOT:
        raise ValueError(f"{num_shots} shots; use more than {EARLY_SHOT}")
    if width % _STEP or height % _STEP:
        raise ValueError(f"size {width}x{height}; use multiples of {_STEP}")
    settings = PlanSettings(frame_format=FrameFormat(width, height))
    shot_list = plan("\n\n".join(map(_shot_text, range(1, num_shots + 1))), settings)
    model = _Measured(size, {EARLY_SHOT, num_shots})
    with TemporaryDirectory() as folder:
        kept = KeptDrawings(model, Project(Path(folder)))
        draw(Storyboard(shot_list), kept, memory, _QUICK, on_step)
        seconds = model.best_seconds(on_step)
    early, late = (model.measured[place] for place in sorted(model.measured))
    return History(
        name,
        size,
        (EARLY_SHOT, num_shots),
        (early.tokens, late.tokens),
        seconds,
        (late.rss_bytes - early.rss_bytes) / (num_shots - EARLY_SHOT),
    )


def measure(on_row: OnRow) -> tuple[Row, ...]:
    """With the memory of the paper; and, at a quarter of each side, with that and with all.

    All keyframes at full size are beyond what one can wait for: attention grows with the square.
    """
    cases = (
        ("memory pack", PACK, SIZE),
        ("memory pack", PACK, SMALL_SIZE),
        ("all keyframes", AllKeyframes(), SMALL_SIZE),
    )
    rows = []
    for name, memory, size in cases:

        def on_step(shot: Shot, step: int, steps: int, name: str = name) -> None:
            on_row(f"{name}, shot {shot.id} of {NUM_SHOTS}")

        found = history(name, memory, size, NUM_SHOTS, on_step)
        rows += _rows(found, bounded=memory is PACK)
    return tuple(rows)


def _rows(found: History, bounded: bool) -> tuple[Row, ...]:
    early, late = found.shots
    label = f"{found.memory} {found.size[0]}x{found.size[1]}, shot {late} over {early}"
    tokens = found.tokens[1] / found.tokens[0]
    seconds = found.seconds[1] / found.seconds[0]
    megabytes = found.rss_bytes_per_shot / 1e6
    if not bounded:
        return Row(f"{label}: tokens", tokens), Row(f"{label}: processor time", seconds)
    return (
        at_most(f"{label}: tokens", tokens, 1.03),
        at_most(f"{label}: processor time", seconds, 1.03),
        at_most(f"{label}: resident memory", megabytes, 2, "MB a shot"),
    )


@dataclass
class _Cost:
    brief: ShotBrief
    tokens: int
    rss_bytes: int


class _Measured(TinyStoryboard):
    """The tiny model at another size, which notes what the shots at some places cost."""

    def __init__(self, size: tuple[int, int], places: set[int]):
        super().__init__()
        self.grid = Grid(area=size[0] * size[1], multiple=_STEP)
        self.measured: dict[int, _Cost] = {}
        self._places, self._drawn, self._tokens = places, 0, 0
        self.networks.transformer.register_forward_pre_hook(self._count)

    def draw(self, brief: ShotBrief, sampling: Sampling, on_step: OnStep) -> FramePair:
        pair = super().draw(brief, sampling, on_step)
        self._drawn += 1
        if self._drawn in self._places:
            self.measured[self._drawn] = _Cost(brief, self._tokens, rss_bytes())
        return pair

    def best_seconds(self, on_step: OnStep) -> tuple[float, float]:
        """Of the measured shots, drawn again in turns; each begins with an `on_step`."""
        draw_again = super().draw  # In a comprehension super() has no class.
        briefs = [self.measured[place].brief for place in sorted(self.measured)]
        runs: list[list[float]] = []
        while len(runs) < _ROUNDS or sum(map(sum, runs)) < _ROUNDS_SECONDS:
            runs.append([])
            for brief in briefs:
                on_step(brief.shot, 0, 1)
                runs[-1].append(_seconds(draw_again, brief))
        return tuple(map(min, zip(*runs, strict=True)))

    def _count(self, transformer: object, arguments: tuple) -> None:
        self._tokens = arguments[0].shape[1]


def _seconds(drawn: Callable[[ShotBrief, Sampling, OnStep], FramePair], brief: ShotBrief) -> float:
    # Of the processor: what else the machine does would drown the difference.
    begun = time.process_time()
    drawn(brief, Sampling(), lambda *_: None)
    return time.process_time() - begun


def _shot_text(number: int) -> str:
    return f"Person {number % 5} walks past house {number}."
