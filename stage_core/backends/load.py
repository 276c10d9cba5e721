"""Models by name."""

from __future__ import annotations

from pathlib import Path

from ..offload.placed import OffloadPolicy
from .protocol import ShotModel, StoryboardModel

ON_CPU = OffloadPolicy()
STORYBOARD_MODELS = ("sketch", "tiny")
SHOT_MODELS = ("animatic", "tiny")


def load_storyboard_model(
    name: str,
    offload: OffloadPolicy = ON_CPU,
    relevance: Path | None = None,
    eight_bits: bool = False,
) -> StoryboardModel:
    """The model of this name that draws pairs, or that of the weights in this folder.

    The weights of a folder are read when it draws its first pair.

    Args:
        offload: where the networks of a folder run, and their weights may be meanwhile.
        relevance: a folder with a CLIP model that ranks what is remembered of earlier shots.
        eight_bits: store the blocks' weights of a folder in eight bits.

    Raises:
        MissingPackageError: a folder is given, and diffusers or transformers is not installed.
        ValueError: neither one of STORYBOARD_MODELS nor a folder with a model's weights.
    """
    if relevance is not None and name in STORYBOARD_MODELS:
        raise ValueError(f"storyboard model {name} ranks no memory; only one with weights does")
    if name == "sketch":
        from .previs.sketch import Sketch

        return Sketch()
    if name == "tiny":
        from .tiny import TinyStoryboard

        return TinyStoryboard()
    if Path(name).is_dir():
        return _qwen_edit(Path(name), offload, relevance, eight_bits)
    raise ValueError(
        f"no storyboard model {name!r}; there are {', '.join(STORYBOARD_MODELS)}, or name the "
        "folder of the STAGE weights or of a diffusers copy of Qwen-Image-Edit"
    )


def load_shot_model(
    name: str,
    subtitles: bool = False,
    offload: OffloadPolicy = ON_CPU,
    eight_bits: bool = False,
) -> ShotModel:
    """The model of this name that films shots, or that of the weights in this folder.

    The weights of a folder are read when it films its first shot.

    Args:
        subtitles: show dialogue.
        offload: where the networks of a folder run, and their weights may be meanwhile.
        eight_bits: store the blocks' weights of a folder in eight bits.

    Raises:
        MissingPackageError: a folder is given, and diffusers or transformers is not installed.
        ValueError: neither one of SHOT_MODELS nor a folder with a model's weights, or subtitles of
            a model that draws none.
    """
    if subtitles and name != "animatic":
        raise ValueError(f"shot model {name} draws no subtitles; animatic does")
    if name == "animatic":
        from .previs.animatic import Animatic

        return Animatic(subtitles)
    if name == "tiny":
        from .tiny import TinyShots

        return TinyShots()
    if Path(name).is_dir():
        return _wan(Path(name), offload, eight_bits)
    raise ValueError(
        f"no shot model {name!r}; there are {', '.join(SHOT_MODELS)}, or name the folder of a Wan "
        "model, such as Wan2.2-I2V-A14B"
    )


def _qwen_edit(
    folder: Path, offload: OffloadPolicy, relevance: Path | None, eight_bits: bool
) -> StoryboardModel:
    from .qwen_edit import load_qwen_edit
    from .qwen_networks import QwenFiles, QwenSettings
    from .relevance import ClipRelevance

    ranker = ClipRelevance(relevance) if relevance else None
    settings = QwenSettings(offload=offload, eight_bit_blocks=eight_bits)
    return load_qwen_edit(QwenFiles.in_folder(folder), settings, ranker)


def _wan(folder: Path, offload: OffloadPolicy, eight_bits: bool) -> ShotModel:
    from .wan import load_wan
    from .wan_files import WanFiles
    from .wan_networks import WanSettings

    settings = WanSettings(offload=offload, eight_bit_blocks=eight_bits)
    return load_wan(WanFiles.in_folder(folder), settings)
