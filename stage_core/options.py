"""What may be said on the command line."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from enum import Enum
from fractions import Fraction
from pathlib import Path
from typing import Any

from .backends.load import SHOT_MODELS, STORYBOARD_MODELS
from .bench.menu import MEASURES
from .stories import story_names
from .story.memory import MemoryScale
from .takes import Redraw, Refilm

Run = Callable[[argparse.Namespace], None]
"""A command."""

Add = Callable[..., argparse.Action]
_Commands = Any

_DESCRIPTION = "A film from a story, or its start and end frames; files for ComfyUI; measurements."

# 23.976 and its kin are short for rates over 1001.
_NTSC = {"23.976": 24, "23.98": 24, "29.97": 30, "59.94": 60}


def parser(make: Run, board: Run, convert: Run, bench: Run) -> argparse.ArgumentParser:
    """The parser whose result has the command that was chosen as `run`."""
    made = argparse.ArgumentParser(prog="stage-film", description=_DESCRIPTION)
    commands = made.add_subparsers(required=True, metavar="COMMAND")
    _add_make(commands, make)
    _add_board(commands, board)
    _add_convert(commands, convert)
    _add_bench(commands, bench)
    return made


def _add_make(commands: _Commands, run: Run) -> None:
    says = "STORY to a cut film; a second run makes only what has changed"
    add = _story_command(commands, "make", run, says)
    add("--out", type=Path, required=True, metavar="FILM.mp4", help="film to write, H.264 in MP4")
    add("--shot-model", choices=SHOT_MODELS, default="animatic", help="films the shots")
    add("--film", choices=_choices(Refilm), default="changed", help="what is filmed again")
    add("--subtitles", action="store_true", help="dialogue as subtitles in the animatic")
    add("--report", type=Path, help="write a JSON report there")


def _add_board(commands: _Commands, run: Run) -> None:
    says = "STORY to the start and end frames, without filming"
    add = _story_command(commands, "board", run, says)
    out = "folder for storyboard.json, the frames and sheet.png"
    add("--out", type=Path, required=True, metavar="DIR", help=out)


def _add_convert(commands: _Commands, run: Run) -> None:
    says = "the authors' LoRA to a file for ComfyUI; or is a checkpoint the base of it"
    add = _command(commands, "convert", run, says)
    add("source", nargs="?", type=Path, metavar="LORA", help="a LoRA, or the authors' folder")
    add("--out", type=Path, metavar="DIR", help="folder to write to, such as models/loras")
    template = "the authors' source file, its archive or a folder, for the prompt templates"
    add("--template", type=Path, metavar="PLACE", help=template)
    add("--transformer", action="store_true", help="the folder's transformer too, as one file")
    bases = "compare the base that the LoRA was trained on with another checkpoint"
    add("--check", nargs=2, type=Path, metavar=("BASE", "CHECKPOINT"), help=bases)


def _add_bench(commands: _Commands, run: Run) -> None:
    add = _command(commands, "bench", run, "measurements on this machine, beside their goals")
    add("which", choices=list(MEASURES), help="what is measured")
    add("--json", type=Path, metavar="OUT", help="write the figures there too, as JSON")


def _story_command(commands: _Commands, name: str, run: Run, says: str) -> Add:
    """A command with what all have that draw."""
    add = _command(commands, name, run, says)
    samples = ", ".join(story_names())
    add("story", metavar="STORY", help=f"screenplay, table or JSON file, or a sample: {samples}")
    models = f"draws the pairs: {', '.join(STORYBOARD_MODELS)}, or a folder of STEP2 weights"
    add("--storyboard-model", default="sketch", metavar="MODEL", help=models)
    add("--size", type=_size, default=(832, 480), help="pixels, WIDTHxHEIGHT (832x480)")
    add("--rate", type=_rate, default=Fraction(24), help="frames per second, such as 24 or 23.976")
    add("--seed", type=int, default=0, help="another seed gives other pictures")
    add("--title", default="", help="the film's title, when the story has none")
    add("--look", default="", help="words that go into every prompt")
    add("--project", type=Path, help="the film's folder (default: named after the film beside OUT)")
    add("--shots", default="", help="only these, such as '3, 5-7'; the others stay as they are")
    add("--redraw", choices=_choices(Redraw), default="changed", help="what is drawn again")
    memory = "earlier frames at full size, in the released pyramid, or tiled as in the paper"
    add("--memory", choices=_choices(MemoryScale), default="full", help=memory)
    add("--steps", type=int, help="sampler steps of a pair (default: the model's own)")
    add("--guidance", type=float, help="how strongly words count, 1 or more (the model's own)")
    add("--shift", type=float, help="how long the sampler stays at much noise (the model's own)")
    return add


def _command(commands: _Commands, name: str, run: Run, says: str) -> Add:
    made = commands.add_parser(name, help=says, description=says)
    made.set_defaults(run=run)
    return made.add_argument


def _choices(kind: type[Enum]) -> list[str]:
    return [member.name.lower() for member in kind]


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.lower().partition("x")
    if not (width.isdigit() and height.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is no size; use WIDTHxHEIGHT, such as 832x480")
    return int(width), int(height)


def _rate(text: str) -> Fraction:
    if text in _NTSC:
        return Fraction(_NTSC[text] * 1000, 1001)
    if re.fullmatch(r"\d{1,9}(\.\d{1,9}|/[1-9]\d{0,8})?", text):
        return Fraction(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no rate; use 24 or 24000/1001")
