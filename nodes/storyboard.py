"""STEP2 Storyboard: the start and the end frame of every shot."""

from __future__ import annotations

from collections import Counter

from comfy_api.latest import io

from ..stage_core import pipeline
from ..stage_core.backends.previs.sketch import Sketch
from ..stage_core.backends.protocol import Sampling
from ..stage_core.plurals import counted
from ..stage_core.story.memory import MemoryPack
from ..stage_core.story.storyboard import Storyboard
from ..stage_core.takes import KeptDrawings, Reason, Redraw
from . import films, host, lineage, sheet
from .pictures import to_batch
from .sockets import MemoryPackSocket, StoryboardModelSocket, StoryboardSocket

INPUTS = [
    StoryboardSocket.Input("storyboard", tooltip="The plan, from Script."),
    StoryboardModelSocket.Input(
        "storyboard_model",
        optional=True,
        lazy=True,
        tooltip="What draws. Empty: the built-in sketch, which needs no weights. It is "
        "loaded only when something has to be drawn.",
    ),
    MemoryPackSocket.Input(
        "memory_pack",
        optional=True,
        tooltip="References of people and places, and how much is remembered. "
        "Empty: the frames of earlier shots alone.",
    ),
    io.String.Input(
        "shots",
        default="",
        tooltip="Which shots to draw, by id: 3, 5-7. Empty: all. The others come "
        "as they were drawn before.",
    ),
    io.Combo.Input(
        "redraw",
        options=[choice.value for choice in Redraw],
        default=Redraw.CHANGED.value,
        tooltip="What I changed: only new and changed shots. And what remembers it: "
        "also shots drawn from frames that have changed since. Everything: all.",
    ),
]
OUTPUTS = [
    StoryboardSocket.Output("storyboard", tooltip="The drawn board."),
    MemoryPackSocket.Output(
        "memory_pack", tooltip="The memory after the last shot, with all its frames."
    ),
    io.Image.Output(
        "sheet",
        tooltip="All shots with start, end and slate line; a sheet for every 60 shots.",
    ),
]


class STEP2Storyboard(io.ComfyNode):
    """Draws what is not drawn yet."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="STAGE_STEP2Storyboard",
            display_name="STEP2 Storyboard",
            category=host.CATEGORY,
            description="Draws the start and the end frame of every shot together, with the "
            "frames of earlier shots in memory. What was drawn before is kept.",
            search_aliases=["storyboard", "keyframes", "start end frame", "step2", "stage"],
            is_output_node=True,
            hidden=[io.Hidden.dynprompt, *sheet.HIDDEN],
            inputs=list(INPUTS),
            outputs=list(OUTPUTS),
        )

    @classmethod
    def fingerprint_inputs(cls, **inputs):
        return films.changes()

    @classmethod
    def check_lazy_status(
        cls, storyboard, shots, redraw, memory_pack=None, storyboard_model=None, **more
    ):
        if storyboard_model is not None or lineage.linked(cls, "storyboard_model") is None:
            return []
        kept = _kept_drawings(cls, storyboard, shots, redraw, None)
        waiting = kept.to_draw(storyboard, memory_pack or MemoryPack(), _sampling(storyboard))
        return ["storyboard_model"] if waiting else []

    @classmethod
    def execute(
        cls, storyboard: Storyboard, shots, redraw, storyboard_model=None, memory_pack=None
    ):
        memory, sampling = memory_pack or MemoryPack(), _sampling(storyboard)
        kept = _kept_drawings(cls, storyboard, shots, redraw, storyboard_model)
        report, total = kept.model.report, len(storyboard.shot_list.shots)
        reasons = kept.reasons(storyboard, memory, sampling)
        report.expect(len(reasons), _announcement(reasons, total))
        try:
            board, memory = pipeline.draw(storyboard, kept, memory, sampling, report.on_step)
        finally:
            kept.model.rest()
        board = kept.project.save(board)
        sheets = sheet.draw_sheets(board)
        report.finish(sheets[0], _summary(board, kept))
        image = to_batch(sheets)
        return io.NodeOutput(
            board, memory, image, ui=sheet.preview(cls, board, kept.project, image)
        )


def _kept_drawings(node, board: Storyboard, shots: str, redraw: str, model) -> KeptDrawings:
    model = lineage.model_on(node, "storyboard_model", model, Sketch, host.Report("draws"))
    project = films.open_film(board.shot_list.title)
    chosen, beside = board.shot_list.select(shots), films.neighbours(project)
    return KeptDrawings(model, project, Redraw(redraw), chosen, neighbours=beside)


def _sampling(board: Storyboard) -> Sampling:
    return Sampling(seed=board.shot_list.seed)


def _announcement(reasons: dict[str, Reason], total: int) -> str:
    """How many shots are drawn, and why, before the first step."""
    count = Counter(reasons.values())
    why = ", ".join(f"{count[reason]} {reason.value}" for reason in Reason if count[reason])
    drawn, because = len(reasons), f" ({why})" if why else ""
    return f"draws {drawn} of {counted(total, 'shot')}{because}, {total - drawn} kept"


def _summary(board: Storyboard, kept: KeptDrawings) -> str:
    total, drawn = len(board.shot_list.shots), len(kept.drawn)
    text = f"drew {drawn} of {counted(total, 'shot')}, {total - drawn} kept"
    older = [pair.shot_id for pair in board.pairs.values() if pair.older_memory]
    text += f"; drawn before frames that they remember changed: {', '.join(older)}" if older else ""
    remarks = kept.model.remarks if kept.drawn else ()
    remarks = (*kept.told_of_neighbours, *remarks)
    return "; ".join([text, *remarks, *kept.project.told_of_repaints(board)])
