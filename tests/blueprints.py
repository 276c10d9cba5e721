"""Makes the blueprints of `subgraphs/` in the front end: `python -m tests.blueprints`.

Needs a ComfyUI and a Chromium. A blueprint is nodes of a workflow, turned into one by the front end
itself, with the inputs that are worth setting on its outside.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .browser import FrontEnd, front_end, launched
from .live import PACK, comfy, trees
from .record import write

# Where the blueprint of the pack's nodes is listed, below the front end's own heading.
CATEGORY = "STAGE"

# `inputs` and `outputs` are rows of name outside, node, and name of the slot inside.
_CONVERT = """([kept, name, inputs, outputs]) => {
  const graph = app.graph
  for (const node of [...graph._nodes]) if (!kept.includes(Number(node.id))) graph.remove(node)
  const {subgraph, node} = graph.convertToSubgraph(new Set(graph._nodes))
  // Notes and files that were outside have left slots that lead nowhere.
  for (const slot of [...subgraph.inputs]) subgraph.removeInput(slot)
  for (const slot of [...subgraph.outputs]) subgraph.removeOutput(slot)
  subgraph.name = node.title = name
  const made = {}, part_of = id => subgraph.nodes.find(part => Number(part.id) == id)
  for (const [outside, id, inside] of inputs) {
    const part = part_of(id)
    const slot = part.inputs.find(slot => slot.name == inside)
    made[outside] ??= subgraph.addInput(outside, String(slot.type))
    made[outside].connect(slot, part)
  }
  for (const [outside, id, inside] of outputs) {
    const part = part_of(id)
    const slot = part.outputs.find(slot => slot.name == inside)
    subgraph.addOutput(outside, String(slot.type)).connect(slot, part)
  }
  node.pos = [0, 0]
  node.setSize([420, node.computeSize()[1]])
}"""


@dataclass(frozen=True)
class Blueprint:
    """Nodes of a workflow, by id, as one node: its slots as (name, node, slot inside)."""

    name: str
    workflow: str
    nodes: tuple[int, ...]
    inputs: tuple[tuple[str, int, str], ...]
    outputs: tuple[tuple[str, int, str], ...]
    description: str
    aliases: tuple[str, ...]


BLUEPRINTS = (
    Blueprint(
        "Film from Script",
        "quickstart",
        (1, 2, 3, 4),
        (
            ("text", 1, "text"),
            ("title", 1, "title"),
            ("width", 1, "width"),
            ("height", 1, "height"),
            ("rate", 1, "rate"),
            ("seed", 1, "seed"),
            ("cast", 1, "cast"),
            ("storyboard_model", 2, "storyboard_model"),
            ("memory_pack", 2, "memory_pack"),
            ("memory_pack", 3, "memory_pack"),
            ("shot_model", 3, "shot_model"),
        ),
        (("video", 4, "video"), ("storyboard", 3, "storyboard")),
        "A script becomes a film: every shot is drawn, filmed and cut. Without models it is an "
        "animatic of sketches.",
        ("script", "screenplay", "movie", "storyboard", "text to film", "stage"),
    ),
    Blueprint(
        "Shot Model - Wan 2.2",
        "film_wan22",
        (1, 2, 3, 4, 5, 6, 7),
        (
            ("high_noise_model", 1, "unet_name"),
            ("low_noise_model", 2, "unet_name"),
            ("high_noise_lora", 5, "lora_name"),
            ("low_noise_lora", 6, "lora_name"),
            ("clip_name", 3, "clip_name"),
            ("vae_name", 4, "vae_name"),
        ),
        (("shot_model", 7, "shot_model"),),
        "Wan 2.2 image-to-video with its 4-step LoRAs, for the Dual-Encoder Shot Sampler.",
        ("wan", "flf2v", "first last frame", "shot model", "stage"),
    ),
)


def main() -> None:
    """Make every blueprint."""
    with (
        tempfile.TemporaryDirectory() as folder,
        comfy(trees()[0], Path(folder)) as server,
        launched() as browser,
    ):
        for blueprint in BLUEPRINTS:
            with front_end(browser, server.url, "STAGE_Script") as page:
                page.use_vue_nodes(False)
                graph = made(page, blueprint)
            write(PACK / "subgraphs" / f"{blueprint.name}.json", graph)


def made(page: FrontEnd, blueprint: Blueprint) -> dict[str, Any]:
    """A blueprint as the front end saves it, with its description."""
    path = PACK / "workflows" / f"{blueprint.workflow}.json"
    page.open(json.loads(path.read_text(encoding="utf-8")), blueprint.name)
    wanted = [blueprint.nodes, blueprint.name, blueprint.inputs, blueprint.outputs]
    page.page.evaluate(_CONVERT, wanted)
    page.settle()
    graph = page.graph()
    (inside,) = graph["definitions"]["subgraphs"]
    inside |= {"category": CATEGORY, "description": blueprint.description}
    graph["extra"] |= {
        "BlueprintDescription": blueprint.description,
        "BlueprintSearchAliases": list(blueprint.aliases),
    }
    return graph


if __name__ == "__main__":
    main()
