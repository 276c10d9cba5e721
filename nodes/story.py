"""Script, Pick Shot, Replace Keyframes: nodes about the plan and single shots of it."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from comfy_api.latest import io
from comfy_execution.graph_utils import ExecutionBlocker
from torch import Tensor

from ..stage_core import pipeline
from ..stage_core.backends.protocol import Sampling, filming_seed
from ..stage_core.planning.planner import FORMATS, PlanSettings
from ..stage_core.planning.written import written_out
from ..stage_core.project import Project
from ..stage_core.story.frames import FramePair, Picture
from ..stage_core.story.memory import MemoryPack
from ..stage_core.story.shot_list import FrameFormat, Shot, ShotList
from ..stage_core.story.storyboard import Storyboard
from . import films, host
from .pictures import crop, pictures, to_batch, to_image
from .sockets import ShotSocket, StoryboardSocket

RATES = {
    "16": Fraction(16),
    "23.976": Fraction(24000, 1001),
    "24": Fraction(24),
    "25": Fraction(25),
    "29.97": Fraction(30000, 1001),
    "30": Fraction(30),
    "50": Fraction(50),
    "59.94": Fraction(60000, 1001),
    "60": Fraction(60),
}
MAX_SEED = 2**64 - 1
STORY = """Title: The Last Lamp

EXT. HARBOUR - NIGHT

[[shot: extreme wide, high angle, pan right, 3s]]
Rain over a small harbour. One lamp burns at the end of the pier.

[[shot: medium, eye level, dolly in, 3s]]
IDA, an old lamp keeper, climbs the iron ladder with a can of oil.

[[shot: close-up, low angle, static, 3s]]
IDA shields a match with both hands. The flame leans, then stands.

