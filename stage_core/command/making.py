"""The commands make and board: a film, its sheet and its hand-over from a story."""

from __future__ import annotations

import argparse
import itertools
import json
import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..atomic import write_text
from ..backends.load import load_shot_model, load_storyboard_model
from ..backends.protocol import Sampling
from ..bench.peak_memory import peak_rss_bytes
from ..cutting import cut, planned
from ..editing.export import ExportOptions, export
from ..editing.finish import Finish
from ..editing.handover import Delivery, hand_over, handover_rate
from ..editing.mix import Cue, find_time, mix, own_sounds
from ..editing.render import render
from ..editing.sheet import draw_sheet, num_sheets
from ..editing.sheet_pdf import write_pdf
from ..media import read_sound, write_picture
from ..pipeline import film
from ..plurals import counted
from ..project import Project, folder_name
from ..sharing import archive
from ..story.shot_list import ShotList
from ..story.storyboard import Storyboard
from ..story.timeline import Sound, Timeline
from ..takes import KeptTakes, Refilm
from .shooting import Shoot, say_places, say_unread, shot_model
from .speaking import say, say_once, write_over


def make(options: argparse.Namespace) -> None:
    """Script to film."""
    _check_places(options)
    shoot = Shoot.begin(options)
    takes = KeptTakes(
        shot_model(options),
        shoot.project,
        Refilm[options.film.upper()],
        shoot.selection,
        neighbours=shoot.drawings.neighbours,
    )
    say_unread(options, storyboard_model=shoot.drawings.model, shot_model=takes.model)
    # Read before hours of filming, which a wrong name should not cost.
    sounds = _read_sounds(options, planned(Storyboard(shoot.plan))[0])
    board, memory, drawn = shoot.draw()
    sampling = Sampling(seed=shoot.plan.seed)
    progress = shoot.progress("filmed", takes.to_film(board, memory, sampling))
    board = film(board, takes, memory, sampling, progress.on_step)
    progress.close(len(board.clips) - len(takes.filmed), takes.told_of_neighbours)
    for sentence in shoot.project.told_of_removed(takes.removed):
        say(sentence)
    # Of a model that tells what filming has cost it.
    cost = getattr(takes.model, "report", None) if takes.filmed else None
    if cost:
        say_places(takes.model)
    shoot.project.save(board)
    # What was not asked for plays too, as an animatic with a strip that says so.
    fill_in = load_storyboard_model("sketch"), load_shot_model("animatic")
    finish = Finish(match_colours=options.match_colours, on_note=say_once())
    timeline, _ = cut(board, finish, fill_in)
    _export(timeline, options.out, _mixed(timeline, sounds))
    if options.board:
        _write_board(options.board, board, shoot.project)
    if options.handover:
        rate = handover_rate(timeline.rate, tuple(options.lists))
        _hand_over(options, *cut(board, finish, fill_in, False, rate), sounds)
    if options.report:
        made = {"drawn": drawn, "filmed": takes.filmed}
        _write_report(options.report, shoot, timeline, made, cost)


def draw_board(options: argparse.Namespace) -> None:
    """Script to a folder of start and end frames with a contact sheet."""
    _check_folders(options, "out", "project")
    shoot = Shoot.begin(options)
    say_unread(options, storyboard_model=shoot.drawings.model)
    board, _, _ = shoot.draw()
    _write_board(options.out, board, shoot.project)


def _check_places(options: argparse.Namespace) -> None:
    """Refuse, before hours of filming, places that nothing can be written to in the end."""
    if options.out.suffix.lower() != ".mp4":
        raise ValueError(f"--out {options.out}: the film is an MP4; name it {_mp4(options.out)}")
    _check_folders(options, "handover", "board", "project")
    inputs = [Path(options.story), options.score, *(file for _, file in options.dialogue)]
    for name in ("out", "report"):
        path = getattr(options, name)
        if path is None:
            continue
        if path.is_dir():
            raise ValueError(f"--{name} {path} is a folder; name a file in it")
        if any(given and given.exists() and path.resolve() == given.resolve() for given in inputs):
            raise ValueError(f"--{name} {path} would be written over what it is made from")
        _check_parents(name, path.parent)


