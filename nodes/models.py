"""Storyboard Model and Load STEP2 LoRA: models over ComfyUI's own loaders."""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import comfy.lora
import folder_paths
from comfy_api.latest import io
from torch import Tensor, tensor

from ..stage_core.backends.qwen_edit import GRID, GUIDANCE, SHIFT, STEPS, QwenEdit
from ..stage_core.encoding.prompts import OWN, Templates, find_templates
from ..stage_core.models.checkpoint import open_weights
from ..stage_core.models.lora import Lora, layer_key, read_lora
from . import host, lineage
from .native.qwen_edit import (
    RELEASED,
    SAMPLERS,
    SCHEDULES,
    NativeQwenEdit,
    NativeSettings,
    likeness,
    native_networks,
)
from .sockets import StoryboardModelSocket

FOLDER = "stage"
_LORA = "the STEP2 LoRA"
_ATTACHMENT = "stage_templates"
_SAFETENSORS = ".safetensors"
_TRANSFORMER_LAYER = "transformer_blocks_"
# Files that only their names tell from the right ones: networks and sizes are the same.
_WRONG_VAE = re.compile(r"wan", re.I)
_WRONG_MODEL = re.compile(r"qwen[-_ .]?image(?!.*(edit|stage|step2))", re.I)

SAMPLING_INPUTS = [
    io.Int.Input(
        "steps",
        default=STEPS,
        min=2,
        max=200,
        tooltip="Sampler steps of each shot: 20 as released, 4 or 8 with a Lightning LoRA.",
    ),
    io.Float.Input(
        "guidance",
        default=GUIDANCE,
        min=1.0,
        max=30.0,
        step=0.1,
        tooltip="How strongly the words are followed: 4 as released. 1, for a Lightning LoRA, "
        "ignores the negative and takes half the time.",
    ),
    io.Float.Input(
        "shift",
        default=SHIFT,
        min=0.1,
        max=30.0,
        step=0.1,
        tooltip="How much of the steps goes to the rough picture: 2.2 as released. It takes the "
        "place of a ModelSampling node.",
    ),
]
MODEL_INPUTS = [
    io.Model.Input("model", tooltip="Qwen-Image-Edit, or the STEP2 transformer, from any loader."),
    io.Clip.Input("clip", tooltip="Its text encoder, Qwen2.5-VL: CLIPLoader, type qwen_image."),
    io.Vae.Input("vae", tooltip="Its VAE, qwen_image_vae."),
    *SAMPLING_INPUTS,
    io.Combo.Input("sampler", options=SAMPLERS, default="euler", tooltip="Euler as released."),
    io.Combo.Input(
        "schedule",
        options=SCHEDULES,
        default=RELEASED,
        tooltip="The noise levels of the release, or a scheduler of ComfyUI's.",
    ),
    io.ClipVision.Input(
        "clip_vision",
        optional=True,
        tooltip="From Load CLIP Vision: what is remembered of earlier shots is shown in the order "
        "of its likeness to the frame before, after the shot's cast.",
    ),
]


class StoryboardModel(io.ComfyNode):
    """STEP2 over MODEL, CLIP and VAE."""

    reads = QwenEdit.reads
    grid = GRID

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="STAGE_StoryboardModel",
            display_name="Storyboard Model",
            category=host.CATEGORY,
            description="STEP2 on ComfyUI's own Qwen-Image-Edit: draws the start and the end frame "
            "of a shot together, with the frames of earlier shots as references.",
            search_aliases=["step2", "qwen image edit", "keyframes", "storyboard", "stage"],
            hidden=[io.Hidden.dynprompt],
            inputs=list(MODEL_INPUTS),
            outputs=[
                StoryboardModelSocket.Output("storyboard_model", tooltip="For STEP2 Storyboard.")
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, **inputs):
        # A template that is put into the folder draws the film anew, as other weights would.
        return hashlib.sha256(repr(_found_templates()).encode()).hexdigest()

    @classmethod
    def execute(cls, model, clip, vae, steps, guidance, shift, sampler, schedule, clip_vision=None):
        _check_names(cls)
        templates, source = _templates(cls, model)
        networks = native_networks(model, clip, vae, templates)
        settings = NativeSettings(steps, guidance, shift, sampler, schedule)
        host.say(source)
        ranker = None if clip_vision is None else likeness(clip_vision)
        return io.NodeOutput(NativeQwenEdit(networks, settings, cls.grid, ranker))


