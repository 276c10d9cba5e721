"""ComfyUI's own Qwen-Image without the third of its weights that sees the noise level alone.

Each block has two layers whose input is the timestep's embedding. What they give for the levels
of a schedule is computed once, from the weights with all LoRAs on them, and looked up afterwards;
the layers themselves stay in RAM. The norm of a block and its modulation become one operation, for
which there is a kernel. Everything lies on a clone of MODEL, as object patches.
"""

from __future__ import annotations

import inspect
import uuid
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import comfy.float
import comfy.ldm.qwen_image.model
import comfy.lora
import comfy.model_management
import comfy.model_patcher
import comfy.utils
import torch
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP
from comfy_api.torch_helpers.torch_compile import COMPILE_KEY
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from ...stage_core.kernels.gate_residual_norm_modulate import Modulation, norm_modulate

KEY = "stage_slim"
_NETWORK = "diffusion_model"
_KINDS = ("img_mod", "txt_mod")
_NORMS = ("img_norm1", "img_norm2", "txt_norm1", "txt_norm2")
_MODULATE = ("self", "x", "mod_params", "timestep_zero_index")
_ZERO_TIME = "index_timestep_zero"
_KEPT_ROWS = 256


def slim(model: ModelPatcher) -> ModelPatcher:
    """A clone of MODEL that looks up what depends on the noise level; MODEL stays as it is.

    Raises:
        ValueError: MODEL is of another kind, or something before this node is in the way.
    """
    network = _checked(model)
    clone = model.clone()
    table = Table(model.model)
    for place, block in enumerate(network.transformer_blocks):
        for leaf, patch in _in_one_pass(block).items():
            clone.add_object_patch(f"{_NETWORK}.transformer_blocks.{place}.{leaf}", patch)
    names = [(kind, place) for place in range(len(network.transformer_blocks)) for kind in _KINDS]
    for kind, place in names:
        path = f"{_NETWORK}.transformer_blocks.{place}.{kind}"
        # As it is without patches: the model may be loaded with those of another run.
        layers = model.object_patches_backup.get(path, model.get_model_object(path))
        clone.add_object_patch(path, LookedUp(layers, table, kind, place))
    clone.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, KEY, table.at_timestep)
    # Other weights are loaded than those of MODEL, so the host must not take them for the same.
    clone.patches_uuid = uuid.uuid4()
    clone.size = model.model_size() - saved_bytes(clone)
    return clone


def saved_bytes(model: ModelPatcher) -> int:
    """Bytes of weights that a slim MODEL does not load, 0 of any other."""
    found = [patch for patch in model.object_patches.values() if isinstance(patch, LookedUp)]
    return sum(comfy.model_management.module_size(one.linear) for one in found)


class Modulated:
    """Stands for a block's own `_modulate`, and for the norm before it: both in one pass."""

    def __init__(self, eps: float):
        self._eps = eps

    def __call__(
        self, x: Tensor, mod_params: Tensor, timestep_zero_index: int | None = None
    ) -> tuple[Tensor, Any]:
        """Tokens [B, N, D] normed and modulated by rows [B, 3 D], and the gate [B, 1, D].

        With an index there are rows and gates of two times: of tokens before it, and from it on.
        """
        times = 1 if timestep_zero_index is None else 2
        rows = rearrange(mod_params, "(r b) (three d) -> three b r d", r=times, three=3)
        shift, scale, gate = rows
        modulation = Modulation(scale, shift, self._eps)
        tokens = norm_modulate(x, modulation, timestep_zero_index or 0)
        return tokens, gate if times == 1 else gate.split(1, dim=1)


class LookedUp(nn.Module):
    """Stands for the layers of a block that see the noise level alone; holds no parameters.

    Their weights are found under their own names, for LoRAs, saving and unpatching, but are not
    among the parameters that the host loads.
    """

    def __init__(self, layers: nn.Sequential, table: Table, kind: str, place: int):
        super().__init__()
        self._table, self._kind, self._place = table, kind, place
        # Past nn.Module's own register.
        self.__dict__["1"] = layers[1]

    @property
    def linear(self) -> nn.Module:
        """The layer that is not loaded."""
        return self.__dict__["1"]

    def forward(self, embedding: Tensor) -> Tensor:
        """Rows [B, 6 D] for the embedding [B, D] of the timesteps the network was called with."""
        return self._table.rows(self._kind, embedding)[self._place]

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool):
        self.linear.state_dict(destination=destination, prefix=f"{prefix}1.", keep_vars=keep_vars)


