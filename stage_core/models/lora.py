"""Low-rank adapters of the linear layers of a network, whose own weights stay as they are.

They stand beside a layer; a weight of eight bits is widened with its adapters in it.

Reads the multi-branch layout of the STAGE release, the layout of PEFT and diffusers, and that of
ComfyUI. Source: Hu et al. 2021, arXiv:2106.09685.
"""

from __future__ import annotations

import json
import logging
import math
import re
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from ..kernels.dequantise import Adapter
from . import low_bit
from .checkpoint import Weights

_PART = re.compile(
    r"(?P<layer>.+?)\."
    r"(?P<side>lora_down|lora_up|lora_A|lora_B|lora\.down|lora\.up|alpha)"
    r"(?:\.(?P<branch>\w+))??(?:\.weight)?$"
)
_DOWN = ("lora_down", "lora_A", "lora.down")
# What may stand before the path of a layer, in one layout or another, dots as underscores.
_PREFIX = re.compile(
    r"(?:base_model_model_|lora_unet_|lora_te\d?_|lora_transformer_|unet_|diffusion_model_|"
    r"text_encoders_\w+?_transformer_|text_encoder_|transformer_(?!blocks)|model_|language_model_)*"
)
PEFT_SETTINGS = "lora_adapter_metadata"
_PEFT_FILE, _PEFT_BESIDE = "adapter_model.safetensors", "adapter_config.json"
_FIRST_BRANCH = ("", "0", "default")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Factors:
    """The change of one layer: scale * up @ down, `down` [rank, in] and `up` [out, rank]."""

    down: Tensor
    up: Tensor
    scale: float


@dataclass(frozen=True, eq=False)
class Lora:
    """Adapters of one file by the layer they belong to, and how many of its keys are unknown."""

    source: str
    layers: dict[str, Factors]
    unknown: int


class LowRank(nn.Module):
    """What an adapter adds to the output of a linear layer; `strength` 0 switches it off."""

    def __init__(self, factors: Factors, strength: float = 1.0):
        super().__init__()
        self.down = nn.Parameter(factors.down, requires_grad=False)
        self.up = nn.Parameter(factors.up, requires_grad=False)
        self.scale = factors.scale
        self.strength = strength

    @property
    def change(self) -> Adapter:
        """What it adds to the weight of the layer."""
        return Adapter(self.up, self.down, self.strength * self.scale)

    def forward(self, tokens: Tensor) -> Tensor:
        inner = functional.linear(tokens, self.down.to(tokens.dtype))
        outer = functional.linear(inner, self.up.to(tokens.dtype))
        return outer * (self.strength * self.scale)


def read_lora(weights: Weights) -> Lora:
    """The adapters in a file.

    Of alternative branches only the first counts: the release never applies another, and never
    their sum. The scale is the file's alpha / rank, 1 where no alpha is given for a layer or for
    all; alpha / sqrt(rank) where the file says that its ranks are stabilised. What counts for all
    is in the metadata that diffusers writes, or in the file that PEFT writes beside its own.

    Raises:
        ValueError: the file holds no adapter, or factors that do not fit each other.
    """
    names, unknown = adapter_names(weights)
    where = {name: (key, side) for key, part in names.items() for side, name in part.items()}
    parts: dict[str, dict[str, Tensor]] = {}
    for name, tensor, _ in weights.renamed(lambda name: name if name in where else None).read():
        key, side = where[name]
        parts.setdefault(key, {})[side] = tensor
    common = _Common(common_alpha(weights), rank_stabilised(weights))
    layers = {key: _factors(weights, key, part, common) for key, part in parts.items()}
    if not layers:
        raise ValueError(f"{weights.path} is not {weights.what}: none of its keys is an adapter's")
    odd = sum(abs(factors.scale - 1) > 1e-6 for factors in layers.values())
    if odd:
        _log.warning("%s: alpha is not the rank in %d of %d", weights.path, odd, len(layers))
    return Lora(str(weights.path), layers, unknown)


def adapter_names(weights: Weights) -> tuple[dict[str, dict[str, str]], int]:
    """Names of the first branch of each adapter: by layer, then by 'down', 'up' and 'alpha'.

    With them the number of keys that are no adapter's.
    """
    parts: dict[str, dict[str, str]] = {}
    unknown = 0
    for name in weights.tensors:
        match = _PART.match(name)
        if match is None:
            unknown += 1
        elif (match["branch"] or "") in _FIRST_BRANCH:
            side = "alpha" if match["side"] == "alpha" else "up"
            side = "down" if match["side"] in _DOWN else side
            parts.setdefault(layer_key(match["layer"]), {})[side] = name
    return parts, unknown