class LoadSTEP2LoRA(io.ComfyNode):
    """The authors' LoRA, as downloaded or converted, on transformer and text encoder."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="STAGE_LoadSTEP2LoRA",
            display_name="Load STEP2 LoRA",
            category=host.CATEGORY,
            description="Puts the STEP2 LoRA, as its authors give it, onto transformer and text "
            "encoder, and says how much of it fits.",
            search_aliases=["lora", "step2", "stage"],
            inputs=[
                io.Model.Input("model", tooltip="Qwen-Image-Edit, from any loader."),
                io.Clip.Input("clip", tooltip="Its text encoder; the LoRA changes it too."),
                io.Combo.Input(
                    "lora",
                    options=_lora_files(),
                    tooltip="A file in models/loras or models/stage, of any name.",
                ),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=-10.0,
                    max=10.0,
                    step=0.05,
                    tooltip="1 as released; of both parts.",
                ),
            ],
            outputs=[
                io.Model.Output("model", tooltip="With the LoRA on it."),
                io.Clip.Output("clip", tooltip="With the LoRA on it."),
            ],
        )

    @classmethod
    def execute(cls, model, clip, lora, strength):
        path = _lora_path(lora)
        weights = open_weights(path, _LORA)
        adapters = read_lora(weights)
        model, clip, text = with_lora(model, clip, adapters, strength)
        templates = Templates.from_metadata(weights.metadata)
        if templates is not None:
            model.set_attachments(_ATTACHMENT, templates)
        host.say(f"{path.name}: {text}")
        return io.NodeOutput(model, clip)


def add_folder() -> None:
    """Tell ComfyUI of models/stage, the place of the authors' files."""
    folder_paths.add_model_folder_path(FOLDER, str(Path(folder_paths.models_dir) / FOLDER))


def with_lora(model: Any, clip: Any, lora: Lora, strength: float) -> tuple[Any, Any, str]:
    """Clones of MODEL and CLIP with the adapters, and how many found their layer, in words.

    Raises:
        ValueError: none finds a layer, or one has another size than its layer.
    """
    named = _factors_by_layer(lora)
    parts = {
        "transformer": (model.clone(), model.model, "", True),
        "text encoder": (clip.clone(), clip.cond_stage_model, "text_encoders.", False),
    }
    says, found = [], 0
    for part, (clone, network, prefix, is_transformer) in parts.items():
        layers = _layers(network, prefix, lora)
        wanted = sum(k.startswith(_TRANSFORMER_LAYER) == is_transformer for k in lora.layers)
        patches = comfy.lora.load_lora(named, layers, log_missing=False)
        clone.add_patches(patches, strength)
        says.append(f"{len(patches)} of {wanted} adapters match the {part}")
        found += len(patches)
    if not found:
        raise ValueError(
            f"{lora.source} fits nothing here: none of its {len(lora.layers)} adapters belongs to "
            f"a layer of MODEL or CLIP, for example {min(lora.layers)}; it needs Qwen-Image-Edit"
        )
    left = f"; {lora.unknown} other keys are left out" if lora.unknown else ""
    (model, *_), (clip, *_) = parts.values()
    return model, clip, ", ".join(says) + left


def _factors_by_layer(lora: Lora) -> dict[str, Tensor]:
    """The adapters as ComfyUI reads them, under the names that all layouts have in common."""
    named = {}
    for key, factors in lora.layers.items():
        named[f"{key}.lora_down.weight"], named[f"{key}.lora_up.weight"] = factors.down, factors.up
        named[f"{key}.alpha"] = tensor(factors.scale * factors.down.shape[0])
    return named


