"""The networks of Wan from local files: our transformers, the libraries' VAE and encoders."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import torch
from torch import nn

from ..media import sha256
from ..models import low_bit
from ..models.checkpoint import Weights, empty, fingerprint, open_weights, read_config
from ..models.lora import attach, read_lora
from ..models.wan import Wan
from ..models.wan_layers import WanConfig
from ..models.wan_names import (
    PREFIXES,
    add_differences,
    config_of,
    named_as_diffusers,
    named_layers,
    without_differences,
)
from ..models.wan_vace import VaceConfig, WanVace
from ..offload.placed import OffloadPolicy
from ..packages import need_packages
from .wan_encoders import WanSight, WanText, WanVAE
from .wan_files import WanFiles
from .wan_vae_names import in_diffusers_names, is_the_authors, vae_config

_TRANSFORMER = "a Wan transformer"
_VAE = "a Wan VAE"
_TEXT = "a UMT5 text encoder"
_SIGHT = "a CLIP image encoder"
_LORA = "a LoRA for Wan"
# ComfyUI's name, in the text encoder's file, of the SentencePiece model of its tokenizer.
_PIECES = "spiece_model"
_VAE_PREFIXES = ("first_stage_model.", "vae.")
_TEXT_PREFIXES = ("text_encoders.umt5xxl.transformer.", "encoder.")
SMALL_CHANNELS = 48
# These stay in float32, whatever the file or the settings say: all noise levels pass through them.
_PRECISE = ("time_embedder.", "scale_shift_table", "norm1.", "norm2.", "norm3.")
_UMT5_XXL = {
    "vocab_size": 256384,
    "d_model": 4096,
    "d_kv": 64,
    "d_ff": 10240,
    "num_layers": 24,
    "num_heads": 64,
    "feed_forward_proj": "gated-gelu",
}
_CLIP_H = {
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_hidden_layers": 32,
    "num_attention_heads": 16,
    "image_size": 224,
    "patch_size": 14,
    "hidden_act": "gelu",
}


@dataclass(frozen=True)
class WanSettings:
    """How the networks are run.

    `dtype` is that of transformers and text encoder; VAE and image encoder keep their files'.
    `eight_bit_blocks` stores the linear layers of the transformers' blocks in eight bits.
    `offload`: where the networks run, and the transformers' weights may be meanwhile; `reserve` is
    called with the bytes of VRAM that are wanted, before any is taken.
    """

    dtype: torch.dtype = torch.bfloat16
    eight_bit_blocks: bool = False
    offload: OffloadPolicy = field(default_factory=OffloadPolicy)
    reserve: Callable[[int], None] | None = None


DEFAULTS = WanSettings()


@dataclass(frozen=True, eq=False)
class WanNetworks:
    """The networks of one shot model, on the CPU.

    `low` takes over from `high` at little noise, where there are two experts.
    """

    high: Wan
    vae: WanVAE
    text: WanText
    low: Wan | None = None
    sight: WanSight | None = None


@dataclass(frozen=True, eq=False)
class WanSource:
    """A shot model whose networks may not be loaded yet; `identity` says which files they are of.

    `config` is that of the transformer, or of both.
    """

    config: WanConfig
    two_experts: bool
    identity: str
    load: Callable[[], WanNetworks]

    @property
    def led(self) -> bool:
        """Whether the model is led by a video with gaps (VACE)."""
        return isinstance(self.config, VaceConfig)

    @property
    def holds_start(self) -> bool:
        """Whether the start stands in the latents (the 5B)."""
        return not self.led and self.config.in_channels == SMALL_CHANNELS


def open_networks(files: WanFiles, settings: WanSettings = DEFAULTS) -> WanSource:
    """The files opened, of which nothing but headers is read until they are loaded.

    Raises:
        MissingPackageError: diffusers or transformers is not installed; nothing is read then.
        ValueError: a file is missing, cut short or of another model, by name.
    """
    need_packages("the shot model")
    opened = _Opened.of(files, settings)
    return WanSource(opened.config, len(opened.experts) == 2, opened.identity(), opened.load)


@dataclass(frozen=True, eq=False)
class _Opened:
    """Files that belong together. `loras` are those of each expert."""

    config: WanConfig
    experts: list[Weights]
    loras: list[list[Weights]]
    vae: Weights
    text: Weights
    sight: Weights | None
    tokenizer: Path | None
    settings: WanSettings

    @classmethod
    def of(cls, files: WanFiles, settings: WanSettings) -> _Opened:
        paths = [path for path in (files.transformer, files.low) if path is not None]
        read = [open_weights(path, _TRANSFORMER).within(PREFIXES) for path in paths]
        text = open_weights(files.text_encoder, _TEXT)
        for weights in (*read, text):
            weights.check_formats()
        configs = [config_of(weights, read_config(weights.path) or {}) for weights in read]
        if configs[0] != configs[-1]:
            raise ValueError(f"{paths[0]} and {paths[1]} have different sizes; they are not a pair")
        expected = _shapes(_empty(configs[0]))
        experts = [named_as_diffusers(weights, expected) for weights in read]
        _check_use(configs[0], paths[0])
        for weights in experts:
            weights.check(expected)
        _check_pair(experts)
        vae = open_weights(files.vae, _VAE).within(_VAE_PREFIXES)
        _check_vae(configs[0], vae)
        sees = configs[0].image_dim is not None
        _check_sight(sees, files)
        _check_tokenizer(files.tokenizer, text)
        return cls(
            configs[0],
            experts,
            [[open_weights(p, _LORA) for p in own] for own in (files.loras, files.low_loras)],
            vae,
            text,
            open_weights(files.image_encoder, _SIGHT) if sees else None,
            files.tokenizer,
            settings,
        )

    def identity(self) -> str:
        sight = [self.sight] if self.sight else []
        adapters = [lora for own in self.loras for lora in own]
        opened = [*self.experts, self.vae, self.text, *sight, *adapters]
        numerics = repr((self.settings.dtype, self.settings.eight_bit_blocks))
        inside = [] if self.tokenizer is None else [_digest(self.tokenizer)]
        parts = [*map(fingerprint, opened), *inside, numerics]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def load(self) -> WanNetworks:
        import transformers

        settings = self.settings
        # The smaller ones first: what is wrong with them shows soonest.
        vae = WanVAE(read_vae(self.vae))
        sight = WanSight(_sight(self.sight, transformers)) if self.sight else None
        tokenize = (
            _pieces(self.text)
            if self.tokenizer is None
            else _tokenizer(self.tokenizer, transformers)
        )
        text = WanText(_text(self.text, transformers, settings), tokenize)
        high, *low = (
            _transformer(self.config, weights, adapters, settings)
            for weights, adapters in zip(self.experts, self.loras, strict=False)
        )
        return WanNetworks(high, vae, text, low[0] if low else None, sight)


def _check_use(config: WanConfig, path: Path) -> None:
    """Raises ValueError for a transformer that does not film from pictures."""
    channels, out = config.in_channels, config.out_channels
    if isinstance(config, VaceConfig) or channels in (SMALL_CHANNELS, 2 * out + 4):
        return
    what = "a text-to-video Wan" if channels == out else "a Wan for another use"
    raise ValueError(
        f"{path} is {what}: its patch embedding takes {channels} channels, that of image to video "
        f"{2 * out + 4}; use one with i2v, flf2v, ti2v or vace in its name"
    )


def _check_vae(config: WanConfig, vae: Weights) -> None:
    """Raises ValueError for a VAE of another family than the transformer's."""
    shapes = (vae.shapes.get(name) for name in ("post_quant_conv.weight", "conv2.weight"))
    channels = next((shape[0] for shape in shapes if shape), None)
    if channels not in (None, config.out_channels):
        raise ValueError(
            f"{vae.path} is the VAE of another model: it has {channels} channels and the "
            f"transformer {config.out_channels}; Wan 2.2 5B has a VAE of its own, all others that "
            "of Wan 2.1"
        )


