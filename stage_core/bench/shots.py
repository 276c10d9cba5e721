"""What filming costs beside the sampler: encoders, decoder, keeping takes, moving weights.

On tiny networks of Wan's real classes; keeping a take is measured at a real shot's size.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from ..backends.protocol import Sampling
from ..backends.wan import WanShots
from ..backends.wan_tiny import tiny_wan
from ..keys import filming_key
from ..pipeline import film, jobs_of
from ..project import Made, Project
from ..story.frames import FramePair, Picture
from ..story.memory import MemoryPack
from ..story.shot_list import FrameFormat, Shot, ShotList
from ..story.storyboard import Storyboard
from ..story.timeline import Clip
from ..takes import KeptTakes
from .rows import OnRow, Row, at_most

NUM_SHOTS = 8
REAL_FRAMES, REAL_SIZE = 81, (832, 480)
# Seconds of a real shot on an RTX 4090, which makes 124 TFLOP a second; one prediction of 81 frames
# at 832x480 takes a 14B 1676. In four steps without guidance, and as the authors sample.
REAL_SHOT_SECONDS = {
    "4 steps on an RTX 4090": 4 * 1676 / 124,
    "40 guided steps on an RTX 4090": 2 * 40 * 1676 / 124,
}
LARGEST_PERCENT, LEAST_SECONDS = 2.0, 0.1
_STEPS = 4
_REPEATS = 3
_KEYS = 200
_GRAIN = 3


def measure(on_row: OnRow) -> tuple[Row, ...]:
    """A film of two experts, its takes, and the weights that it moves.

    Raises:
        MissingPackageError: diffusers or transformers is not installed.
    """
    parts = (filming, keeping, moving)
    return tuple(row for part in parts for row in part(on_row))


def filming(on_row: OnRow, num_shots: int = NUM_SHOTS) -> list[Row]:
    """Milliseconds of a shot, and what share of them each part has."""
    on_row(f"filming {num_shots} shots")
    model = _model()
    film(_board(1), model, MemoryPack(), Sampling(), _quietly)  # Loaded, and every kernel chosen.
    with TemporaryDirectory() as folder:
        kept = KeptTakes(model, Project(Path(folder)))
        seconds = _seconds(
            lambda: film(_board(num_shots), kept, MemoryPack(), Sampling(), _quietly)
        )
    parts = model.report.seconds
    parts = {**parts, "store": seconds - sum(parts.values())}
    shares = (Row(f"share of {name}", 100 * spent / seconds, "%") for name, spent in parts.items())
    return [Row("tiny shot", 1000 * seconds / num_shots, "ms"), *shares]


def keeping(
    on_row: OnRow, num_frames: int = REAL_FRAMES, size: tuple[int, int] = REAL_SIZE
) -> list[Row]:
    """What finding and storing the take of a real shot adds to filming it, in processor time.

    The time of all threads together is more than a clock shows, and the same on a busy machine.
    """
    width, height = size
    on_row(f"keeping {num_frames} frames of {width}x{height}")
    model, board = _model(), _board(1)
    (job,) = jobs_of(board, MemoryPack(), model)
    find = _best(
        lambda: [filming_key(model, job.brief, job.keyframes, Sampling()) for _ in range(_KEYS)]
    )
    clip = Clip(job.brief.shot.id, _moving(num_frames, width, height), model.grid.rate)
    with TemporaryDirectory() as folder:
        project = Project(Path(folder))
        store = _best(lambda: project.keep_take(clip, Made("key", model.identity, 1)))
    label, spent = f"take of {num_frames} frames, {width}x{height}", find / _KEYS + store
    return [
        Row(f"{label}: key", 1000 * find / _KEYS, "ms"),
        Row(f"{label}: write", 1000 * store, "ms"),
        *(
            at_most(
                f"{label}: both, share of a real shot of {name}",
                100 * spent / seconds,
                max(100 * LEAST_SECONDS / seconds, LARGEST_PERCENT),
                "%",
            )
            for name, seconds in REAL_SHOT_SECONDS.items()
        ),
    ]


def moving(on_row: OnRow, num_shots: int = NUM_SHOTS) -> list[Row]:
    """Weights that a film of two experts moves, in phases and shot by shot."""
    reports = []
    for count in (1, num_shots):
        on_row(f"weights of {count} shots")
        model = _model()
        film(_board(count), model, MemoryPack(), Sampling(), _quietly)
        reports.append(model.report)
    one, all_of_them = reports
    label = f"weights of a film of {num_shots} shots"
    return [
        Row(f"{label}, shot by shot", all_of_them.moved_bytes_by_shot / 1e6, "MB"),
        Row(f"{label}, in phases", all_of_them.moved_bytes / 1e6, "MB"),
        at_most(
            f"{label}, in phases, over those of 1 shot",
            all_of_them.moved_bytes / one.moved_bytes,
            1.0,
        ),
    ]


def _model() -> WanShots:
    """Both experts make half of the steps."""
    model = tiny_wan(steps=_STEPS)
    return WanShots(model.source, replace(model.sampling, boundary=0.9))


def _board(num_shots: int) -> Storyboard:
    shots = tuple(Shot(str(n), f"Ana waits by window {n}") for n in range(1, num_shots + 1))
    board = Storyboard(ShotList(frame_format=FrameFormat(320, 208), shots=shots))
    for number, shot in enumerate(shots):
        halves = (_picture(2 * number + half) for half in (0, 1))
        board = board.with_pair(FramePair(shot.id, *halves))
    return board


def _picture(seed: int) -> Picture:
    generator = torch.Generator().manual_seed(seed)
    return Picture.of(torch.randint(0, 256, (32, 48, 3), generator=generator).byte())


def _moving(num_frames: int, width: int, height: int) -> Tensor:
    """A gradient that moves under a little grain, which no codec makes small."""
    generator = torch.Generator().manual_seed(0)
    rows, columns = torch.arange(height)[:, None], torch.arange(width)[None]
    frames = []
    for number in range(num_frames):
        plain = (rows + columns + 2 * number)[..., None] * torch.tensor([1, 2, 3]) // 8 % 240
        grain = torch.randint(0, _GRAIN, (height, width, 3), generator=generator)
        frames.append((plain + grain).byte())
    return torch.stack(frames)


def _best(call: Callable[[], object]) -> float:
    return min(_seconds(call, time.process_time) for _ in range(_REPEATS))


def _seconds(call: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    begun = clock()
    call()
    return clock() - begun


def _quietly(*_) -> None:
    """Nobody watches a measurement shot by shot."""