def attach(lora: Lora, networks: list[nn.Module], strength: float = 1.0) -> int:
    """Put the adapters beside the linear layers of the networks; how many found their layer.

    Some that find none are reported as a warning.

    Raises:
        ValueError: none finds a layer, or one has another size than its layer.
    """
    linears = {
        layer_key(name): module
        for network in networks
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear)
    }
    matched = {key: linears[key] for key in lora.layers if key in linears}
    if not matched:
        raise ValueError(
            f"{lora.source} fits nothing here: none of its {len(lora.layers)} adapters belongs to "
            f"a layer of this model, for example {min(lora.layers)}"
        )
    for key, linear in matched.items():
        _attach(linear, LowRank(lora.layers[key], strength), f"{lora.source}: {key}")
    left = len(lora.layers) - len(matched)
    if left or lora.unknown:
        _log.warning(
            "%s: %d of %d adapters and %d other keys match no layer and are left out",
            lora.source,
            left,
            len(lora.layers),
            lora.unknown,
        )
    return len(matched)


def layer_key(path: str) -> str:
    """The path of a layer as all layouts have it in common: `transformer_blocks_0_attn_to_q`."""
    return _PREFIX.sub("", path.replace(".", "_"), count=1)


def common_alpha(weights: Weights) -> float | None:
    """The alpha of all adapters, where diffusers or PEFT wrote one down."""
    found = (value for value in _settings(weights, "lora_alpha") if isinstance(value, int | float))
    return next(map(float, found), None)


def rank_stabilised(weights: Weights) -> bool:
    """Whether the file says that alpha is to be divided by the square root of the rank.

    Source: Kalajdzievski 2023, arXiv:2312.03732.
    """
    return any(_settings(weights, "use_rslora"))


@dataclass(frozen=True)
class _Common:
    """What counts for all adapters of a file."""

    alpha: float | None
    rank_stabilised: bool


def _settings(weights: Weights, setting: str) -> list[Any]:
    """What the file's own metadata, or PEFT's file beside it, says of a setting."""
    texts = [weights.metadata.get(PEFT_SETTINGS, "{}")]
    beside = weights.path.with_name(_PEFT_BESIDE)
    if weights.path.name == _PEFT_FILE and beside.is_file():
        texts.append(beside.read_text(encoding="utf-8", errors="replace"))
    found = []
    for text in texts:
        try:
            stored = json.loads(text)
        except ValueError:
            continue
        named = stored.items() if isinstance(stored, dict) else ()
        found += [value for name, value in named if name.split(".")[-1] == setting]
    return found


def _factors(weights: Weights, key: str, part: dict[str, Tensor], common: _Common) -> Factors:
    if "down" not in part or "up" not in part:
        raise ValueError(f"{weights.path}: the adapter of {key} lacks one of its two factors")
    down, up = part["down"], part["up"]
    if down.ndim != 2 or up.ndim != 2 or down.shape[0] != up.shape[1]:
        raise ValueError(
            f"{weights.path}: the factors of {key}, {tuple(down.shape)} and {tuple(up.shape)}, "
            "do not fit each other"
        )
    alpha, rank = float(part["alpha"]) if "alpha" in part else common.alpha, down.shape[0]
    divisor = math.sqrt(rank) if common.rank_stabilised else rank
    return Factors(down, up, 1.0 if alpha is None else alpha / divisor)


def _attach(linear: nn.Linear, adapter: LowRank, name: str) -> None:
    size = adapter.up.shape[0], adapter.down.shape[1]
    if size != (linear.out_features, linear.in_features):
        raise ValueError(
            f"{name} changes a layer of {size[1]} inputs and {size[0]} outputs; "
            f"this model's has {linear.in_features} and {linear.out_features}"
        )
    if not hasattr(linear, "adapters"):
        linear.adapters = nn.ModuleList()
        if not isinstance(linear, low_bit.Linear):
            linear.register_forward_hook(_adapted)
    linear.adapters.append(adapter.to(linear.weight.device))


def _adapted(linear: nn.Linear, tokens: tuple[Any, ...], output: Tensor) -> Tensor:
    return output + sum(adapter(tokens[0]) for adapter in linear.adapters)
