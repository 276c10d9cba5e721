"""Dual-Encoder Shot Sampler: every drawn shot becomes a clip."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from itertools import islice

import torch
from comfy_api.latest import io, ui
from torch import Tensor

from ..stage_core import pipeline
from ..stage_core.backends.previs.animatic import Animatic
from ..stage_core.backends.protocol import Sampling
from ..stage_core.editing.strips import STRIP_HEIGHT, at_height, padded, strip
from ..stage_core.media import VideoFrames, playing
from ..stage_core.plurals import counted
from ..stage_core.story.memory import MemoryPack
from ..stage_core.story.storyboard import Storyboard
from ..stage_core.story.timeline import Frames
from ..stage_core.takes import KeptTakes, Refilm
from . import films, host, lineage, sheet
from .pictures import to_image
from .sockets import MemoryPackSocket, ShotModelSocket, StoryboardSocket

MAX_TAKES = 8
NO_LIMIT = -1
STRIP_COLUMNS = 4
INPUTS = [
    StoryboardSocket.Input("storyboard", tooltip="A drawn board."),
    ShotModelSocket.Input(
        "shot_model",
        optional=True,
        lazy=True,
        tooltip="What films. Empty: the built-in animatic, which needs no weights. It "
        "is loaded only when something has to be filmed.",
    ),
    MemoryPackSocket.Input(
        "memory_pack",
        optional=True,
        tooltip="For shot models that look at it; others ignore it, and then it films "
        "nothing again.",
    ),
    io.String.Input(
        "shots",
        default="",
        tooltip="Which shots to film, by id: 3, 5-7. Empty: all. The others come as "
        "they were filmed before.",
    ),
    io.Int.Input(
        "takes",
        default=1,
        min=1,
        max=MAX_TAKES,
        tooltip="How many takes of each shot. All are kept and shown in the strip; "
        "the film uses the one that the script names, else the first.",
    ),
    io.Combo.Input(
        "film",
        options=[choice.value for choice in Refilm],
        default=Refilm.CHANGED.value,
        tooltip="What changed: new and changed shots. Only what is missing: shots "
        "without any take. Everything: all, again.",
    ),
    io.Int.Input(
        "film_at_most",
        default=NO_LIMIT,
        min=NO_LIMIT,
        max=10_000,
        tooltip="So many takes are filmed in one run; the rest waits for the next. "
        "0 films nothing and only plays what is there; -1 has no limit.",
    ),
]
OUTPUTS = [
    StoryboardSocket.Output("storyboard", tooltip="The board with its clips."),
    io.Image.Output("strip", tooltip="The middle frame of every take, shot by shot."),
]


class DualEncoderShotSampler(io.ComfyNode):
    """Films what is not filmed yet."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="STAGE_DualEncoderShotSampler",
            display_name="Dual-Encoder Shot Sampler",
            category=host.CATEGORY,
            description="Films every shot between its start and its end frame. Takes are kept in "
            "the film's folder: one changed keyframe films one shot.",
            search_aliases=["film", "shot", "flf2v", "first last frame video", "take", "stage"],
            is_output_node=True,
            hidden=[io.Hidden.dynprompt],
            inputs=list(INPUTS),
            outputs=list(OUTPUTS),
        )

    @classmethod
    def fingerprint_inputs(cls, **inputs):
        return films.changes()

    @classmethod
    def check_lazy_status(
        cls,
        storyboard,
        shots,
        takes,
        film,
        film_at_most,
        memory_pack=None,
        shot_model=None,
        **more,
    ):
        if shot_model is not None or lineage.linked(cls, "shot_model") is None:
            return []
        kept = _kept_takes(cls, storyboard, shots, film, film_at_most, None)
        boards, sampling = _all_takes(storyboard, takes), Sampling(seed=storyboard.shot_list.seed)
        waiting = _to_film(boards, kept, memory_pack or MemoryPack(), sampling)
        return ["shot_model"] if waiting else []

    @classmethod
    def execute(
        cls,
        storyboard: Storyboard,
        shots,
        takes,
        film,
        film_at_most,
        shot_model=None,
        memory_pack=None,
    ):
        memory = memory_pack or MemoryPack()
        kept = _kept_takes(cls, storyboard, shots, film, film_at_most, shot_model)
        board, report = kept.project.save(storyboard), kept.model.report
        boards, sampling = _all_takes(board, takes), Sampling(seed=board.shot_list.seed)
        count, total = _to_film(boards, kept, memory, sampling), len(board.shot_list.shots)
        half = sum(len(kept.half_filmed(each, memory, sampling)) for each in boards)
        begun = f", {half} of them half filmed" if half else ""
        report.expect(
            count,
            f"{count} to film{begun}, {counted(total, 'shot')} in the film; the others are kept",
        )
        try:
            filming = pipeline.film_together(boards, kept, memory, sampling, report.on_step)
            board = kept.project.save(next(filming))
            filmed, others = len(kept.filmed), list(filming)
        finally:
            films.takes_made(len(kept.filmed))
        image = _strip([board, *others], board.shot_list.ids)
        summary = _summary(board, filmed, len(kept.filmed) - filmed)
        report.finish(image, "; ".join([summary, *_remarks(kept, memory_pack, board)]))
        shown = ui.PreviewImage(to_image(image)).as_dict()
        return io.NodeOutput(board, to_image(image), ui={**shown, **sheet.told(board)})


