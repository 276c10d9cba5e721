"""The list of nodes."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from .compare_takes import CompareTakes
from .desk import Arrange, EditShot
from .director import Cast, DirectorBrief
from .handover import Handover
from .load_models import LoadShotModel, LoadStoryboardModel
from .memory_pack import MemoryPackBuilder
from .models import LoadSTEP2LoRA, StoryboardModel, add_folder
from .pick_shot import PickShot
from .place_sound import PlaceSound
from .shelf import LoadStoryboard, SaveStoryboard
from .shot_model import ShotModel
from .shot_sampler import DualEncoderShotSampler
from .shot_stitcher import ShotStitcher
from .slim_model import SlimModel
from .story import ReplaceKeyframes, Script
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
    SlimModel,
    DirectorBrief,
    Cast,
    Handover,
    PlaceSound,
    EditShot,
    Arrange,
    CompareTakes,
    SaveStoryboard,
    LoadStoryboard,
    LoadStoryboardModel,
    LoadShotModel,
]


class StageExtension(ComfyExtension):
    """What ComfyUI loads."""

    def __init__(self):
        add_folder()

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return NODES
