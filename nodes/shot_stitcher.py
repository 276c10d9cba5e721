"""Shot Stitcher: the cut film as a video."""

from __future__ import annotations

from comfy_api.latest import InputImpl, io

from ..stage_core import pipeline
from ..stage_core.backends.previs.animatic import Animatic
from ..stage_core.backends.previs.sketch import Sketch
from ..stage_core.editing.export import ExportOptions, export
from ..stage_core.editing.render import render
from ..stage_core.story.storyboard import ShotStatus, Storyboard
from ..stage_core.story.timeline import Timeline
from . import films, host
from .sockets import StoryboardSocket

INPUTS = [
    StoryboardSocket.Input(
        "storyboard", tooltip="A board as far as it is: planned, drawn or filmed."
    ),
    io.Boolean.Input(
        "mark_fill_ins",
        default=True,
        tooltip="A thin strip on shots that are not filmed yet says what they are.",
    ),
    io.Boolean.Input(
        "subtitles",
        default=False,
        tooltip="Dialogue as subtitles on shots that are not filmed yet.",
    ),
]
OUTPUTS = [io.Video.Output("video", tooltip="The film; Save Video keeps it.")]


class ShotStitcher(io.ComfyNode):
    """Cuts the clips into one film; a board that is not finished plays whole as well."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="STAGE_ShotStitcher",
            display_name="Shot Stitcher",
            category=host.CATEGORY,
            description="Cuts all shots into one film at its rate and size, with transitions. A "
            "shot that is not filmed plays as an animatic of its pair, or of a sketch.",
            search_aliases=["edit", "cut", "concatenate", "join clips", "animatic", "stage"],
            is_output_node=True,
            inputs=list(INPUTS),
            outputs=list(OUTPUTS),
        )

    @classmethod
    def execute(cls, storyboard: Storyboard, mark_fill_ins: bool, subtitles: bool):
        title = storyboard.shot_list.title
        board = films.open_film(title).save(storyboard)
        filled = pipeline.fill(board, Sketch(), Animatic(subtitles=subtitles), mark_fill_ins)
        timeline = pipeline.edit(filled)
        path, preview = host.new_video(title)
        options = ExportOptions(on_frame=host.Report("renders").on_frame)
        export(render(timeline), path, timeline.rate, timeline.num_frames, options)
        host.say(_summary(board, timeline))
        # No preview was sent on the way: the last one would hide the film on the node.
        return io.NodeOutput(InputImpl.VideoFromFile(str(path)), ui=preview)


def _summary(board: Storyboard, timeline: Timeline) -> str:
    ids = board.shot_list.ids
    text = f"{len(ids)} shots, {timeline.num_frames} frames, {float(timeline.seconds):.1f} s"
    missing = [i for i in ids if board.status(i) is not ShotStatus.FILMED]
    return text + (f"; not filmed yet: {', '.join(missing)}" if missing else "")
