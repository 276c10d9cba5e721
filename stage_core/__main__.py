"""The command line: make a film from a story, or a board of its start and end frames."""

from __future__ import annotations

import argparse
import json
import logging
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import Enum
from fractions import Fraction
from pathlib import Path

from .backends.load import (
    SHOT_MODELS,
    STORYBOARD_MODELS,
    load_shot_model,
    load_storyboard_model,
)
from .backends.protocol import Sampling
from .editing.export import export
from .editing.render import render
from .editing.sheet import draw_sheet, num_sheets
from .media import write_picture
from .peak_memory import peak_rss_bytes
from .pipeline import draw, edit, fill, film, plan
from .planning.planner import PlanSettings
from .project import Project, folder_name
from .stories import read_story, story_names
from .story.memory import MemoryPack
from .story.shot_list import UNTITLED, FrameFormat, Shot, ShotList
from .story.storyboard import Storyboard
from .story.timeline import Timeline
from .takes import KeptDrawings, KeptTakes, Redraw, Refilm

# 23.976 and its kin are short for rates over 1001.
_NTSC = {"23.976": 24, "23.98": 24, "29.97": 30, "59.94": 60}


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; gives the exit status: 0 done, 1 failed, 2 wrong use, 130 stopped."""
    logging.basicConfig(format="%(levelname)s: %(message)s")
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except KeyboardInterrupt:
        _say("stopped; what was finished is kept, the same command goes on from there")
        return 130
    except (ValueError, OSError, ImportError) as error:
        _say(f"stage-film: {error}")
        return 1
    return 0


def make(options: argparse.Namespace) -> None:
    """Script to film."""
    shoot = _Shoot.begin(options)
    takes = KeptTakes(
        load_shot_model(options.shot_model, subtitles=options.subtitles),
        shoot.project,
        Refilm[options.film.upper()],
        shoot.selection,
    )
    board, memory, drawn = shoot.draw()
    progress = shoot.progress("filmed", takes.to_film(board, memory, shoot.sampling))
    board = film(board, takes, memory, shoot.sampling, progress.on_step)
    progress.close(kept=len(board.clips) - len(takes.filmed))
    shoot.project.save(board)
    # What was not asked for plays too, as an animatic with a strip that says so.
    board = fill(board, load_storyboard_model("sketch"), load_shot_model("animatic"))
    timeline = edit(board)
    _export(timeline, options.out)
    if options.report:
        _write_report(options.report, shoot, timeline, {"drawn": drawn, "filmed": takes.filmed})


def board(options: argparse.Namespace) -> None:
    """Script to a folder of start and end frames with a contact sheet."""
    shoot = _Shoot.begin(options)
    drawn_board, _, _ = shoot.draw()
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "storyboard.json").write_text(shoot.plan.to_json(), encoding="utf-8")
    for pair in drawn_board.pairs.values():
        for half in ("start", "end"):
            write_picture(options.out / f"{pair.shot_id}_{half}.png", getattr(pair, half).image)
    for page in range(num_sheets(drawn_board)):
        name = f"sheet_{page + 1}.png" if page else "sheet.png"
        write_picture(options.out / name, draw_sheet(drawn_board, page))
    _say(f"{options.out}: {len(drawn_board.pairs)} pairs, storyboard.json, sheet.png")


@dataclass
class _Shoot:
    """What both commands begin with: the plan, the film's folder, the drawings."""

    plan: ShotList
    project: Project
    drawings: KeptDrawings
    selection: frozenset[str] | None
    seconds: dict[str, float] = field(default_factory=dict)

    @classmethod
    def begin(cls, options: argparse.Namespace) -> _Shoot:
        text, settings = read_story(options.story), _plan_settings(options)
        planned = plan(text, settings)
        if planned.title == UNTITLED:
            settings = replace(settings, title=Path(options.story).stem)
            planned = plan(text, settings)
        folder = options.project or options.out.parent / folder_name(planned.title)
        project = Project(folder)
        planned = plan(text, settings, project.earlier())
        selection = planned.select(options.shots)
        model = load_storyboard_model(options.storyboard_model)
        drawings = KeptDrawings(model, project, Redraw[options.redraw.upper()], selection)
        return cls(planned, project, drawings, selection)

    @property
    def sampling(self) -> Sampling:
        return Sampling(seed=self.plan.seed)

    def draw(self) -> tuple[Storyboard, MemoryPack, list[str]]:
        """The drawn board, recorded in the folder, the memory, and which shots were drawn."""
        board, memory = Storyboard(self.plan), MemoryPack()
        progress = self.progress("drawn", self.drawings.to_draw(board, memory, self.sampling))
        board, memory = draw(board, self.drawings, memory, self.sampling, progress.on_step)
        progress.close(kept=len(board.pairs) - len(self.drawings.drawn))
        older = [pair.shot_id for pair in board.pairs.values() if pair.older_memory]
        if older:
            _say(f"drawn with older memory: {', '.join(older)} (--redraw remembering draws them)")
        return self.project.save(board), memory, self.drawings.drawn

    def progress(self, verb: str, waiting: tuple[str, ...]) -> _Progress:
        return _Progress(verb, waiting, self.seconds)


