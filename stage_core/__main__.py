"""The command line: a film from a story, or its start and end frames; files for ComfyUI."""

from __future__ import annotations

import argparse
import itertools
import json
import logging
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from .atomic import write_text
from .backends.load import (
    SHOT_MODELS,
    STORYBOARD_MODELS,
    load_shot_model,
    load_storyboard_model,
)
from .backends.protocol import Sampling, ShotModel, StoryboardModel
from .bench.menu import MEASURES
from .bench.peak_memory import peak_rss_bytes
from .bench.rows import table, to_json
from .command.convert import ConvertedLora, check, convert_lora, convert_transformer, has_lora
from .command.directing import write_plan
from .command.options import OFFLOADS, parser
from .cutting import cut, planned
from .editing.export import ExportOptions, export
from .editing.finish import Finish
from .editing.handover import Delivery, hand_over, handover_rate
from .editing.mix import Cue, find_time, mix, own_sounds
from .editing.render import render
from .editing.sheet import draw_sheet, num_sheets
from .editing.sheet_pdf import write_pdf
from .media import read_sound, write_picture
from .offload.placed import OffloadPolicy
from .pipeline import draw, film, plan
from .planning.naming import unknown_names
from .planning.planner import PlanSettings
from .project import Project, folder_name
from .sharing import archive
from .sharing.cast_folder import read_cast_folder
from .stories import read_story
from .story.cast import Cast
from .story.memory import MemoryPack, MemoryScale
from .story.shot_list import UNTITLED, FrameFormat, Shot, ShotList
from .story.storyboard import Storyboard
from .story.timeline import Sound, Timeline
from .takes import KeptDrawings, KeptTakes, Redraw, Refilm


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; gives the exit status: 0 done, 1 failed, 2 wrong use, 130 stopped."""
    logging.basicConfig(format="%(levelname)s: %(message)s")
    options = parser(make, board, convert, bench, direct).parse_args(arguments)
    try:
        options.run(options)
    except KeyboardInterrupt:
        _say("stopped; what was finished is kept, the same command goes on from there")
        return 130
    except (ValueError, OSError, ImportError, MemoryError) as error:
        _say(f"stage-film: {error}")
        return 1
    return 0


def direct(options: argparse.Namespace) -> None:
    """Theme to plan."""
    write_plan(options, _say)


def make(options: argparse.Namespace) -> None:
    """Script to film."""
    shoot = _Shoot.begin(options)
    takes = KeptTakes(
        _shot_model(options),
        shoot.project,
        Refilm[options.film.upper()],
        shoot.selection,
    )
    # Read before hours of filming, which a wrong name should not cost.
    sounds = _read_sounds(options, planned(Storyboard(shoot.plan))[0])
    board, memory, drawn = shoot.draw()
    sampling = Sampling(seed=shoot.plan.seed)
    progress = shoot.progress("filmed", takes.to_film(board, memory, sampling))
    board = film(board, takes, memory, sampling, progress.on_step)
    progress.close(kept=len(board.clips) - len(takes.filmed))
    # Of a model that tells what filming has cost it.
    cost = getattr(takes.model, "report", None) if takes.filmed else None
    if cost:
        _say_places(takes.model)
    shoot.project.save(board)
    # What was not asked for plays too, as an animatic with a strip that says so.
    fill_in = load_storyboard_model("sketch"), load_shot_model("animatic")
    finish = Finish(match_colours=options.match_colours, on_note=_say_once())
    timeline, _ = cut(board, finish, fill_in)
    _export(timeline, options.out, _mixed(timeline, sounds))
    if options.handover:
        rate = handover_rate(timeline.rate, tuple(options.lists))
        _hand_over(options, *cut(board, finish, fill_in, False, rate), sounds)
    if options.report:
        made = {"drawn": drawn, "filmed": takes.filmed}
        _write_report(options.report, shoot, timeline, made, cost)


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
    write_pdf(options.out / "sheet.pdf", drawn_board)
    saved = options.out / f"storyboard{archive.ENDING}"
    archive.save(drawn_board, shoot.project, saved)
    _say(f"{options.out}: {len(drawn_board.pairs)} pairs, sheet.png, sheet.pdf, {saved.name}")


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
    board: Storyboard
    seconds: dict[str, float] = field(default_factory=dict)

    @classmethod
    def begin(cls, options: argparse.Namespace) -> _Shoot:
        cast = read_cast_folder(options.cast) if options.cast else Cast()
        story, settings = Path(options.story), _plan_settings(options)
        is_saved = archive.is_archive(story)
        text = archive.read_plan(story).to_json() if is_saved else read_story(options.story)
        settings = replace(settings, cast=cast.members)
        planned = plan(text, settings)
        if planned.title == UNTITLED:
            settings = replace(settings, title=Path(options.story).stem)
            planned = plan(text, settings)
        folder = options.project or options.out.parent / folder_name(planned.title)
        project = Project(folder)
        planned = plan(text, settings, project.earlier())
        # Pictures and takes of a saved board go to the folder, where they are found again.
        loaded = archive.load(story, lambda _: project).board if is_saved else Storyboard(planned)
        for sentence in unknown_names(planned):
            _say(sentence)
        selection = planned.select(options.shots)
        model = _storyboard_model(options)
        drawings = KeptDrawings(model, project, Redraw[options.redraw.upper()], selection)
        scale = MemoryScale[options.memory.upper()]
        memory = MemoryPack(scale=scale, cast=cast.references())
        sampling = Sampling(planned.seed, options.steps, options.guidance, options.shift)
        board = replace(loaded, shot_list=planned)
        return cls(planned, project, drawings, selection, memory, sampling, board)

    def draw(self) -> tuple[Storyboard, MemoryPack, list[str]]:
        """The drawn board, recorded in the folder, the memory, and which shots were drawn."""
        board, memory = self.board, self.memory
        progress = self.progress("drawn", self.drawings.to_draw(board, memory, self.sampling))
        try:
            board, memory = draw(board, self.drawings, memory, self.sampling, progress.on_step)
        finally:
            # Of a model that holds a device, which others need now.
            getattr(self.drawings.model, "rest", lambda: None)()
            _say_places(self.drawings.model)
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
        self._shot, self._whole, self._done = "", False, 0

    def on_step(self, shot: Shot, step: int, steps: int) -> None:
        if shot.id != self._shot:
            self._finish_shot()
            self._shot = shot.id
        # A model that works in phases makes the first steps of all shots before the last of any.
        self._whole = step == steps
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
            self._seconds[self._shot] = self._seconds.get(self._shot, 0.0) + now - self._last
        if self._shot and self._whole:
            self._done += 1
            left = len(self._waiting) - self._done
            eta = (now - self._begun) / self._done * max(0, left)
            _say(f"  {self._verb} {self._shot} ({left} to go, {_clock(eta)} left)")
        self._last = now


def _storyboard_model(options: argparse.Namespace) -> StoryboardModel:
    name, offload = options.storyboard_model, _offload(options)
    if name not in STORYBOARD_MODELS and Path(name).is_dir():
        _say(f"pairs are drawn with the weights in {name}, on {offload.device}")
    return load_storyboard_model(name, offload, options.relevance)


def _shot_model(options: argparse.Namespace) -> ShotModel:
    name, offload = options.shot_model, _offload(options)
    if name not in SHOT_MODELS and Path(name).is_dir():
        _say(f"shots are filmed with the weights in {name}, on {offload.device}")
    return load_shot_model(name, options.subtitles, offload)


def _offload(options: argparse.Namespace) -> OffloadPolicy:
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    return OffloadPolicy(OFFLOADS[options.offload], options.vram, device)


def _say_places(model: Any) -> None:
    """Where a model's weights were, of one that tells."""
    for remark in getattr(model, "remarks", ()):
        _say(f"  {remark}")


