"""Shot Take: keeps what any other graph filmed, or drew, for a shot."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from typing import Any, Generic, TypeVar

import torch
from comfy_api.latest import io
from torch import Tensor

from ..stage_core.media import sound_of
from ..stage_core.neighbours import Neighbours
from ..stage_core.plurals import counted
from ..stage_core.project import DRAWING, TAKE, Made, Project
from ..stage_core.story.frames import FramePair, Picture
from ..stage_core.story.shot_list import Shot
from ..stage_core.story.storyboard import Storyboard
from ..stage_core.story.timeline import Clip, Sound
from . import films, host, lineage, sheet
from .native.grids import measures
from .pick_shot import (
    CLIP,
    PAIR,
    PICK_OUTPUTS,
    given_frames,
    remembered,
    shot_negative,
    shot_prompt,
    shot_seed,
)
from .pictures import crop, pictures
from .sockets import ShotSocket, StoryboardSocket
from .story import RATES

INPUTS = [
    StoryboardSocket.Input("storyboard", tooltip="The board that Pick Shot reads."),
    ShotSocket.Input("shot", tooltip="The shot that was filmed or drawn, from Pick Shot."),
    io.Image.Input(
        "images",
        lazy=True,
        tooltip="The frames that your graph made of it. The graph runs only when it has not made "
        "this shot before.",
    ),
    io.Float.Input(
        "rate",
        default=16.0,
        min=1.0,
        max=240.0,
        step=0.001,
        tooltip="Frames per second of the images, as their model makes them. A pair has none.",
    ),
    io.Combo.Input(
        "keep_as",
        options=[CLIP, PAIR],
        default=CLIP,
        optional=True,
        tooltip="Clip: the images are the frames of the shot. Pair: they are two, its start and "
        "its end frame, drawn by your graph; what was given stays.",
    ),
    io.Audio.Input(
        "audio",
        lazy=True,
        optional=True,
        tooltip="The sound that your graph made with it, kept with the clip and heard in the film. "
        "A pair has none.",
    ),
]
_SLOTS = tuple(output.id for output in PICK_OUTPUTS)
# Rates are written with three digits, and the broadcast ones are not that short.
_NEAR = Fraction(1, 500)


class ShotTake(io.ComfyNode):
    """A clip from another graph, kept as a take."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="STAGE_ShotTake",
            display_name="Shot Take",
            category=host.CATEGORY,
            description="Keeps what any other graph filmed, or drew, for a shot, and gives the "
            "board with every shot that this graph has made.",
            search_aliases=["keep clip", "cache video", "add clip", "take", "stage"],
            is_output_node=True,
            hidden=[io.Hidden.dynprompt],
            inputs=list(INPUTS),
            outputs=[
                StoryboardSocket.Output("storyboard", tooltip="The board with its clips, or pairs.")
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, **inputs):
        return films.changes()

    @classmethod
    def check_lazy_status(cls, storyboard, shot, rate, keep_as=CLIP, images=None, audio=None):
        graph = _graph_above(cls, storyboard, rate, keep_as)
        arrived = {"images": images, "audio": audio}
        wanted = [socket for socket in graph.sockets if arrived[socket] is None]
        return wanted if wanted and graph.find(shot) is None else []

    @classmethod
    def execute(
        cls, storyboard: Storyboard, shot: Shot, rate, images=None, keep_as=CLIP, audio=None
    ):
        graph = _graph_above(cls, storyboard, rate, keep_as)
        kept, notes = graph.settle(shot), ()
        if kept is None:
            sound, notes = sound_made(audio, shot) if "audio" in graph.sockets else (None, ())
            kept = graph.keep(shot, images, sound)
        board, total = storyboard, len(storyboard.shot_list.shots)
        for other in storyboard.shot_list.shots:
            # A shot that continues is looked up with the end frame it continues from.
            made = kept if other.id == shot.id else replace(graph, board=board).settle(other)
            if made is not None:
                board = graph.put(board, made)
        board = graph.project.save(board)
        # What came from another film is no longer the next to be picked.
        films.takes_made(graph.neighbours.brought.total())
        notes = (*notes, *graph.told_of_neighbours)
        removed = graph.project.told_of_removed(graph.project.evict())
        made = f"{graph.count(board)} of {counted(total, 'shot')} {graph.verb}"
        host.say("; ".join([f"shot {shot.id} is {kept.name or 'given'}", made, *notes, *removed]))
        return io.NodeOutput(board, ui=sheet.told(board))


