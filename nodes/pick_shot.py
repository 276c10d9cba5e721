"""Pick Shot: everything about one shot, for any other graph."""

from __future__ import annotations

import torch
from comfy_api.latest import io
from comfy_execution.graph_utils import ExecutionBlocker
from torch import Tensor

from ..stage_core.backends.protocol import Sampling, drawing_seed, filming_seed
from ..stage_core.project import Project
from ..stage_core.story.brief import joined_words
from ..stage_core.story.frames import FramePair, Picture
from ..stage_core.story.memory import MemoryPack
from ..stage_core.story.shot_list import FrameFormat, Shot, ShotList
from ..stage_core.story.storyboard import Storyboard
from . import films, host
from .native.grids import AS_PLANNED, GRIDS, measures
from .pictures import to_batch, to_image
from .sockets import ShotSocket, StoryboardSocket

CLIP, PAIR = "clip", "pair"
PICK_INPUTS = [
    StoryboardSocket.Input("storyboard", tooltip="A drawn board."),
    io.String.Input(
        "shot",
        default="",
        tooltip="Id of the shot. Empty: the first shot that is not filmed, or not drawn, yet.",
    ),
    io.Combo.Input(
        "pick_for",
        options=[CLIP, PAIR],
        default=CLIP,
        optional=True,
        tooltip="What your graph makes of the shot: a clip, or its pair of frames. It decides "
        "which shot an empty id means, and whether the seed is that of the take or the drawing.",
    ),
    io.Combo.Input(
        "sizes_of",
        options=list(GRIDS),
        default=AS_PLANNED,
        optional=True,
        tooltip="Length, rate, width and height as this model makes them, nearest to the plan; "
        "the stitcher brings the clip to the plan. As planned: the film's own.",
    ),
]
PICK_OUTPUTS = [
    io.Image.Output("start", tooltip="The start frame."),
    io.Image.Output("end", tooltip="The end frame."),
    io.String.Output("prompt", tooltip="The shot in words, with the film's look."),
    io.String.Output("negative", tooltip="What the shot should not show."),
    io.Int.Output("length", tooltip="Frames of the shot at this rate."),
    io.Float.Output("rate", tooltip="Frames per second: the film's, or the model's."),
    io.Int.Output("width", tooltip="In pixels: the film's, or the model's in its aspect."),
    io.Int.Output("height", tooltip="In pixels: the film's, or the model's in its aspect."),
    io.Int.Output("seed", tooltip="The seed of this take, or drawing, of this shot."),
    io.Image.Output(
        "memory",
        tooltip="Frames of earlier shots, the most useful first, at the size of the "
        "first; for the first shot its own keyframe, or plain grey while it has none.",
    ),
    ShotSocket.Output("picked", display_name="shot", tooltip="The shot itself."),
]


class PickShot(io.ComfyNode):
    """Everything about one shot, for any other graph."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="STAGE_PickShot",
            display_name="Pick Shot",
            category=host.CATEGORY,
            description="Gives what any other graph needs to film, or to draw, one shot.",
            search_aliases=["shot prompt", "get shot", "next shot"],
            inputs=list(PICK_INPUTS),
            outputs=list(PICK_OUTPUTS),
        )

    @classmethod
    def fingerprint_inputs(cls, storyboard=None, shot=None, pick_for=CLIP, sizes_of=AS_PLANNED):
        # What is remembered of a drawn film lies in its folder.
        is_fixed = shot and pick_for == CLIP
        return "" if is_fixed else [films.takes_made(), films.changes()]

    @classmethod
    def execute(cls, storyboard: Storyboard, shot: str, pick_for=CLIP, sizes_of=AS_PLANNED):
        plan, is_drawn = storyboard.shot_list, pick_for == PAIR
        find_next = _next_to_draw if is_drawn else _next_to_film
        picked = plan.shot(shot.strip()) if shot.strip() else find_next(storyboard)
        if picked is None:
            host.say("every shot is drawn" if is_drawn else "every shot is filmed")
            return io.NodeOutput(*[ExecutionBlocker(None)] * len(PICK_OUTPUTS))
        board, film = as_drawn(storyboard) if is_drawn else storyboard, plan.frame_format
        asked = measures(picked, film, sizes_of)
        pair = given_frames(storyboard, picked) if is_drawn else board.pair(picked.id)
        size = f"{asked.width}x{asked.height}, {asked.length} frames"
        host.say(f"shot {picked.id}: {size} at {float(asked.rate):g} a second")
        return io.NodeOutput(
            _image_or_block(pair, "start", is_drawn),
            _image_or_block(pair, "end", is_drawn),
            shot_prompt(picked, plan),
            shot_negative(picked, plan),
            asked.length,
            float(asked.rate),
            asked.width,
            asked.height,
            shot_seed(picked, plan, pick_for),
            to_batch([it.image for it in remembered(board, picked) or [_grey(film)]]),
            picked,
        )


def as_drawn(board: Storyboard) -> Storyboard:
    """The board with what is missing on it as the film's folder has it in use."""
    project = films.open_film(board.shot_list.title)
    for shot in board.shot_list.shots:
        kept = None if board.pair(shot.id).complete else project.pair_in_use(shot.id, "")
        if kept and kept.complete and _has_what_is_given(kept, _given(board, shot)):
            board = board.with_pair(kept)
    return board


