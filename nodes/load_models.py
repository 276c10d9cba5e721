"""Load Storyboard Model and Load Shot Model: our own engine, for weights that do not fit."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import comfy.utils
import folder_paths
from comfy_api.latest import io

from ..stage_core.backends import wan_sampling
from ..stage_core.backends.protocol import Grid, Sampling
from ..stage_core.backends.qwen_edit import GRID, QwenEdit, load_qwen_edit
from ..stage_core.backends.qwen_networks import QwenFiles, QwenSettings
from ..stage_core.backends.wan import WanShots, load_wan
from ..stage_core.backends.wan_conditions import Between, Led
from ..stage_core.backends.wan_files import WanFiles
from ..stage_core.backends.wan_networks import WanSettings
from ..stage_core.backends.wan_sampling import WanSampling
from ..stage_core.errors import MissingPackageError
from ..stage_core.offload.placed import Offload, OffloadPolicy
from ..stage_core.packages import need_packages
from . import host
from .models import FOLDER, SAMPLING_INPUTS, StoryboardModel
from .shot_model import (
    FOUR_STEPS,
    ONE_MODEL,
    SIZES,
    SMALL_MODEL,
    TWO_MODELS,
    VACE_MODEL,
    wan_extent,
    wan_low_guidance,
    wan_numbers,
)
from .sockets import ShotModelSocket, StoryboardModelSocket

SINGLE_FILES, A_FOLDER = "single files", "a folder"
AS_STORED, EIGHT_BITS = "as stored", "eight bits"
NOTHING, HERE = "none", "."
SAMPLERS = ["unipc", "euler"]
# Of Qwen2.5-VL; no file that ComfyUI reads holds it, it is part of ComfyUI.
TOKENIZER = Path(comfy.utils.__file__).parent / "text_encoders" / "qwen25_tokenizer"
_SAFETENSORS = ".safetensors"
_PARTS = ("unet", "transformer", "diffusion_models", "high_noise_model")
_GIB = 2**30
_MOST_GUIDANCE = 100.0


@dataclass(frozen=True)
class _Preset:
    """The authors' settings of one kind of Wan; `two` where it may have two experts."""

    own: WanSampling
    two: bool = False
    led: bool = False


PRESETS = {
    TWO_MODELS: _Preset(wan_sampling.TWO_EXPERTS, two=True),
    FOUR_STEPS: _Preset(replace(wan_sampling.TWO_EXPERTS, **wan_sampling.FEW_STEPS), two=True),
    ONE_MODEL: _Preset(wan_sampling.TWO_ENDS),
    SMALL_MODEL: _Preset(wan_sampling.SMALL),
    VACE_MODEL: _Preset(wan_sampling.LED_BY_TWO, two=True, led=True),
}


def _files(kind: str) -> list[str]:
    names = folder_paths.get_filename_list(kind)
    return [name for name in names if name.lower().endswith(_SAFETENSORS)]


def _file(name: str, kind: str, tooltip: str, optional: bool = False) -> io.Input:
    if not optional:
        return io.Combo.Input(name, options=_files(kind), tooltip=tooltip)
    return io.Combo.Input(name, options=[NOTHING, *_files(kind)], default=NOTHING, tooltip=tooltip)


def _folders() -> list[str]:
    """Folders in models/stage, and that itself where it holds a model's parts."""
    found = set()
    for place in map(Path, folder_paths.get_folder_paths(FOLDER)):
        if place.is_dir():
            found |= {it.name for it in place.iterdir() if it.is_dir() and it.name not in _PARTS}
            found |= {HERE} & {HERE if (place / part).is_dir() else "" for part in _PARTS}
    return sorted(found)


def _weights(files: list[io.Input], layout: str) -> io.Input:
    folder = io.Combo.Input("folder", options=_folders(), tooltip=f"In models/stage: {layout}.")
    return io.DynamicCombo.Input(
        "weights",
        options=[
            io.DynamicCombo.Option(SINGLE_FILES, files),
            io.DynamicCombo.Option(A_FOLDER, [folder]),
        ],
        tooltip="The files that ComfyUI's own loaders read, or a model's whole folder.",
    )


