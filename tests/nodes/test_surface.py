"""What saved workflows depend on: ids, sockets, widgets; they are only ever appended to.

`surface/<module>.json` is that surface as data. To record what was appended to a node on
purpose, delete its module's file, run this test with `-m comfy`, and look at the difference.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from .conftest import MODULE

SURFACE = Path(__file__).parent / "surface"
WORKFLOWS = sorted((Path(__file__).parents[2] / "workflows").glob("*.json"))
DOCS = Path(__file__).parents[2] / "nodes" / "web" / "docs"
MODULES = ["memory_pack", "models", "pick_shot", "shot_model", "shot_sampler"]
MODULES += ["handover", "place_sound", "shot_stitcher", "slim_model", "story", "storyboard", "take"]
MODULES += ["compare_takes", "desk", "director", "load_models", "shelf"]
WIDGETS = {"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"}
# What these offer is the host's, or what lies in its folders.
OFFERED = {"sampler", "schedule", "lora", "file"}
OFFERED |= {"transformer", "transformer_low", "text_encoder", "vae", "clip_vision", "folder"}
OFFERED |= {"second_lora", "low_lora"}
# What hosts before 0.33 do not know; the sockets are absent there.
NEWER = {"interp_model"}
# A choice that brings widgets of its own.
CHOICES = "COMFY_DYNAMICCOMBO_V3"
OPTIONS = ("default", "options", "min", "max", "multiline", "lazy", "control_after_generate")
MAIN_NODES = {
    "STAGE_STEP2Storyboard": "STEP2 Storyboard",
    "STAGE_MemoryPackBuilder": "Memory Pack Builder",
    "STAGE_DualEncoderShotSampler": "Dual-Encoder Shot Sampler",
    "STAGE_ShotStitcher": "Shot Stitcher",
}


def frozen() -> dict[str, dict[str, Any]]:
    """The surface of every node, by id."""
    nodes = {}
    for path in SURFACE.glob("*.json"):
        nodes |= json.loads(path.read_text(encoding="utf-8"))
    return nodes


def surface_of(cls: Any) -> dict[str, Any]:
    """What of a node class may be appended to and never changed."""
    schema = cls.GET_SCHEMA()
    inputs = [surface_of_slot(slot) for slot in schema.inputs]
    outputs = [{"name": slot.id, "type": slot.get_io_type()} for slot in schema.outputs]
    return {"display_name": schema.display_name, "inputs": inputs, "outputs": outputs}


def surface_of_slot(slot: Any) -> dict[str, Any]:
    """What of a socket or widget may be appended to and never changed."""
    known = {name: value for name, value in slot.as_dict().items() if name in OPTIONS}
    if slot.id in OFFERED:
        known.pop("options", None)
    if slot.get_io_type() == CHOICES:
        known["options"] = {o.key: [surface_of_slot(it) for it in o.inputs] for o in slot.options}
    if known.get("multiline"):
        # A story to begin with; another one breaks no workflow.
        del known["default"]
    return {"name": slot.id, "type": slot.get_io_type(), "optional": slot.optional} | known


def classes_of(pack: Any, module: str) -> dict[str, Any]:
    """The node classes that a module defines, by id."""
    name = f"{MODULE}.nodes.{module}"
    found = [cls for cls in pack.nodes.extension.NODES if cls.__module__ == name]
    return {cls.GET_SCHEMA().node_id: cls for cls in found}


@pytest.mark.comfy
@pytest.mark.parametrize("module", MODULES)
def test_nodes_are_as_frozen(pack, module):
    path = SURFACE / f"{module}.json"
    now = {node_id: surface_of(cls) for node_id, cls in classes_of(pack, module).items()}
    if not path.exists():
        path.write_text(json.dumps(now, indent=1) + "\n", encoding="utf-8")
        pytest.fail(f"{path.name} was not there; it is written now, look at it")
    frozen_then = json.loads(path.read_text(encoding="utf-8"))
    for node_id, node in frozen_then.items():
        missing = NEWER - {slot["name"] for slot in now[node_id]["inputs"]}
        node["inputs"] = [slot for slot in node["inputs"] if slot["name"] not in missing]
    assert frozen_then == now


@pytest.mark.comfy
def test_every_node_belongs_to_a_frozen_module(pack):
    found = {node_id for module in MODULES for node_id in classes_of(pack, module)}
    assert found == {cls.GET_SCHEMA().node_id for cls in pack.nodes.extension.NODES}


@pytest.mark.comfy
def test_every_input_and_output_explains_itself(pack):
    for cls in pack.nodes.extension.NODES:
        schema = cls.GET_SCHEMA()
        assert schema.description and schema.category == "STAGE"
        assert all(slot.tooltip for slot in (*schema.inputs, *schema.outputs)), schema.node_id


def test_the_four_main_nodes_have_their_names():
    nodes = frozen()
    assert {node_id: nodes[node_id]["display_name"] for node_id in MAIN_NODES} == MAIN_NODES


def test_ids_are_prefixed_and_names_unique_within_a_node():
    for node_id, node in frozen().items():
        assert node_id.startswith("STAGE_")
        for slots in (node["inputs"], node["outputs"]):
            names = [slot["name"] for slot in slots]
            assert len(names) == len(set(names)), node_id


def test_no_seed_changes_after_a_run():
    seeds = [
        slot for node in frozen().values() for slot in node["inputs"] if slot["name"] == "seed"
    ]
    assert seeds and all(slot["control_after_generate"] is False for slot in seeds)


def test_models_are_loaded_lazily():
    kinds = ("STAGE_STORYBOARD_MODEL", "STAGE_SHOT_MODEL")
    models = [s for node in frozen().values() for s in node["inputs"] if s["type"] in kinds]
    assert len(models) == 2 and all(slot["lazy"] and slot["optional"] for slot in models)


def test_every_node_has_a_help_page_and_no_page_is_left_over():
    assert {path.stem for path in DOCS.glob("*.md")} == set(frozen())


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_hold_no_more_widgets_than_their_nodes(path):
    nodes = frozen()
    for node in json.loads(path.read_text(encoding="utf-8"))["nodes"]:
        if node["type"] in nodes:
            inputs = nodes[node["type"]]["inputs"]
            most = sum(map(most_widgets, inputs))
            assert len(node["widgets_values"]) <= most, node["type"]


def most_widgets(slot: dict[str, Any]) -> int:
    """How many widgets a socket or widget shows at most."""
    if slot["type"] == CHOICES:
        return 1 + max(sum(map(most_widgets, inside)) for inside in slot["options"].values())
    return int(slot["type"] in WIDGETS)
