"""The list of nodes."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from .memory_pack import MemoryPackBuilder
from .models import LoadSTEP2LoRA, StoryboardModel, add_folder
from .shot_model import ShotModel
from .shot_sampler import DualEncoderShotSampler
from .shot_stitcher import ShotStitcher
from .story import PickShot, ReplaceKeyframes, Script
from .storyboard import STEP2Storyboard
from .take import ShotTake

NODES: list[type[io.ComfyNode]] = [
    Script,
    STEP2Storyboard,
    MemoryPackBuilder,
    ReplaceKeyframes,
    DualEncoderShotSampler,
    PickShot,
    ShotStitcher,
    StoryboardModel,
    LoadSTEP2LoRA,
    ShotModel,
    ShotTake,
]


class StageExtension(ComfyExtension):
    """What ComfyUI loads."""

    def __init__(self):
        add_folder()

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return NODES