def _say_converted(made: ConvertedLora) -> None:
    left = f", {made.left_out} keys that fit neither left out" if made.left_out else ""
    parts = f"{made.transformer} layers of the transformer, {made.text_encoder} of the text encoder"
    _say(f"{made.path}: {parts}{left}")
    if made.templates is None:
        _say("no released prompt template was found beside it, so prompts get our own wording")


def _read_sounds(options: argparse.Namespace, timeline: Timeline) -> dict[str, list[Cue]]:
    """Dialogue and score, where there are any, each at its time of the film."""
    wanted = [("dialogue", *cue) for cue in options.dialogue]
    wanted += [("score", "", options.score)] if options.score else []
    cues: dict[str, list[Cue]] = {}
    for track, place, path in wanted:
        sound, notes = read_sound(path)
        for note in notes:
            _say(note)
        cue = Cue(sound, find_time(place, timeline), path.name)
        cues.setdefault(track, []).append(cue)
    return cues


def _mixed(timeline: Timeline, sounds: dict[str, list[Cue]]) -> Sound | None:
    made = mix(timeline, [*own_sounds(timeline), *itertools.chain(*sounds.values())])
    for note in made.notes:
        _say(note)
    return made.sound


def _hand_over(
    options: argparse.Namespace, timeline: Timeline, plan: ShotList, sounds: dict[str, list[Cue]]
) -> None:
    def on_frame(done: int, of: int) -> None:
        _write_over(f"  frame {done} of {of} ")

    tracks = {name: mix(timeline, cues).sound for name, cues in sounds.items()}
    mixed = mix(timeline, [*own_sounds(timeline), *itertools.chain(*sounds.values())]).sound
    stem = folder_name(plan.title)
    order = Delivery(stem, options.media, tuple(options.lists), tracks, mixed, on_frame)
    files, notes = hand_over(timeline, plan, options.handover, order)
    for note in notes:
        _say(note)
    _say(f"{options.handover}: {len(files)} files at {float(timeline.rate):.5g} frames per second")


def _say_once() -> Callable[[str], None]:
    """A line for each sentence, however often it is said."""
    said: set[str] = set()

    def say(text: str) -> None:
        if text not in said:
            said.add(text)
            _say(text)

    return say


def _export(timeline: Timeline, path: Path, sound: Sound | None) -> None:
    begun = time.monotonic()
    path.parent.mkdir(parents=True, exist_ok=True)
    options = ExportOptions(sound)
    export(render(timeline), path, timeline.rate, timeline.num_frames, options)
    seconds = time.monotonic() - begun
    length = float(timeline.seconds)
    _say(f"{path}: {timeline.num_frames} frames, {length:.2f} s, written in {seconds:.1f} s")


def _write_report(
    path: Path, shoot: _Shoot, timeline: Timeline, made: dict[str, list], cost: Any
) -> None:
    frame_format = shoot.plan.frame_format
    places = getattr(shoot.drawings.model, "places", {})
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
        "drawing": {"places": {name: asdict(place) for name, place in places.items()}},
        "filming": asdict(cost) if cost else None,
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
