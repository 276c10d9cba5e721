"""The networks of Qwen-Image-Edit from local files: our transformer, the libraries' encoders."""

from __future__ import annotations

import hashlib
import inspect
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from types import ModuleType

import torch
from torch import nn

from ..encoding.dual import EncoderAreas
from ..encoding.prompts import OWN, PICTURE_TOKEN, Templates, find_templates
from ..media import sha256
from ..models import low_bit
from ..models.checkpoint import Weights, empty, fingerprint, open_weights, read_config
from ..models.lora import attach, read_lora
from ..models.qwen_image import QwenImage, QwenImageConfig
from ..offload.placed import OffloadPolicy
from ..packages import need_packages
from .qwen_encoders import QwenTextEncoder, QwenVAE
from .qwen_turns import QwenTurns

_MODEL = "the storyboard model"
_TRANSFORMER = "a Qwen-Image transformer"
_VAE = "a Qwen-Image VAE"
_VAE_CLASS = "AutoencoderKLQwenImage"
_TEXT_ENCODER = "a Qwen2.5-VL text encoder"
_LORA = "a LoRA for Qwen-Image"
_TRANSFORMER_PREFIXES = ("model.diffusion_model.", "diffusion_model.")
_VAE_PREFIXES = ("first_stage_model.", "vae.")
_TEXT_PREFIXES = ("text_encoders.qwen25_7b.transformer.",)
_BLOCKS = "transformer_blocks."
_UNSUPPORTED = ("guidance_embeds", "use_additional_t_cond", "use_layer3d_rope")
# ComfyUI's sign, in a single file, that memory frames are seen as at time zero.
_ZERO_TIME = "__index_timestep_zero__"
_QWEN2_5_VL_7B = {
    "text_config": {
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "vocab_size": 152064,
        "rms_norm_eps": 1e-6,
        "rope_theta": 1e6,
        "rope_scaling": {"type": "default", "mrope_section": [16, 24, 24]},
        "max_position_embeddings": 128000,
    },
    "vision_config": {
        "depth": 32,
        "hidden_size": 1280,
        "intermediate_size": 3420,
        "num_heads": 16,
        "out_hidden_size": 3584,
        "fullatt_block_indexes": [7, 15, 23, 31],
        "tokens_per_second": 2,
    },
}

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class QwenFiles:
    """Where the parts lie: files, or folders with one network each; `tokenizer` is a folder.

    `templates`: a folder in which the released prompt templates are looked for.
    """

    transformer: Path
    vae: Path
    text_encoder: Path
    tokenizer: Path
    loras: tuple[Path, ...] = ()
    templates: Path | None = None

    @classmethod
    def in_folder(cls, folder: Path) -> QwenFiles:
        """The parts of a folder as the release or diffusers lays it out.

        Raises:
            ValueError: it has neither `unet` nor `transformer`.
        """
        transformer = next((p for n in ("unet", "transformer") if (p := folder / n).is_dir()), None)
        if transformer is None:
            raise ValueError(
                f"{folder} has no folder unet or transformer; it should hold the STAGE weights or "
                "a diffusers copy of Qwen-Image-Edit"
            )
        lora = folder / "lora.safetensors"
        return cls(
            transformer,
            folder / "vae",
            folder / "text_encoder",
            folder / "tokenizer",
            (lora,) if lora.is_file() else (),
            folder,
        )


@dataclass(frozen=True)
class QwenSettings:
    """How the networks are run.

    `dtype` is that of transformer and text encoder; the VAE keeps its file's. `eight_bit_blocks`
    stores the linear layers of the transformer's blocks in eight bits. `offload`: where the
    networks run, and their weights may be meanwhile; `reserve` is called with the bytes of VRAM
    that are wanted, before any is taken. `areas` are those at which memory frames are read.
    """

    dtype: torch.dtype = torch.bfloat16
    eight_bit_blocks: bool = False
    offload: OffloadPolicy = field(default_factory=OffloadPolicy)
    areas: EncoderAreas = field(default_factory=EncoderAreas)
    reserve: Callable[[int], None] | None = None


DEFAULTS = QwenSettings()


@dataclass(frozen=True, eq=False)
class QwenNetworks:
    """The networks of one storyboard model; `identity` says which files they are of, and how."""

    transformer: QwenImage
    vae: QwenVAE
    text_encoder: QwenTextEncoder
    identity: str
    vae_area: int | None
    turns: QwenTurns


@dataclass(frozen=True, eq=False)
class QwenSource:
    """Networks in files that are there and whole, of which nothing but headers was read.

    `identity` says which files they are, and how they are run.
    """

    transformer: Weights
    vae: Weights
    text_encoder: Weights
    loras: tuple[Weights, ...]
    tokenizer: Path
    templates: Templates
    settings: QwenSettings

    @cached_property
    def identity(self) -> str:
        settings = self.settings
        dtypes = settings.dtype, settings.eight_bit_blocks
        numerics = repr((*dtypes, settings.areas, self.templates))
        opened = (self.transformer, self.vae, self.text_encoder, *self.loras)
        parts = [*map(fingerprint, opened), _digest(self.tokenizer), numerics]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def load(self) -> QwenNetworks:
        """The networks with their weights, LoRAs attached.

        Raises:
            MissingPackageError: diffusers or transformers is not installed.
            ValueError: a file is of another model, by name.
        """
        need_packages(_MODEL)
        import diffusers
        import transformers

        settings = self.settings
        tokenizer = _tokenizer(self.tokenizer, transformers)
        loras = [read_lora(adapter) for adapter in self.loras]
        transformer = _transformer(self.transformer, settings)
        text_network = _text_network(self.text_encoder, transformers, settings)
        for lora in loras:
            attach(lora, [transformer, text_network])
        turns = QwenTurns(transformer, text_network, settings.offload, settings.reserve)
        area = settings.areas.vision
        return QwenNetworks(
            transformer,
            QwenVAE(_vae(self.vae, diffusers, settings.offload.device), turns.see),
            QwenTextEncoder(text_network, tokenizer, self.templates, area, turns.read),
            self.identity,
            settings.areas.vae,
            turns,
        )


