"""Translations: all of every node and nothing else, and what a machine reads is left as it is."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
INFO = json.loads((ROOT / "tests" / "data" / "object_info.json").read_text("utf-8"))
NODES = {name: info for name, info in INFO.items() if name.startswith("STAGE_")}
LANGUAGES = sorted((ROOT / "locales").iterdir())

each_language = pytest.mark.parametrize("folder", LANGUAGES, ids=lambda folder: folder.name)
_WAN = ("steps", "guidance", "shift", "guidance_low", "size", "longest")
SHARED = {
    "StoryboardModel": ("steps", "guidance", "shift"),
    "ShotModel": tuple(f"settings_{name}" for name in _WAN),
}
# Numbers with their points and signs, and whatever is written like a file's or a folder's name.
_EXACT = re.compile(r"\d+(?:\.\d+)?|\w+/\w+")


def texts_of(info):
    """The tooltips of a node, by the names under which the front end looks for them."""
    found = {}
    shown = [group for kind, group in info["input"].items() if kind != "hidden"]
    for name, (_, more) in (item for group in shown for item in group.items()):
        found[name] = more.get("tooltip", "")
        options = more.get("options", ())
        # A widget inside of a choice: the front end reads a point in a name as an underscore.
        for choice in (it for it in options if isinstance(it, dict)):
            for inside, (_, words) in choice["inputs"].get("required", {}).items():
                found[f"{name}_{inside}"] = words.get("tooltip", "")
    return found


@pytest.fixture
def read(folder):
    return json.loads((folder / "nodeDefs.json").read_text("utf-8"))


def test_there_are_translations():
    assert LANGUAGES


@each_language
def test_a_translation_has_every_node_input_and_output_and_no_other(read):
    assert read.keys() == NODES.keys()
    for name, info in NODES.items():
        assert read[name]["inputs"].keys() == texts_of(info).keys(), name
        assert list(read[name]["outputs"]) == [str(i) for i in range(len(info["output"]))], name


@each_language
def test_every_text_says_something_and_keeps_numbers_and_names_of_files(read):
    for name, info in NODES.items():
        made = read[name]
        assert made["display_name"].strip() and made["description"].strip()
        places = [(made["inputs"][key], text) for key, text in texts_of(info).items()]
        places += zip(made["outputs"].values(), info["output_tooltips"], strict=True)
        for translated, text in places:
            assert translated["name"].strip() and translated["tooltip"].strip(), (name, text)
            assert translated["tooltip"] != text
            lost = set(_EXACT.findall(text)) - set(_EXACT.findall(translated["tooltip"]))
            assert not lost, (name, text, translated["tooltip"])


@each_language
def test_what_two_nodes_for_the_same_models_have_in_common_is_explained_alike(read):
    for kind, shared in SHARED.items():
        ours, theirs = f"STAGE_{kind}", f"STAGE_Load{kind}"
        for key in shared:
            assert texts_of(NODES[ours])[key] == texts_of(NODES[theirs])[key]
            assert read[ours]["inputs"][key] == read[theirs]["inputs"][key]


@pytest.mark.comfy
@pytest.mark.timeout(300)
def test_the_host_serves_them(server):
    served = server.get("/i18n")
    for folder in LANGUAGES:
        assert served[folder.name]["nodeDefs"].keys() >= NODES.keys()
