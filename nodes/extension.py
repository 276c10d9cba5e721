"""The list of nodes."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from .memory_pack import MemoryPackBuilder
from .shot_sampler import DualEncoderShotSampler
from .shot_stitcher import ShotStitcher
from .story import PickShot, ReplaceKeyframes, Script
from .storyboard import STEP2Storyboard

NODES: list[type[io.ComfyNode]] = [
    Script,
    STEP2Storyboard,
    MemoryPackBuilder,
    ReplaceKeyframes,
    DualEncoderShotSampler,
    PickShot,
    ShotStitcher,
]


class StageExtension(ComfyExtension):
    """What ComfyUI loads."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return NODES
