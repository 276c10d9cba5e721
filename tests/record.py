"""Records anew what the tests compare with: run `python -m tests.record` after adding a widget.

Needs a ComfyUI and a Chromium. Saves every workflow as the front end saves it now, and writes
what the newest ComfyUI says about the nodes in them.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from .browser import RECORDED, front_end, launched
from .live import WORKFLOWS, comfy, trees


def main() -> None:
    """Write the workflows and the record of their nodes."""
    used = set()
    with (
        tempfile.TemporaryDirectory() as base,
        comfy(trees()[0], Path(base)) as server,
        launched() as browser,
        front_end(browser, server.url, "STAGE_Script") as page,
    ):
        page.use_vue_nodes(False)
        for path in WORKFLOWS:
            workflow = json.loads(path.read_text(encoding="utf-8"))
            page.open(workflow, path.stem)
            used |= {node["type"] for node in workflow["nodes"]}
            write(path, with_sizes(page.graph(), workflow))
        info = server.get("/object_info")
    write(RECORDED, {name: info[name] for name in sorted(info) if is_kept(name, used)})


def with_sizes(graph: dict[str, Any], saved: dict[str, Any]) -> dict[str, Any]:
    """The graph with the sizes that were saved: the front end shrinks nodes when it opens them."""
    sizes = {node["id"]: node["size"] for node in saved["nodes"]}
    nodes = [{**node, "size": sizes[node["id"]]} for node in graph["nodes"]]
    return {**graph, "nodes": nodes}


def is_kept(node_type: str, used: set[str]) -> bool:
    """Whether the tests need to know this node."""
    return node_type in used or node_type.startswith("STAGE_")


def write(path: Path, value: Any) -> None:
    """Write a value as JSON that shows its changes line by line."""
    text = json.dumps(value, ensure_ascii=False, indent=1)
    path.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
