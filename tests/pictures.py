"""Takes the pictures of the help pages, the README and the templates: `python -m tests.pictures`.

Needs a ComfyUI and a Chromium. With names of workflows after it only their pictures are taken.
"""

from __future__ import annotations

import io
import json
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from .browser import WEB, FrontEnd, front_end, launched
from .live import PACK, comfy, trees, weights_of

DOCS = WEB / "docs"
NODE_BYTES, GRAPH_BYTES, THUMBNAIL_BYTES = 45_000, 180_000, 99_000
NODE_WIDTH, GRAPH_WIDTH, THUMBNAIL_WIDTH = 560, 1200, 800
MARGIN = 18

# The canvas alone: no menus, no map, no notices.
_ALONE = """.graph-canvas-menu, .comfy-minimap, .p-toast, .p-tooltip, .p-buttongroup
{ visibility: hidden !important }"""
_FOCUS = "() => app.extensionManager.command.execute('Workspace.ToggleFocusMode')"
_SETTINGS = {"Comfy_Graph_CanvasInfo": False, "Comfy_Minimap_Visible": False}

_ADD = """([type, inputs, outputs, widgets]) => {
  const of = type => app.graph._nodes.find(node => node.type == type)
  const slot = (slots, name) => slots.findIndex(one => one.name == name)
  const join = (from, output, to, input) =>
    from.connect(slot(from.outputs, output), to, slot(to.inputs, input))
  const node = LiteGraph.createNode(type)
  const right = Math.max(...app.graph._nodes.map(one => one.pos[0] + one.size[0]))
  node.pos = [right + 80, 240]
  app.graph.add(node)
  for (const [name, value] of Object.entries(widgets))
    node.widgets.find(widget => widget.name == name).value = value
  for (const [name, [from, output]] of Object.entries(inputs)) join(of(from), output, node, name)
  for (const [name, [to, input]] of Object.entries(outputs)) join(node, name, of(to), input)
}"""

# Nodes apart from each other, so that one that grows covers none.
_SPREAD = """sizes => {
  for (const node of app.graph._nodes) node.pos = [node.pos[0] * 2, node.pos[1] * 2]
  for (const [type, size] of Object.entries(sizes))
    app.graph._nodes.find(node => node.type == type).setSize(size)
  app.canvas.setDirty(true, true)
}"""

# Bring a box, in graph units, to the middle of the window, at a scale of at most `most`.
_LOOK_AT = """([left, top, right, low, most]) => {
  const {width, height} = app.canvas.canvas.getBoundingClientRect()
  const scale = Math.min(most, (width - 80) / (right - left), (height - 80) / (low - top))
  app.canvas.ds.scale = scale
  app.canvas.ds.offset = [width / 2 / scale - (left + right) / 2,
                          height / 2 / scale - (top + low) / 2]
  app.canvas.deselectAll?.()
  app.canvas.setDirty(true, true)
  const {left: x, top: y} = app.canvas.canvas.getBoundingClientRect()
  const [dx, dy] = app.canvas.ds.offset
  return [x + (left + dx) * scale, y + (top + dy) * scale,
          x + (right + dx) * scale, y + (low + dy) * scale]
}"""


@dataclass(frozen=True)
class Added:
    """A node that a scene has beyond its workflow: wires by slot, as (node type, slot)."""

    node: str
    inputs: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    outputs: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    widgets: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Scene:
    """A workflow and the nodes that are photographed in it, with the size that each is given."""

    workflow: str
    sizes: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    added: tuple[Added, ...] = ()


BOARD = "storyboard"
# The second of the four drawings of the quickstart's thumbnail.
PORTRAIT, _WALKING = "nora.png", (328, 6, 644, 188)
SCENES = (
    Scene(
        "quickstart",
        {
            "STAGE_Script": (420, 560),
            "STAGE_STEP2Storyboard": (420, 500),
            "STAGE_DualEncoderShotSampler": (420, 360),
            "STAGE_ShotStitcher": (420, 560),
        },
    ),
    Scene("swap_keyframe", {"STAGE_PickShot": (300, 380), "STAGE_ReplaceKeyframes": (340, 130)}),
    Scene("with_cast"),
    Scene(
        "quickstart",
        {"STAGE_Cast": (400, 560), "STAGE_MemoryPackBuilder": (400, 740)},
        (
            Added("LoadImage", widgets={"image": PORTRAIT}),
            Added(
                "STAGE_Cast",
                {"image": ("LoadImage", "IMAGE")},
                {"cast_out": ("STAGE_Script", "cast")},
                {"name": "Nora", "description": "a woman in a long blue coat, dark hair in a bun"},
            ),
            Added(
                "STAGE_MemoryPackBuilder",
                {"cast": ("STAGE_Cast", "cast_out")},
                {"memory_pack": ("STAGE_STEP2Storyboard", "memory_pack")},
            ),
        ),
    ),
    Scene("from_theme", {"STAGE_DirectorBrief": (420, 330)}),
    Scene("reroll_and_compare", {"STAGE_EditShot": (420, 700), "STAGE_CompareTakes": (520, 520)}),
    Scene("hand_over", {"STAGE_Handover": (400, 320), "STAGE_SaveStoryboard": (400, 480)}),
    Scene(
        "hand_over",
        {"STAGE_LoadStoryboard": (400, 420)},
        (
            Added(
                "STAGE_LoadStoryboard",
                outputs={BOARD: ("STAGE_STEP2Storyboard", BOARD)},
                widgets={"file": "stage/The Watch_00001.stage.zip [output]"},
            ),
        ),
    ),
    Scene(
        "quickstart",
        {"STAGE_Arrange": (340, 120), "STAGE_PlaceSound": (340, 160)},
        (
            Added(
                "STAGE_Arrange",
                {BOARD: ("STAGE_Script", BOARD)},
                {BOARD: ("STAGE_STEP2Storyboard", BOARD)},
                {"order": "1, 3, 2, 4, 5"},
            ),
            Added("EmptyAudio", widgets={"duration": 2}),
            Added(
                "STAGE_PlaceSound",
                {BOARD: ("STAGE_Arrange", BOARD), "audio": ("EmptyAudio", "AUDIO")},
                {"audio": ("STAGE_ShotStitcher", "dialogue")},
                {"at": "3+0.5s"},
            ),
        ),
    ),
    Scene(
        "step2_storyboard",
        {
            "STAGE_LoadSTEP2LoRA": (380, 130),
            "STAGE_SlimModel": (300, 80),
            "STAGE_StoryboardModel": (380, 280),
        },
        (
            Added(
                "STAGE_SlimModel",
                {"model": ("STAGE_LoadSTEP2LoRA", "model")},
                {"model": ("STAGE_StoryboardModel", "model")},
            ),
        ),
    ),
    Scene("film_wan22", {"STAGE_ShotModel": (420, 420)}),
    Scene(
        "low_vram",
        {"STAGE_LoadStoryboardModel": (420, 460), "STAGE_LoadShotModel": (420, 520)},
    ),
    Scene("film_wan22_graph", {"STAGE_ShotTake": (340, 200)}),
    Scene("draw_any_model"),
    Scene("film_h3"),
    Scene("film_ltx"),
)


