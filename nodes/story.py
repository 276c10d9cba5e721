"""Script, Replace Keyframes: nodes about the plan and the artist's own pictures."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from comfy_api.latest import io, ui
from torch import Tensor

from ..stage_core import pipeline
from ..stage_core.planning.naming import unknown_names
from ..stage_core.planning.places import read_places
from ..stage_core.planning.planner import FORMATS, PlanSettings
from ..stage_core.planning.written import written_out
from ..stage_core.plurals import counted
from ..stage_core.story.frames import Keyframe, Picture
from ..stage_core.story.shot_list import MAX_SHOTS, FrameFormat, ShotList
from ..stage_core.story.storyboard import Storyboard
from . import films, host, sheet
from .pictures import crop, pictures, to_batch
from .sockets import CastSocket, StoryboardSocket

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
# Names that nobody has, in the line below the node.
MOST_REPORTED = 3
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
        tooltip="What kind of text it is; auto finds out. Answer: what a language model "
        "answered to Director Brief, and nothing else.",
    ),
    io.Int.Input(
        "num_shots",
        default=0,
        min=0,
        max=MAX_SHOTS,
        optional=True,
        tooltip="A text with more or fewer shots is refused. 0: any number. Director Brief gives "
        "the number that it asks for.",
    ),
    CastSocket.Input(
        "cast",
        optional=True,
        tooltip="Who and what is in the film: the look of a member goes into every shot that "
        "names it, and names that nobody has are reported.",
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
    io.Image.Input(
        "between",
        optional=True,
        tooltip="Pictures that the shot passes through between its start and its end, all of the "
        "batch. The built-in animatic and Wan VACE film through them.",
    ),
    io.String.Input(
        "at",
        default="",
        optional=True,
        tooltip="Where the pictures of between belong, one place for each: 1.5s, 40 for frame 40, "
        "or 25%, with commas between them. Empty: evenly spread.",
    ),
]
KEYFRAME_OUTPUTS = [
    StoryboardSocket.Output("storyboard", tooltip="The board with these frames given by you.")
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
    def fingerprint_inputs(
        cls, text, title, look, negative, width, height, rate, seed, format, num_shots=0, cast=None
    ):
        values = (text, title, look, negative, width, height, rate, seed, format, num_shots)
        if None in values:
            return "the text arrives by wire"
        try:
            return _plan(*values).to_json()
        except ValueError as error:
            return str(error)

    @classmethod
    def execute(
        cls, text, title, look, negative, width, height, rate, seed, format, num_shots=0, cast=None
    ):
        plan = _plan(
            text, title, look, negative, width, height, rate, seed, format, num_shots, cast
        )
        seconds = float(sum(shot.num_frames for shot in plan.shots) / plan.frame_format.rate)
        said = (
            f"{plan.title}: {counted(len(plan.shots), 'shot')}, {seconds:.1f} s before transitions"
        )
        unknown = unknown_names(plan)
        more = len(unknown) - MOST_REPORTED
        last = (f"and {more} more names like these",) if more > 0 else ()
        host.say("; ".join((said, *unknown[:MOST_REPORTED], *last)))
        return io.NodeOutput(Storyboard(plan), written_out(plan))


class ReplaceKeyframes(io.ComfyNode):
    """The artist's own pictures at the ends of a shot, and between them."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="STAGE_ReplaceKeyframes",
            display_name="Replace Keyframes",
            category=host.CATEGORY,
            description="Puts your own picture at the start, at the end or between them. Before "
            "STEP2 Storyboard it is given, and the rest is drawn around it; after it, it is "
            "swapped and only this shot is filmed again.",
            search_aliases=["swap keyframe", "start frame", "end frame", "first last frame"],
            hidden=list(sheet.HIDDEN),
            inputs=list(KEYFRAME_INPUTS),
            outputs=list(KEYFRAME_OUTPUTS),
        )

    @classmethod
    def execute(cls, storyboard: Storyboard, shot: str, start=None, end=None, between=None, at=""):
        pair = storyboard.pair(storyboard.shot_list.shot(shot.strip()).id)
        for half, images in (("start", start), ("end", end)):
            if images is not None:
                first = images[:1] if images.ndim == 4 else images
                (picture,) = _film_shaped(first, half, storyboard)
                pair = replace(pair, **{half: picture}, given=pair.given | {half}, name="")
        board = storyboard.with_pair(pair)
        if between is not None:
            board = _passing(board, pair.shot_id, _film_shaped(between, "between", board), at)
        # The graph goes into the PNG and the board does not: its new pictures are kept nowhere yet.
        image = to_batch(sheet.draw_sheets(board))
        saved = ui.PreviewImage(image, cls=cls).values
        return io.NodeOutput(board, ui=sheet.shown(board, saved, image))


def _plan(
    text, title, look, negative, width, height, rate, seed, format, num_shots, cast=None
) -> ShotList:
    """The plan, with the ids that the film's folder knows for its shots."""
    settings = PlanSettings(
        frame_format=FrameFormat(width, height, RATES[rate]),
        title=title.strip(),
        look=look.strip(),
        negative=negative.strip(),
        seed=seed,
        format=format,
        num_shots=num_shots,
        cast=cast.members if cast else (),
    )
    # The title may come from the text, and only the title leads to the folder.
    plan = pipeline.plan(text, settings)
    project = films.open_film(plan.title)
    # Under another title a film keeps its ids, and with them all that was made for them.
    earlier = project.earlier() or films.neighbours(project).plan_like(plan)
    return plan if earlier is None else pipeline.plan(text, settings, earlier)


def _film_shaped(images: Tensor, socket: str, board: Storyboard) -> tuple[Picture, ...]:
    aspect = board.shot_list.frame_format.aspect
    return tuple(Picture.of(crop(it.image, aspect)) for it in pictures(images, socket))


def _passing(
    board: Storyboard, shot_id: str, given: tuple[Picture, ...], written: str
) -> Storyboard:
    """The board with these pictures between the ends of a shot, beside those already there."""
    plan = board.shot_list
    shot, rate = plan.shot(shot_id), plan.frame_format.rate
    places = read_places(written, len(given), shot, rate)
    earlier = {keyframe.index: keyframe for keyframe in board.between.get(shot_id, ())}
    new = {at: Keyframe(at, picture) for at, picture in zip(places, given, strict=True)}
    said = ", ".join(f"{at} ({float(at / rate):.2f} s)" for at in sorted(new))
    host.say(f"shot {shot_id}: keyframes between at {said}, of {shot.num_frames} frames")
    return board.with_between(shot_id, {**earlier, **new}.values())