def _places() -> list[io.Input]:
    return [
        io.Combo.Input(
            "offload",
            options=[mode.value for mode in Offload],
            default=Offload.AUTO.value,
            tooltip="Auto keeps in VRAM what fits and streams the rest. Fits keeps all. Streams "
            "leaves VRAM to others. With little RAM weights come from the file each time. The "
            "pictures are the same.",
        ),
        io.Float.Input(
            "vram_gb",
            default=0.0,
            min=0.0,
            max=1024.0,
            step=0.5,
            tooltip="VRAM that the model and its work may take, in GB. 0: what is free.",
        ),
    ]


def _precision() -> io.Input:
    return io.Combo.Input(
        "precision",
        options=[AS_STORED, EIGHT_BITS],
        default=AS_STORED,
        optional=True,  # Not in what was queued before there was a choice.
        tooltip="Eight bits keeps the largest weights in half of the RAM and of the transfers; the "
        "pictures differ a little. Files of eight bits stay so either way.",
    )


def _storyboard_inputs() -> list[io.Input]:
    files = [
        _file("transformer", "diffusion_models", "Qwen-Image-Edit, or the STEP2 transformer."),
        _file("text_encoder", "text_encoders", "Its text encoder, qwen_2.5_vl_7b."),
        _file("vae", "vae", "Its VAE, qwen_image_vae."),
    ]
    loras = "A LoRA on the transformer, and on the text encoder where it changes that too: STEP2's."
    return [
        _weights(files, "STEP2 as its authors give it, or a diffusers copy of Qwen-Image-Edit"),
        _file("lora", "loras", loras, optional=True),
        _file("second_lora", "loras", "A second one, such as Lightning.", optional=True),
        *_places(),
        *SAMPLING_INPUTS,
        _precision(),
    ]


def _settings(preset: _Preset) -> list[io.Input]:
    own = preset.own
    inputs = wan_numbers(own.steps, own.guidance[0], own.shift, _MOST_GUIDANCE)
    if preset.two:
        until = "Below this noise level the low-noise model takes over."
        inputs += [
            wan_low_guidance(own.guidance[1], _MOST_GUIDANCE),
            io.Float.Input(
                "boundary", default=own.boundary, min=0.0, max=1.0, step=0.005, tooltip=until
            ),
        ]
    area = own.grid.area
    nearest = min(SIZES, key=lambda size: abs(SIZES[size] - area))
    return [
        *inputs,
        io.Combo.Input(
            "sampler", options=SAMPLERS, default=own.sampler, tooltip="UniPC as the authors'."
        ),
        *wan_extent(nearest, own.longest),
    ]


def _shot_inputs() -> list[io.Input]:
    sight = "For Wan 2.1 models, which see the frames through it: clip_vision_h."
    low = "Of Wan 2.2 14B and VACE the low-noise model."
    files = [
        _file("transformer", "diffusion_models", "Wan; of 2.2 14B the high-noise model."),
        _file("transformer_low", "diffusion_models", low, optional=True),
        _file("text_encoder", "text_encoders", "umt5_xxl, which holds its tokenizer."),
        _file("vae", "vae", "wan_2.1_vae; for the 5B wan2.2_vae."),
        _file("clip_vision", "clip_vision", sight, optional=True),
    ]
    options = [io.DynamicCombo.Option(name, _settings(own)) for name, own in PRESETS.items()]
    return [
        _weights(files, "Wan as its authors give it, or as diffusers does"),
        _file("lora", "loras", "A LoRA on the model, or on the high-noise one.", optional=True),
        _file("low_lora", "loras", "A LoRA on the low-noise model.", optional=True),
        *_places(),
        io.DynamicCombo.Input(
            "settings", options=options, tooltip="The authors' settings; each can be changed."
        ),
        _precision(),
    ]