[[shot: wide, eye level, truck left, 3s]]
Far out a fishing boat turns its bow towards the light.
"""
SCRIPT_INPUTS = [
    io.String.Input(
        "text",
        multiline=True,
        default=STORY,
        tooltip="A screenplay (Fountain), a shot table (Markdown, CSV or TSV) or "
        "story records (JSON). A note before an action sets its shot: "
        "[[shot 2A: close-up, low angle, dolly in, 3s]].",
    ),
    io.String.Input(
        "title",
        default="",
        tooltip="Title of the film, and name of its folder in output/stage. "
        "Empty: the title that the text gives.",
    ),
    io.String.Input(
        "look",
        default="",
        tooltip="How the whole film looks; goes into the prompt of every shot. "
        "Empty: the look that the text gives.",
    ),
    io.String.Input(
        "negative",
        default="",
        tooltip="What no shot should show; goes into every negative prompt. "
        "Empty: what the text gives.",
    ),
    io.Int.Input(
        "width",
        default=832,
        min=16,
        max=8192,
        step=2,
        tooltip="Width of the finished film in pixels. Changing the size without "
        "changing the aspect films nothing again.",
    ),
    io.Int.Input(
        "height",
        default=480,
        min=16,
        max=8192,
        step=2,
        tooltip="Height of the finished film in pixels.",
    ),
    io.Combo.Input(
        "rate",
        options=list(RATES),
        default="24",
        tooltip="Frames per second of the finished film. Models film at a rate of their own.",
    ),
    io.Int.Input(
        "seed",
        default=0,
        min=0,
        max=MAX_SEED,
        control_after_generate=False,
        tooltip="Another seed is another version of the whole film. A shot keeps "
        "its own seed when the text gives one.",
    ),
    io.Combo.Input(
        "format",
        options=list(FORMATS),
        default="auto",
        tooltip="What kind of text it is; auto finds out.",
    ),
]
SCRIPT_OUTPUTS = [
    StoryboardSocket.Output("storyboard", tooltip="The plan; nothing is drawn or filmed yet."),
    io.String.Output(
        "text_with_ids",
        display_name="text with ids",
        tooltip="The same text with the shots' ids written in: paste it back to keep "
        "them in another place.",
    ),
]
KEYFRAME_INPUTS = [
    StoryboardSocket.Input("storyboard", tooltip="The board to change."),
    io.String.Input("shot", default="1", tooltip="Id of the shot, as the sheet names it: 3, 2A."),
    io.Image.Input(
        "start",
        optional=True,
        tooltip="The new start frame; of a batch, the first. It keeps its size; another "
        "aspect than the film's is cropped at the centre.",
    ),
    io.Image.Input(
        "end",
        optional=True,
        tooltip="The new end frame; of a batch, the first. It keeps its size; another "
        "aspect than the film's is cropped at the centre.",
    ),
]
KEYFRAME_OUTPUTS = [
    StoryboardSocket.Output("storyboard", tooltip="The board with these frames given by you.")
]
PICK_INPUTS = [
    StoryboardSocket.Input("storyboard", tooltip="A drawn board."),
    io.String.Input(
        "shot",
        default="",
        tooltip="Id of the shot. Empty: the first shot that is not filmed yet.",
    ),
]
PICK_OUTPUTS = [
    io.Image.Output("start", tooltip="The start frame."),
    io.Image.Output("end", tooltip="The end frame."),
    io.String.Output("prompt", tooltip="The shot in words, with the film's look."),
    io.String.Output("negative", tooltip="What the shot should not show."),
    io.Int.Output("length", tooltip="Planned frames at the film's rate."),
    io.Float.Output("rate", tooltip="The film's frames per second."),
    io.Int.Output("width", tooltip="The film's width in pixels."),
    io.Int.Output("height", tooltip="The film's height in pixels."),
    io.Int.Output("seed", tooltip="The seed of this take of this shot."),
    io.Image.Output(
        "memory",
        tooltip="Frames of earlier shots, the most useful first, at the size of the "
        "first; for the first shot its own keyframe.",
    ),
    ShotSocket.Output("picked", display_name="shot", tooltip="The shot itself."),
]


class Script(io.ComfyNode):
    """Text becomes a plan."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="STAGE_Script",
            display_name="Script",
            category=host.CATEGORY,
            description="Reads a screenplay, a shot table or a story record and plans exactly "
            "its shots, in order.",
            search_aliases=["story", "screenplay", "fountain", "shot list", "plan", "stage"],
            inputs=list(SCRIPT_INPUTS),
            outputs=list(SCRIPT_OUTPUTS),
        )

    @classmethod
    def fingerprint_inputs(cls, text, title, look, negative, width, height, rate, seed, format):
        values = (text, title, look, negative, width, height, rate, seed, format)
        if None in values:
            return "the text arrives by wire"
        try:
            return _plan(*values).to_json()
        except ValueError as error:
            return str(error)

    @classmethod
    def execute(cls, text, title, look, negative, width, height, rate, seed, format):
        plan = _plan(text, title, look, negative, width, height, rate, seed, format)
        seconds = float(sum(shot.num_frames for shot in plan.shots) / plan.frame_format.rate)
        host.say(f"{plan.title}: {len(plan.shots)} shots, {seconds:.1f} s before transitions")
        return io.NodeOutput(Storyboard(plan), written_out(plan))


class ReplaceKeyframes(io.ComfyNode):
    """The artist's own pictures at the ends of a shot."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="STAGE_ReplaceKeyframes",
            display_name="Replace Keyframes",
            category=host.CATEGORY,
            description="Puts your own picture at the start or the end of a shot. Before STEP2 "
            "Storyboard it is given, and the rest is drawn around it; after it, it is swapped "
            "and only this shot is filmed again.",
            search_aliases=["swap keyframe", "start frame", "end frame", "first last frame"],
            inputs=list(KEYFRAME_INPUTS),
            outputs=list(KEYFRAME_OUTPUTS),
        )

    @classmethod
    def execute(cls, storyboard: Storyboard, shot: str, start=None, end=None):
        pair = storyboard.pair(storyboard.shot_list.shot(shot.strip()).id)
        for half, images in (("start", start), ("end", end)):
            if images is not None:
                picture = _film_shaped(images, half, storyboard)
                pair = replace(pair, **{half: picture}, given=pair.given | {half}, name="")
        return io.NodeOutput(storyboard.with_pair(pair))


class PickShot(io.ComfyNode):
    """Everything about one shot, for any other graph."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="STAGE_PickShot",
            display_name="Pick Shot",
            category=host.CATEGORY,
            description="Gives what any other graph needs to film one shot of the board.",
            search_aliases=["shot prompt", "get shot", "next shot"],
            inputs=list(PICK_INPUTS),
            outputs=list(PICK_OUTPUTS),
        )

    @classmethod
    def fingerprint_inputs(cls, storyboard=None, shot=None):
        return "" if shot else [films.takes_made(), films.changes()]

    @classmethod
    def execute(cls, storyboard: Storyboard, shot: str):
        plan = storyboard.shot_list
        picked = plan.shot(shot.strip()) if shot.strip() else _next_to_film(storyboard)
        if picked is None:
            host.say("every shot is filmed")
            return io.NodeOutput(*[ExecutionBlocker(None)] * 11)
        pair, look = storyboard.pair(picked.id), plan.frame_format
        host.say(f"shot {picked.id}: {picked.num_frames} frames")
        return io.NodeOutput(
            _image_or_block(pair, "start"),
            _image_or_block(pair, "end"),
            shot_prompt(picked, plan),
            shot_negative(picked, plan),
            picked.num_frames,
            float(look.rate),
            look.width,
            look.height,
            filming_seed(picked, Sampling(seed=plan.seed)),
            _remembered_or_block(storyboard, picked),
            picked,
        )