def exact_rate(rate: float) -> Fraction:
    """The frames per second that a number with three digits means: 23.976 is 24000/1001."""
    near = min(RATES.values(), key=lambda known: abs(known - Fraction(rate)))
    return near if abs(near - Fraction(rate)) < _NEAR else Fraction(rate).limit_denominator(1000)


def sound_made(audio: Any, shot: Shot) -> tuple[Sound | None, tuple[str, ...]]:
    """The sound of an AUDIO, None for a graph that made none, and what was mended, in words.

    Raises:
        ValueError: several sounds, or one that is none.
    """
    if audio is None:
        return None, ()
    waveforms = audio["waveform"]
    if len(waveforms) != 1:
        raise ValueError(f"shot {shot.id}: audio holds {len(waveforms)} sounds; a clip has one")
    return sound_of(waveforms[0], audio["sample_rate"], f"the sound of shot {shot.id}")


T = TypeVar("T", Clip, FramePair)


@dataclass(frozen=True)
class _Graph(ABC, Generic[T]):
    """The graph above the lazy sockets, up to Pick Shot: a model known by what it is made of.

    `sockets`: those that what it made arrives on. `picked`: what it uses of Pick Shot; nothing
    else of a shot is in its key.
    """

    board: Storyboard
    project: Project
    sockets: tuple[str, ...]
    identity: str
    picked: lineage.Picked
    rate: Fraction
    neighbours: Neighbours

    def settle(self, shot: Shot) -> T | None:
        """What `find` gives, in the film's own folder if it was another film's."""
        return self.neighbours.settle(shot, partial(self.find, shot))

    @property
    def told_of_neighbours(self) -> tuple[str, ...]:
        """What came from other films, for the person in front."""
        return self.neighbours.told(DRAWING) + self.neighbours.told(TAKE)

    @abstractmethod
    def find(self, shot: Shot) -> T | None:
        """What this graph has made of the shot, or what was approved, or None."""

    @abstractmethod
    def keep(self, shot: Shot, images: Tensor, sound: Sound | None) -> T:
        """The images in the film's folder, losslessly, with the sound of a clip."""

    @abstractmethod
    def put(self, board: Storyboard, made: T) -> Storyboard:
        """The board with what was made."""

    def _digest(self, **parts: Any) -> str:
        parts["model"] = self.identity
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def _content(self, shot: Shot, board: Storyboard, kind: str) -> dict[str, Any]:
        """What Pick Shot gives of a shot, by output, as far as the graph reads it."""
        plan, film = board.shot_list, board.shot_list.frame_format
        start, end = board.pair(shot.id).digests
        asked = [measures(shot, film, name) for name in self.picked.sizes_of]
        content = {
            "start": start,
            "end": end,
            "prompt": shot_prompt(shot, plan),
            "negative": shot_negative(shot, plan),
            "length": [each.length for each in asked],
            "rate": [str(each.rate) for each in asked],
            "width": [each.width for each in asked],
            "height": [each.height for each in asked],
            "seed": shot_seed(shot, plan, kind),
            "memory": [picture.digest for picture in remembered(board, shot)],
            "picked": repr(shot),
        }
        return {_SLOTS[slot]: content[_SLOTS[slot]] for slot in sorted(self.picked.slots)}


