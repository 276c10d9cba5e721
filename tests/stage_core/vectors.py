"""Numbers that the authors' released STEP2 code gave on small random weights.

Read from the folder in STAGE_STEP2_VECTORS, else from the one beside the checkout. All sizes come
from the folder's own manifest, so that vectors of other seeds and sizes can be tried.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from stage_core.backends.qwen_networks import QwenFiles, QwenNetworks, QwenSettings, open_networks
from stage_core.encoding.prompts import Templates, find_templates
from stage_core.models.checkpoint import empty, open_weights
from stage_core.models.qwen_image import QwenImage, QwenImageConfig

_BESIDE = Path(__file__).parents[3] / "shared" / "reference" / "step2"
FOLDER = Path(os.environ.get("STAGE_STEP2_VECTORS", _BESIDE))

needs_vectors = pytest.mark.skipif(
    not (FOLDER / "manifest.json").is_file(),
    reason="no STEP2 reference vectors; set STAGE_STEP2_VECTORS to their folder",
)


def manifest() -> dict[str, Any]:
    """The manifest, empty without vectors, so that tests can be collected."""
    file = FOLDER / "manifest.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}


@cache
def tensors(name: str) -> dict[str, Tensor]:
    """All tensors of a file; not to be written to."""
    return load_file(FOLDER / f"{name}.safetensors")


def case(name: str, which: str) -> dict[str, Tensor]:
    """The tensors of one case of a file, by their names within it."""
    prefix = f"{which}."
    return {k.removeprefix(prefix): t for k, t in tensors(name).items() if k.startswith(prefix)}


def config() -> QwenImageConfig:
    sizes = manifest()["config"]["dit"]
    known = {k: sizes[k] for k in asdict(QwenImageConfig()) if k in sizes}
    return QwenImageConfig(**{**known, "axes_dims_rope": tuple(known["axes_dims_rope"])})


def transformer(dtype: torch.dtype = torch.float32) -> QwenImage:
    network = empty(lambda: QwenImage(config()))
    weights = open_weights(FOLDER / "dit.safetensors", "the vectors' transformer")
    weights.load_into(network, dtype, "cpu")
    return network


def released_folder(path: Path, lora: bool = False) -> Path:
    """The vectors' weights laid out in the folder `path` as the release lays its own out."""
    sizes = manifest()["config"]
    for folder, file, source, made in (
        ("unet", "unet", "dit", sizes["dit"]),
        ("vae", "diffusion_pytorch_model", "vae", {**sizes["vae"], **manifest()["vae"]}),
        ("text_encoder", "model", "text_encoder", text_config()),
    ):
        (path / folder).mkdir(parents=True)
        shutil.copy(FOLDER / f"{source}.safetensors", path / folder / f"{file}.safetensors")
        (path / folder / "config.json").write_text(json.dumps(made))
    shutil.copytree(FOLDER / "tiny_tokenizer", path / "tokenizer")
    template_files(path)
    if lora:
        shutil.copy(FOLDER / "lora.safetensors", path / "lora.safetensors")
    return path


def text_config() -> dict[str, Any]:
    return json.loads((FOLDER / "text_encoder_config.json").read_text(encoding="utf-8"))


def template_files(path: Path) -> None:
    """The released templates as text files in a folder."""
    texts = json.loads((FOLDER / "templates.json").read_text(encoding="utf-8"))
    for name, entry in texts.items():
        (path / f"{name}.txt").write_bytes(entry["template"].encode())


def networks(path: Path, settings: QwenSettings, lora: bool = False) -> QwenNetworks:
    pytest.importorskip("diffusers")
    pytest.importorskip("transformers")
    return open_networks(QwenFiles.in_folder(released_folder(path, lora)), settings).load()


def templates(path: Path) -> Templates:
    template_files(path)
    return find_templates(path)


def save(path: Path, weights: dict[str, Tensor], metadata: dict[str, str] | None = None) -> Path:
    """A safetensors file of these tensors."""
    save_file({name: t.clone().contiguous() for name, t in weights.items()}, path, metadata)
    return path


def largest(found: Tensor, wanted: Tensor) -> float:
    """The largest absolute difference; shapes must agree."""
    assert found.shape == wanted.shape
    return float((found.float() - wanted.float()).abs().max())
