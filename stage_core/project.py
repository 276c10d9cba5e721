"""A film's folder: the drawings and takes made so far, and which of them the film uses.

A drawing is `2A_d01.json` with `2A_d01_start.png` and `2A_d01_end.png`, a take `2A_t02.json`
with `2A_t02.mkv`, and `2A_t02.wav` if it has a sound, a keyframe that the artist put
between the ends `2A_between.json` with `2A_between.png`. A PNG that somebody paints over counts
as a picture that the artist gave. `board.json` holds the plan as it was last seen and points
from each shot to the drawing and the take in use.
"""

from __future__ import annotations

import logging
import re
import time
import unicodedata
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from . import media
from .atomic import replacing
from .board_file import BoardFile
from .errors import StorageError
from .halfway import remove_stale
from .ledger import Ledger, Record
from .story.frames import HALVES, FramePair, Keyframe, Picture
from .story.shot_list import ShotList
from .story.storyboard import Storyboard
from .story.timeline import Clip, Sound

DRAWING = "stage.Drawing.1"
TAKE = "stage.Take.1"
KEYFRAME = "stage.Keyframe.1"

# Longer than the filming of a shot, so that a run which goes on has all that it uses spared.
RECENT_SECONDS = 2 * 3600

_log = logging.getLogger(__name__)
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def folder_name(title: str) -> str:
    """The title as the name of a file or folder that every system accepts."""
    text = unicodedata.normalize("NFC", title)
    text = re.sub(r'[<>:"/\\|?*]+', "_", " ".join(text.split()))
    text = re.sub(r"[\x00-\x1f\x7f]+", "", text).strip(". ")
    while len(text.encode()) > 120:
        text = text[:-1].rstrip(". ")
    return f"_{text}" if _RESERVED.fullmatch(text) else text or "Untitled"


@dataclass(frozen=True)
class Made:
    """How a result was made. `key` finds it again; `count` is the drawing's or take's number.

    `memory` is the digest of the frames that a drawing remembers, `keyframes` the digests of the
    pictures that a take was filmed between, `between` frame and digest of those that it was filmed
    through, None where the model does not look at them. `settings` says in words what else it was
    made from, for a person who compares results.
    """

    key: str
    model: str
    count: int = 1
    memory: str = ""
    keyframes: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    between: tuple[tuple[int, str], ...] | None = None


