"""The help pages as files: one for each node, with its inputs and a picture of it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from .browser import RECORDED, WEB

DOCS = WEB / "docs"
SURFACE = Path(__file__).resolve().parent / "nodes" / "surface"
NODES: dict[str, Any] = {}
for _frozen in sorted(SURFACE.glob("*.json")):
    NODES |= json.loads(_frozen.read_text(encoding="utf-8"))
# A page with all its pictures opens at once.
MAX_PICTURE_BYTES = 45_000
each_node = pytest.mark.parametrize("node_id", sorted(NODES))


def page_of(node_id: str) -> str:
    return (DOCS / f"{node_id}.md").read_text(encoding="utf-8")


@each_node
def test_a_page_shows_its_node_in_a_small_picture(node_id):
    image = pytest.importorskip("PIL.Image")
    shown = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", page_of(node_id))
    assert shown == [f"{node_id}.jpg"], "python -m tests.pictures"
    path = DOCS / shown[0]
    assert path.stat().st_size <= MAX_PICTURE_BYTES
    with image.open(path) as picture:
        assert picture.format == "JPEG" and 200 <= picture.width <= 600


@each_node
def test_a_page_names_every_input_and_output(node_id):
    page = plain(page_of(node_id))
    recorded = json.loads(RECORDED.read_text(encoding="utf-8"))[node_id]
    names = [slot["name"] for slot in NODES[node_id]["inputs"]] + recorded["output_name"]
    assert [name for name in names if not is_named(name, page)] == []


def test_there_is_no_page_of_a_node_that_is_gone():
    assert {path.stem for path in DOCS.glob("*.md")} == set(NODES)


def plain(text: str) -> str:
    """A text in small letters without emphasis, with spaces for underscores and line ends."""
    return " ".join(text.lower().replace("*", "").replace("_", " ").split())


def is_named(slot: str, page: str) -> bool:
    """Whether a page names a slot; `image_3` may be one of `image 1 to 8`."""
    name = plain(slot)
    row = re.fullmatch(r"(.+) \d+", name)
    return name in page or bool(row and f"{row[1]} 1 to" in page)
