"""Models by name."""

from __future__ import annotations

from .protocol import ShotModel, StoryboardModel

STORYBOARD_MODELS = ("sketch", "tiny")
SHOT_MODELS = ("animatic", "tiny")


def load_storyboard_model(name: str) -> StoryboardModel:
    """The model of this name that draws pairs.

    Raises:
        ValueError: not one of STORYBOARD_MODELS.
    """
    if name == "sketch":
        from .previs.sketch import Sketch

        return Sketch()
    if name == "tiny":
        from .tiny import TinyStoryboard

        return TinyStoryboard()
    raise ValueError(f"no storyboard model {name!r}; there are {', '.join(STORYBOARD_MODELS)}")


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
