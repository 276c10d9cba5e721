"""Models by name."""

from __future__ import annotations

from pathlib import Path

from .protocol import ShotModel, StoryboardModel

STORYBOARD_MODELS = ("sketch", "tiny")
SHOT_MODELS = ("animatic", "tiny")


def load_storyboard_model(name: str, device: str = "cpu") -> StoryboardModel:
    """The model of this name that draws pairs, or that of the weights in this folder.

    Args:
        device: where the networks of a folder run.

    Raises:
        MissingPackageError: a folder is given, and diffusers or transformers is not installed.
        ValueError: neither one of STORYBOARD_MODELS nor a folder with a model's weights.
    """
    if name == "sketch":
        from .previs.sketch import Sketch

        return Sketch()
    if name == "tiny":
        from .tiny import TinyStoryboard

        return TinyStoryboard()
    if Path(name).is_dir():
        from .qwen_edit import load_qwen_edit
        from .qwen_networks import QwenFiles, QwenSettings

        return load_qwen_edit(QwenFiles.in_folder(Path(name)), QwenSettings(device=device))
    raise ValueError(
        f"no storyboard model {name!r}; there are {', '.join(STORYBOARD_MODELS)}, or name the "
        "folder of the STAGE weights or of a diffusers copy of Qwen-Image-Edit"
    )


def load_shot_model(name: str, subtitles: bool = False) -> ShotModel:
    """The model of this name that films shots, with dialogue as subtitles if asked.

    Raises:
        ValueError: not one of SHOT_MODELS, or subtitles of a model that draws none.
    """
    if subtitles and name != "animatic":
        raise ValueError(f"shot model {name} draws no subtitles; animatic does")
    if name == "animatic":
        from .previs.animatic import Animatic

        return Animatic(subtitles)
    if name == "tiny":
        from .tiny import TinyShots

        return TinyShots()
    raise ValueError(f"no shot model {name!r}; there are {', '.join(SHOT_MODELS)}")
