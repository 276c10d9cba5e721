"""The transformers of diffusers with our weights, and its ways to offload: to measure beside ours.

Nothing here is used to draw or to film.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import asdict
from types import ModuleType

import torch
from torch import Tensor, nn

from ..errors import MissingPackageError
from ..models.checkpoint import empty
from ..models.qwen_image import QwenImage
from ..models.wan import Wan

SEQUENTIAL = "sequential, leaf by leaf, no stream"
WAYS = (
    "group offload by block",
    "group offload by leaf",
    "group offload by block, no stream",
    SEQUENTIAL,
)


def library_network(ours: QwenImage | Wan) -> nn.Module:
    """The library's network of the same sizes, sharing the weights of ours.

    Raises:
        MissingPackageError: diffusers is not installed.
    """
    diffusers, config = _diffusers(), asdict(ours.config)
    kind = "QwenImageTransformer2DModel" if isinstance(ours, QwenImage) else "WanTransformer3DModel"
    made = empty(lambda: getattr(diffusers, kind)(**config))
    made.load_state_dict(ours.state_dict(), assign=True)
    return made.eval()


def library_step(
    network: nn.Module, pictures: Tensor, texts: Sequence[Tensor], time: float
) -> Callable[[], list[Tensor]]:
    """One call of the library's network for each text, as its pipelines make them.

    Args:
        pictures: tokens [1, N, 64] of a square picture, or latents [1, C, T, h, w] of Wan.
        texts: [1, L, D_text].
    """
    if pictures.ndim == 3:
        side = int(pictures.shape[1] ** 0.5)
        noise = torch.tensor([time], device=pictures.device, dtype=pictures.dtype)
        shapes = [[(1, side, pictures.shape[1] // side)]]
        given = {"timestep": noise, "img_shapes": shapes}
    else:
        given = {"timestep": torch.tensor([1000 * time], device=pictures.device)}

    def step() -> list[Tensor]:
        return [
            network(hidden_states=pictures, encoder_hidden_states=text, return_dict=False, **given)[
                0
            ]
            for text in texts
        ]

    return step


def offload_by_library(network: nn.Module, way: str, device: torch.device) -> None:
    """Let the library move the weights, in one of `WAYS`."""
    _diffusers()
    network.enable_group_offload(
        onload_device=device,
        offload_type="leaf_level" if "leaf" in way else "block_level",
        num_blocks_per_group=None if "leaf" in way else 1,
        use_stream="no stream" not in way,
    )


def _diffusers() -> ModuleType:
    try:
        return importlib.import_module("diffusers")
    except ImportError:
        raise MissingPackageError(
            'the comparison needs diffusers; install it with pip install "stage-film[diffusers]"'
        ) from None
