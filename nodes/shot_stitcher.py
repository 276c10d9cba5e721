"""Shot Stitcher: the cut film as a video."""

from __future__ import annotations

from comfy_api.latest import InputImpl, io

from ..stage_core.cutting import planned
from ..stage_core.editing.export import ExportOptions, export
from ..stage_core.editing.handover import edit_list
from ..stage_core.editing.interchange.timecode import editing_rate
from ..stage_core.editing.render import render
from ..stage_core.plurals import counted
from ..stage_core.project import folder_name
from ..stage_core.story.storyboard import ShotStatus, Storyboard
from ..stage_core.story.timeline import Timeline
from . import films, host
from .cutting import CUT_INPUTS, Cutting
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
    *CUT_INPUTS,
]
OUTPUTS = [
    io.Video.Output("video", tooltip="The film; Save Video keeps it."),
    io.String.Output(
        "edit_list",
        tooltip="The cut as the text of an EDL, at the nearest rate that editing programs know. "
        "Handover writes it as a file, with media beside it.",
    ),
]


class ShotStitcher(io.ComfyNode):
    """Cuts the clips into one film; a board that is not finished plays whole as well."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="STAGE_ShotStitcher",
            display_name="Shot Stitcher",
            category=host.CATEGORY,
            description="Cuts all shots into one film at its rate and size, with transitions and "
            "sound. A shot that is not filmed plays as an animatic of its pair, or of a sketch.",
            search_aliases=["edit", "cut", "concatenate", "join clips", "animatic", "stage"],
            is_output_node=True,
            inputs=list(INPUTS),
            outputs=list(OUTPUTS),
        )

    @classmethod
    def execute(cls, storyboard: Storyboard, mark_fill_ins: bool, subtitles: bool, **inputs):
        title = storyboard.shot_list.title
        board = films.open_film(title).save(storyboard)
        with Cutting(board, inputs, subtitles, mark_fill_ins) as cutting:
            timeline, _ = cutting.timeline()
            sound = cutting.mixed(timeline).sound
            path, preview = host.new_video(title)
            options = ExportOptions(sound, on_frame=host.Report("renders").on_frame)
            export(render(timeline), path, timeline.rate, timeline.num_frames, options)
        text = _edit_list(board)
        host.say("; ".join([_summary(board, timeline), *cutting.notes]))
        # No preview was sent on the way: the last one would hide the film on the node.
        return io.NodeOutput(InputImpl.VideoFromFile(str(path)), text, ui=preview)


def _edit_list(board: Storyboard) -> str:
    """The cut as an EDL, or why there is none: the film is made all the same."""
    try:
        timeline, plan = planned(board, editing_rate(board.shot_list.frame_format.rate))
        return edit_list(timeline, plan, folder_name(plan.title))
    except ValueError as error:
        return f"* no edit list: {error}"


def _summary(board: Storyboard, timeline: Timeline) -> str:
    ids = board.shot_list.ids
    text = f"{counted(len(ids), 'shot')}, {counted(timeline.num_frames, 'frame')}"
    text += f", {float(timeline.seconds):.1f} s"
    missing = [i for i in ids if board.status(i) is not ShotStatus.FILMED]
    return text + (f"; not filmed yet: {', '.join(missing)}" if missing else "")