def main() -> None:
    """Take the pictures of all scenes, or of those of the workflows that were named."""
    named = sys.argv[1:]
    with (
        tempfile.TemporaryDirectory() as folder,
        comfy(trees()[0], Path(folder), **_SETTINGS) as server,
        launched() as browser,
    ):
        with Image.open(PACK / "workflows" / "quickstart.jpg") as drawn:
            drawn.crop(_WALKING).save(server.base / "input" / PORTRAIT)
        for scene in SCENES:
            if not named or scene.workflow in named:
                with front_end(browser, server.url, "STAGE_Script") as page:
                    photograph(page, scene)


def photograph(page: FrontEnd, scene: Scene) -> None:
    """Open a scene, run it if it needs no weights, and keep its pictures."""
    path = PACK / "workflows" / f"{scene.workflow}.json"
    workflow = json.loads(path.read_text(encoding="utf-8"))
    page.use_vue_nodes(True)
    page.page.add_style_tag(content=_ALONE)
    page.page.evaluate(_FOCUS)
    page.open(workflow, scene.workflow)
    for one in scene.added:
        page.page.evaluate(_ADD, [one.node, one.inputs, one.outputs, one.widgets])
    if not weights_of(workflow):
        run = page.run(600)
        assert run["errors"] == [], (scene.workflow, run["errors"])
    page.settle(3000)
    if not scene.added:
        keep_graph(page, path)
    page.page.evaluate(_SPREAD, scene.sizes)
    page.settle(1500)
    for node in scene.sizes:
        keep(shot(page, page.nodes(node)[:1], 1.0), DOCS / f"{node}.jpg", NODE_WIDTH, NODE_BYTES)


def keep_graph(page: FrontEnd, path: Path) -> None:
    """Keep the picture of the whole graph: for the README, or as the thumbnail it lacks."""
    picture = shot(page, list(page.boxes()), 1.0)
    if path.stem == "quickstart":
        keep(picture, DOCS / "graph.jpg", GRAPH_WIDTH, GRAPH_BYTES)
    thumbnail = path.with_suffix(".jpg")
    if path.stem not in ("quickstart", "swap_keyframe", "step2_storyboard"):
        keep(picture, thumbnail, THUMBNAIL_WIDTH, THUMBNAIL_BYTES)


def shot(page: FrontEnd, node_ids: list[str], most: float) -> Image.Image:
    """The part of the screen that shows these nodes, with a margin."""
    boxes = [page.boxes()[node_id] for node_id in node_ids]
    low, high = (
        [min(b[i] for b in boxes) for i in (0, 1)],
        [max(b[i] for b in boxes) for i in (2, 3)],
    )
    left, top, right, bottom = page.page.evaluate(_LOOK_AT, [*low, *high, most])
    page.page.mouse.move(2, 2)
    page.page.wait_for_timeout(1500)
    with Image.open(io.BytesIO(page.page.screenshot())) as screen:
        box = (left - MARGIN, top - MARGIN, right + MARGIN, bottom + MARGIN)
        return screen.convert("RGB").crop(tuple(round(side) for side in box))


def keep(picture: Image.Image, path: Path, width: int, num_bytes: int) -> None:
    """Write a JPEG that is at most so wide and so large."""
    if picture.width > width:
        size = (width, round(picture.height * width / picture.width))
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    for quality in range(90, 20, -5):
        data = io.BytesIO()
        picture.save(data, "JPEG", quality=quality, optimize=True)
        if data.tell() <= num_bytes:
            break
    path.write_bytes(data.getvalue())


if __name__ == "__main__":
    main()
