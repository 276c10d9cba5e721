"""The lengths and sizes that well-known video models make, for graphs of any other nodes."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from ...stage_core.backends.protocol import Grid
from ...stage_core.story.shot_list import FrameFormat, Shot

AS_PLANNED = "as planned"
GRIDS: dict[str, Grid | None] = {
    AS_PLANNED: None,
    "Wan 480p": Grid(832 * 480, 16, Fraction(16), 4),
    "Wan 720p": Grid(1280 * 720, 16, Fraction(16), 4),
    "LTX 720p": Grid(1280 * 720, 32, Fraction(24), 8),
    "MiniMax H3 768p": Grid(1344 * 768, 32, Fraction(24), 17, first=5),
}


@dataclass(frozen=True)
class Measures:
    """How long and how large a shot is made: frames, frames per second, pixels."""

    length: int
    rate: Fraction
    width: int
    height: int


def measures(shot: Shot, film: FrameFormat, sizes_of: str) -> Measures:
    """Of a shot as the plan has it, or as the named model makes it, nearest to the plan."""
    grid = GRIDS[sizes_of]
    if grid is None:
        return Measures(shot.num_frames, film.rate, film.width, film.height)
    return Measures(grid.num_frames(shot, film), grid.rate, *grid.size(film))