class _Progress:
    """A line per shot with the time left; notes in `seconds` how long each shot took."""

    def __init__(self, verb: str, waiting: tuple[str, ...], seconds: dict[str, float]):
        self._verb, self._waiting, self._seconds = verb, waiting, seconds
        self._begun = self._last = time.monotonic()
        self._shot, self._done = "", 0

    def on_step(self, shot: Shot, step: int, steps: int) -> None:
        if shot.id != self._shot:
            self._finish_shot()
            self._shot = shot.id
        if sys.stderr.isatty() and step < steps:
            sys.stderr.write(f"\r  {shot.id}: {step} of {steps} \r")

    def close(self, kept: int) -> None:
        self._finish_shot()
        total = self._done + kept
        seconds = time.monotonic() - self._begun
        _say(f"{self._verb} {self._done} of {total} shots, {kept} kept, {seconds:.1f} s")

    def _finish_shot(self) -> None:
        now = time.monotonic()
        if self._shot:
            self._done += 1
            self._seconds[self._shot] = self._seconds.get(self._shot, 0.0) + now - self._last
            left = len(self._waiting) - self._done
            eta = (now - self._begun) / self._done * max(0, left)
            _say(f"  {self._verb} {self._shot} ({left} to go, {_clock(eta)} left)")
        self._last = now


def _export(timeline: Timeline, path: Path) -> None:
    begun = time.monotonic()
    path.parent.mkdir(parents=True, exist_ok=True)
    export(render(timeline), path, timeline.rate, timeline.num_frames)
    seconds = time.monotonic() - begun
    length = float(timeline.seconds)
    _say(f"{path}: {timeline.num_frames} frames, {length:.2f} s, written in {seconds:.1f} s")


def _write_report(path: Path, shoot: _Shoot, timeline: Timeline, made: dict[str, list]) -> None:
    frame_format = shoot.plan.frame_format
    shots = [
        {
            "id": clip.shot_id,
            "frames": len(clip.frames),
            "first_frame": first,
            "drawn": clip.shot_id in made["drawn"],
            "filmed": clip.shot_id in made["filmed"],
            "seconds": round(shoot.seconds.get(clip.shot_id, 0.0), 3),
        }
        for clip, first in zip(timeline.clips, timeline.first_frames(), strict=True)
    ]
    report = {
        "film": {
            "frames": timeline.num_frames,
            "rate": str(timeline.rate),
            "width": frame_format.width,
            "height": frame_format.height,
        },
        "shots": shots,
        "peak_rss_bytes": peak_rss_bytes(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=1), encoding="utf-8")


def _plan_settings(options: argparse.Namespace) -> PlanSettings:
    width, height = options.size
    frame_format = FrameFormat(width, height, options.rate)
    return PlanSettings(
        frame_format=frame_format, title=options.title, look=options.look, seed=options.seed
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="stage-film", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _command(
        commands,
        make,
        ("film to write, H.264 in MP4", "FILM.mp4"),
        "a cut film; a second run makes only what has changed",
    )
    _command(
        commands,
        board,
        ("folder for storyboard.json, the frames and sheet.png", "DIR"),
        "the start and end frames, without filming",
    )
    film_options = commands.choices["make"]
    film_options.add_argument(
        "--shot-model", choices=SHOT_MODELS, default="animatic", help="films the shots"
    )
    film_options.add_argument(
        "--film", choices=_choices(Refilm), default="changed", help="what is filmed again"
    )
    film_options.add_argument(
        "--subtitles", action="store_true", help="dialogue as subtitles in the animatic"
    )
    film_options.add_argument("--report", type=Path, help="write a JSON report there")
    return parser


def _command(commands, run: Callable, out: tuple[str, str], help_text: str) -> None:
    command = commands.add_parser(run.__name__, help=help_text, description=f"STORY to {help_text}")
    command.set_defaults(run=run)
    add = command.add_argument
    samples = ", ".join(story_names())
    add("story", metavar="STORY", help=f"screenplay, table or JSON file, or a sample: {samples}")
    add("--out", type=Path, required=True, metavar=out[1], help=out[0])
    add("--storyboard-model", choices=STORYBOARD_MODELS, default="sketch", help="draws the pairs")
    add("--size", type=_size, default=(832, 480), help="pixels, WIDTHxHEIGHT (832x480)")
    add("--rate", type=_rate, default=Fraction(24), help="frames per second, such as 24 or 23.976")
    add("--seed", type=int, default=0, help="another seed gives other pictures")
    add("--title", default="", help="the film's title, when the story has none")
    add("--look", default="", help="words that go into every prompt")
    add("--project", type=Path, help="the film's folder (default: named after the film beside OUT)")
    add("--shots", default="", help="only these, such as '3, 5-7'; the others stay as they are")
    add("--redraw", choices=_choices(Redraw), default="changed", help="what is drawn again")


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


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def _say(text: str) -> None:
    """A line for the person at the terminal, whatever its code page."""
    encoding = sys.stderr.encoding or "ascii"
    print(text.encode(encoding, "replace").decode(encoding), file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