def _layers(network: Any, prefix: str, lora: Lora) -> dict[str, str]:
    """The host's names of the layers that the LoRA changes, by the common one."""
    found = {}
    for name, weight in network.state_dict().items():
        key = layer_key(prefix + name.removesuffix(".weight"))
        if name.endswith(".weight") and key in lora.layers:
            factors = lora.layers[key]
            size = factors.up.shape[0], factors.down.shape[1]
            # Weights of few bits are stored in other shapes than they have.
            if weight.is_floating_point() and weight.ndim == 2 and tuple(weight.shape) != size:
                raise ValueError(
                    f"{lora.source}: {key} changes a layer of {size[1]} inputs and {size[0]} "
                    f"outputs; this model's has {weight.shape[1]} and {weight.shape[0]}"
                )
            found[key] = name
    return found


def _lora_files() -> list[str]:
    names = {*folder_paths.get_filename_list("loras"), *folder_paths.get_filename_list(FOLDER)}
    return sorted(name for name in names if name.lower().endswith(_SAFETENSORS))


def _lora_path(name: str) -> Path:
    for kind in ("loras", FOLDER):
        path = folder_paths.get_full_path(kind, name)
        if path is not None:
            return Path(path)
    raise ValueError(f"there is no {name} in models/loras or models/stage; it should be {_LORA}")


def _templates(node: type[io.ComfyNode], model: Any) -> tuple[Templates, str]:
    """The prompt templates for these weights, and where they are from, in words."""
    templates = model.get_attachment(_ATTACHMENT)
    if templates is not None:
        return templates, "the prompt template is that of the LoRA"
    for name, _ in lineage.files_above(node, "model", "model"):
        path = _weights_path(name)
        if path is None or path.suffix.lower() != _SAFETENSORS:
            continue
        templates = Templates.from_metadata(open_weights(path, "weights").metadata)
        if templates is not None:
            return templates, f"the prompt template is that of {name}"
    templates = _found_templates()
    if templates is not None:
        part = "" if templates.released else ", in part in our own wording"
        return templates, f"the prompt template is the released one, from models/stage{part}"
    return OWN, (
        "no released prompt template in models/stage: prompts get our own wording; put the "
        "authors' source file or archive there"
    )


def _found_templates() -> Templates | None:
    folders = tuple(Path(folder) for folder in folder_paths.get_folder_paths(FOLDER))
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    found = ((path, path.stat()) for path in sorted(files))
    return _read_templates(folders, tuple((p, s.st_size, s.st_mtime_ns) for p, s in found))


@lru_cache(maxsize=1)
def _read_templates(folders: tuple[Path, ...], files: tuple[Any, ...]) -> Templates | None:
    """The templates in these folders, looked for again when there are other `files` in them."""
    return next(filter(None, (find_templates(f) for f in folders if f.is_dir())), None)


def _check_names(node: type[io.ComfyNode]) -> None:
    for name, _ in lineage.files_above(node, "vae", "vae"):
        if _WRONG_VAE.match(Path(name).name):
            raise ValueError(f"{name} is the VAE of Wan; Qwen-Image-Edit needs qwen_image_vae")
    for name, is_whole in lineage.files_above(node, "model", "model"):
        # LoRAs are named after the model that they were made for, and fit both.
        if is_whole and _WRONG_MODEL.match(Path(name).name):
            raise ValueError(
                f"{name} draws from text alone and was not trained to see reference pictures; "
                "load a Qwen-Image-Edit or STEP2 transformer"
            )


def _weights_path(name: str) -> Path | None:
    found = (folder_paths.get_full_path(k, name) for k in folder_paths.folder_names_and_paths)
    return next((Path(path) for path in found if path is not None), None)
