"""A board's sheets on a node: pictures that carry the graph and the board, and where shots are."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

from comfy_api.latest import io, ui
from torch import Tensor

from ..stage_core.editing.sheet import draw_sheet, num_sheets, panels
from ..stage_core.editing.strips import padded
from ..stage_core.project import Project
from ..stage_core.sharing.archive import CHUNK, describe
from ..stage_core.story.storyboard import Storyboard

HIDDEN = [io.Hidden.prompt, io.Hidden.extra_pnginfo]
"""What a node with a sheet asks the host for, to write it into the PNG."""


def draw_sheets(board: Storyboard) -> list[Tensor]:
    """All sheets of a board, [H, W, 3] uint8 at one size."""
    return padded([draw_sheet(board, page) for page in range(num_sheets(board))])


def carrier(node: type[io.ComfyNode], board: Storyboard, project: Project) -> Any:
    """What the host's own image saving takes its metadata from: the node's, and the board.

    The host leaves all of it out when metadata is switched off.
    """
    prompt, more = (getattr(node.hidden, name, None) for name in ("prompt", "extra_pnginfo"))
    known = {**(more or {}), CHUNK: describe(board, project)}
    return SimpleNamespace(hidden=SimpleNamespace(prompt=prompt, extra_pnginfo=known))


def shown(board: Storyboard, saved: list[ui.SavedResult], image: Tensor) -> dict[str, Any]:
    """The output on the node for sheets [B, H, W, 3] that were saved as these files.

    `stage_panels` tells the script in the browser which shot of which film is where on which file.
    """
    film = _film(board)
    pages = [
        {
            **film,
            "filename": file["filename"],
            "size": [image.shape[2], image.shape[1]],
            "panels": [
                {"id": panel.shot_id, "status": panel.status.value, "box": list(panel.box)}
                for panel in panels(board, page)
            ],
        }
        for page, file in enumerate(saved)
    ]
    return {"images": saved, "animated": (False,), "stage_panels": pages}


def told(board: Storyboard) -> dict[str, Any]:
    """How far the shots of a board are, for the script in the browser, beside what else a node
    shows."""
    panels = [{"id": i, "status": board.status(i).value} for i in board.shot_list.ids]
    return {"stage_panels": [{**_film(board), "panels": panels}]}


def preview(
    node: type[io.ComfyNode], board: Storyboard, project: Project, image: Tensor
) -> dict[str, Any]:
    """The output on the node for sheets [B, H, W, 3] float that are kept nowhere else."""
    saved = ui.PreviewImage(image, cls=carrier(node, board, project)).values
    return shown(board, saved, image)


def _film(board: Storyboard) -> dict[str, Any]:
    """The film of a board, and when this is told: a result that the host keeps is sent again."""
    return {"title": board.shot_list.title, "told": time.time()}