def _kept_takes(node, board: Storyboard, shots: str, film: str, limit: int, model) -> KeptTakes:
    model = lineage.model_on(node, "shot_model", model, Animatic, host.Report("films"))
    project = films.open_film(board.shot_list.title)
    at_most = None if limit == NO_LIMIT else limit
    chosen, beside = board.shot_list.select(shots), films.neighbours(project)
    return KeptTakes(model, project, Refilm(film), chosen, at_most, neighbours=beside)


def _all_takes(board: Storyboard, takes: int) -> list[Storyboard]:
    """The board, and one for each take that the film does not use, with the shots that have it."""
    boards = [board]
    for take in range(1, takes + 1):
        shots = tuple(replace(s, take=take) for s in board.shot_list.shots if s.take != take)
        if shots:
            plan = replace(board.shot_list, shots=shots)
            boards.append(Storyboard(plan, board.pairs, between=board.between))
    return boards


def _to_film(
    boards: list[Storyboard], kept: KeptTakes, memory: MemoryPack, sampling: Sampling
) -> int:
    count = sum(len(kept.to_film(each, memory, sampling)) for each in boards)
    return count if kept.at_most is None else min(count, kept.at_most)


def _strip(boards: list[Storyboard], ids: tuple[str, ...]) -> Tensor:
    """The middle frame of every take, shot by shot, in rows."""
    images, labels = [], []
    for shot_id in ids:
        for board in boards:
            if shot_id in board.clips:
                images.append(_middle(board.clips[shot_id].frames))
                labels.append(f"{shot_id} take {board.shot_list.shot(shot_id).take}")
    if not images:
        return strip([torch.full((9, 16, 3), 128, dtype=torch.uint8)], ["nothing is filmed"])
    rows = range(0, len(images), STRIP_COLUMNS)
    pages = [strip(images[i : i + STRIP_COLUMNS], labels[i : i + STRIP_COLUMNS]) for i in rows]
    return torch.cat(padded(pages))


def _middle(frames: Frames) -> Tensor:
    """The middle frame, [STRIP_HEIGHT, W, 3] uint8."""
    if isinstance(frames, VideoFrames) and frames.path.exists():
        return _middle_of_file(frames, frames.path.stat().st_mtime_ns)
    with playing(frames) as film:
        return at_height(next(islice(film, len(frames) // 2, None)), STRIP_HEIGHT)


@lru_cache(maxsize=512)
def _middle_of_file(film: VideoFrames, changed_ns: int) -> Tensor:
    """Kept until the file changes: a film has to be played from its first frame to its middle."""
    with playing(film) as pictures:
        return at_height(next(islice(pictures, len(film) // 2, None)), STRIP_HEIGHT)


def _remarks(kept: KeptTakes, memory_pack: MemoryPack | None, board: Storyboard) -> tuple[str, ...]:
    """What else there is to know: what the model has to say, and what it does not look at."""
    remarks = kept.model.remarks if kept.filmed else ()
    remarks += kept.told_of_neighbours + kept.project.told_of_removed(kept.removed)
    if memory_pack is not None and "memory" not in kept.reads:
        remarks += ("the memory pack is ignored: this model reads none",)
    if board.between and "between" not in kept.reads:
        remarks += ("keyframes between start and end are ignored: this model films from the ends",)
    for shot in board.shot_list.shots:
        for keyframe in board.beyond(shot):
            remarks += (f"shot {shot.id}: its keyframe at {keyframe.index} waits, beyond its end",)
    return remarks


def _summary(board: Storyboard, filmed: int, others: int) -> str:
    total = len(board.clips)
    text = f"filmed {filmed} of {counted(total, 'shot')}, {total - filmed} from takes"
    text += f"; {counted(others, 'other take')}" if others else ""
    waiting = [shot_id for shot_id in board.shot_list.ids if shot_id not in board.clips]
    return text + (f"; not filmed yet: {', '.join(waiting)}" if waiting else "")
