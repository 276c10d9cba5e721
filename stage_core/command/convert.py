"""Files as the authors give them into files as ComfyUI's own loaders know them.

A LoRA gets the names that ComfyUI gives to the layers of transformer and text encoder, and the
prompt templates it was trained with into its metadata. A transformer becomes one file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from torch import nn

from ..atomic import replacing
from ..encoding.prompts import Templates, find_templates
from ..models.checkpoint import SCALE, WEIGHT, Weights, empty, open_weights
from ..models.compare import compare
from ..models.lora import PEFT_SETTINGS, adapter_names, common_alpha, layer_key
from ..models.qwen_image import QwenImage, QwenImageConfig
from ..models.rewrite import Source, located, rewrite

LORA_FILE = "lora.safetensors"
TRANSFORMER_FOLDERS = ("unet", "transformer")
TRANSFORMER_PREFIXES = ("model.diffusion_model.", "diffusion_model.")
_PREFIXES = (*TRANSFORMER_PREFIXES, "text_encoders.qwen25_7b.transformer.")
_LORA = "a LoRA for Qwen-Image"
_TRANSFORMER = "a Qwen-Image transformer"
_SIGN = "txt_norm.weight"
_STEM = "stage_step2"
_BLOCK = re.compile(r"(?<=^transformer_blocks_)\d+(?=_)")
_TEXT_LAYER = re.compile(r"layers_(\d+)_(self_attn|mlp)_([a-z]+_proj)")
_TEXT_NAME = "text_encoders.qwen25_7b.transformer.model.layers."
_SIDES = {"down": ".lora_down.weight", "up": ".lora_up.weight", "alpha": ".alpha"}


@dataclass(frozen=True)
class ConvertedLora:
    """What became of a LoRA: its new file, its adapters of each network.

    `left_out` are keys that belong to neither. `templates`: those now in its metadata, or None.
    """

    path: Path
    transformer: int
    text_encoder: int
    left_out: int
    templates: Templates | None


def convert_lora(source: Path, out: Path, template: Path | None = None) -> ConvertedLora:
    """Write a LoRA with ComfyUI's names into the folder `out`.

    Of alternative branches the first stays, as in the release. Numbers stay as they are; an
    alpha that stands in the metadata only becomes a tensor, since ComfyUI looks for one.

    Args:
        source: a LoRA file of any layout, or a folder with one of the release's name.
        template: a file or a folder that holds the released prompt templates, None to look
            beside the LoRA.

    Raises:
        ValueError: no LoRA, one that fits neither network, or no released template in `template`.
        StorageError: the file cannot be written.
    """
    file = _lora_file(source)
    weights = open_weights(file, _LORA)
    templates = _templates(weights, template, file.parent)
    tensors, layers, left_out = _renamed(weights)
    path = out / f"{_stem(file)}_lora_comfyui.safetensors"
    _write(path, weights, tensors, templates)
    text = sum(name.startswith(_TEXT_NAME) for name in layers)
    return ConvertedLora(path, len(layers) - text, text, left_out, templates)


def has_lora(source: Path) -> bool:
    """Whether a file, or a folder's file of the release's name, is there."""
    return _lora_file(source).is_file()


def convert_transformer(folder: Path, out: Path, template: Path | None = None) -> Path:
    """Write the transformer in a folder of the release, or of diffusers, as one file into `out`.

    Bytes are copied, so that a transformer of any size needs no memory.

    Raises:
        ValueError: there is none, or its eight-bit weights have scales beside them, a layout
            that ComfyUI reads as it is.
        StorageError: the file cannot be written.
    """
    inside = _network(folder)
    weights = open_weights(inside, _TRANSFORMER).within(TRANSFORMER_PREFIXES)
    if _SIGN not in weights.tensors:
        raise ValueError(f"{inside} is not {_TRANSFORMER}: it has no tensor {_SIGN}")
    if any(name.endswith(SCALE) for name in weights.tensors):
        raise ValueError(f"{inside} holds scaled eight-bit weights; use its file as it is")
    path = out / f"{_STEM}_transformer_comfyui.safetensors"
    templates = _templates(weights, template, folder)
    _write(path, weights, located(weights.tensors), templates)
    return path


def check(
    base: Path, checkpoint: Path, lora: Path | None, on_tensor: Callable[[int, int], None]
) -> str:
    """What there is to say of a LoRA for `base` on `checkpoint`, when it should fit.

    Both are files, or folders with one network, of transformers or of text encoders.

    Raises:
        ValueError: they hold different weights, or the LoRA has no layer of theirs, or one of
            another size.
    """
    what = "the base of a LoRA for Qwen-Image"
    first, second = (
        open_weights(_network(path), what).within(_PREFIXES) for path in (base, checkpoint)
    )
    adapters = _fitting(lora, second) if lora else None
    found = compare(first, second, on_tensor)
    if not found.same:
        raise ValueError(
            f"{checkpoint} is not {base}: {found}; a LoRA trained on the one may not fit the other"
        )
    named = "a LoRA trained on it" if adapters is None else f"{lora} with {adapters} layers for it"
    return f"{found}; {named} should fit {checkpoint}, unproven until someone runs it"


def comfy_layer(key: str) -> str | None:
    """ComfyUI's name of the layer with this `models.lora.layer_key`; None for no such layer."""
    number = _BLOCK.search(key)
    name = _transformer_layers().get(_BLOCK.sub("0", key))
    if name is not None:
        name = name.replace(".0.", f".{number[0]}.", 1) if number else name
        return f"diffusion_model.{name}"
    text = _TEXT_LAYER.fullmatch(key)
    return f"{_TEXT_NAME}{'.'.join(text.groups())}" if text else None


