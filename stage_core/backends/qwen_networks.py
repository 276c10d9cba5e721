"""The networks of Qwen-Image-Edit from local files: our transformer, the libraries' encoders."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import ModuleType

import torch
from einops import rearrange
from torch import Tensor, nn

from ..encoding.dual import EncoderAreas, Once, merged, read_at, vae_pixels, vision_patches
from ..encoding.positions import vision_language_positions
from ..encoding.prompts import OWN, PICTURE_TOKEN, Templates, find_templates, with_picture
from ..errors import MissingPackageError
from ..media import sha256
from ..models import low_bit
from ..models.checkpoint import Weights, empty, fingerprint, open_weights, read_config
from ..models.lora import attach, read_lora
from ..models.qwen_image import QwenImage, QwenImageConfig
from ..story.frames import Picture

INSTALL = 'pip install "stage-film[film,diffusers]"'
_TRANSFORMER = "a Qwen-Image transformer"
_VAE = "a Qwen-Image VAE"
_TEXT_ENCODER = "a Qwen2.5-VL text encoder"
_LORA = "a LoRA for Qwen-Image"
_TRANSFORMER_PREFIXES = ("model.diffusion_model.", "diffusion_model.")
_VAE_PREFIXES = ("first_stage_model.", "vae.")
_TEXT_PREFIXES = ("text_encoders.qwen25_7b.transformer.",)
_BLOCKS = "transformer_blocks."
_UNSUPPORTED = ("guidance_embeds", "zero_cond_t", "use_additional_t_cond", "use_layer3d_rope")
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
    stores the linear layers of the transformer's blocks in eight bits. `areas` are those at which
    memory frames are read.
    """

    dtype: torch.dtype = torch.bfloat16
    eight_bit_blocks: bool = False
    device: str = "cpu"
    areas: EncoderAreas = field(default_factory=EncoderAreas)


DEFAULTS = QwenSettings()


class QwenVAE:
    """Pixels to normalised latents of an eighth of each side, and back, in the file's dtype."""

    def __init__(self, network: nn.Module):
        self.network = network
        weight = next(network.parameters())
        self._mean, deviation = (
            torch.tensor(values, dtype=weight.dtype, device=weight.device)[None, :, None, None]
            for values in (network.config.latents_mean, network.config.latents_std)
        )
        self._factor = 1.0 / deviation

    def encode(self, image: Tensor) -> Tensor:
        """Latents [1, 16, H/8, W/8] of pixels [H, W, 3] uint8, sides multiples of 8."""
        return self.normalised(vae_pixels(image))

    def normalised(self, pixels: Tensor) -> Tensor:
        """As `encode`, of pixels [1, 3, H, W] in [-1, 1]."""
        clip = rearrange(pixels.to(self._mean), "b c h w -> b c 1 h w")
        distribution = self.network.encode(clip).latent_dist
        return (distribution.mode()[:, :, 0] - self._mean) * self._factor

    def decode(self, latents: Tensor) -> Tensor:
        """Pixels [1, 3, 8h, 8w] in [0, 1] of latents [1, 16, h, w]."""
        raw = latents.to(self._mean) / self._factor + self._mean
        clip = self.network.decode(rearrange(raw, "b c h w -> b c 1 h w")).sample
        return (clip[:, :, 0] * 0.5 + 0.5).clamp(0, 1)


class QwenTextEncoder:
    """A prompt, read together with the picture it is about.

    Every picture is seen once by the vision tower, every prompt is encoded once for its picture.
    """

    def __init__(
        self,
        network: nn.Module,
        tokenize: Callable[[str], list[int]],
        templates: Templates,
        area: int | None,
    ):
        self.network = network
        self._tokenize, self._templates, self._area = tokenize, templates, area
        (self._picture_token,) = tokenize(PICTURE_TOKEN)
        self._seen: Once[tuple[Tensor, tuple[int, int]]] = Once(16)
        self._encoded: Once[Tensor] = Once(4)

    def encode(self, words: str, picture: Picture | None) -> Tensor:
        """What the transformer reads, [1, L, D]: the last hidden states after the final norm.

        Raises:
            ValueError: the words hold tokens that stand for a picture.
        """
        key = words, picture.digest if picture else None
        return self._encoded.get(key, lambda: self._encode(words, picture))

    def _encode(self, words: str, picture: Picture | None) -> Tensor:
        template, grid, features = self._templates.words_only, (0, 0), None
        if picture is not None:
            template = self._templates.with_picture
            features, grid = self._seen.get(picture.digest, lambda: self._see(picture))
            words = with_picture(words, len(features), self._templates.picture)
        ids = template.token_ids(words, self._tokenize)
        # Given explicitly: recent libraries otherwise count all tokens as words, without a word.
        positions = vision_language_positions(ids, self._picture_token, grid)
        device = next(self.network.parameters()).device
        tokens = torch.tensor([ids], device=device)
        embeddings = self.network.get_input_embeddings()(tokens)
        if features is not None:
            embeddings[tokens == self._picture_token] = features
        hidden = self.network.language_model(
            inputs_embeds=embeddings, position_ids=positions.to(device), use_cache=False
        ).last_hidden_state
        return hidden[:, template.dropped(self._tokenize) :]

    def _see(self, picture: Picture) -> tuple[Tensor, tuple[int, int]]:
        """The picture's tokens [N, D], and their rows and columns."""
        patches, grid = vision_patches(read_at(picture.image, self._area))
        weight = next(self.network.visual.parameters())
        sizes = torch.tensor([[1, *grid]], device=weight.device)
        found = self.network.get_image_features(patches.to(weight), sizes)
        return torch.cat(tuple(getattr(found, "pooler_output", found))), merged(grid)


