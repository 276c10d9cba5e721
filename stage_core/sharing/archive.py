"""A storyboard in one file: plan, pictures and chosen takes, to be opened on another machine.

The file is a ZIP archive of `storyboard.json`, PNGs, lossless films and their sounds, none of
them packed again. It may come from a stranger: its names lead nowhere, what it says of a result
is compared with the result, and nothing is kept of a file that is refused. A sheet's PNG carries
the same `storyboard.json` in a text chunk, without the pictures, which are found in the film's
folder.
"""

from __future__ import annotations

import json
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

from torch import Tensor

from ..atomic import replacing
from ..desk.shots import number_of
from ..errors import PlanError, StorageError
from ..ledger import Record
from ..media import import_pillow
from ..project import DRAWING, KEYFRAME, TAKE, Made, Project
from ..story.frames import HALVES, FramePair, Keyframe, Picture, pixel_digest
from ..story.shot_list import ShotList
from ..story.storyboard import Storyboard
from ..story.timeline import Clip
from .files import BOARD, Files, opened
from .record import SCHEMA, BetweenEntry, DrawingEntry, Manifest, TakeEntry, read_manifest

ENDING = ".stage.zip"
CHUNK = "stage_storyboard"
"""The PNG text chunk in which a sheet carries its board."""

OpenFilm = Callable[[str], Project]
"""Gives the folder of the film of a title."""


@dataclass
class Loaded:
    """What came back: the board, and what of it is not on this machine."""

    board: Storyboard
    missing: list[str] = field(default_factory=list)


def describe(board: Storyboard, project: Project) -> dict[str, Any]:
    """The board as JSON: its plan and, by shot, the drawing and the take in use.

    `board` is as `project.save` gave it, so that every picture has its name. What is not in the
    film's folder is left out.
    """
    shots: dict[str, Any] = {}
    for shot in board.shot_list.shots:
        drawing, take = _records(board, shot.id, project)
        entry = {"drawing": _drawing_entry(board.pair(shot.id), drawing)} if drawing else {}
        entry |= {"take": _take_entry(take, project)} if take else {}
        between = board.between.get(shot.id)
        entry |= {"between": _between_entry(between)} if between else {}
        if entry:
            shots[shot.id] = entry
    plan = json.loads(board.shot_list.to_json())
    return {"schema": SCHEMA, "shot_list": plan, "shots": shots}


