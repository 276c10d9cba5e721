"""What making a film and making its board begin with: plan, folder, models, drawings."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..backends.load import (
    SHOT_MODELS,
    STORYBOARD_MODELS,
    load_shot_model,
    load_storyboard_model,
)
from ..backends.protocol import Sampling, ShotModel, StoryboardModel
from ..neighbours import Neighbours
from ..offload.placed import OffloadPolicy
from ..pipeline import draw, plan
from ..planning.naming import unknown_names
from ..planning.planner import PlanSettings
from ..project import Project, folder_name
from ..sharing import archive
from ..sharing.cast_folder import read_cast_folder
from ..stories import read_story, story_title
from ..story.cast import Cast
from ..story.memory import MemoryPack, MemoryScale
from ..story.shot_list import UNTITLED, FrameFormat, ShotList
from ..story.storyboard import Storyboard
from ..takes import KeptDrawings, Redraw
from .options import OFFLOADS
from .speaking import Progress, say

_OLDER = (
    "{}: drawn to match earlier frames that have changed since; "
    "--redraw remembering draws them to match again"
)

# What a model calls it that an option gives.
_READ_AS = {"cast": "members"}


@dataclass
class Shoot:
    """The plan, the film's folder, the drawings, the settings, and how long each shot took."""

    plan: ShotList
    project: Project
    drawings: KeptDrawings
    selection: frozenset[str] | None
    memory: MemoryPack
    sampling: Sampling
    board: Storyboard
    seconds: dict[str, float] = field(default_factory=dict)

    @classmethod
    def begin(cls, options: argparse.Namespace) -> Shoot:
        """What is wanted, read and checked before anything is made.

        Raises:
            ValueError: a story, a cast, a selection or a setting that cannot be used.
            OSError: a file or folder that cannot be read.
        """
        cast = read_cast_folder(options.cast) if options.cast else Cast()
        story, settings = Path(options.story), _plan_settings(options)
        is_sheet = story.is_file() and archive.is_sheet(story)
        is_saved = is_sheet or archive.is_archive(story)
        text = archive.read_plan(story).to_json() if is_saved else read_story(options.story)
        settings = replace(settings, cast=cast.members)
        planned = plan(text, settings)
        if planned.title == UNTITLED:
            settings = replace(settings, title=story_title(options.story))
            planned = plan(text, settings)
        folder = options.project or options.out.parent / folder_name(planned.title)
        project = Project(folder)
        # Only a title leads from one folder to another; one that was named is all that is wanted.
        beside = None if options.project else Neighbours(project)
        earlier = project.earlier() or (beside and beside.plan_like(planned))
        planned = plan(text, settings, earlier)
        # Pictures and takes of a saved board go to the folder, where they are found again.
        load = archive.load_sheet if is_sheet else archive.load
        loaded = load(story, lambda _: project).board if is_saved else Storyboard(planned)
        for sentence in unknown_names(planned):
            say(sentence)
        selection = planned.select(options.shots)
        model = _storyboard_model(options)
        redraw = Redraw[options.redraw.upper()]
        drawings = KeptDrawings(model, project, redraw, selection, neighbours=beside)
        scale = MemoryScale[options.memory.upper()]
        memory = MemoryPack(scale=scale, cast=cast.references())
        sampling = Sampling(planned.seed, options.steps, options.guidance, options.shift)
        board = replace(loaded, shot_list=planned)
        return cls(planned, project, drawings, selection, memory, sampling, board)

    def draw(self) -> tuple[Storyboard, MemoryPack, list[str]]:
        """The drawn board, recorded in the folder, the memory, and which shots were drawn."""
        board, memory = self.board, self.memory
        progress = self.progress("drawn", self.drawings.to_draw(board, memory, self.sampling))
        try:
            board, memory = draw(board, self.drawings, memory, self.sampling, progress.on_step)
        finally:
            # Of a model that holds a device, which others need now.
            getattr(self.drawings.model, "rest", lambda: None)()
            say_places(self.drawings.model)
        kept = len(board.pairs) - len(self.drawings.drawn)
        progress.close(kept, self.drawings.told_of_neighbours)
        older = [pair.shot_id for pair in board.pairs.values() if pair.older_memory]
        if older:
            say(_OLDER.format(", ".join(older)))
        board = self.project.save(board)
        for sentence in self.project.told_of_repaints(board):
            say(sentence)
        return board, memory, self.drawings.drawn

    def progress(self, verb: str, waiting: tuple[str, ...]) -> Progress:
        """Progress that notes the seconds here."""
        return Progress(verb, waiting, self.seconds)


def shot_model(options: argparse.Namespace) -> ShotModel:
    """The model that films; raises ValueError for an unknown one."""
    name, offload = options.shot_model, _offload(options)
    if name not in SHOT_MODELS and Path(name).is_dir():
        say(f"shots are filmed with the weights in {name}, on {offload.device}")
    return load_shot_model(name, options.subtitles, offload, options.eight_bits)


def say_unread(options: argparse.Namespace, **models: StoryboardModel | ShotModel) -> None:
    """Which of the models, by the option that names each, do not read what was asked for."""
    asked = {"look": options.look, "cast": options.cast, "memory": options.memory != "full"}
    for option in (name for name, value in asked.items() if value):
        field_name = _READ_AS.get(option, option)
        # The memory on the command line is that of the drawings.
        able = ("storyboard_model",) if option == "memory" else tuple(models)
        deaf = [getattr(options, it) for it in able if field_name not in models[it].reads]
        if deaf:
            say(f"--{option} is not read by {' and '.join(deaf)}, whose work it does not change")


def say_places(model: Any) -> None:
    """Where a model's weights were, of one that tells."""
    for remark in getattr(model, "remarks", ()):
        say(f"  {remark}")


def _storyboard_model(options: argparse.Namespace) -> StoryboardModel:
    name, offload = options.storyboard_model, _offload(options)
    if name not in STORYBOARD_MODELS and Path(name).is_dir():
        say(f"pairs are drawn with the weights in {name}, on {offload.device}")
    return load_storyboard_model(name, offload, options.relevance, options.eight_bits)


def _offload(options: argparse.Namespace) -> OffloadPolicy:
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    return OffloadPolicy(OFFLOADS[options.offload], options.vram, device)


def _plan_settings(options: argparse.Namespace) -> PlanSettings:
    width, height = options.size
    frame_format = FrameFormat(width, height, options.rate)
    return PlanSettings(
        frame_format=frame_format, title=options.title, look=options.look, seed=options.seed
    )
