"""Compare Takes: the drawings and takes of one shot side by side, and one of them chosen."""

from __future__ import annotations

from comfy_api.latest import InputImpl, io, ui
from comfy_execution.graph_utils import ExecutionBlocker

from ..stage_core.desk import comparison
from ..stage_core.desk.shots import choose
from ..stage_core.story.storyboard import Storyboard
from . import films, host, lineage, sheet
from .pictures import to_image
from .sockets import StoryboardSocket

INPUTS = [
    StoryboardSocket.Input("storyboard", tooltip="A drawn or filmed board."),
    io.String.Input("shot", default="1", tooltip="Id of the shot, as the sheet names it: 3, 2A."),
    io.String.Input(
        "take",
        default="",
        tooltip="The take to use: its number, 2, or its name, 3_t02-2. Empty: the one in use. It "
        "brings the pictures that it was filmed between.",
    ),
    io.String.Input(
        "drawing",
        default="",
        tooltip="The drawing to use: its number, 2, or its name, 3_d02. Empty: the one in use.",
    ),
]
OUTPUTS = [
    StoryboardSocket.Output("storyboard", tooltip="The board with what was chosen in use."),
    io.Image.Output("comparison", tooltip="Drawings and takes, a row each, the newest twelve."),
    io.Video.Output("video", tooltip="The takes playing side by side."),
    io.String.Output("report", tooltip="The settings that differ, as a table."),
]


class CompareTakes(io.ComfyNode):
    """What was made of one shot so far; choosing makes nothing."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="STAGE_CompareTakes",
            display_name="Compare Takes",
            category=host.CATEGORY,
            description="Shows all drawings and takes of one shot side by side with the settings "
            "that differ, and puts the one you choose into the film. Nothing is filmed for it.",
            search_aliases=["choose take", "versions", "history", "compare shots", "stage"],
            is_output_node=True,
            inputs=list(INPUTS),
            outputs=list(OUTPUTS),
        )

    @classmethod
    def fingerprint_inputs(cls, **inputs):
        return [films.changes(), films.takes_told(lineage.graph_above())]

    @classmethod
    def execute(cls, storyboard: Storyboard, shot: str, take: str, drawing: str):
        title = storyboard.shot_list.title
        project = films.open_film(title)
        board = project.save(choose(storyboard, shot, drawing, take, project))
        found = comparison.compared(board, shot, project)
        image = to_image(comparison.side_by_side(found, project))
        path, _ = host.new_video(f"{title} {shot.strip()}")
        takes = comparison.write_film(board, shot, project, path)
        films.takes_shown(lineage.graph_above())
        video = InputImpl.VideoFromFile(str(path)) if takes else ExecutionBlocker(None)
        used = ", ".join(one.record.name for one in found if one.in_use) or "nothing"
        host.say(
            f"shot {shot.strip()}: drawings: {len(found) - takes}, takes: {takes}; uses {used}"
        )
        report = comparison.report(found)
        shown = {**ui.PreviewImage(image).as_dict(), **sheet.told(board)}
        return io.NodeOutput(board, image, video, report, ui=shown)
