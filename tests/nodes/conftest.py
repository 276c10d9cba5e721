"""This pack's nodes, loaded as ComfyUI loads them, from a ComfyUI tree on this machine."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import site
import sys
from pathlib import Path
from types import ModuleType

import pytest

# Fixtures for every module of this folder.
from .small_wan import (  # noqa: F401
    experts,
    film,
    filmed,
    large_vae,
    make,
    model,
    order,
    small_vae,
)

PACK = Path(__file__).resolve().parents[2]
# ComfyUI names a pack's module after its path; nothing in the pack may depend on that name.
MODULE = "custom_nodes_stage_film"


@pytest.fixture(scope="session")
def pack() -> ModuleType:
    """The pack as a module in which all nodes are imported; skips where there is no ComfyUI."""
    tree = _tree()
    if tree is None:
        pytest.skip("no ComfyUI: set COMFYUI_PATH to its folder, or install it to ~/comfy/ComfyUI")
    # The tree's own environment completes this one, which has the same Python.
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    site.addsitedir(str(tree / ".venv" / "lib" / version / "site-packages"))
    sys.path.insert(0, str(tree))
    arguments, sys.argv = sys.argv, sys.argv[:1]
    try:
        from comfy.cli_args import args

        # ComfyUI asks for a CUDA device while it is imported.
        args.cpu = True
        return _load()
    except ImportError as error:
        if (error.name or "").startswith(MODULE):
            raise
        pytest.skip(f"ComfyUI in {tree} cannot be imported here: {error}")
    finally:
        sys.argv = arguments


@pytest.fixture(scope="session")
def node(pack):
    """Gives the class of a node by its id."""
    extension = asyncio.run(pack.comfy_entrypoint())
    classes = asyncio.run(extension.get_node_list())
    return {cls.GET_SCHEMA().node_id: cls for cls in classes}.__getitem__


@pytest.fixture
def output(pack, tmp_path, monkeypatch) -> Path:
    """ComfyUI's output folder, empty, and a temporary folder beside it."""
    import folder_paths

    for name in ("output", "temp"):
        (tmp_path / name).mkdir()
        monkeypatch.setattr(folder_paths, f"{name}_directory", str(tmp_path / name))
    return tmp_path / "output"


@pytest.fixture
def run(node, output):
    """Runs a node by its id with default widgets and these inputs, as ComfyUI does.

    Gives its outputs; `run.ui` is what it shows.
    """
    import torch

    def run(node_id, **inputs):
        cls = node(f"STAGE_{node_id}")
        slots = {slot.id: getattr(slot, "default", None) for slot in cls.GET_SCHEMA().inputs}
        widgets = {name: value for name, value in slots.items() if value is not None}
        with torch.inference_mode():
            made = cls.execute(**{**widgets, **inputs})
        run.ui = made.ui
        return made.result

    return run


@pytest.fixture
def said(pack, monkeypatch) -> list[str]:
    """What the nodes say, in order."""
    texts = []
    monkeypatch.setattr(pack.nodes.host, "say", texts.append)
    return texts


def _tree() -> Path | None:
    given = os.environ.get("COMFYUI_PATH", "").split(os.pathsep)[0]
    tree = Path(given or "~/comfy/ComfyUI").expanduser()
    return tree if (tree / "comfy_api").is_dir() else None


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        MODULE, PACK / "__init__.py", submodule_search_locations=[str(PACK)]
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules[MODULE] = module
    spec.loader.exec_module(module)
    asyncio.run(module.comfy_entrypoint())
    return module