def _check_sight(sees: bool, files: WanFiles) -> None:
    """Raises ValueError where the image encoder is missing that a Wan 2.1 sees frames through."""
    if sees and files.image_encoder is None:
        raise ValueError(
            f"{files.transformer} is a Wan 2.1, which also sees the frames through an image "
            "encoder; add the folder image_encoder, or clip_vision_h.safetensors"
        )


def _check_tokenizer(folder: Path | None, text: Weights) -> None:
    """Raises where a tokenizer is missing, or what reads it."""
    if folder is not None:
        return
    if _PIECES not in text.tensors:
        raise ValueError(
            f"{text.path} holds no tokenizer, as umt5_xxl_fp8_e4m3fn_scaled.safetensors does; use "
            "that, or the folder tokenizer of any Wan model for diffusers"
        )
    need_packages("the tokenizer of the shot model", ("sentencepiece",))


def _shapes(network: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def _empty(config: WanConfig) -> Wan:
    kind = WanVace if isinstance(config, VaceConfig) else Wan
    return empty(lambda: kind(config, low_bit))


def _transformer(
    config: WanConfig, weights: Weights, loras: Iterable[Weights], settings: WanSettings
) -> Wan:
    network = _empty(config)
    weights.load_into(
        network,
        settings.dtype,
        "cpu",
        lambda name: settings.eight_bit_blocks and "blocks." in name,
    )
    precise = weights.renamed(lambda name: name if any(p in name for p in _PRECISE) else None)
    for name, tensor, scale in precise.read():
        owner, _, leaf = name.rpartition(".")
        wide = low_bit.dequantise(tensor, scale).float()
        setattr(network.get_submodule(owner), leaf, nn.Parameter(wide, requires_grad=False))
    layers = [name for name, part in network.named_modules() if isinstance(part, nn.Linear)]
    for lora in loras:
        adapters, changes = without_differences(lora)
        attach(named_layers(read_lora(adapters), layers), [network])
        add_differences(changes, network)
    return network


def _check_pair(experts: list[Weights]) -> None:
    if len(experts) == 2 and fingerprint(experts[0]) == fingerprint(experts[1]):
        raise ValueError(
            f"{experts[0].path} and {experts[1].path} hold the same weights; one should be the "
            "high-noise and the other the low-noise expert"
        )


def read_vae(weights: Weights) -> nn.Module:
    """diffusers' VAE of Wan from a folder of diffusers, or from a single file of either names.

    Raises:
        ValueError: it is another network.
    """
    import diffusers

    stored = read_config(weights.path) or {}
    if is_the_authors(weights):
        stored = vae_config(weights) | stored
        weights = in_diffusers_names(weights)
    known = inspect.signature(diffusers.AutoencoderKLWan.__init__).parameters
    config = {name: value for name, value in stored.items() if name in known}
    network = empty(lambda: diffusers.AutoencoderKLWan(**config))
    weights.load_into(network, None, "cpu")
    return network


def _text(weights: Weights, transformers: ModuleType, settings: WanSettings) -> nn.Module:
    config = transformers.UMT5Config(**(read_config(weights.path) or _UMT5_XXL))
    network = empty(lambda: transformers.UMT5EncoderModel(config)).encoder
    weights.renamed(_text_name).load_into(network, settings.dtype, "cpu")
    return network


def _text_name(name: str) -> str | None:
    """As the encoder alone has it; the words are there under two names, or under one."""
    name = name.removeprefix(_TEXT_PREFIXES[0])
    if name in ("encoder.embed_tokens.weight", _PIECES, "lm_head.weight"):
        return None
    return name.replace("shared.", "embed_tokens.").removeprefix(_TEXT_PREFIXES[1])


def _sight(weights: Weights, transformers: ModuleType) -> nn.Module:
    stored = read_config(weights.path) or {}
    config = transformers.CLIPVisionConfig(**(stored.get("vision_config", stored) or _CLIP_H))
    network = empty(lambda: transformers.CLIPVisionModel(config))
    weights.renamed(_sight_name).load_into(network, None, "cpu")
    return network


def _sight_name(name: str) -> str | None:
    if name.startswith(("text_model.", "visual_projection.", "text_projection.", "logit_scale")):
        return None
    name = name.removeprefix("vision_model.")
    return None if name.endswith("position_ids") else name


def _tokenizer(folder: Path, transformers: ModuleType) -> Callable[[str], list[int]]:
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, TypeError, KeyError, ImportError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(f"{folder} does not hold the UMT5 tokenizer: {reason}") from None
    return lambda text: tokenizer(text)["input_ids"]


def _pieces(text: Weights) -> Callable[[str], list[int]]:
    """The tokenizer that the text encoder's file holds."""
    import sentencepiece

    model, _ = text.tensor(_PIECES)
    try:
        pieces = sentencepiece.SentencePieceProcessor(model_proto=model.numpy().tobytes())
    except RuntimeError as error:
        raise ValueError(f"{text.path} holds a tokenizer that cannot be read: {error}") from None
    return lambda words: pieces.encode(words, add_eos=True)


def _digest(folder: Path) -> str:
    files = sorted(file for file in folder.iterdir() if file.is_file())
    return " ".join(f"{file.name} {sha256(file)}" for file in files)
