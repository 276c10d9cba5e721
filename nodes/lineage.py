"""A model known by where it comes from, so that a lazy socket need not load it to know it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import folder_paths
from comfy_api.latest import io
from comfy_execution.graph_utils import is_link
from torch import Tensor

from ..stage_core.backends.protocol import FilmJob, Grid, Nowhere, OnStep, Sampling
from ..stage_core.pipeline import film_jobs
from ..stage_core.story.brief import ShotBrief
from ..stage_core.story.frames import FramePair, Keyframe
from ..stage_core.story.shot_list import Shot
from ..stage_core.story.timeline import Clip, Frames
from .host import Report, running_node, running_prompt
from .native.grids import AS_PLANNED, GRIDS

PICK_SHOT = "STAGE_PickShot"
# Inputs that decide whether a shot can be filmed, or bring other inputs, and never how it looks.
NOT_IN_KEYS = {
    "STAGE_ShotModel": ("settings", "settings.longest"),
    "STAGE_LoadStoryboardModel": ("offload", "vram_gb"),
    "STAGE_LoadShotModel": ("offload", "vram_gb", "settings", "settings.longest"),
}
# What a model may read of a brief when its node does not say: all but length, size and rate.
EVERYTHING = frozenset(
    {"theme", "look", "memory", "description", "scene", "cast", "dialogue", "beat"}
    | {"scale", "angle", "movement", "prompt", "negative", "continues"}
)
USUAL_GRID = Grid(area=832 * 480, multiple=16, rate=Fraction(16), stride=4)
WEIGHT_FILES = (*folder_paths.supported_pt_extensions, ".gguf")


@dataclass(frozen=True)
class NodeModel:
    """A storyboard or shot model on a node: one identity before and after it is loaded.

    `model` is None while it is not loaded; then it stands for its keys and can make nothing.
    """

    identity: str
    reads: frozenset[str]
    grid: Grid
    model: Any
    report: Report

    def draw(self, brief: ShotBrief, sampling: Sampling, on_step: OnStep) -> FramePair | None:
        """The model's pair, shown on the node."""
        self._begin((brief.shot,))
        pair = self.model.draw(brief, sampling, on_step)
        for picture in (pair.start, pair.end) if pair else ():
            self.report.show(picture.image)
        return pair

    def film(
        self,
        brief: ShotBrief,
        keyframes: tuple[Keyframe, ...],
        sampling: Sampling,
        on_step: OnStep,
    ) -> Clip | None:
        """The model's clip, shown on the node while it is made."""
        return next(self.film_many((FilmJob(brief, keyframes, Nowhere()),), sampling, on_step))

    def film_many(
        self, jobs: Sequence[FilmJob], sampling: Sampling, on_step: OnStep
    ) -> Iterator[Clip | None]:
        """The model's clips, each shown on the node while it is made: in phases of all shots where
        the model has them, else shot by shot."""
        together = hasattr(self.model, "film_many")
        for some in filter(None, [jobs] if together else [(job,) for job in jobs]):
            self._begin(tuple(job.brief.shot for job in some))
            for clip in film_jobs(some, self.model, sampling, on_step):
                yield replace(clip, frames=_Watched(clip.frames, self.report)) if clip else None

    @property
    def remarks(self) -> tuple[str, ...]:
        """What the model has to say of the film it made last."""
        return getattr(self.model, "remarks", ())

    def rest(self) -> None:
        """After a film: a model that holds a device gives it back."""
        getattr(self.model, "rest", lambda: None)()

    def _begin(self, shots: tuple[Shot, ...]) -> None:
        if self.model is None:
            raise RuntimeError(
                f"shot {shots[0].id}: its files were there when this run began and are gone; run "
                "again"
            )
        self.report.begin(*shots)


def model_on(
    node: type[io.ComfyNode],
    socket: str,
    model: Any,
    embedded: Callable[[], Any],
    report: Report,
) -> NodeModel:
    """The model on a lazy socket of the node that runs; when nothing is linked, the embedded one.

    `model`: what has arrived there, None while it is not loaded. The class of a node that makes
    models may declare `reads` and `grid` as class attributes, as its models would, and class
    methods `reads_of` and `grid_of` for those that depend on its inputs; links among them come as
    links.
    """
    link = linked(node, socket)
    if link is None:
        model = model or embedded()
        return NodeModel(model.identity, model.reads, model.grid, model, report)
    # ComfyUI's own table of node classes; only a running host has it filled.
    import nodes as comfy_nodes

    prompt = node.hidden.dynprompt
    above = prompt.get_node(link[0])
    maker = comfy_nodes.NODE_CLASS_MAPPINGS[above["class_type"]]
    reads_of = getattr(maker, "reads_of", lambda inputs: getattr(maker, "reads", EVERYTHING))
    grid_of = getattr(maker, "grid_of", lambda inputs: getattr(maker, "grid", USUAL_GRID))
    reads, grid = frozenset(reads_of(above["inputs"])), grid_of(above["inputs"])
    return NodeModel(ancestry(prompt, link), reads, grid, model, report)


