"""Memory Pack Builder: references of people, places and props."""

from __future__ import annotations

from comfy_api.latest import io, ui
from torch import Tensor

from ..stage_core.backends.qwen_edit import memory_cost
from ..stage_core.editing.strips import card
from ..stage_core.plurals import counted
from ..stage_core.story.cast import Cast
from ..stage_core.story.members import name_key
from ..stage_core.story.memory import MemoryFrame, MemoryPack, MemoryScale
from ..stage_core.story.shot_list import FrameFormat
from ..stage_core.story.storyboard import Storyboard
from . import host
from .pictures import pictures, rows, to_image
from .sockets import CastSocket, MemoryPackSocket, StoryboardSocket

NUM_REFERENCES = 8
# Of a film whose plan is not connected; only its aspect counts.
_USUAL_FORMAT = FrameFormat(1920, 1080)


def _image_input(number: int) -> io.Image.Input:
    return io.Image.Input(
        f"image_{number}",
        optional=True,
        tooltip="A reference of any size. Every picture of a batch is one; transparency lies on "
        "grey.",
    )


def _name_input(number: int) -> io.String.Input:
    return io.String.Input(
        f"name_{number}",
        default="",
        optional=True,
        tooltip=f"Whom or what image_{number} shows, as the script names them; several with "
        "commas. Empty: shown to every shot alike.",
    )


INPUTS = [
    StoryboardSocket.Input(
        "storyboard",
        optional=True,
        tooltip="The plan: names are compared with its cast, and unknown ones reported.",
    ),
    *[_image_input(number) for number in range(1, NUM_REFERENCES + 1)],
    *[_name_input(number) for number in range(1, NUM_REFERENCES + 1)],
    io.Combo.Input(
        "policy",
        options=[scale.value for scale in MemoryScale],
        default=MemoryScale.FULL.value,
        tooltip="How large frames are shown to the model. Full: all alike. Released and "
        "paper: later ones smaller, so memory costs less.",
    ),
    io.Int.Input(
        "capacity",
        default=8,
        min=1,
        max=64,
        tooltip="How many frames a shot sees at once, references included. References "
        "are never dropped, so there must be room for one more.",
    ),
    CastSocket.Input(
        "cast",
        optional=True,
        tooltip="A cast: a shot sees the pictures of the members that it names, as far as the "
        "capacity allows.",
    ),
]
OUTPUTS = [
    MemoryPackSocket.Output("memory_pack", tooltip="The references and the policy."),
    io.Image.Output("preview", tooltip="The references in the order a shot sees them."),
]


class MemoryPackBuilder(io.ComfyNode):
    """What every shot remembers from the start."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="STAGE_MemoryPackBuilder",
            display_name="Memory Pack Builder",
            category=host.CATEGORY,
            description="Collects pictures of people, places and props that every shot remembers, "
            "and says how much a shot remembers of earlier ones.",
            search_aliases=["reference", "character", "consistency", "memory", "stage"],
            is_output_node=True,
            inputs=list(INPUTS),
            outputs=list(OUTPUTS),
        )

    @classmethod
    def execute(
        cls,
        policy,
        capacity,
        storyboard: Storyboard | None = None,
        cast: Cast | None = None,
        **references,
    ):
        frames = tuple(
            MemoryFrame(picture, "reference", names=_names(references.get(f"name_{number}", "")))
            for number in range(1, NUM_REFERENCES + 1)
            if references.get(f"image_{number}") is not None
            for picture in pictures(references[f"image_{number}"], f"image_{number}")
        )
        shown = cast.references() if cast else ()
        pack = MemoryPack(frames, capacity=capacity, scale=MemoryScale(policy), cast=shown)
        host.say(_cost(pack, storyboard) + _unknown_names(pack, storyboard))
        preview = to_image(_preview(pack))
        return io.NodeOutput(pack, preview, ui=ui.PreviewImage(preview))


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _cost(pack: MemoryPack, board: Storyboard | None) -> str:
    tokens, pair = memory_cost(pack, board.shot_list.frame_format if board else _USUAL_FORMAT)
    of_cast = f" and {len(pack.cast)} of the cast" if pack.cast else ""
    return (
        f"{counted(len(pack.references), 'reference')}{of_cast}; "
        f"a shot sees up to {counted(pack.capacity, 'frame')}: "
        f"{tokens} tokens at every step of STEP2, beside {pair} of the pair that it draws"
    )


def _unknown_names(pack: MemoryPack, board: Storyboard | None) -> str:
    if board is None:
        return ""
    cast = {name_key(name): name for shot in board.shot_list.shots for name in shot.cast}
    named = dict.fromkeys(name for frame in pack.references for name in frame.names)
    unknown = [name for name in named if name_key(name) not in cast]
    if not unknown:
        return ""
    return f"; no shot has {', '.join(unknown)}; the cast is {', '.join(cast.values()) or 'empty'}"


def _preview(pack: MemoryPack) -> Tensor:
    frames = pack.references + pack.cast
    if not frames:
        words = (
            f"A shot sees up to {counted(pack.capacity, 'frame')} of the shots before it. Connect "
            "pictures, or a cast that has some, and it sees those too."
        )
        return rows([card("No references", words)], [""])
    labels = [", ".join(frame.names) or "unnamed" for frame in frames]
    return rows([frame.picture.image for frame in frames], labels)