def _check_folders(options: argparse.Namespace, *names: str) -> None:
    for name in names:
        path = getattr(options, name)
        if path is not None:
            _check_parents(name, path)


def _check_parents(name: str, folder: Path) -> None:
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir():
        raise ValueError(f"--{name}: {there} is a file and no folder; name another place")
    if not os.access(there, os.W_OK):
        raise ValueError(f"--{name}: {there} may not be written to; name another place")


def _mp4(path: Path) -> str:
    return path.with_suffix(".mp4").name if path.name else "film.mp4"


def _write_board(folder: Path, board: Storyboard, project: Project) -> None:
    """The frames, the plan, the sheet as PNG and PDF, and all of it in one file."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "storyboard.json", board.shot_list.to_json())
    for pair in board.pairs.values():
        for keyframe, half in ((pair.start, "start"), (pair.end, "end")):
            if keyframe is not None:
                write_picture(folder / f"{pair.shot_id}_{half}.png", keyframe.image)
    saved = folder / f"storyboard{archive.ENDING}"
    record = archive.save(board, project, saved)
    for page in range(num_sheets(board)):
        name = f"sheet_{page + 1}.png" if page else "sheet.png"
        archive.write_sheet(folder / name, draw_sheet(board, page), record)
    write_pdf(folder / "sheet.pdf", board)
    say(f"{folder}: {counted(len(board.pairs), 'pair')}, sheet.png, sheet.pdf, {saved.name}")


def _read_sounds(options: argparse.Namespace, timeline: Timeline) -> dict[str, list[Cue]]:
    """Dialogue and score, where there are any, each at its time of the film."""
    wanted = [("dialogue", *cue) for cue in options.dialogue]
    wanted += [("score", "", options.score)] if options.score else []
    cues: dict[str, list[Cue]] = {}
    for track, place, path in wanted:
        sound, notes = read_sound(path)
        for note in notes:
            say(note)
        cue = Cue(sound, find_time(place, timeline), path.name)
        cues.setdefault(track, []).append(cue)
    return cues


def _mixed(timeline: Timeline, sounds: dict[str, list[Cue]]) -> Sound | None:
    made = mix(timeline, [*own_sounds(timeline), *itertools.chain(*sounds.values())])
    for note in made.notes:
        say(note)
    return made.sound


def _hand_over(
    options: argparse.Namespace, timeline: Timeline, plan: ShotList, sounds: dict[str, list[Cue]]
) -> None:
    def on_frame(done: int, of: int) -> None:
        write_over(f"  frame {done} of {of} ")

    tracks = {name: mix(timeline, cues).sound for name, cues in sounds.items()}
    mixed = mix(timeline, [*own_sounds(timeline), *itertools.chain(*sounds.values())]).sound
    stem = folder_name(plan.title)
    order = Delivery(stem, options.media, tuple(options.lists), tracks, mixed, on_frame)
    files, notes = hand_over(timeline, plan, options.handover, order)
    for note in notes:
        say(note)
    written = counted(len(files), "file")
    say(f"{options.handover}: {written} at {float(timeline.rate):.5g} frames per second")


def _export(timeline: Timeline, path: Path, sound: Sound | None) -> None:
    begun = time.monotonic()
    path.parent.mkdir(parents=True, exist_ok=True)
    options = ExportOptions(sound)
    export(render(timeline), path, timeline.rate, timeline.num_frames, options)
    seconds = time.monotonic() - begun
    length = f"{counted(timeline.num_frames, 'frame')}, {float(timeline.seconds):.2f} s"
    say(f"{path}: {length}, written in {seconds:.1f} s")


def _write_report(
    path: Path, shoot: Shoot, timeline: Timeline, made: dict[str, list], cost: Any
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
    write_text(path, json.dumps(report, indent=1))
