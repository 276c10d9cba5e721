"""A storyboard's sheets as a PDF to print: six shots on a page of A4, in the order of the film."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from ..atomic import replacing
from ..media import import_pillow, storing
from ..story.storyboard import Storyboard
from .paper import PAPER
from .sheet import draw_sheet, num_sheets

SHOTS_PER_PAGE = 6

_DPI = 200
# A4, 297 x 210 mm, with 8 mm of margin.
_LONG, _SHORT, _MARGIN = (round(mm / 25.4 * _DPI) for mm in (297, 210, 8))
_JPEG = {"quality": 93, "subsampling": 0}


def write_pdf(path: Path, board: Storyboard) -> int:
    """Write the sheets to a PDF, whole or not at all; gives the number of pages.

    Texts are pictures, in any script that a font of this machine has; where there is none, a
    shot's id and a note stand for its text. One page is held at a time.

    Raises:
        StorageError: the file cannot be written.
    """
    pages = num_sheets(board, SHOTS_PER_PAGE)
    title = board.shot_list.title
    with replacing(path) as part, storing(path):
        for page in range(pages):
            image = _page(draw_sheet(board, page, SHOTS_PER_PAGE))
            more = {"append": True} if page else {"title": title, "producer": "STAGE"}
            image.save(part, "PDF", resolution=_DPI, **_JPEG, **more)
    return pages


def _page(sheet: Tensor):
    """A sheet as large as it fits on the page, whichever way the page stands best."""
    _, image_module, _ = import_pillow()
    image = image_module.fromarray(sheet.contiguous().numpy())
    wide = image.width >= image.height
    size = (_LONG, _SHORT) if wide else (_SHORT, _LONG)
    scale = min((side - 2 * _MARGIN) / own for side, own in zip(size, image.size, strict=True))
    small = image.resize([max(1, round(side * scale)) for side in image.size])
    page = image_module.new("RGB", size, PAPER)
    page.paste(small, ((size[0] - small.width) // 2, _MARGIN))
    return page
