"""ComfyUI's frame interpolation and upscale models, one frame at a time."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from importlib.util import find_spec
from typing import Any

import comfy.model_management
import comfy.utils
import torch
from comfy.ldm.common_dit import pad_to_patch_size
from torch import Tensor

_TILE, _SMALLEST_TILE, _OVERLAP = 512, 128, 32
# Bytes that an upscale model needs for each byte of the picture's values, as the host reckons.
_UPSCALE_BYTES = 384


def knows_interpolation() -> bool:
    """Whether this ComfyUI has frame interpolation models, which came after 0.8."""
    return find_spec("comfy_extras.nodes_frame_interpolation") is not None


class Interpolator:
    """The pictures between two frames by an INTERP_MODEL of the host.

    Features of the last two frames are kept: the end of one gap is the beginning of the next.
    """

    def __init__(self, model: Any):
        self._patcher, self._network = model, model.model
        self._features: list[tuple[Tensor, Any]] = []

    @torch.no_grad()
    def __call__(self, first: Tensor, second: Tensor, place: Fraction) -> Tensor:
        """The picture at `place` in (0, 1) from `first` to `second`, [H, W, 3] uint8."""
        # At every frame: the host may have made room for the upscale model since.
        self._load(first.shape)
        height, width, _ = first.shape
        ends = [self._padded(frame) for frame in (first, second)]
        found = [
            self._featured(frame, end) for frame, end in zip((first, second), ends, strict=True)
        ]
        self._features = list(zip((first, second), found, strict=True))
        cache = dict(zip(("img0", "img1"), found, strict=True))
        size = (1, 1, *ends[0].shape[2:])
        timestep = torch.full(size, float(place), device=ends[0].device, dtype=ends[0].dtype)
        made = self._network(*ends, timestep=timestep, cache=cache)
        return _to_pixels(made[0, :, :height, :width].movedim(0, -1))

    def _load(self, shape: torch.Size) -> None:
        size = torch.Size([1, *shape])
        needed = self._network.memory_used_forward(size, self._patcher.model_dtype())
        comfy.model_management.load_models_gpu([self._patcher], memory_required=needed)

    def _padded(self, frame: Tensor) -> Tensor:
        to = {"device": self._patcher.load_device, "dtype": self._patcher.model_dtype()}
        image = _to_model(frame).to(**to)
        multiple = getattr(self._network, "pad_align", 1)
        if multiple == 1:
            return image
        return pad_to_patch_size(image, (multiple, multiple), padding_mode="reflect")

    def _featured(self, frame: Tensor, image: Tensor) -> Any:
        known = next((found for kept, found in self._features if kept is frame), None)
        return self._network.extract_features(image) if known is None else known


def upscaler(model: Any) -> Callable[[Tensor], Tensor]:
    """A function that makes frames [H, W, 3] uint8 larger by an UPSCALE_MODEL of the host."""

    @torch.no_grad()
    def upscale(frame: Tensor) -> Tensor:
        _load_upscaler(model, frame)
        image = _to_model(frame).to(_device(model))
        tile = _TILE
        while True:
            try:
                made = comfy.utils.tiled_scale(
                    image,
                    lambda piece: model(piece.float()),
                    tile_x=tile,
                    tile_y=tile,
                    overlap=_OVERLAP,
                    upscale_amount=model.scale,
                    output_device="cpu",
                )
                return _to_pixels(made[0].movedim(0, -1))
            except comfy.model_management.OOM_EXCEPTION:
                tile //= 2
                if tile < _SMALLEST_TILE:
                    raise

    return upscale


def send_back(model: Any) -> None:
    """Takes an upscale model out of VRAM on hosts that do not do so themselves."""
    if getattr(model, "patcher", None) is None:
        model.to("cpu")


def _load_upscaler(model: Any, frame: Tensor) -> None:
    """Makes room for an upscale model and moves it there."""
    needed = _TILE * _TILE * 3 * 4 * max(model.scale, 1.0) * _UPSCALE_BYTES + 4 * frame.numel()
    patcher = getattr(model, "patcher", None)
    if patcher is not None:
        manage = comfy.model_management
        manage.load_models_gpu([patcher], memory_required=needed, force_full_load=True)
        return
    # Hosts before the patcher move the network themselves.
    comfy.model_management.free_memory(needed, _device(model))
    model.to(_device(model))


def _device(model: Any) -> torch.device:
    patcher = getattr(model, "patcher", None)
    return patcher.load_device if patcher else comfy.model_management.get_torch_device()


def _to_model(frame: Tensor) -> Tensor:
    """[H, W, 3] uint8 as [1, 3, H, W] in [0, 1]."""
    return frame.movedim(-1, 0).unsqueeze(0).float().div(255)


def _to_pixels(image: Tensor) -> Tensor:
    """[H, W, 3] in [0, 1] as uint8 on the CPU."""
    return image.float().clamp(0, 1).mul(255).round().to(torch.uint8).cpu().contiguous()