def _plan(text, title, look, negative, width, height, rate, seed, format) -> ShotList:
    """The plan, with the ids that the film's folder knows for its shots."""
    settings = PlanSettings(
        frame_format=FrameFormat(width, height, RATES[rate]),
        title=title.strip(),
        look=look.strip(),
        negative=negative.strip(),
        seed=seed,
        format=format,
    )
    # The title may come from the text, and only the title leads to the folder.
    plan = pipeline.plan(text, settings)
    return pipeline.plan(text, settings, films.open_film(plan.title).earlier())


def _film_shaped(images: Tensor, socket: str, board: Storyboard) -> Picture:
    first = pictures(images[:1] if images.ndim == 4 else images, socket)[0]
    return Picture.of(crop(first.image, board.shot_list.frame_format.aspect))


def _next_to_film(board: Storyboard) -> Shot | None:
    project: Project = films.open_film(board.shot_list.title)
    for shot in board.shot_list.shots:
        pair = board.pair(shot.id)
        pictures_of_it = tuple(digest for digest in pair.digests if digest)
        filmed = shot.id in board.clips or project.take_in_use(shot.id, pictures_of_it)
        if pictures_of_it and not filmed:
            return shot
    return None


def _image_or_block(pair: FramePair, half: str) -> Tensor | ExecutionBlocker:
    picture = getattr(pair, half)
    if picture is not None:
        return to_image(picture.image)
    return ExecutionBlocker(
        f"shot {pair.shot_id} has no {half} frame; connect STEP2 Storyboard before Pick Shot"
    )


def shot_prompt(shot: Shot, plan: ShotList) -> str:
    """A shot in words for any image or video model."""
    camera = f"{shot.scale.value} shot, {shot.angle.value} angle, camera: {shot.movement.value}"
    place = ", ".join(filter(None, (shot.scene.place, shot.scene.time_of_day)))
    written = (shot.prompt,) if shot.prompt else (shot.description, place, camera)
    return ". ".join(part.rstrip(". ") for part in (*written, plan.look) if part)


def shot_negative(shot: Shot, plan: ShotList) -> str:
    """What a shot should not show."""
    return ", ".join(filter(None, (shot.negative, plan.negative)))


def remembered(board: Storyboard, picked: Shot) -> list[Picture]:
    """Frames of earlier shots, the most useful first; for the first shot its own keyframe."""
    memory = MemoryPack()
    for shot in board.shot_list.shots:
        if shot.id == picked.id:
            break
        memory = memory.remember(board.pair(shot.id), shot.cast)
    own = [keyframe.picture for keyframe in board.keyframes(picked)]
    return [frame.picture for frame in memory.shown(picked)] or own[:1]


def _remembered_or_block(board: Storyboard, picked: Shot) -> Tensor | ExecutionBlocker:
    shown = remembered(board, picked)
    if not shown:
        return ExecutionBlocker(f"shot {picked.id} has no frames before it; draw the board first")
    return to_batch([picture.image for picture in shown])