class _OwnEngine(io.ComfyNode):
    """What both loaders have in common: they need libraries, and read folders."""

    @classmethod
    def validate_inputs(cls, weights=None, settings=None):
        # The choices that bring widgets of their own are handed over in any case; to take all
        # that comes would switch off ComfyUI's own checks.
        try:
            need_packages("this node")
        except MissingPackageError as error:
            return str(error)
        return True

    @classmethod
    def fingerprint_inputs(cls, weights=None, **inputs):
        # What is in a folder decides how pictures look, as the sizes of single files do.
        chosen = weights.get("folder") if isinstance(weights, Mapping) else None
        files = sorted(_folder(chosen).rglob("*")) if chosen else []
        sizes = [(file.name, file.stat().st_size) for file in files if file.is_file()]
        known = sizes, StoryboardModel.fingerprint_inputs()
        return hashlib.sha256(repr(known).encode()).hexdigest()


class LoadStoryboardModel(_OwnEngine):
    """STEP2 by our own engine."""

    reads = QwenEdit.reads
    grid = GRID

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="STAGE_LoadStoryboardModel",
            display_name="Load Storyboard Model",
            category=host.CATEGORY,
            description="STEP2 from files, by STAGE's own engine: weights that do not fit stream "
            "through a small GPU. Nothing is read before a shot has to be drawn.",
            search_aliases=["low vram", "offload", "step2", "qwen image edit", "stage"],
            inputs=_storyboard_inputs(),
            outputs=[
                StoryboardModelSocket.Output("storyboard_model", tooltip="For STEP2 Storyboard.")
            ],
        )

    @classmethod
    def execute(
        cls,
        weights,
        lora,
        second_lora,
        offload,
        vram_gb,
        steps,
        guidance,
        shift,
        precision=AS_STORED,
    ):
        files = _qwen_files(weights)
        files = replace(files, loras=(*files.loras, *_loras(lora, second_lora)))
        settings = QwenSettings(
            eight_bit_blocks=precision == EIGHT_BITS,
            offload=_policy(offload, vram_gb),
            reserve=host.reserve,
        )
        own = Sampling(steps=steps, guidance=guidance, shift=shift)
        model = load_qwen_edit(files, settings, own=own)
        model.grid = cls.grid
        host.say(f"{offload}, on {settings.offload.device}")
        return io.NodeOutput(model)