@dataclass(frozen=True, eq=False)
class QwenNetworks:
    """The networks of one storyboard model; `identity` says which files they are of, and how."""

    transformer: QwenImage
    vae: QwenVAE
    text_encoder: QwenTextEncoder
    identity: str
    vae_area: int | None


def load_networks(files: QwenFiles, settings: QwenSettings) -> QwenNetworks:
    """All networks, LoRAs attached.

    Raises:
        MissingPackageError: diffusers or transformers is not installed; nothing is read then.
        ValueError: a file is missing, cut short or of another model, by name.
    """
    diffusers, transformers = _package("diffusers"), _package("transformers")
    opened = [
        open_weights(files.transformer, _TRANSFORMER).within(_TRANSFORMER_PREFIXES),
        open_weights(files.vae, _VAE).within(_VAE_PREFIXES),
        open_weights(files.text_encoder, _TEXT_ENCODER).within(_TEXT_PREFIXES),
        *(open_weights(path, _LORA) for path in files.loras),
    ]
    tokenizer = _tokenizer(files.tokenizer, transformers)
    templates = _templates(files.templates, reversed(opened))
    loras = [read_lora(adapter) for adapter in opened[3:]]
    transformer = _transformer(opened[0], settings)
    text_network = _text_network(opened[2], transformers, settings)
    for lora in loras:
        attach(lora, [transformer, text_network])
    numerics = repr((settings.dtype, settings.eight_bit_blocks, settings.areas, templates))
    parts = [*map(fingerprint, opened), _digest(files.tokenizer), numerics]
    return QwenNetworks(
        transformer,
        QwenVAE(_vae(opened[1], diffusers, settings.device)),
        QwenTextEncoder(text_network, tokenizer, templates, settings.areas.vision),
        hashlib.sha256("\n".join(parts).encode()).hexdigest(),
        settings.areas.vae,
    )


def _transformer(weights: Weights, settings: QwenSettings) -> QwenImage:
    config = _transformer_config(weights)
    network = empty(lambda: QwenImage(config, low_bit))
    weights.load_into(
        network,
        settings.dtype,
        settings.device,
        lambda name: settings.eight_bit_blocks and name.startswith(_BLOCKS),
    )
    return network


def _transformer_config(weights: Weights) -> QwenImageConfig:
    """From config.json, where there is one; of the release all sizes but the depth are fixed."""
    stored = read_config(weights.path)
    if stored is None:
        blocks = {name.split(".")[1] for name in weights.tensors if name.startswith(_BLOCKS)}
        return QwenImageConfig(num_layers=len(blocks))
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
    known = inspect.signature(diffusers.AutoencoderKLQwenImage.__init__).parameters
    config = {name: value for name, value in stored.items() if name in known}
    network = empty(lambda: diffusers.AutoencoderKLQwenImage(**config))
    weights.load_into(network, None, device)
    return network


def _text_network(weights: Weights, transformers: ModuleType, settings: QwenSettings) -> nn.Module:
    config = transformers.Qwen2_5_VLConfig(**(read_config(weights.path) or _QWEN2_5_VL_7B))
    network = empty(lambda: transformers.Qwen2_5_VLModel(config))
    weights.renamed(_text_name).load_into(network, settings.dtype, settings.device)
    return network


def _text_name(name: str) -> str | None:
    """Names of older files, and of those with a head, as those of Qwen2_5_VLModel."""
    if name.startswith("lm_head."):
        return None
    name = name.removeprefix("model.")
    inner = ("language_model.", "visual.")
    return name if name.startswith(inner) else f"language_model.{name}"


def _tokenizer(folder: Path, transformers: ModuleType) -> Callable[[str], list[int]]:
    if not folder.is_dir():
        raise ValueError(f"there is no folder {folder}; it should hold the Qwen2 tokenizer")
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


def _package(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise MissingPackageError(
            f"the storyboard model needs {name}; install it with {INSTALL}"
        ) from None
