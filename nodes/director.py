"""Director Brief and Cast: what a film is about, and who is in it."""

from __future__ import annotations

from fractions import Fraction

from comfy_api.latest import io, ui
from torch import Tensor

from ..stage_core.editing.strips import card
from ..stage_core.planning.coverage import coverage
from ..stage_core.planning.director import MAX_SHOTS, FilmOrder, instruction
from ..stage_core.planning.written import written_out
from ..stage_core.plurals import counted
from ..stage_core.sharing.cast_folder import cast_stamp, read_cast_folder, write_cast_folder
from ..stage_core.story.cast import Cast as CastValue
from ..stage_core.story.members import Member, MemberKind
from ..stage_core.story.shot_list import FrameFormat
from . import casts, host
from .pictures import pictures, rows, to_image
from .sockets import CastSocket

THEME = (
    "On the night the harbour lamp is to be switched off for good, its old keeper climbs up to "
    "light it once more, and far out a boat that nobody expects turns towards it."
)
BRIEF_INPUTS = [
    io.String.Input(
        "theme",
        multiline=True,
        default=THEME,
        tooltip="What the film is about, in a sentence or a page.",
    ),
    io.Int.Input(
        "num_shots",
        default=8,
        min=0,
        max=MAX_SHOTS,
        tooltip="The film has exactly so many shots. 0: as many as its length usually has.",
    ),
    io.Float.Input(
        "seconds",
        default=0.0,
        min=0.0,
        max=3600.0,
        step=1.0,
        tooltip="Length of the film. 0: open; a shot then lasts about 3 seconds.",
    ),
    io.String.Input(
        "look",
        default="",
        tooltip="How the whole film looks: materials, light, colours, a style.",
    ),
    io.String.Input(
        "language",
        default="English",
        tooltip="Language of the descriptions. Terms of the camera stay English.",
    ),
    CastSocket.Input(
        "cast",
        optional=True,
        tooltip="Who and what must appear, spelled and looking as the cast says.",
    ),
]
BRIEF_OUTPUTS = [
    io.String.Output(
        "instruction",
        tooltip="What to ask any language model. Connect it to a node that answers, and the "
        "answer to Script.",
    ),
    io.String.Output(
        "template",
        tooltip="A plan without any model: the theme covered as a classical scene is. Connect it "
        "to Script.",
    ),
    io.Int.Output(
        "shots",
        display_name="num shots",
        tooltip="Connect it to num_shots of Script, so that an answer with more or fewer shots "
        "is refused.",
    ),
]
CAST_INPUTS = [
    CastSocket.Input(
        "cast",
        optional=True,
        tooltip="A cast to add to, from another Cast node. Of a member in both, this node's "
        "words count.",
    ),
    io.String.Input(
        "name",
        default="",
        tooltip="As the script names it: Ida. Empty: nobody is added, the cast is only loaded "
        "or kept.",
    ),
    io.Combo.Input(
        "kind",
        options=[kind.value for kind in MemberKind],
        default=MemberKind.CHARACTER.value,
        tooltip="A character is drawn as a figure; a prop or a place only counts by its words "
        "and pictures.",
    ),
    io.String.Input(
        "description",
        multiline=True,
        default="",
        tooltip="The fixed look: age, build, hair, clothes, colours. It goes into the prompt of "
        "every shot that names the member; changing it draws and films only those again.",
    ),
    io.Image.Input(
        "image",
        optional=True,
        tooltip="Reference pictures of the member, up to 8 in a batch. Connect the cast to "
        "Memory Pack Builder to have them remembered.",
    ),
    io.String.Input(
        "load",
        default="",
        tooltip="Name of a shared cast to begin with: a folder in output/stage/cast, or in "
        "ComfyUI's input folder.",
    ),
    io.String.Input(
        "save",
        default="",
        tooltip="Name under which the whole cast is kept in output/stage/cast, for other films "
        "and other people. Who is kept there already stays.",
    ),
]
CAST_OUTPUTS = [
    CastSocket.Output("cast_out", display_name="cast", tooltip="The cast with this member."),
    io.Image.Output(
        "preview", tooltip="The cast: pictures with names, and a card for who has none."
    ),
]


class DirectorBrief(io.ComfyNode):
    """A theme becomes the question to a language model."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="STAGE_DirectorBrief",
            display_name="Director Brief",
            category=host.CATEGORY,
            description="Asks any language model for a storyboard of exactly so many shots, in a "
            "form that Script reads; and plans one without a model.",
            search_aliases=["director", "theme", "llm", "storyboard prompt", "coverage", "plan"],
            inputs=list(BRIEF_INPUTS),
            outputs=list(BRIEF_OUTPUTS),
        )

    @classmethod
    def execute(cls, theme, num_shots, seconds, look, language, cast: CastValue | None = None):
        members = cast.members if cast else ()
        length = Fraction(seconds).limit_denominator(1000)
        order = FilmOrder(theme, num_shots, length, look, language, members)
        host.say(f"{counted(order.shots, 'shot')}, about {float(order.seconds_each):.3g} s each")
        template = written_out(coverage(order, FrameFormat()))
        return io.NodeOutput(instruction(order), template, order.shots)


class Cast(io.ComfyNode):
    """A member of the cast, its fixed look and its pictures."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="STAGE_Cast",
            display_name="Cast",
            category=host.CATEGORY,
            description="Gives a character, a prop or a place a fixed look and pictures. Chain "
            "several; load and keep a cast as a folder to share.",
            search_aliases=["character", "prop", "location", "consistency", "reference", "stage"],
            is_output_node=True,
            inputs=list(CAST_INPUTS),
            outputs=list(CAST_OUTPUTS),
        )

    @classmethod
    def fingerprint_inputs(cls, load=None, **_):
        try:
            return cast_stamp(casts.cast_to_read(load.strip())) if load and load.strip() else ""
        except (ValueError, OSError) as error:
            return str(error)

    @classmethod
    def execute(
        cls, name, kind, description, load, save, cast: CastValue | None = None, image=None
    ):
        made = read_cast_folder(casts.cast_to_read(load.strip())) if load.strip() else CastValue()
        made = made.with_cast(cast) if cast else made
        shown = pictures(image, "image") if image is not None else ()
        if name.strip():
            member = Member(" ".join(name.split()), MemberKind.parse(kind), description.strip())
            made = made.with_member(member, shown)
        elif shown or description.strip():
            raise ValueError("the member has no name; write it as the script names it")
        if save.strip():
            write_cast_folder(made, casts.cast_to_write(save.strip()))
        names = ", ".join(member.name for member in made.members) or "nobody"
        count = len(made.references())
        host.say(f"{names}; {counted(count, 'picture')}")
        preview = to_image(_preview(made))
        return io.NodeOutput(made, preview, ui=ui.PreviewImage(preview))


def _preview(cast: CastValue) -> Tensor:
    """Every member's pictures, or a card for who has none."""
    if not cast.members:
        return rows([card("Nobody yet", "Give a name, or the name of a cast to load.")], [""])
    images, labels = [], []
    for member in cast.members:
        shown = [picture.image for picture in cast.pictures.get(member.name, ())]
        words = member.description or "No description yet, so no prompt says how it looks."
        images += shown or [card(member.name, words)]
        labels += [member.name] * len(shown) or [f"{member.kind.value}, no pictures"]
    return rows(images, labels)
