"""A film small enough for many tests: models that paint noise at once, and its folder."""

from __future__ import annotations

import os
import zlib
from dataclasses import replace
from fractions import Fraction
from typing import Any

import torch

from stage_core.backends.protocol import Grid, Sampling, drawing_seed, filming_seed
from stage_core.desk.shots import arrange, edit_shot, read_changes
from stage_core.pipeline import draw, film
from stage_core.project import Project
from stage_core.story.frames import FramePair, Picture
from stage_core.story.memory import MemoryPack
from stage_core.story.shot_list import FrameFormat, Shot, ShotList
from stage_core.story.storyboard import Storyboard
from stage_core.story.timeline import Clip
from stage_core.takes import KeptDrawings, KeptTakes

FORMAT = FrameFormat(64, 48, Fraction(8))


class Noise:
    """A storyboard and shot model whose pictures depend on all it reads, and cost nothing."""

    identity, reads, grid = "noise", frozenset({"description"}), Grid(16 * 12, 4, Fraction(8))

    def draw(self, brief, sampling, on_step):
        words = (brief.shot.description, drawing_seed(brief.shot, sampling))
        halves = {half: noise(words, half) for half in ("start", "end")}
        fixed = {half: getattr(brief.given, half) for half in brief.given.given}
        return FramePair(brief.shot.id, **{**halves, **fixed}, given=brief.given.given)

    def film(self, brief, keyframes, sampling, on_step):
        pictures = [keyframe.picture.digest for keyframe in keyframes]
        picture = noise(pictures, brief.shot.description, filming_seed(brief.shot, sampling))
        count = self.grid.num_frames(brief.shot, brief.frame_format)
        return Clip(brief.shot.id, picture.image.expand(count, -1, -1, -1), self.grid.rate)


def noise(*parts: Any) -> Picture:
    """A picture that another one of the same parts equals."""
    generator = torch.Generator().manual_seed(zlib.crc32(repr(parts).encode()))
    return Picture.of(torch.randint(0, 256, (12, 16, 3), generator=generator, dtype=torch.uint8))


def three_shots(**second: Any) -> ShotList:
    """A plan of shots 1, 2 and 3; `second` are fields of the second."""
    shots = [Shot(str(n), f"IDA opens door {n}", num_frames=4) for n in (1, 2, 3)]
    shots[1] = replace(shots[1], **second)
    return ShotList(title="film", frame_format=FORMAT, shots=tuple(shots))


def leave_alone(folder):
    """Makes the takes in a folder such as nobody has used for many years."""
    for record in folder.glob("*_t*.json"):
        os.utime(record, (0, 0))


class SmallFilm:
    """Draws and films in one folder, and tells what was made."""

    def __init__(self, folder, storyboard_model=None, shot_model=None):
        self.project = Project(folder)
        self.models = storyboard_model or Noise(), shot_model or Noise()

    def draw(self, board):
        kept = KeptDrawings(self.models[0], self.project)
        board, _ = draw(board, kept, MemoryPack(), Sampling(), ignore)
        return self.project.save(board), kept.drawn

    def film(self, board):
        kept = KeptTakes(self.models[1], self.project)
        board = film(board, kept, MemoryPack(), Sampling(), ignore)
        return self.project.save(board), kept.filmed

    def make(self, board):
        board, drawn = self.draw(board)
        board, filmed = self.film(board)
        return board, drawn, filmed

    def edit(self, board, shot_id, note="", **words):
        return edit_shot(board, shot_id, read_changes(words, note), self.project)

    def arrange(self, board, order):
        return arrange(board, order, self.project)


def ignore(*_: Any) -> None:
    """Nobody watches."""


def names(board: Storyboard) -> dict[str, tuple[str, str]]:
    """The names of drawing and take of every filmed shot."""
    return {i: (board.pair(i).name, board.clips[i].name) for i in board.clips}