def given_frames(board: Storyboard, shot: Shot) -> FramePair:
    """What a graph may not change of a shot: the artist's frames, the end it continues from."""
    given = _given(board, shot)
    if not shot.continues or given.start is not None:
        return given
    return _given(as_drawn(board).with_pair(board.pair(shot.id)), shot)


def _given(board: Storyboard, shot: Shot) -> FramePair:
    return board.brief(shot, MemoryPack()).given


def _next_to_film(board: Storyboard) -> Shot | None:
    project: Project = films.open_film(board.shot_list.title)
    for shot in board.shot_list.shots:
        pair = board.pair(shot.id)
        pictures_of_it = tuple(digest for digest in pair.digests if digest)
        filmed = shot.id in board.clips or project.take_in_use(shot.id, pictures_of_it)
        if pictures_of_it and not filmed:
            return shot
    return None


def _next_to_draw(board: Storyboard) -> Shot | None:
    drawn = as_drawn(board)
    return next((s for s in board.shot_list.shots if not drawn.pair(s.id).complete), None)


def _has_what_is_given(pair: FramePair, given: FramePair) -> bool:
    halves = zip(given.digests, pair.digests, strict=True)
    return all(now in ("", then) for now, then in halves)


def _image_or_block(pair: FramePair, half: str, is_drawn: bool) -> Tensor | ExecutionBlocker:
    picture = getattr(pair, half)
    if picture is not None:
        return to_image(picture.image)
    if is_drawn:
        return ExecutionBlocker(
            f"shot {pair.shot_id} has no {half} frame that is given; give one with Replace "
            "Keyframes, or draw without it"
        )
    return ExecutionBlocker(
        f"shot {pair.shot_id} has no {half} frame; connect STEP2 Storyboard before Pick Shot"
    )


def shot_prompt(shot: Shot, plan: ShotList) -> str:
    """A shot in words for any image or video model."""
    camera = f"{shot.scale.value} shot, {shot.angle.value} angle, camera: {shot.movement.value}"
    place = ", ".join(filter(None, (shot.scene.place, shot.scene.time_of_day)))
    written = (shot.prompt,) if shot.prompt else (shot.description, place, camera)
    return ". ".join(part.rstrip(". ") for part in (*written, plan.look_of(shot)) if part)


def shot_negative(shot: Shot, plan: ShotList) -> str:
    """What a shot should not show."""
    return joined_words(shot.negative, plan.negative)


def shot_seed(shot: Shot, plan: ShotList, made: str) -> int:
    """The seed of this take, or drawing, of a shot."""
    seed_of = drawing_seed if made == PAIR else filming_seed
    return seed_of(shot, Sampling(seed=plan.seed))


def remembered(board: Storyboard, picked: Shot) -> list[Picture]:
    """Frames of earlier shots, the most useful first; for the first shot its own keyframe."""
    memory = MemoryPack()
    for shot in board.shot_list.shots:
        if shot.id == picked.id:
            break
        memory = memory.remember(board.pair(shot.id), shot.cast)
    own = [keyframe.picture for keyframe in board.keyframes(picked)]
    return [frame.picture for frame in memory.shown(picked)] or own[:1]


def _grey(film: FrameFormat) -> Picture:
    """What stands for memory where there is none yet: a graph cannot do without a picture."""
    return Picture.of(torch.full((film.height, film.width, 3), 128, dtype=torch.uint8))
