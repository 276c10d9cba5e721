"""Shot Take: keeps what any other graph filmed for a shot."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import torch
from comfy_api.latest import io
from torch import Tensor

from ..stage_core.backends.protocol import Sampling, filming_seed
from ..stage_core.project import Made, Project
from ..stage_core.story.shot_list import Shot
from ..stage_core.story.storyboard import Storyboard
from ..stage_core.story.timeline import Clip
from . import films, host, lineage
from .pictures import pictures
from .sockets import ShotSocket, StoryboardSocket
from .story import PICK_OUTPUTS, RATES, remembered, shot_negative, shot_prompt

INPUTS = [
    StoryboardSocket.Input("storyboard", tooltip="The board that Pick Shot reads."),
    ShotSocket.Input("shot", tooltip="The shot that was filmed, from Pick Shot."),
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
        tooltip="Frames per second of the images, as their model makes them.",
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
            description="Keeps what any other graph filmed for a shot, and gives the board with "
            "every shot that this graph has made.",
            search_aliases=["keep clip", "cache video", "add clip", "take", "stage"],
            is_output_node=True,
            hidden=[io.Hidden.dynprompt],
            inputs=list(INPUTS),
            outputs=[StoryboardSocket.Output("storyboard", tooltip="The board with its clips.")],
        )

    @classmethod
    def fingerprint_inputs(cls, **inputs):
        return films.changes()

    @classmethod
    def check_lazy_status(cls, storyboard, shot, rate, images=None):
        if images is not None:
            return []
        return [] if _Graph.above(cls, storyboard).find(shot) else ["images"]

    @classmethod
    def execute(cls, storyboard: Storyboard, shot: Shot, rate, images=None):
        graph, fraction = _Graph.above(cls, storyboard), exact_rate(rate)
        kept = graph.find(shot)
        if kept is None:
            kept = graph.keep(shot, images, fraction)
        board, total = storyboard, len(storyboard.shot_list.shots)
        for other in storyboard.shot_list.shots:
            clip = kept if other.id == shot.id else graph.find(other)
            if clip is not None:
                board = board.with_clip(replace(clip, rate=fraction))
        board = graph.project.save(board)
        graph.project.evict()
        host.say(f"shot {shot.id} is {kept.name}; {len(board.clips)} of {total} shots are filmed")
        return io.NodeOutput(board)


def exact_rate(rate: float) -> Fraction:
    """The frames per second that a number with three digits means: 23.976 is 24000/1001."""
    near = min(RATES.values(), key=lambda known: abs(known - Fraction(rate)))
    return near if abs(near - Fraction(rate)) < _NEAR else Fraction(rate).limit_denominator(1000)


@dataclass(frozen=True)
class _Graph:
    """The graph above `images`, up to Pick Shot: a shot model known by what it is made of.

    `slots`: the outputs of Pick Shot that it uses; nothing else of a shot is in its key.
    """

    board: Storyboard
    project: Project
    identity: str
    slots: frozenset[int]

    @classmethod
    def above(cls, node: type[io.ComfyNode], board: Storyboard) -> _Graph:
        project = films.open_film(board.shot_list.title)
        link = lineage.linked(node, "images")
        if link is None:
            raise ValueError("images comes from no node; connect what your graph made of the shot")
        prompt = node.hidden.dynprompt
        return cls(board, project, lineage.ancestry(prompt, link), lineage.picked(prompt, link))

    def find(self, shot: Shot) -> Clip | None:
        """The take that this graph has made of the shot, or that was approved, or None."""
        if shot.keep:
            approved = self.project.take_in_use(shot.id, self._pictures(shot))
            if approved is not None:
                return approved
        return self.project.find_take(self._key(shot))

    def keep(self, shot: Shot, images: Tensor, rate: Fraction) -> Clip:
        """The images as a take in the film's folder, losslessly."""
        frames = torch.stack([picture.image for picture in pictures(images, "images")])
        made = Made(self._key(shot), self.identity, shot.take, keyframes=self._pictures(shot))
        clip = self.project.keep_take(Clip(shot.id, frames, rate), made)
        films.takes_made(1)
        return clip

    def _pictures(self, shot: Shot) -> tuple[str, ...]:
        return tuple(keyframe.picture.digest for keyframe in self.board.keyframes(shot))

    def _key(self, shot: Shot) -> str:
        content = self._content(shot)
        parts = {
            "kind": "take",
            "model": self.identity,
            "shot": shot.id,
            "take": shot.take,
            "pictures": self._pictures(shot),
            "reads": {_SLOTS[slot]: content[_SLOTS[slot]] for slot in sorted(self.slots)},
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def _content(self, shot: Shot) -> dict[str, Any]:
        """What Pick Shot gives of a shot, by output."""
        plan, film = self.board.shot_list, self.board.shot_list.frame_format
        start, end = self.board.pair(shot.id).digests
        return {
            "start": start,
            "end": end,
            "prompt": shot_prompt(shot, plan),
            "negative": shot_negative(shot, plan),
            "length": shot.num_frames,
            "rate": str(film.rate),
            "width": film.width,
            "height": film.height,
            "seed": filming_seed(shot, Sampling(seed=plan.seed)),
            "memory": [picture.digest for picture in remembered(self.board, shot)],
            "picked": repr(shot),
        }
