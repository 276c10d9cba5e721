"""What may be said on the command line."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from enum import Enum
from fractions import Fraction
from pathlib import Path
from typing import Any, NoReturn

from ..backends.load import SHOT_MODELS, STORYBOARD_MODELS
from ..bench.menu import MEASURES
from ..editing.handover import LISTS, MEDIA
from ..offload.placed import Offload
from ..stories import story_names
from ..story.memory import MemoryScale
from ..story.shot_list import MAX_SHOTS
from ..takes import Redraw, Refilm

Run = Callable[[argparse.Namespace], None]
"""A command."""

Add = Callable[..., argparse.Action]
_Commands = Any

_DESCRIPTION = (
    "A plan from a theme, a film from a story, or its start and end frames; files for ComfyUI; "
    "measurements."
)

OFFLOADS = {mode.name.lower().replace("_", "-"): mode for mode in Offload}

# 23.976 and its kin are short for rates over 1001.
_NTSC = {"23.976": 24, "23.98": 24, "29.97": 30, "59.94": 60}


class _Parser(argparse.ArgumentParser):
    """A parser that says what is wrong in one sentence."""

    def error(self, message: str) -> NoReturn:
        """Refuse what was said, with the exit status of wrong use."""
        self.exit(2, f"{self.prog}: {message}; '{self.prog} --help' says more\n")


def parser(make: Run, board: Run, convert: Run, bench: Run, plan: Run) -> argparse.ArgumentParser:
    """The parser whose result has the command that was chosen as `run`."""
    made = _Parser(prog="stage-film", description=_DESCRIPTION)
    commands = made.add_subparsers(required=True, metavar="COMMAND")
    _add_plan(commands, plan)
    _add_make(commands, make)
    _add_board(commands, board)
    _add_convert(commands, convert)
    _add_bench(commands, bench)
    return made


def _add_plan(commands: _Commands, run: Run) -> None:
    says = "THEME to a plan that make reads, by a language model or by the rules of coverage"
    add = _command(commands, "plan", run, says)
    add("theme", metavar="THEME", help="what the film is about, in a sentence or two")
    says = f"exactly so many, 1 to {MAX_SHOTS}; 0: what --seconds needs (8, or 0 with --seconds)"
    add("--shots", type=int, help=says)
    add("--seconds", type=_seconds, default=Fraction(0), help="length of the film")
    add("--look", default="", help="words that go into every prompt")
    add("--language", default="English", help="language of the descriptions")
    add("--cast", type=Path, metavar="FOLDER", help="a cast, which appears as described")
    add("--title", default="", help="the film's title, instead of the plan's own")
    asked = "template (no model), http(s)://HOST:PORT of Ollama, llama.cpp, LM Studio or another"
    asked += " OpenAI-compatible server, or a folder that transformers wrote; a key is read from"
    asked += " the variable STAGE_LLM_KEY"
    add("--llm", default="template", metavar="MODEL", help=asked)
    add("--model", default="", metavar="NAME", help="which model of the server")
    add("--out", type=Path, metavar="PLAN", help="a new .md or .json file (named by the title)")


def _add_make(commands: _Commands, run: Run) -> None:
    says = "STORY to a cut film; a second run makes only what has changed"
    add = _story_command(commands, "make", run, says)
    add("--out", type=Path, required=True, metavar="FILM.mp4", help="film to write, H.264 in MP4")
    films = f"films the shots: {', '.join(SHOT_MODELS)}, or a folder of Wan weights"
    add("--shot-model", default="animatic", metavar="MODEL", help=films)
    add("--film", choices=_choices(Refilm), default="changed", help="what is filmed again")
    add("--subtitles", action="store_true", help="dialogue as subtitles in the animatic")
    says = "write the board there too, as the command board does: frames, sheet as PNG and PDF"
    add("--board", type=Path, metavar="DIR", help=says)
    add("--report", type=Path, help="write a JSON report there")
    _add_finish(add)


def _add_finish(add: Add) -> None:
    says = "filmed shots in the colours of their drawn frames"
    add("--match-colours", action="store_true", help=says)
    add("--score", type=Path, metavar="FILE", help="music under the film, any file with sound")
    says = "what is said, at a shot or a time, such as 3=a.wav, 2A+0.5s=b.wav, 0:12=c.wav"
    add("--dialogue", type=_cue, action="append", default=[], metavar="PLACE=FILE", help=says)
    says = "write the cut for editing programs there: lists, media, sound"
    add("--handover", type=Path, metavar="DIR", help=says)
    says = "what is handed over: a file per shot, the film, or none (prores)"
    add("--media", choices=list(MEDIA), default="prores", help=says)
    says = "which lists (all); but for otio alone, a film at 16 is handed over at 24"
    add("--lists", nargs="+", choices=LISTS, default=list(LISTS), help=says)


def _add_board(commands: _Commands, run: Run) -> None:
    says = "STORY to the start and end frames, without filming"
    add = _story_command(commands, "board", run, says)
    out = "folder for the plan, the frames, the sheet as PNG and PDF, and all in one file"
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
    stories = f"screenplay, table, JSON, saved storyboard or its sheet, or a sample: {samples}"
    add("story", metavar="STORY", help=stories)
    models = f"draws the pairs: {', '.join(STORYBOARD_MODELS)}, or a folder of STEP2 weights"
    add("--storyboard-model", default="sketch", metavar="MODEL", help=models)
    add("--size", type=_size, default=(832, 480), help="pixels, WIDTHxHEIGHT (832x480)")
    add("--rate", type=_rate, default=Fraction(24), help="frames per second, such as 24 or 23.976")
    add("--seed", type=int, default=0, help="another seed gives other pictures")
    add("--title", default="", help="the film's title, when the story has none")
    add("--look", default="", help="words that go into every prompt")
    cast = "folder of a cast: its looks go into the prompts of the shots that name them"
    add("--cast", type=Path, metavar="FOLDER", help=cast)
    add("--project", type=Path, help="the film's folder (default: named after the film beside OUT)")
    add("--shots", default="", help="only these, such as '3, 5-7'; the others stay as they are")
    add("--redraw", choices=_choices(Redraw), default="changed", help="what is drawn again")
    memory = "earlier frames at full size, in the released pyramid, or tiled as in the paper"
    add("--memory", choices=_choices(MemoryScale), default="full", help=memory)
    ranks = "folder of a CLIP model that ranks earlier frames (a folder of STEP2 weights only)"
    add("--relevance", type=Path, metavar="FOLDER", help=ranks)
    add("--steps", type=int, help="sampler steps of a pair (default: the model's own)")
    add("--guidance", type=float, help="how strongly words count, 1 or more (the model's own)")
    add("--shift", type=float, help="how long the sampler stays at much noise (the model's own)")
    lie = (
        "weights of a folder in VRAM: what fits, all, or few; little-ram also reads them from disk"
    )
    add("--offload", choices=list(OFFLOADS), default="auto", help=f"{lie} (auto)")
    add("--vram", type=_vram, metavar="GB", help="VRAM for either model (what is free)")
    small = "keep the weights of a folder in eight bits: half of the RAM and the transfers, and a "
    add("--eight-bits", action="store_true", help=f"{small}film of its own")
    return add


def _command(commands: _Commands, name: str, run: Run, says: str) -> Add:
    made = commands.add_parser(name, help=says, description=says)
    made.set_defaults(run=run)
    return made.add_argument


def _choices(kind: type[Enum]) -> list[str]:
    return [member.name.lower() for member in kind]


def _cue(text: str) -> tuple[str, Path]:
    place, _, file = text.partition("=")
    if not file:
        raise argparse.ArgumentTypeError(f"{text!r} is no PLACE=FILE, such as 3=line.wav")
    return place, Path(file)


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.lower().partition("x")
    if not (width.isdigit() and height.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is no size; use WIDTHxHEIGHT, such as 832x480")
    return int(width), int(height)


def _vram(text: str) -> int:
    if not re.fullmatch(r"\d{1,4}(\.\d{1,3})?", text) or not float(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no VRAM; use gigabytes, such as 8 or 11.5")
    return int(float(text) * 2**30)


def _seconds(text: str) -> Fraction:
    if not re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds, such as 30 or 7.5")
    return Fraction(text)


def _rate(text: str) -> Fraction:
    if text in _NTSC:
        return Fraction(_NTSC[text] * 1000, 1001)
    if re.fullmatch(r"\d{1,9}(\.\d{1,9}|/[1-9]\d{0,8})?", text):
        return Fraction(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no rate; use 24 or 24000/1001")
