"""The command line: a film from a story, or its start and end frames; files for ComfyUI."""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from .atomic import write_text
from .backends.load import STORYBOARD_MODELS, load_shot_model, load_storyboard_model
from .backends.protocol import Sampling, StoryboardModel
from .bench.menu import MEASURES
from .bench.rows import table, to_json
from .convert import ConvertedLora, check, convert_lora, convert_transformer, has_lora
from .editing.export import export
from .editing.render import render
from .editing.sheet import draw_sheet, num_sheets
from .media import write_picture
from .options import parser
from .peak_memory import peak_rss_bytes
from .pipeline import draw, edit, fill, film, plan
from .planning.planner import PlanSettings
from .project import Project, folder_name
from .stories import read_story
from .story.memory import MemoryPack, MemoryScale
from .story.shot_list import UNTITLED, FrameFormat, Shot, ShotList
from .story.storyboard import Storyboard
from .story.timeline import Timeline
from .takes import KeptDrawings, KeptTakes, Redraw, Refilm


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; gives the exit status: 0 done, 1 failed, 2 wrong use, 130 stopped."""
    logging.basicConfig(format="%(levelname)s: %(message)s")
    options = parser(make, board, convert, bench).parse_args(arguments)
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
    sampling = Sampling(seed=shoot.plan.seed)
    progress = shoot.progress("filmed", takes.to_film(board, memory, sampling))
    board = film(board, takes, memory, sampling, progress.on_step)
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


def convert(options: argparse.Namespace) -> None:
    """The authors' files into files for ComfyUI; or a check whether a checkpoint is their base."""
    if options.check:
        _say(check(*options.check, options.source, _compared))
        return
    if options.source is None or options.out is None:
        raise ValueError("convert needs --check BASE CHECKPOINT, or a LoRA or folder and --out DIR")
    if has_lora(options.source) or not options.transformer:
        _say_converted(convert_lora(options.source, options.out, options.template))
    if options.transformer:
        _say(str(convert_transformer(options.source, options.out, options.template)))


def bench(options: argparse.Namespace) -> None:
    """Measure, and say how far from the goals."""
    rows = MEASURES[options.which](lambda now: _write_over(f"  {now} "))
    print(table(rows))
    if options.json:
        write_text(options.json, to_json(rows))


@dataclass
class _Shoot:
    """What both commands begin with: the plan, the film's folder, the drawings, the settings."""

    plan: ShotList
    project: Project
    drawings: KeptDrawings
    selection: frozenset[str] | None
    memory: MemoryPack
    sampling: Sampling
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
        model = _storyboard_model(options.storyboard_model)
        drawings = KeptDrawings(model, project, Redraw[options.redraw.upper()], selection)
        memory = MemoryPack(scale=MemoryScale[options.memory.upper()])
        sampling = Sampling(planned.seed, options.steps, options.guidance, options.shift)
        return cls(planned, project, drawings, selection, memory, sampling)

    def draw(self) -> tuple[Storyboard, MemoryPack, list[str]]:
        """The drawn board, recorded in the folder, the memory, and which shots were drawn."""
        board, memory = Storyboard(self.plan), self.memory
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
        if step < steps:
            _write_over(f"  {shot.id}: {step} of {steps} ")

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


def _storyboard_model(name: str) -> StoryboardModel:
    if name in STORYBOARD_MODELS or not Path(name).is_dir():
        return load_storyboard_model(name)
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    _say(f"pairs are drawn with the weights in {name}, on {device}")
    return load_storyboard_model(name, device)


def _say_converted(made: ConvertedLora) -> None:
    left = f", {made.left_out} keys that fit neither left out" if made.left_out else ""
    parts = f"{made.transformer} layers of the transformer, {made.text_encoder} of the text encoder"
    _say(f"{made.path}: {parts}{left}")
    if made.templates is None:
        _say("no released prompt template was found beside it, so prompts get our own wording")


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


def _compared(done: int, of: int) -> None:
    if done < of:
        _write_over(f"  {done} of {of} tensors ")


def _write_over(text: str) -> None:
    """A line that the next one replaces, for who watches."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{text}\r")


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def _say(text: str) -> None:
    """A line for the person at the terminal, whatever its code page."""
    encoding = sys.stderr.encoding or "ascii"
    print(text.encode(encoding, "replace").decode(encoding), file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
