"""Edit Shot and Arrange: the director's hand on a board, before and after anything is made."""

from __future__ import annotations

from comfy_api.latest import io

from ..stage_core.desk.shots import CLEARED, arrange, edit_shot, read_changes
from ..stage_core.story.cinematography import CameraAngle, CameraMovement, ShotScale, Term
from ..stage_core.story.storyboard import Storyboard
from . import films, host
from .sockets import StoryboardSocket
from .story import MAX_SEED

UNCHANGED = "unchanged"
UNCHANGED_SEED, FILM_SEED = -1, -2


# Every field is optional, so that a prompt by API names only what it changes.


def _choice(name: str, options: list[str], tooltip: str) -> io.Combo.Input:
    options = [UNCHANGED, *options]
    return io.Combo.Input(name, options=options, default=UNCHANGED, optional=True, tooltip=tooltip)


def _terms(kind: type[Term]) -> list[str]:
    return [term.value for term in kind]


def _text(name: str, says: str) -> io.String.Input:
    tooltip = f"{says} Empty: unchanged; - empties it."
    return io.String.Input(name, default="", multiline=True, optional=True, tooltip=tooltip)


def _line(name: str, tooltip: str) -> io.String.Input:
    return io.String.Input(name, default="", optional=True, tooltip=tooltip)


def _count(name: str, says: str) -> io.Int.Input:
    tooltip = f"{says} 0: unchanged."
    return io.Int.Input(name, default=0, min=0, max=9999, optional=True, tooltip=tooltip)


EDIT_INPUTS = [
    StoryboardSocket.Input("storyboard", tooltip="The board to change, planned, drawn or filmed."),
    io.String.Input("shot", default="1", tooltip="Id of the shot, as the sheet names it: 3, 2A."),
    _text("description", "What is seen."),
    _choice("scale", _terms(ShotScale), "How large the subject stands in the picture."),
    _choice("angle", _terms(CameraAngle), "Where the camera looks from."),
    _choice("movement", _terms(CameraMovement), "How the camera moves."),
    _line("length", "How long it lasts: 3s, 2.5 s, 81 frames. Empty: unchanged."),
    _line(
        "transition",
        "How it gives way to the next shot: cut, dissolve 12 frames, fade to white 1s. Empty: "
        "unchanged.",
    ),
    _choice("keep", ["yes", "no"], "Yes approves it: never drawn or filmed again unasked."),
    _count("drawing", "Another number is another picture; an earlier number is found again."),
    _count("take", "Another number is another film of the same pictures."),
    _text("prompt", "Goes to the models in place of what is made from the description."),
    _text("negative", "What this shot should not show."),
    io.Int.Input(
        "seed",
        default=UNCHANGED_SEED,
        min=FILM_SEED,
        max=MAX_SEED,
        control_after_generate=False,
        optional=True,
        tooltip="A seed of its own, used literally. -1: unchanged; -2: from the film's seed.",
    ),
    _text("dialogue", "A line per speech, NAME: words."),
    _choice("continues", ["yes", "no"], "Whether it starts on the end frame of the shot before."),
    _line(
        "note",
        "The same as in a script, for a wire: close-up, low angle, dolly in, 3s, keep, take 2. It "
        "goes before the other widgets.",
    ),
]
ARRANGE_INPUTS = [
    StoryboardSocket.Input("storyboard", tooltip="The board to arrange, planned, drawn or filmed."),
    io.String.Input(
        "order",
        default="",
        tooltip="The ids in their new order: 1, 3-5, 2, 2. A shot left out leaves the film, one "
        "named again is a copy. Empty: as it is.",
    ),
]


class EditShot(io.ComfyNode):
    """One shot changed, all others as they are."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="STAGE_EditShot",
            display_name="Edit Shot",
            category=host.CATEGORY,
            description="Changes anything about one shot: its text, its camera, its length, which "
            "drawing or take of it is used, whether it is approved. The other shots stay.",
            search_aliases=["change shot", "reroll", "re-roll", "approve", "seed", "stage"],
            inputs=list(EDIT_INPUTS),
            outputs=[StoryboardSocket.Output("storyboard", tooltip="The board with this change.")],
        )

    @classmethod
    def fingerprint_inputs(cls, **inputs):
        return films.changes()

    @classmethod
    def execute(cls, storyboard: Storyboard, shot: str, note: str = "", **widgets):
        changes = read_changes(_words(widgets), note)
        project = films.open_film(storyboard.shot_list.title)
        board, notes = edit_shot(storyboard, shot, changes, project)
        changed = f"changes {', '.join(changes)}" if changes else "stays as it is"
        host.say("; ".join((f"shot {shot.strip()} {changed}", *notes)))
        return io.NodeOutput(board)


class Arrange(io.ComfyNode):
    """The shots in another order; none is made again for it."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="STAGE_Arrange",
            display_name="Arrange",
            category=host.CATEGORY,
            description="Puts the shots into another order, drops some, repeats some. Pictures "
            "and takes go with them, so nothing is filmed again.",
            search_aliases=["reorder", "sort shots", "drop shot", "duplicate shot", "stage"],
            inputs=list(ARRANGE_INPUTS),
            outputs=[StoryboardSocket.Output("storyboard", tooltip="The board in this order.")],
        )

    @classmethod
    def fingerprint_inputs(cls, **inputs):
        return films.changes()

    @classmethod
    def execute(cls, storyboard: Storyboard, order: str):
        project = films.open_film(storyboard.shot_list.title)
        board, notes = arrange(storyboard, order, project)
        host.say("; ".join((f"order: {', '.join(board.shot_list.ids)}", *notes)))
        return io.NodeOutput(board)


def _words(widgets: dict[str, str | int]) -> dict[str, str]:
    """What the widgets say, by field; a field that stays as it is says nothing."""
    seed = widgets.get("seed", UNCHANGED_SEED)
    words = {name: "" if value in (UNCHANGED, 0) else str(value) for name, value in widgets.items()}
    clears = CLEARED if seed == FILM_SEED else ""
    return {**words, "seed": clears if seed < 0 else str(seed)}
