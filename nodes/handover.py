"""Handover: the cut as files that editing programs open."""

from __future__ import annotations

from pathlib import Path

from comfy_api.latest import io

from ..stage_core.editing.handover import (
    FILM,
    LISTS,
    NO_MEDIA,
    Delivery,
    hand_over,
    handover_rate,
)
from ..stage_core.editing.mix import mix
from ..stage_core.errors import StorageError
from ..stage_core.plurals import counted
from ..stage_core.project import folder_name
from ..stage_core.story.storyboard import Storyboard
from . import films, host
from .cutting import CUT_INPUTS, Cutting
from .sockets import StoryboardSocket

MEDIA = {
    "ProRes 422 HQ, a file per shot": "prores",
    "H.264, a file per shot": "h264",
    "the film as one file": FILM,
    "lists only": NO_MEDIA,
}
_LISTS = {"OTIO, EDL and FCPXML": LISTS, "OTIO": ("otio",), "EDL": ("edl",)}
_LISTS["FCPXML"] = ("fcpxml",)
FOLDER = "handover"

INPUTS = [
    StoryboardSocket.Input("storyboard", tooltip="A board as far as it is."),
    io.Combo.Input(
        "media",
        options=list(MEDIA),
        default=next(iter(MEDIA)),
        tooltip="What the lists refer to. A file per shot leaves dissolves and fades to the "
        "editor; in the film they are in the pictures.",
    ),
    io.Combo.Input(
        "lists",
        options=list(_LISTS),
        default=next(iter(_LISTS)),
        tooltip="OTIO is read by most programs and knows any rate. EDL and FCPXML know 23.976 to "
        "60: at 16 everything is handed over at 24.",
    ),
    *CUT_INPUTS,
]
OUTPUTS = [
    io.String.Output("files", tooltip="The files, one per line, within ComfyUI's output folder."),
]


class Handover(io.ComfyNode):
    """Writes media and edit lists into the film's folder."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="STAGE_Handover",
            display_name="Handover",
            category=host.CATEGORY,
            description="Writes the cut for DaVinci Resolve, Premiere, Final Cut Pro and others: "
            "OTIO, EDL and FCPXML, with a media file for every shot and sound as WAV.",
            search_aliases=["edl", "otio", "fcpxml", "xml", "prores", "resolve", "export", "stage"],
            is_output_node=True,
            inputs=list(INPUTS),
            outputs=list(OUTPUTS),
        )

    @classmethod
    def execute(cls, storyboard: Storyboard, media: str, lists: str, **inputs):
        title = storyboard.shot_list.title
        board = films.open_film(title).save(storyboard)
        rate = handover_rate(storyboard.shot_list.frame_format.rate, _LISTS[lists])
        with Cutting(board, inputs, mark_fill_ins=False) as cutting:
            timeline, plan = cutting.timeline(rate)
            sounds = {name: mix(timeline, c).sound for name, c in cutting.sounds(timeline).items()}
            order = Delivery(
                folder_name(title),
                MEDIA[media],
                _LISTS[lists],
                sounds,
                cutting.mixed(timeline).sound,
                host.Report("writes").on_frame,
            )
            folder = _folder(title)
            files, notes = hand_over(timeline, plan, folder, order)
        output = host.film_folder(title).parents[1]
        names = "\n".join(path.relative_to(output).as_posix() for path in files)
        said = f"{counted(len(files), 'file')} in {folder.name}"
        host.say("; ".join([said, *notes, *cutting.notes]))
        return io.NodeOutput(names)


def _folder(title: str) -> Path:
    """Where a film is handed over: inside its own folder.

    Raises:
        StorageError: a link leads out of it.
    """
    film = host.film_folder(title)
    if not (film / FOLDER).resolve().is_relative_to(film.resolve()):
        raise StorageError(f"{film / FOLDER} leads out of the film's folder; remove that link")
    return film / FOLDER