@dataclass(frozen=True, eq=False)
class _Call:
    """One call of the network: sinusoids [1, 256] of each row of its embedding; `schedule` gives
    those of all levels that the sampler has in mind."""

    network: nn.Module
    sinusoids: tuple[Tensor, ...]
    schedule: Callable[[], Sequence[Tensor]]


class Table:
    """Rows of every block by the exact sinusoids of a timestep and the patches on the weights.

    They are kept in RAM; a step takes a few megabytes of them to where it computes.
    """

    def __init__(self, model: nn.Module):
        self.num_made = 0
        self._model = model
        self._call: _Call | None = None
        self._now: dict[tuple[str, int], list[Tensor]] = {}
        self._weights: uuid.UUID | None = None
        self._rows: dict[Hashable, Tensor] = {}

    def at_timestep(self, executor: Any, *arguments: Any, **more: Any) -> Any:
        """Wraps the network: notes which timesteps the blocks are about to see."""
        network = executor.class_obj
        call = inspect.signature(network._forward).bind(*arguments, **more).arguments
        times, options = call["timesteps"], call.get("transformer_options", {})
        method = call.get("kwargs", {}).get("ref_latents_method", network.default_ref_method)
        project = network.time_text_embed.time_proj
        zero = method == _ZERO_TIME and bool(call.get("ref_latents"))
        rows = torch.cat([times, 0 * times]) if zero else times
        levels = options.get("sample_sigmas")

        def schedule() -> Sequence[Tensor]:
            if levels is None:
                return ()
            shifted = self._model.model_sampling.timestep(levels[:-1]).to(times)
            return project(shifted).split(1)

        self._now = {}
        self._call = _Call(network, project(rows).split(1), schedule)
        try:
            return executor(*arguments, **more)
        finally:
            self._now, self._call = {}, None

    def rows(self, kind: str, embedding: Tensor) -> list[Tensor]:
        """Rows [B, 6 D] of every block for the embedding [B, D] of this call."""
        count = len(embedding)
        if (kind, count) not in self._now:
            found = self._found(kind, count, embedding.dtype)
            self._now[kind, count] = list(found.to(embedding.device))
        return self._now[kind, count]

    def _found(self, kind: str, count: int, dtype: torch.dtype) -> Tensor:
        """Rows [blocks, B, 6 D], in RAM."""
        call, patcher = self._call, self._model.current_patcher
        if patcher.current_hooks is not None:
            raise ValueError(
                "Slim Model computes for one set of weights, and a LoRA hook changes them during "
                "sampling; take one of the two out"
            )
        if self._weights != patcher.patches_uuid:
            self._rows.clear()
            self._weights = patcher.patches_uuid

        def key(sinusoid: Tensor) -> Hashable:
            return kind, count, len(call.sinusoids), dtype, sinusoid.cpu().numpy().tobytes()

        keys = [key(one) for one in call.sinusoids[:count]]
        if any(one not in self._rows for one in keys):
            if len(self._rows) > _KEPT_ROWS:
                self._rows.clear()
            wanted = {key(one): one for one in (*call.schedule(), *call.sinusoids[:count])}
            missing = {k: one for k, one in wanted.items() if k not in self._rows}
            made = self._make(kind, list(missing.values()), count, dtype)
            self._rows.update(zip(missing, made, strict=True))
            self.num_made += len(missing)
        return torch.cat([self._rows[one] for one in keys], dim=1)

    def _make(
        self, kind: str, sinusoids: list[Tensor], count: int, dtype: torch.dtype
    ) -> list[Tensor]:
        """Rows [blocks, 1, 6 D] for each sinusoid, in RAM, every layer's weights moved once.

        Computed in batches of the size that the network has, since that decides the rounding.
        """
        call = self._call
        embed, several = call.network.time_text_embed.timestep_embedder, len(call.sinusoids)
        bent = [
            functional.silu(embed(one.expand(several, -1).to(dtype)))[:count] for one in sinusoids
        ]
        blocks = []
        for block in call.network.transformer_blocks:
            apply = self._layer(getattr(block, kind), bent[0].device)
            blocks.append([apply(one)[:1].cpu() for one in bent])
        return [torch.stack(rows) for rows in zip(*blocks, strict=True)]

    def _layer(self, looked_up: LookedUp, device: torch.device) -> Callable[[Tensor], Tensor]:
        """What a layer does to embeddings, with the weights it would have if it were loaded."""
        patcher, linear = self._model.current_patcher, looked_up.linear
        path = f"{_NETWORK}.transformer_blocks.{looked_up._place}.{looked_up._kind}"
        if not _is_plain(linear):
            # A LoRA may have come after this node.
            _check_patches(patcher, path, linear)
            return lambda one: _widened(linear, one)
        weight, bias = (
            _patched(patcher, f"{path}.1.{leaf}", getattr(linear, leaf), device)
            for leaf in ("weight", "bias")
        )
        return lambda one: functional.linear(one, weight.to(one.dtype), bias.to(one.dtype))