class LoadShotModel(_OwnEngine):
    """Wan by our own engine."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="STAGE_LoadShotModel",
            display_name="Load Shot Model",
            category=host.CATEGORY,
            description="Wan from files, by STAGE's own engine: weights that do not fit stream "
            "through a small GPU. Nothing is read before a shot has to be filmed.",
            search_aliases=["low vram", "offload", "wan", "flf2v", "video model", "stage"],
            inputs=_shot_inputs(),
            outputs=[ShotModelSocket.Output("shot_model", tooltip="For the Shot Sampler.")],
        )

    @classmethod
    def grid_of(cls, inputs: Mapping[str, Any]) -> Grid:
        """The grid of the model that these inputs make."""
        return _grid(inputs.get("settings"), inputs.get("settings.size"))

    @classmethod
    def reads_of(cls, inputs: Mapping[str, Any]) -> frozenset[str]:
        """What the model that these inputs make reads of a brief."""
        preset = PRESETS.get(inputs.get("settings"))
        return Led.reads if preset and preset.led else Between.reads

    @classmethod
    def execute(cls, weights, lora, low_lora, offload, vram_gb, settings, precision=AS_STORED):
        chosen = dict(settings)
        name, size = chosen.pop("settings"), chosen.pop("size")
        files = _wan_files(weights)
        files = replace(
            files,
            loras=(*files.loras, *_loras(lora)),
            low_loras=(*files.low_loras, *_loras(low_lora)),
        )
        own = PRESETS[name].own
        high = chosen.pop("guidance")
        guidance = high, chosen.pop("guidance_low", high)
        sampling = replace(own, grid=_grid(name, size), guidance=guidance, **chosen)
        run = WanSettings(
            eight_bit_blocks=precision == EIGHT_BITS,
            offload=_policy(offload, vram_gb),
            reserve=host.reserve,
        )
        # Where the low-noise model takes over is said on the node, whatever a folder says.
        model = load_wan(replace(files, boundary=None), run, sampling)
        _check(model, name, low_lora != NOTHING)
        host.say(f"{name}, {offload}, on {run.offload.device}")
        return io.NodeOutput(model)


def _qwen_files(weights: Mapping[str, Any]) -> QwenFiles:
    if weights["weights"] == A_FOLDER:
        return QwenFiles.in_folder(_folder(weights["folder"]))
    templates = next(filter(Path.is_dir, map(Path, folder_paths.get_folder_paths(FOLDER))), None)
    return QwenFiles(
        _path("diffusion_models", weights["transformer"]),
        _path("vae", weights["vae"]),
        _path("text_encoders", weights["text_encoder"]),
        TOKENIZER,
        templates=templates,
    )


def _wan_files(weights: Mapping[str, Any]) -> WanFiles:
    if weights["weights"] == A_FOLDER:
        return WanFiles.in_folder(_folder(weights["folder"]))
    low, sight = weights["transformer_low"], weights["clip_vision"]
    return WanFiles(
        _path("diffusion_models", weights["transformer"]),
        _path("vae", weights["vae"]),
        _path("text_encoders", weights["text_encoder"]),
        None,
        None if low == NOTHING else _path("diffusion_models", low),
        None if sight == NOTHING else _path("clip_vision", sight),
    )


def _loras(*names: str) -> tuple[Path, ...]:
    return tuple(_path("loras", name) for name in names if name != NOTHING)


def _path(kind: str, name: str) -> Path:
    path = folder_paths.get_full_path(kind, name)
    if path is None:
        raise ValueError(f"there is no {name} in models/{kind}; choose another file")
    return Path(path)


def _folder(name: str) -> Path:
    places = (Path(place) / name for place in folder_paths.get_folder_paths(FOLDER))
    found = next(filter(Path.is_dir, places), None)
    if found is None:
        raise ValueError(f"there is no folder {name} in models/{FOLDER}; choose another")
    return found


def _policy(offload: str, vram_gb: float) -> OffloadPolicy:
    return OffloadPolicy(Offload(offload), round(vram_gb * _GIB) or None, host.device())


def _grid(name: Any, size: Any) -> Grid:
    """A size that arrives by wire counts as the first: the wire's own nodes are in every key."""
    size = size if size in SIZES else next(iter(SIZES))
    grid = PRESETS[name].own.grid if name in PRESETS else wan_sampling.TWO_EXPERTS.grid
    # The 5B makes sides of multiples of 32, of which its own 720p is.
    own = name == SMALL_MODEL and size != next(iter(SIZES))
    return grid if own else replace(grid, area=SIZES[size])


def _check(model: WanShots, name: str, has_low_lora: bool) -> None:
    """Raises ValueError for settings of another kind of Wan than the files are of."""
    source, preset = model.source, PRESETS[name]
    small = PRESETS[SMALL_MODEL]
    if (source.led, source.holds_start) != (preset.led, preset is small):
        kind = "a Wan VACE" if source.led else "a Wan 5B" if source.holds_start else "a Wan 14B"
        raise ValueError(f"the files are of {kind} and the settings for {name}; choose its own")
    if source.two_experts and not preset.two:
        raise ValueError(f"the settings of {name} know one model; leave transformer_low empty")
    if has_low_lora and not source.two_experts:
        raise ValueError("low_lora is for a low-noise model, and there is none; leave it at none")