def open_networks(files: QwenFiles, settings: QwenSettings) -> QwenSource:
    """The files opened, and found to be there.

    Raises:
        ValueError: a file is missing or cut short, or its weights are of a format that we do not
            compute, by name.
    """
    transformer = open_weights(files.transformer, _TRANSFORMER).within(_TRANSFORMER_PREFIXES)
    vae = open_weights(files.vae, _VAE).within(_VAE_PREFIXES)
    text_encoder = open_weights(files.text_encoder, _TEXT_ENCODER).within(_TEXT_PREFIXES)
    for weights in (transformer, vae, text_encoder):
        weights.check_formats()
    loras = tuple(open_weights(path, _LORA) for path in files.loras)
    if not files.tokenizer.is_dir():
        raise ValueError(
            f"there is no folder {files.tokenizer}; it should hold the Qwen2 tokenizer"
        )
    opened = (*reversed(loras), text_encoder, vae, transformer)
    templates = _templates(files.templates, opened)
    return QwenSource(transformer, vae, text_encoder, loras, files.tokenizer, templates, settings)


def _transformer(weights: Weights, settings: QwenSettings) -> QwenImage:
    config = _transformer_config(weights)
    weights = weights.renamed(lambda name: None if name == _ZERO_TIME else name)
    network = empty(lambda: QwenImage(config, low_bit))
    weights.load_into(
        network,
        settings.dtype,
        "cpu",
        lambda name: settings.eight_bit_blocks and name.startswith(_BLOCKS),
    )
    return network


def _transformer_config(weights: Weights) -> QwenImageConfig:
    """From config.json, where there is one; of the release all sizes but the depth are fixed."""
    stored = read_config(weights.path)
    if stored is None:
        blocks = {name.split(".")[1] for name in weights.tensors if name.startswith(_BLOCKS)}
        return QwenImageConfig(num_layers=len(blocks), zero_cond_t=_ZERO_TIME in weights.tensors)
    wrong = [name for name in _UNSUPPORTED if stored.get(name)]
    if wrong:
        raise ValueError(
            f"{weights.path} is a Qwen-Image transformer with {wrong[0]}; the storyboard model "
            "needs one like Qwen-Image-Edit, without it"
        )
    known = {size.name for size in fields(QwenImageConfig)}
    values = {name: value for name, value in stored.items() if name in known}
    if "axes_dims_rope" in values:
        values["axes_dims_rope"] = tuple(values["axes_dims_rope"])
    return QwenImageConfig(**values)


def _vae(weights: Weights, diffusers: ModuleType, device: str) -> nn.Module:
    if "decoder.conv1.weight" in weights.tensors:
        from diffusers.loaders.single_file_utils import convert_wan_vae_to_diffusers

        new = convert_wan_vae_to_diffusers({name: name for name in weights.tensors})
        names = {old: name for name, old in new.items()}
        weights = weights.renamed(names.get)
    stored = read_config(weights.path) or {}
    made_for = stored.get("_class_name", _VAE_CLASS)
    if made_for != _VAE_CLASS:
        # Wan's has the same layers and sizes, so nothing else in a folder tells it apart.
        raise ValueError(f"{weights.path} is of class {made_for}; it should be {_VAE}")
    known = inspect.signature(diffusers.AutoencoderKLQwenImage.__init__).parameters
    config = {name: value for name, value in stored.items() if name in known}
    network = empty(lambda: diffusers.AutoencoderKLQwenImage(**config))
    weights.load_into(network, None, device)
    return network


def _text_network(weights: Weights, transformers: ModuleType, settings: QwenSettings) -> nn.Module:
    config = transformers.Qwen2_5_VLConfig(**(read_config(weights.path) or _QWEN2_5_VL_7B))
    network = empty(lambda: transformers.Qwen2_5_VLModel(config))
    weights.renamed(_text_name).load_into(network, settings.dtype, "cpu")
    return network


def _text_name(name: str) -> str | None:
    """Names of older files, and of those with a head, as those of Qwen2_5_VLModel."""
    if name.startswith("lm_head."):
        return None
    name = name.removeprefix("model.")
    inner = ("language_model.", "visual.")
    return name if name.startswith(inner) else f"language_model.{name}"


def _tokenizer(folder: Path, transformers: ModuleType) -> Callable[[str], list[int]]:
    try:
        tokenizer = transformers.Qwen2Tokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{folder} does not hold the Qwen2 tokenizer: {reason}") from None

    def tokenize(text: str) -> list[int]:
        return tokenizer(text, add_special_tokens=False)["input_ids"]

    if len(tokenize(PICTURE_TOKEN)) != 1:
        raise ValueError(f"{folder} holds a tokenizer without {PICTURE_TOKEN}, not that of Qwen2")
    return tokenize


def _digest(folder: Path) -> str:
    files = sorted(file for file in folder.iterdir() if file.is_file())
    return " ".join(f"{file.name} {sha256(file)}" for file in files)


def _templates(folder: Path | None, opened: Iterable[Weights]) -> Templates:
    """Of the metadata of a LoRA or of the base weights, of the user's files, else our own."""
    for weights in opened:
        templates = Templates.from_metadata(weights.metadata)
        if templates is not None:
            return templates
    templates = find_templates(folder) if folder else None
    if templates is None:
        _log.warning("no released prompt template was found; prompts get our own wording")
    return templates or OWN