def _renamed(weights: Weights) -> tuple[dict[str, Source], list[str], int]:
    """Tensors of a LoRA by ComfyUI's names, the names of its layers, and how many keys are left."""
    parts, left_out = adapter_names(weights)
    layers = {key: name for key in parts if (name := comfy_layer(key)) is not None}
    if not layers:
        raise ValueError(
            f"{weights.path} is not {_LORA}: none of its {len(weights.tensors)} keys names a "
            "layer of the transformer or of the text encoder"
        )
    names = {}
    for key, part in parts.items():
        if key not in layers:
            left_out += len(part)
        elif not {"down", "up"} <= part.keys():
            raise ValueError(f"{weights.path}: the adapter of {key} lacks one of its two factors")
        else:
            names |= {layers[key] + _SIDES[side]: name for side, name in part.items()}
    tensors = located({new: weights.tensors[name] for new, name in names.items()})
    alpha = common_alpha(weights)
    if alpha is not None:
        alphas = {name + _SIDES["alpha"]: Source.of_number(alpha) for name in layers.values()}
        tensors = alphas | tensors
    return tensors, list(layers.values()), left_out


def _fitting(lora: Path, checkpoint: Weights) -> int:
    """How many layers of a checkpoint a LoRA changes."""
    weights = open_weights(_lora_file(lora), _LORA)
    sizes = {
        layer_key(name.removesuffix(WEIGHT)): shape
        for name, shape in checkpoint.shapes.items()
        if name.endswith(WEIGHT) and len(shape) == 2
    }
    parts, _ = adapter_names(weights)
    inside = {key: p for key, p in parts.items() if key in sizes and {"down", "up"} <= p.keys()}
    for key, part in inside.items():
        size = weights.shapes[part["up"]][0], weights.shapes[part["down"]][1]
        if size != sizes[key]:
            raise ValueError(
                f"{lora} changes {key} of size {size}; {checkpoint.path} has {sizes[key]}"
            )
    if not inside:
        raise ValueError(f"{lora} has no layer of {checkpoint.path}")
    return len(inside)


@cache
def _transformer_layers() -> dict[str, str]:
    """Linear layers of a transformer of one block by their keys."""
    network = empty(lambda: QwenImage(QwenImageConfig(num_layers=1)))
    named = (name for name, m in network.named_modules() if isinstance(m, nn.Linear))
    return {name.replace(".", "_"): name for name in named}


def _templates(weights: Weights, template: Path | None, beside: Path) -> Templates | None:
    """The templates the user names, else those in the metadata, else those in files `beside`."""
    if template is None:
        return Templates.from_metadata(weights.metadata) or find_templates(beside)
    if not template.exists():
        raise ValueError(f"there is no {template}; it should hold the released prompt templates")
    templates = find_templates(template)
    if templates is None:
        raise ValueError(
            f"{template} holds no released prompt template; name the authors' source file, the "
            "archive of it, or a text file with nothing else in it"
        )
    return templates


def _lora_file(path: Path) -> Path:
    return path / LORA_FILE if path.is_dir() else path


def _network(path: Path) -> Path:
    """The folder of the transformer, in a folder as the release or diffusers lays it out."""
    return next((p for name in TRANSFORMER_FOLDERS if (p := path / name).is_dir()), path)


def _stem(file: Path) -> str:
    """A clear name: that of the release says nothing in a folder of many LoRAs."""
    return _STEM if file.name == LORA_FILE else file.stem.removesuffix("_lora")


def _write(
    path: Path, weights: Weights, tensors: Mapping[str, Source], templates: Templates | None
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = {name: text for name, text in weights.metadata.items() if name != PEFT_SETTINGS}
    added = templates.to_metadata() if templates else {}
    with replacing(path) as temporary:
        rewrite(temporary, tensors, {"format": "pt", **kept, **added})