def save(board: Storyboard, project: Project, path: Path) -> dict[str, Any]:
    """Write the board with its pictures and takes in use to one file, whole or not at all.

    Gives what `describe` says of it.

    Raises:
        StorageError: the file cannot be written, or a picture or take is not in the film's folder.
    """
    board = project.save(board)
    _check(board, project)
    record = describe(board, project)
    text = json.dumps(record, ensure_ascii=False, indent=1)
    written = set()
    # A ZIP file knows no time before 1980, which cameras and copies without a clock write.
    zipped = partial(zipfile.ZipFile, strict_timestamps=False)
    with replacing(path) as part, zipped(part, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(BOARD, text, zipfile.ZIP_DEFLATED)
        for shot_id, entry in record["shots"].items():
            for file, picture, what in _pictures(board, shot_id, entry):
                if file not in written:
                    image = picture.image
                    if pixel_digest(image) != picture.digest:
                        _refuse(f"{what} of shot {shot_id}", project)
                    archive.writestr(file, _png(image))
                    written.add(file)
            take = entry.get("take", {})
            for file in (part["file"] for part in (take, take.get("sound")) if part):
                if file not in written:
                    archive.write(project.folder / file, file)
                    written.add(file)
    return record


def load(path: Path, open_film: OpenFilm, title: str = "") -> Loaded:
    """The board of a saved file, its pictures and takes put into the film's folder.

    What is there already is used as it is. `title` gives the film another name, and so another
    folder.

    Raises:
        PlanError: no storyboard, one of a newer version, or one that is not sound; says where.
        StorageError: the file cannot be read, or the folder not be written to.
    """
    with opened(path) as files:
        manifest = _titled(read_manifest(files.text()), title)
        project = open_film(manifest.shot_list.title)
        for entry in manifest.entries():
            files.check(entry)
        return _restored(manifest, _Shelf(project, files))


def read_plan(path: Path) -> ShotList:
    """The plan alone of a saved file, or of a sheet's PNG; raises as `load` and `load_sheet` do."""
    if not is_archive(path):
        return read_manifest(_carried(path)).shot_list
    with opened(path) as files:
        return read_manifest(files.text()).shot_list


def write_sheet(path: Path, image: Tensor, record: Mapping[str, Any]) -> None:
    """Write a sheet, [H, W, 3] uint8, as a PNG that carries what `describe` says of its board.

    Raises StorageError.
    """
    _, image_module, _ = import_pillow()
    from PIL.PngImagePlugin import PngInfo

    carried = PngInfo()
    carried.add_text(CHUNK, json.dumps(record))
    with replacing(path) as part:
        picture = image_module.fromarray(image.contiguous().numpy())
        picture.save(part, format="PNG", compress_level=1, pnginfo=carried)


def load_sheet(path: Path, open_film: OpenFilm, title: str = "") -> Loaded:
    """The board that a sheet's PNG carries: its plan, and of pictures and takes what the film's
    folder on this machine has.

    Raises:
        PlanError, StorageError: as `load`.
    """
    manifest = _titled(read_manifest(_carried(path)), title)
    return _restored(manifest, _Shelf(open_film(manifest.shot_list.title), None))


def is_archive(path: Path) -> bool:
    """Whether the name is that of a saved storyboard."""
    return path.name.casefold().endswith(ENDING)


def is_sheet(path: Path) -> bool:
    """Whether the file is a PNG that carries a storyboard."""
    try:
        return bool(_carried(path))
    except (PlanError, StorageError):
        return False


def _carried(path: Path) -> str:
    """What a sheet's PNG says of its board; raises as `load_sheet` does."""
    _, image_module, _ = import_pillow()
    try:
        with image_module.open(path, formats=("PNG",)) as image:
            text = image.info.get(CHUNK)
    except (image_module.DecompressionBombError, OSError, ValueError, SyntaxError) as error:
        raise StorageError(f"{path.name} cannot be read as a PNG: {error}") from None
    if text is None:
        raise PlanError(
            f"{path.name} carries no storyboard; sheets do that STEP2 Storyboard or Save "
            "Storyboard wrote, unless a program has stripped them or metadata is switched off"
        )
    return text


def _check(board: Storyboard, project: Project) -> None:
    """Raises StorageError when something on the board is not in the folder as it was made."""
    for shot_id, clip in board.clips.items():
        if project.take(clip.name) is None:
            _refuse(f"the take of shot {shot_id}", project)
    for shot_id, pair in board.pairs.items():
        if any(pair.digests) and project.ledger.get(pair.name) is None:
            _refuse(f"the drawing of shot {shot_id}", project)


def _refuse(what: str, project: Project) -> None:
    raise StorageError(
        f"{what} is not in the folder {project.folder.name!r} as it was made; run STEP2 Storyboard "
        "and the Shot Sampler again, then save"
    )


def _records(
    board: Storyboard, shot_id: str, project: Project
) -> tuple[Record | None, Record | None]:
    """The records of the drawing and of the take on the board, where the folder has them."""
    clip = board.clips.get(shot_id)
    names = board.pair(shot_id).name, clip.name if clip else ""
    return tuple(project.ledger.get(name) if name else None for name in names)


def _drawing_entry(pair: FramePair, record: Record) -> dict[str, Any]:
    halves = [half for half in HALVES if getattr(pair, half) is not None]
    return {
        "key": record.key,
        "model": record.fields["model"],
        "memory": record.fields["memory"],
        "count": number_of(record.name),
        "given": sorted(record.fields["given"]),
        "painted": sorted(pair.given - set(record.fields["given"])),
        "files": {half: f"{record.name}_{half}.png" for half in halves},
        "pixels": {half: getattr(pair, half).digest for half in halves},
    }


def _take_entry(record: Record, project: Project) -> dict[str, Any]:
    fields, stamp = record.fields, record.files["film"]
    known = {name: fields[name] for name in ("model", "keyframes", "num_frames", "size", "rate")}
    known |= {"between": fields["between"]} if "between" in fields else {}
    about = {"key": record.key, "count": number_of(record.name)}
    entry = {**about, **known, **_named(stamp)}
    take = project.take(record.name)
    # A sound that is damaged stays at home: the take is played, and saved, without it.
    return {**entry, "sound": _named(record.files["sound"])} if take and take.sound else entry


def _between_entry(keyframes: tuple[Keyframe, ...]) -> dict[str, Any]:
    pixels = {str(keyframe.index): keyframe.picture.digest for keyframe in keyframes}
    # Named by content: a copy of a shot has the same pictures.
    files = {index: f"between_{digest[:32]}.png" for index, digest in pixels.items()}
    return {"files": files, "pixels": pixels}


def _pictures(
    board: Storyboard, shot_id: str, entry: Mapping[str, Any]
) -> Iterator[tuple[str, Picture, str]]:
    """File, picture and name of every picture that the entry of a shot names."""
    for half, file in entry.get("drawing", {}).get("files", {}).items():
        yield file, getattr(board.pair(shot_id), half), "the drawing"
    for keyframe in board.between.get(shot_id, ()):
        file = entry["between"]["files"][str(keyframe.index)]
        yield file, keyframe.picture, f"the keyframe at {keyframe.index}"


def _named(stamp: Mapping[str, Any]) -> dict[str, str]:
    return {"file": stamp["file"], "sha256": stamp["sha256"]}


def _png(image: Tensor) -> bytes:
    _, image_module, _ = import_pillow()
    data = BytesIO()
    image_module.fromarray(image.contiguous().numpy()).save(data, "PNG", compress_level=1)
    return data.getvalue()


def _titled(manifest: Manifest, title: str) -> Manifest:
    plan = manifest.shot_list
    return replace(manifest, shot_list=replace(plan, title=title.strip() or plan.title))


def _restored(manifest: Manifest, shelf: _Shelf) -> Loaded:
    loaded = Loaded(Storyboard(manifest.shot_list))
    try:
        for shot in manifest.shot_list.shots:
            drawing = manifest.drawings.get(shot.id)
            if drawing:
                pair = shelf.pair(shot.copy_of or shot.id, drawing)
                if pair is None:
                    loaded.missing.append(f"the drawing of shot {shot.id}")
                else:
                    loaded.board = loaded.board.with_pair(replace(pair, shot_id=shot.id))
            between = manifest.between.get(shot.id)
            if between:
                found = shelf.between(shot.copy_of or shot.id, between)
                lost = [index for index, picture in found.items() if picture is None]
                loaded.missing += [f"the keyframe at {i} of shot {shot.id}" for i in lost]
                kept = [Keyframe(i, picture) for i, picture in found.items() if picture]
                loaded.board = loaded.board.with_between(shot.id, kept)
            take = manifest.takes.get(shot.id)
            if take:
                clip = shelf.clip(shot.copy_of or shot.id, take)
                if clip is None:
                    loaded.missing.append(f"the take of shot {shot.id}")
                else:
                    loaded.board = loaded.board.with_clip(replace(clip, shot_id=shot.id))
        loaded.board = shelf.project.save(loaded.board)
    except BaseException:
        shelf.clear()
        raise
    return loaded


def _is_described(record: Record, entry: TakeEntry) -> bool:
    """Whether a take of the folder is the one that a board describes, with its sound."""
    digests = {role: stamp["sha256"] for role, stamp in record.files.items()}
    sound = entry.sound.sha256 if entry.sound else digests.get("sound")
    return digests["film"] == entry.sha256 and digests.get("sound") == sound


@dataclass
class _Shelf:
    """A film's folder into which results are put; `files` is None where only a record came."""

    project: Project
    files: Files | None
    added: list[str] = field(default_factory=list)

    def pair(self, shot_id: str, entry: DrawingEntry) -> FramePair | None:
        """The drawing, from the folder if it is there, else from the file."""
        wanted = tuple(entry.pixels.get(half, "") for half in HALVES)
        for record in self.project.ledger.newest(DRAWING, entry.key):
            pair = self.project.drawing(record.name)
            if pair is not None and pair.digests == wanted:
                return replace(pair, given=entry.given_on_board)
        if self.files is None:
            return None
        halves = {half: self.files.picture(entry, half) for half in entry.files}
        pair = FramePair(shot_id, **halves, given=entry.given | entry.painted)
        made = Made(entry.key, entry.model, entry.count, memory=entry.memory)
        kept = self.project.keep_pair(pair, made)
        self.added.append(kept.name)
        return replace(kept, given=entry.given_on_board)

    def between(self, shot_id: str, entry: BetweenEntry) -> dict[int, Picture | None]:
        """The keyframes by their frames, from the folder if they are there, else from the file."""
        found = {}
        for index, digest in entry.pixels.items():
            picture = self.project.find_picture(digest)
            if picture is None and self.files is not None:
                picture = self.project.keep_picture(shot_id, self.files.picture(entry, index))
                self.added.append(self.project.ledger.newest(KEYFRAME, digest)[0].name)
            found[int(index)] = picture
        return found

    def clip(self, shot_id: str, entry: TakeEntry) -> Clip | None:
        """The take, from the folder if it is there, else from the file."""
        for record in self.project.ledger.newest(TAKE, entry.key):
            if _is_described(record, entry):
                clip = self.project.take(record.name)
                # A sound that is damaged here comes from the file, if it has one.
                if clip and (clip.sound or not entry.sound or self.files is None):
                    return clip
        if self.files is None:
            return None
        ledger = self.project.ledger
        with ledger.new(f"{shot_id}_t{entry.count:02d}") as made:
            path = made.path(".mkv")
            with replacing(path) as part:
                self.files.copy_film(entry, part)
            fields = {
                "model": entry.model,
                "keyframes": list(entry.keyframes),
                "num_frames": entry.num_frames,
                "size": list(entry.size),
                "rate": str(entry.rate),
            }
            if entry.between is not None:
                fields["between"] = [list(place) for place in entry.between]
            files = {"film": ledger.stamp(path)}
            if entry.sound is not None:
                path = made.path(".wav")
                with replacing(path) as part:
                    self.files.copy_sound(entry, part)
                files["sound"] = ledger.stamp(path)
            record = Record(made.name, TAKE, shot_id, entry.key, time.time_ns(), files, fields)
            ledger.write(record)
        self.added.append(record.name)
        return self.project.take(record.name)

    def clear(self) -> None:
        """Take back what was put in."""
        for name in self.added:
            self.project.ledger.remove(name)