class Project:
    """The folder of one film. `limit_bytes`: above it, takes that nobody uses are evicted."""

    def __init__(self, folder: Path, limit_bytes: int = 20 * 2**30):
        self.folder = Path(folder)
        self.limit_bytes = limit_bytes
        self.ledger = Ledger(self.folder)
        self.board_file = BoardFile(self.folder)
        # Boards of one take share its sound, which is not read again for each.
        self._sounds: WeakValueDictionary[str, Sound] = WeakValueDictionary()

    def earlier(self) -> ShotList | None:
        """The plan as last seen in this folder, or None. Raises StorageError."""
        return self.board_file.shot_list()

    def save(self, board: Storyboard) -> Storyboard:
        """Record which pair and take of each shot is in use; pictures kept nowhere are kept.

        Gives the board with those pictures read from the folder. Raises StorageError.
        """
        in_use = self.board_file.in_use()
        pointers = {}
        for shot in board.shot_list.shots:
            pair, clip = board.pair(shot.id), board.clips.get(shot.id)
            if not pair.name and any(pair.digests):
                made = Made("given " + " ".join(pair.digests), "given", shot.drawing)
                kept = self.find_pair(made.key, "") or self.keep_pair(pair, made)
                pair = replace(pair, start=kept.start, end=kept.end, name=kept.name)
                board = board.with_pair(pair)
            if shot.id in board.between:
                given = board.between[shot.id]
                kept = [replace(k, picture=self._kept_or_repainted(shot.id, k)) for k in given]
                board = board.with_between(shot.id, kept)
            earlier = in_use.get(shot.id, {})
            pointers[shot.id] = {
                "pair": pair.name or earlier.get("pair", ""),
                "take": (clip.name if clip else "") or earlier.get("take", ""),
            }
        self.board_file.write(board.shot_list, pointers)
        return board

    def pair_in_use(self, shot_id: str, memory: str) -> FramePair | None:
        """The pair that the film used last for this shot, whatever it was made from."""
        record = self.ledger.get(self.board_file.in_use().get(shot_id, {}).get("pair", ""))
        if record is None or record.kind != DRAWING:
            return None
        # A copy of a shot uses the results of its original, under its own id.
        return self._read_pair(replace(record, shot_id=shot_id), memory)

    def take_in_use(
        self,
        shot_id: str,
        keyframes: tuple[str, ...] | None = None,
        between: tuple[tuple[int, str], ...] | None = None,
    ) -> Clip | None:
        """The take that the film used last for this shot; with `keyframes`, only if it was
        filmed between the pictures of these digests, with `between`, through these too."""
        record = self.ledger.get(self.board_file.in_use().get(shot_id, {}).get("take", ""))
        if record is None or record.kind != TAKE:
            return None
        if keyframes is not None and list(keyframes) != record.fields["keyframes"]:
            return None
        if between is not None and list(map(list, between)) != record.fields.get("between", []):
            return None
        return self._read_take(replace(record, shot_id=shot_id))

    def drawing(self, name: str) -> FramePair | None:
        """The drawing of this name, or None: there is none, or its files are damaged."""
        record = self.ledger.get(name)
        return self._read_pair(record, "") if record and record.kind == DRAWING else None

    def take(self, name: str) -> Clip | None:
        """The take of this name, or None: there is none, or its file is damaged."""
        record = self.ledger.get(name)
        return self._read_take(record) if record and record.kind == TAKE else None

    def find_picture(self, digest: str) -> Picture | None:
        """The keyframe of this digest that the folder holds, or None.

        A file that was painted over holds the picture it shows now.
        """
        own = self.ledger.newest(KEYFRAME, digest)
        others = (r for r in self.ledger.records(KEYFRAME) if r.key != digest)
        found = (self._read_keyframe(record) for record in (*own, *others))
        return next((it for it in found if it is not None and it.digest == digest), None)

    def keep_picture(self, shot_id: str, picture: Picture) -> Picture:
        """Store a keyframe that the artist gave, unless it is there; read from the folder.

        Raises StorageError; then nothing of it is left in the folder.
        """
        found = self.find_picture(picture.digest)
        if found is not None:
            return found
        with self.ledger.new(f"{shot_id}_between") as entry:
            stamp = self._write_picture(entry.path(".png"), picture)
            files = {"picture": stamp}
            self._write(entry.name, KEYFRAME, shot_id, picture.digest, files, {})
        return _kept_picture(self.folder / stamp["file"], stamp)

    def find_pair(self, key: str, memory: str) -> FramePair | None:
        """The newest drawing of this key whose files are sound, or None.

        `memory`: digest of the frames it would remember now. A PNG that has changed but opens is
        a repaint: that half comes back as given.
        """
        pairs = (self._read_pair(record, memory) for record in self.ledger.newest(DRAWING, key))
        return next((pair for pair in pairs if pair is not None), None)

    def keep_pair(self, pair: FramePair, made: Made) -> FramePair:
        """Store a pair losslessly; gives it back as read from the folder.

        Raises StorageError; then nothing of the pair is left in the folder.
        """
        with self.ledger.new(f"{pair.shot_id}_d{made.count:02d}") as entry:
            files = {}
            for half in HALVES:
                picture = getattr(pair, half)
                if picture is not None:
                    files[half] = self._write_picture(entry.path(f"_{half}.png"), picture)
            fields = {"model": made.model, "memory": made.memory, "given": sorted(pair.given)}
            fields["settings"] = dict(made.settings)
            record = self._write(entry.name, DRAWING, pair.shot_id, made.key, files, fields)
        return self._read_pair(record, made.memory)

    def find_take(self, key: str) -> Clip | None:
        """The newest take of this key whose file is bit for bit as written, or None."""
        takes = (self._read_take(record) for record in self.ledger.newest(TAKE, key))
        return next((take for take in takes if take is not None), None)

    def keep_take(self, clip: Clip, made: Made) -> Clip:
        """Store a clip as the model made it, losslessly, frame by frame as it is made, and its
        sound with 24 bits.

        Gives the clip back as read from the folder. Raises StorageError, or what making the
        frames raises; then nothing of the take is left in the folder.
        """
        sizes = []

        def measured():
            for image in clip.frames:
                sizes.append([image.shape[1], image.shape[0]])
                yield image

        with self.ledger.new(f"{clip.shot_id}_t{made.count:02d}") as entry:
            path = entry.path(".mkv")
            with replacing(path) as temporary:
                media.write_lossless(temporary, measured(), clip.rate)
            if len(sizes) != len(clip.frames):
                raise ValueError(
                    f"shot {clip.shot_id}: {made.model} made {len(sizes)} frames "
                    f"and had promised {len(clip.frames)}"
                )
            fields = {
                "model": made.model,
                "keyframes": list(made.keyframes),
                "num_frames": len(sizes),
                "size": sizes[0],
                "rate": str(clip.rate),
                "settings": dict(made.settings),
            }
            if made.between is not None:
                fields["between"] = [[index, digest] for index, digest in made.between]
            files = {"film": self.ledger.stamp(path)}
            if clip.sound is not None:
                media.write_wave(entry.path(".wav"), clip.sound)
                files["sound"] = self.ledger.stamp(entry.paths[-1])
            record = self._write(entry.name, TAKE, clip.shot_id, made.key, files, fields)
        return self._read_take(record)

    def evict(self, keep: Collection[str] = ()) -> tuple[str, ...]:
        """Remove the oldest takes until the folder is within its limit; never one that the board
        uses or `keep` names, or that any process has made or used within RECENT_SECONDS, and none
        while nobody can tell what the board uses.

        Gives the names of the takes removed. Partial files of crashed writers go too, and latents
        of takes that nobody has filmed on. Raises StorageError.
        """
        self.ledger.remove_stale_parts()
        remove_stale(self.folder)
        for name in keep:
            # Another process that films here cannot know of it otherwise.
            self.ledger.touch(name)
        if self.board_file.is_unread:
            return ()
        used = {entry.get("take") for entry in self.board_file.in_use().values()} | set(keep)
        takes = self.ledger.records(TAKE)
        total = sum(map(_num_bytes, takes))
        removed = []
        for record in takes:
            if total <= self.limit_bytes:
                break
            is_recent = self.ledger.idle_seconds(record.name) < RECENT_SECONDS
            if record.name not in used and not is_recent:
                total -= _num_bytes(record)
                self.ledger.remove(record.name)
                removed.append(record.name)
        return tuple(removed)

    def told_of_removed(self, takes: Collection[str]) -> tuple[str, ...]:
        """What `evict` has removed, in a sentence for the person in front; empty for nothing."""
        limit = f"{self.limit_bytes / 2**30:.3g} GB"
        names = ", ".join(takes)
        return (f"unused takes removed, the film's exceed {limit}: {names}",) if takes else ()

    def told_of_repaints(self, board: Storyboard) -> tuple[str, ...]:
        """What was painted over since the board's drawings were made, and is not what it uses, in
        a sentence each: another seed or text gives a shot files of another name."""
        drawings, said = self.ledger.records(DRAWING), {}
        for shot in board.shot_list.shots:
            used = self.ledger.get(board.pair(shot.id).name)
            others = (r for r in drawings if used and r.name != used.name)
            for record in (r for r in others if r.shot_id == used.shot_id):
                for half in sorted(set(record.files) & set(used.files), reverse=True):
                    stamp = record.files[half]
                    if self.ledger.is_changed(stamp, used.made_ns):
                        uses = used.files[half]["file"]
                        said[f"{stamp['file']} was painted over, but the film uses {uses}"] = None
        return tuple(said)

    def _kept_or_repainted(self, shot_id: str, keyframe: Keyframe) -> Picture:
        """The keyframe's picture in the folder, or what somebody has painted over it there."""
        for record in self.ledger.newest(KEYFRAME, keyframe.picture.digest):
            found = self._read_keyframe(record)
            if found is not None:
                return found
        return self.keep_picture(shot_id, keyframe.picture)

    def _read_keyframe(self, record: Record) -> Picture | None:
        """A keyframe as its file shows it now, or None for one that is damaged."""
        stamp = record.files["picture"]
        path = self.folder / stamp["file"]
        try:
            sound = self.ledger.digest(path) == stamp["sha256"]
            return _kept_picture(path, stamp) if sound else _repaint(path)
        except StorageError as error:
            _log.warning("%s is not used: %s", record.name, error)
            return None

    def _write_picture(self, path: Path, picture: Picture) -> dict[str, Any]:
        """Write the PNG; what a record says of it."""
        media.write_picture(path, picture.image)
        shape = {"pixels": picture.digest, "size": [picture.width, picture.height]}
        return {**self.ledger.stamp(path), **shape}

    def _write(self, name, kind, shot_id, key, files, fields) -> Record:
        record = Record(name, kind, shot_id, key, time.time_ns(), files, fields)
        return self.ledger.write(record)

    def _read_pair(self, record: Record, memory: str) -> FramePair | None:
        halves: dict[str, Picture] = {}
        given = set(record.fields["given"])
        for half, stamp in record.files.items():
            path = self.folder / stamp["file"]
            try:
                sound = self.ledger.digest(path) == stamp["sha256"]
                halves[half] = _kept_picture(path, stamp) if sound else _repaint(path)
            except StorageError as error:
                _log.warning("%s is not used: %s", record.name, error)
                return None
            if halves[half].digest != stamp["pixels"]:
                given.add(half)
        older = bool(memory) and memory != record.fields["memory"]
        return FramePair(
            record.shot_id,
            halves.get("start"),
            halves.get("end"),
            frozenset(given),
            record.name,
            older,
        )

    def _read_take(self, record: Record) -> Clip | None:
        stamp, fields = record.files["film"], record.fields
        path = self.folder / stamp["file"]
        try:
            if self.ledger.digest(path) != stamp["sha256"]:
                raise StorageError(f"{path} has changed since it was written")
        except StorageError as error:
            _log.warning("take %s is not used: %s", record.name, error)
            return None
        frames = media.VideoFrames(path, fields["num_frames"], *fields["size"])
        sound = self._read_sound(record)
        self.ledger.touch(record.name)
        return Clip(record.shot_id, frames, Fraction(fields["rate"]), sound, record.name)

    def _read_sound(self, record: Record) -> Sound | None:
        """The take's sound; None, with a warning, for one that is damaged: filming the shot anew
        would lose more than its sound."""
        stamp = record.files.get("sound")
        if stamp is None:
            return None
        path = self.folder / stamp["file"]
        try:
            if self.ledger.digest(path) != stamp["sha256"]:
                raise StorageError(f"{path} has changed since it was written")
            sound = self._sounds.get(stamp["sha256"]) or media.read_sound(path)[0]
        except (StorageError, ValueError) as error:
            _log.warning("take %s plays without its sound: %s", record.name, error)
            return None
        self._sounds[stamp["sha256"]] = sound
        return sound


def _num_bytes(record: Record) -> int:
    return sum(stamp["bytes"] for stamp in record.files.values())


def _kept_picture(path: Path, stamp: Mapping[str, Any]) -> Picture:
    width, height = stamp["size"]
    return Picture(height, width, stamp["pixels"], lambda: media.read_picture(path))


def _repaint(path: Path) -> Picture:
    """The picture of a file that somebody painted over, which only opening it can tell."""
    return replace(Picture.of(media.read_picture(path)), read=lambda: media.read_picture(path))
