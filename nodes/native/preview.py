"""Previews of a sampler at work, on the node that runs it."""

from __future__ import annotations

import time

import latent_preview
from comfy.model_patcher import ModelPatcher
from comfy.utils import ProgressBar
from comfy_execution.progress import get_progress_state
from torch import Tensor

from ..host import running_node

_SECONDS_BETWEEN = 0.5


class Preview:
    """Shows latents as the person in front of the host has chosen to see them, or not at all.

    The bar stays where it is: it belongs to the node, which counts shots.
    """

    def __init__(self, model: ModelPatcher):
        self._previewer = latent_preview.get_previewer(
            model.load_device, model.get_model_object("latent_format")
        )
        self._last = 0.0

    def show(self, latents: Tensor) -> None:
        """Show normalised latents, of a canvas both frames, if the last preview is a while ago."""
        node_id, now = running_node(), time.monotonic()
        if self._previewer is None or node_id is None or now - self._last < _SECONDS_BETWEEN:
            return
        self._last = now
        picture = self._previewer.decode_latent_to_preview_image("JPEG", latents)
        state = get_progress_state().nodes.get(node_id, {"value": 0, "max": 1})
        ProgressBar(state["max"]).update_absolute(state["value"], state["max"], picture)
