"""The command that turns a theme into a plan: by a server, by a folder of weights, or by rule."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ..atomic import write_text
from ..planning.coverage import coverage
from ..planning.director import FilmOrder
from ..planning.language import TRIES, Generate, direct
from ..planning.naming import unknown_names
from ..planning.planner import PlanSettings
from ..planning.written import written_out
from ..plurals import counted
from ..project import folder_name
from ..sharing.cast_folder import read_cast_folder
from ..story.shot_list import UNTITLED, FrameFormat, ShotList
from ..story.timeline import overlap
from .chat import Server, choose_model

TEMPLATE = "template"
USUAL_SHOTS = 8
Say = Callable[[str], None]


def write_plan(options: argparse.Namespace, say: Say) -> None:
    """Theme to a plan file: a table that `make` reads, or JSON where the name ends so.

    Raises:
        ValueError: an option that cannot be used, a file that is there, or no usable answer.
        OSError: the server is not there, or the file cannot be written.
    """
    order = _order(options)
    if options.out:
        _check_free(options.out)
    planned = _planned(order, options, say)
    if options.title:
        planned = replace(planned, title=options.title)
    path = options.out or _free_name(planned.title)
    text = planned.to_json() if path.suffix.lower() == ".json" else written_out(planned)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text)
    for sentence in unknown_names(planned):
        say(sentence)
    seconds = float(_num_frames(planned) / planned.frame_format.rate)
    say(f"{path}: {counted(len(planned.shots), 'shot')}, {seconds:.1f} s; read it, change it, then")
    say(f'  stage-film make "{path}" --out film.mp4')


def _num_frames(plan: ShotList) -> int:
    joined = sum(overlap(shot.transition) for shot in plan.shots[:-1])
    return sum(shot.num_frames for shot in plan.shots) - joined


def _order(options: argparse.Namespace) -> FilmOrder:
    cast = read_cast_folder(options.cast).members if options.cast else ()
    usual = 0 if options.seconds else USUAL_SHOTS
    shots = usual if options.shots is None else options.shots
    return FilmOrder(options.theme, shots, options.seconds, options.look, options.language, cast)


def _planned(order: FilmOrder, options: argparse.Namespace, say: Say) -> ShotList:
    if options.llm == TEMPLATE:
        if options.model:
            raise ValueError("--model names a model of a server; name the server too, with --llm")
        return coverage(order, FrameFormat())
    generate, name = _language_model(options)
    say(f"asks {name} for {counted(order.shots, 'shot')}")
    tries = iter(range(2, TRIES + 2))

    def on_refusal(reason: str) -> None:
        number = next(tries)
        again = f"; try {number} of {TRIES}" if number <= TRIES else ""
        say(f"  {reason}{again}")

    settings = PlanSettings(default_seconds=order.seconds_each)
    return direct(order, generate, settings, on_refusal)


def _language_model(options: argparse.Namespace) -> tuple[Generate, str]:
    """What answers, and its name."""
    if "://" in options.llm:
        server = Server.at(options.llm)
        model = choose_model(server, options.model)
        return lambda messages: server.answer(model, messages), f"{model} at {server.name}"
    folder = Path(options.llm)
    if not folder.is_dir():
        raise ValueError(
            f"--llm {options.llm!r:.100} is no address and no folder; use http://HOST:PORT, the "
            f"folder of a model, or '{TEMPLATE}'"
        )
    if not (folder / "config.json").is_file():
        raise ValueError(f"--llm {folder} holds no config.json, so it is no folder of a model")
    # Imported here because it asks for torch, which a server does not need.
    import torch

    from ..backends.language import load_language_model

    device = "cuda" if torch.cuda.is_available() else "cpu"
    return load_language_model(folder, device), f"the model in {folder}, on {device},"


def _check_free(path: Path) -> None:
    if path.exists():
        raise ValueError(f"{path} is there already; name another file with --out, or remove it")


def _free_name(title: str) -> Path:
    """A name for the plan in the current folder that nothing has yet."""
    name = folder_name("" if title == UNTITLED else re.sub(r"\.+$", "", title))
    numbered = (f"{name}.md" if number == 1 else f"{name} {number}.md" for number in range(1, 1000))
    found = next((Path(made) for made in numbered if not Path(made).exists()), None)
    if found is None:
        raise ValueError(f"there are too many plans named {name!r} here; name one with --out")
    return found