class _Filming(_Graph[Clip]):
    """A graph whose images are the frames of a clip."""

    verb = "filmed"

    def find(self, shot: Shot) -> Clip | None:
        if shot.keep:
            approved = self.project.take_in_use(shot.id, self._pictures(shot))
            if approved is not None:
                return approved
        key = self._key(shot)
        found = self.project.find_take(key) or self.neighbours.find_take(key)
        return replace(found, shot_id=shot.id) if found else None

    def keep(self, shot: Shot, images: Tensor, sound: Sound | None) -> Clip:
        frames = torch.stack([picture.image for picture in pictures(images, "images")])
        made = Made(self._key(shot), self.identity, shot.take, keyframes=self._pictures(shot))
        clip = self.project.keep_take(Clip(shot.id, frames, self.rate, sound), made)
        films.takes_made(1)
        return clip

    def put(self, board: Storyboard, made: Clip) -> Storyboard:
        return board.with_clip(replace(made, rate=self.rate))

    def count(self, board: Storyboard) -> int:
        """How many shots of a board are filmed."""
        return len(board.clips)

    def _pictures(self, shot: Shot) -> tuple[str, ...]:
        return tuple(keyframe.picture.digest for keyframe in self.board.keyframes(shot))

    def _key(self, shot: Shot) -> str:
        return self._digest(
            kind="take",
            shot=shot.copy_of or shot.id,
            take=shot.take,
            pictures=self._pictures(shot),
            reads=self._content(shot, self.board, CLIP),
        )


class _Drawing(_Graph[FramePair]):
    """A graph whose images are the start and the end frame of a shot."""

    verb = "drawn"

    def find(self, shot: Shot) -> FramePair | None:
        given = given_frames(self.board, shot)
        if given.complete:
            return given
        approved = self.project.pair_in_use(shot.id, "") if shot.keep else None
        if approved is not None:
            return approved.with_given(self.board.pair(shot.id).only_given())
        key = self._key(shot)
        found = self.project.find_pair(key, "") or self.neighbours.find_pair(key, "")
        return replace(found, shot_id=shot.id) if found else None

    def keep(self, shot: Shot, images: Tensor, sound: Sound | None) -> FramePair:
        drawn = pictures(images, "images")
        if len(drawn) != 2:
            raise ValueError(
                f"shot {shot.id}: images holds {len(drawn)} pictures, and a pair is two, its start "
                "and its end frame; join them with Batch Images, or keep them as a clip"
            )
        aspect = self.board.shot_list.frame_format.aspect
        start, end = (Picture.of(crop(picture.image, aspect)) for picture in drawn)
        given = given_frames(self.board, shot)
        # A start that continues is the previous shot's, and follows it when that changes.
        own = given.given & self.board.pair(shot.id).given
        pair = FramePair(shot.id, given.start or start, given.end or end, own)
        made = Made(self._key(shot), self.identity, shot.drawing)
        kept = self.project.keep_pair(pair, made)
        films.takes_made(1)
        return kept

    def put(self, board: Storyboard, made: FramePair) -> Storyboard:
        return board.with_pair(made)

    def count(self, board: Storyboard) -> int:
        """How many shots of a board are drawn."""
        return sum(board.pair(shot.id).complete for shot in board.shot_list.shots)

    def _key(self, shot: Shot) -> str:
        content = self._content(shot, self.board, PAIR)
        # As everywhere: frames remembered of other shots draw nothing again.
        content.pop("memory", None)
        return self._digest(
            kind="drawing",
            shot=shot.copy_of or shot.id,
            drawing=shot.drawing,
            given=given_frames(self.board, shot).digests,
            reads=content,
        )


def _graph_above(
    node: type[io.ComfyNode], board: Storyboard, rate: float, keep_as: str
) -> _Filming | _Drawing:
    project = films.open_film(board.shot_list.title)
    images, audio = (lineage.linked(node, socket) for socket in ("images", "audio"))
    if images is None:
        raise ValueError("images comes from no node; connect what your graph made of the shot")
    prompt, rate = node.hidden.dynprompt, exact_rate(rate)
    identity, used = lineage.ancestry(prompt, images), lineage.picked(prompt, images)
    beside = films.neighbours(project)
    if keep_as == PAIR:
        return _Drawing(board, project, ("images",), identity, used, rate, beside)
    if audio is None:
        return _Filming(board, project, ("images",), identity, used, rate, beside)
    # With a sound it is another graph than without, and a silent take of it no answer.
    name, heard = identity.split(" ")[0], lineage.ancestry(prompt, audio)
    identity = f"{name} {hashlib.sha256(f'{identity} {heard}'.encode()).hexdigest()}"
    used |= lineage.picked(prompt, audio)
    return _Filming(board, project, ("images", "audio"), identity, used, rate, beside)