def _checked(model: ModelPatcher) -> nn.Module:
    network = getattr(model.model, _NETWORK, None)
    known = comfy.ldm.qwen_image.model.QwenImageTransformer2DModel
    if not isinstance(network, known):
        raise ValueError(f"{type(model.model).__name__} is not Qwen-Image")
    if hasattr(network.time_text_embed, "addition_t_embedding"):
        raise ValueError("Qwen-Image-Layered sees more than the noise level there")
    if KEY in model.wrappers.get(WrappersMP.DIFFUSION_MODEL, {}):
        raise ValueError("MODEL is slim already")
    if COMPILE_KEY in model.wrappers.get(WrappersMP.APPLY_MODEL, {}):
        raise ValueError("MODEL is compiled, and its blocks cannot be changed any more")
    layers = f"{_NETWORK}.transformer_blocks."
    taken = sorted(name for name in model.object_patches if name.startswith(layers))
    if taken:
        raise ValueError(f"another node has replaced {taken[0]}")
    for place, block in enumerate(network.transformer_blocks):
        for kind in _KINDS:
            path = f"{layers}{place}.{kind}"
            _check_layer(model, path, getattr(block, kind, None))
    return network


def _check_layer(model: ModelPatcher, path: str, layers: Any) -> None:
    layers = model.object_patches_backup.get(path, layers)
    if isinstance(layers, LookedUp) or not isinstance(layers, nn.Sequential) or len(layers) != 2:
        raise ValueError(f"{path} is not the layer that ComfyUI gives it")
    _check_patches(model, path, layers[1])


def _check_patches(model: ModelPatcher, path: str, linear: nn.Module) -> None:
    """Raises where weights are changed to which nothing can be added here."""
    patched = any(name.startswith(f"{path}.") for name in model.patches)
    if patched and not _is_plain(linear):
        kind = type(linear.weight).__name__
        raise ValueError(
            f"a LoRA changes {path}, whose weights are stored as {kind}; Slim Model needs plain "
            "numbers there, as in a bf16 file"
        )


def _in_one_pass(block: nn.Module) -> dict[str, Any]:
    """Attributes of a block that let it norm and modulate at once; none where it is another's."""
    norms = [getattr(block, name, None) for name in _NORMS]
    known = getattr(type(block), "_modulate", None)
    if known is None or tuple(inspect.signature(known).parameters) != _MODULATE:
        return {}
    if not all(isinstance(norm, nn.LayerNorm) and norm.weight is None for norm in norms):
        return {}
    if len({norm.eps for norm in norms}) > 1:
        return {}
    return {**{name: nn.Identity() for name in _NORMS}, "_modulate": Modulated(norms[0].eps)}


def _is_plain(linear: nn.Module) -> bool:
    """Whether weight and bias are just numbers, of whatever precision."""
    return all(
        type(getattr(linear, leaf)) in (nn.Parameter, Tensor)
        and type(getattr(linear, leaf).data) is Tensor
        for leaf in ("weight", "bias")
    )


def _widened(linear: nn.Module, embedding: Tensor) -> Tensor:
    """What a layer gives whose weights the host stores in its own way, and moves and widens."""
    before = getattr(linear, "comfy_cast_weights", False)
    linear.comfy_cast_weights = True
    try:
        return linear(embedding)
    finally:
        linear.comfy_cast_weights = before


def _patched(patcher: ModelPatcher, key: str, weight: Tensor, device: torch.device) -> Tensor:
    """A weight on a device with the patches on it, rounded as the host rounds it."""
    patches = patcher.patches.get(key)
    if not patches:
        return weight.to(device)
    precision = getattr(comfy.model_management, "lora_compute_dtype", lambda _: torch.float32)
    wide = weight.to(device, precision(device), copy=True)
    changed = comfy.lora.calculate_weight(patches, wide, key)
    # Where it is in the host's versions.
    places = (comfy.utils, comfy.model_patcher)
    seed = next(p.string_to_seed(key) for p in places if hasattr(p, "string_to_seed"))
    return comfy.float.stochastic_rounding(changed, weight.dtype, seed=seed)