def linked(node: type[io.ComfyNode], socket: str) -> list | None:
    """The link on a socket of the node that runs, [node id, slot], or None."""
    prompt, node_id = getattr(node.hidden, "dynprompt", None), running_node()
    if prompt is None or node_id is None:
        return None
    value = prompt.get_node(node_id)["inputs"].get(socket)
    return value if is_link(value) else None


def files_above(node: type[io.ComfyNode], socket: str, through: str) -> Iterator[tuple[str, bool]]:
    """Names of the weight files that a value on a socket of the node that runs was made from.

    Only nodes that hand on a value of its kind are looked through, by their input `through`. With
    each file whether the value was loaded from it; other files changed it on its way.
    """
    link = linked(node, socket)
    while link is not None:
        inputs = node.hidden.dynprompt.get_node(link[0])["inputs"]
        above = inputs.get(through)
        link = above if is_link(above) else None
        for value in inputs.values():
            if isinstance(value, str) and value.lower().endswith(WEIGHT_FILES):
                yield value, link is None


def graph_above() -> str:
    """Names the node that runs together with all nodes above it, by their classes and inputs.

    Also while the host asks for its fingerprint. Empty outside of a run.
    """
    prompt, waiting, found = running_prompt(), [running_node()], {}
    while waiting:
        node_id = waiting.pop()
        if node_id in prompt and node_id not in found:
            inputs = prompt[node_id]["inputs"]
            found[node_id] = [prompt[node_id]["class_type"], inputs]
            waiting += [value[0] for value in inputs.values() if is_link(value)]
    text = json.dumps(found, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest() if found else ""


def ancestry(prompt: Any, link: list) -> str:
    """Names what comes out of a link by all nodes above it: classes, constants, slots, weight
    files by name and size, and the nodes' own fingerprints.

    Never node ids or the times of files, so it is the same after a restart and in another
    graph. It ends at Pick Shot, whose content is in every key anyway. A node that asks to be
    run every time (its fingerprint is NaN) counts as unchanged: most of them are loaders.
    """
    places: dict[str, int] = {}
    rows: dict[int, Any] = {}

    def visit(node_id: str) -> int:
        if node_id not in places:
            place = places[node_id] = len(places)
            node = prompt.get_node(node_id)
            # Pick Shot's own fingerprint counts the takes made so far.
            is_story = node["class_type"] == PICK_SHOT
            inputs, changed = ({}, None) if is_story else (node["inputs"], node.get("is_changed"))
            values = {
                name: ["link", visit(value[0]), value[1]] if is_link(value) else _constant(value)
                for name, value in sorted(inputs.items())
                if name not in NOT_IN_KEYS.get(node["class_type"], ())
            }
            rows[place] = [node["class_type"], changed, values]
        return places[node_id]

    visit(link[0])
    # An object among the constants is named by its type: its text may hold an address.
    text = json.dumps([link[1], sorted(rows.items())], default=lambda it: type(it).__name__)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return f"{prompt.get_node(link[0])['class_type']} {digest}"


@dataclass(frozen=True)
class Picked:
    """What a graph uses of Pick Shot: its outputs by slot, and whose sizes it asked for."""

    slots: frozenset[int]
    sizes_of: tuple[str, ...]

    def __or__(self, other: Picked) -> Picked:
        """What two graphs use together."""
        sizes = {*self.sizes_of, *other.sizes_of}
        return Picked(self.slots | other.slots, tuple(sorted(sizes)))


def picked(prompt: Any, link: list) -> Picked:
    """What comes out of a link is made from these outputs of Pick Shot."""
    seen: set[str] = set()
    slots: set[int] = set()
    sizes: set[str] = set()
    waiting = [link]
    while waiting:
        node_id, slot = waiting.pop()
        node = prompt.get_node(node_id)
        if node["class_type"] == PICK_SHOT:
            slots.add(slot)
            sizes |= _sizes_asked(prompt, node["inputs"].get("sizes_of", AS_PLANNED))
        elif node_id not in seen:
            seen.add(node_id)
            waiting += filter(is_link, node["inputs"].values())
    return Picked(frozenset(slots), tuple(sorted(sizes)))


def _sizes_asked(prompt: Any, value: Any) -> set[str]:
    """Whose sizes: the choice itself, or what the node that it comes from holds of such names."""
    held = prompt.get_node(value[0])["inputs"].values() if is_link(value) else [value]
    return {it for it in held if isinstance(it, str) and it in GRIDS} or {AS_PLANNED}


def _constant(value: Any) -> list:
    is_weights = isinstance(value, str) and value.lower().endswith(WEIGHT_FILES)
    return ["constant", value, list(_sizes(value)) if is_weights else []]


def _sizes(file: str) -> Iterator[tuple[str, int]]:
    for kind in sorted(folder_paths.folder_names_and_paths):
        path = folder_paths.get_full_path(kind, file)
        if path is not None:
            yield kind, Path(path).stat().st_size


@dataclass(frozen=True)
class _Watched:
    """Frames that are shown on the node as somebody reads them."""

    frames: Frames
    report: Report

    def __len__(self) -> int:
        return len(self.frames)

    def __iter__(self) -> Iterator[Tensor]:
        return self.report.watch(self.frames)
