"""The files inside a saved storyboard, looked at before anything is believed."""

from __future__ import annotations

import hashlib
import stat
import wave
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any
from zlib import error as zlib_error

import torch

from ..errors import PlanError, StorageError
from ..ledger import FILE_NAME
from ..media import LOSSLESS_CODECS, import_av, import_pillow, storing
from ..story.frames import Picture
from ..story.shot_list import MAX_JSON_CHARACTERS, MAX_SHOTS
from ..story.storyboard import MOST_BETWEEN
from .record import BetweenEntry, DrawingEntry, TakeEntry

BOARD = "storyboard.json"

_MAX_PNG_BYTES = 256 * 2**20
# A quarter of an hour of stereo; the sound of a take is held in memory.
_MAX_SOUND_BYTES = 256 * 2**20
_MAX_SIDE = 8192
_MATROSKA = b"\x1a\x45\xdf\xa3"
_CHUNK_BYTES = 2**20


@dataclass
class Files:
    """What lies in an opened archive, by name."""

    archive: zipfile.ZipFile
    name: str
    members: Mapping[str, zipfile.ZipInfo]

    @classmethod
    def of(cls, archive: zipfile.ZipFile, path: Path) -> Files:
        """The files of an open archive, if each may be there."""
        members, size = {}, path.stat().st_size
        for member in archive.infolist():
            _check_member(member, members, path.name)
            members[member.filename] = member
        # Entries that lie over each other could give more bytes than the file has.
        if (
            len(members) > (4 + MOST_BETWEEN) * MAX_SHOTS + 1
            or sum(m.compress_size for m in members.values()) > size
        ):
            raise PlanError(f"{path.name} promises more than it holds; it is no saved storyboard")
        if BOARD not in members:
            raise PlanError(f"{path.name} has no {BOARD}; choose a file of Save Storyboard")
        return cls(archive, path.name, members)

    def text(self) -> str:
        """What `storyboard.json` says."""
        with _unpacking(self.name), self.archive.open(self.members[BOARD]) as file:
            data = file.read(4 * MAX_JSON_CHARACTERS + 1)
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise PlanError(f"{BOARD} in {self.name} is no text in UTF-8") from None

    def check(self, entry: DrawingEntry | TakeEntry | BetweenEntry) -> None:
        """Raises PlanError when a file that the board names is not there."""
        for file in entry.names:
            if file not in self.members or file == BOARD:
                raise PlanError(
                    f"{self.name} lacks {file}, which its board names; save the storyboard again",
                    entry.line,
                )

    def picture(self, entry: DrawingEntry | BetweenEntry, place: str) -> Picture:
        """A half of a drawing, or a keyframe between, with the pixels that the board says."""
        numpy, image_module, _ = import_pillow()
        member = self.members[entry.files[place]]
        where = f"{member.filename} in {self.name}"
        if member.file_size > _MAX_PNG_BYTES:
            raise PlanError(f"{where} has {member.file_size} bytes; at most {_MAX_PNG_BYTES}")
        try:
            with _unpacking(self.name):
                data = BytesIO(self.archive.read(member))
            with image_module.open(data, formats=("PNG",)) as image:
                if max(image.size) > _MAX_SIDE or image.mode != "RGB":
                    raise PlanError(
                        f"{where} is a {image.mode} picture of {image.width}x{image.height}; it "
                        f"should be RGB of at most {_MAX_SIDE} on a side"
                    )
                picture = Picture.of(torch.from_numpy(numpy.array(image)))
        except (image_module.DecompressionBombError, SyntaxError, OSError) as error:
            raise PlanError(f"{where} is no PNG that can be read: {error}") from None
        if picture.digest != entry.pixels[place]:
            raise PlanError(f"{where} is not the picture that the board describes", entry.line)
        return picture

    def copy_film(self, entry: TakeEntry, target: Path) -> None:
        """Write a take to `target` if it is the film that the board describes."""
        where = f"{entry.file} in {self.name}"
        if self._copy(entry.file, target) != entry.sha256:
            raise PlanError(f"{where} is not the film that the board describes", entry.line)
        _check_film(target, entry, where)

    def copy_sound(self, entry: TakeEntry, target: Path) -> None:
        """Write a take's own sound to `target` if it is the sound that the board describes."""
        where = f"{entry.sound.file} in {self.name}"
        if self._copy(entry.sound.file, target) != entry.sound.sha256:
            raise PlanError(f"{where} is not the sound that the board describes", entry.line)
        _check_sound(target, entry, where)

    def _copy(self, name: str, target: Path) -> str:
        """Write a member to `target`; gives the SHA-256 of what was written."""
        digest = hashlib.sha256()
        member = self.members[name]
        with (
            _unpacking(self.name),
            self.archive.open(member) as source,
            target.open("wb") as file,
        ):
            while chunk := source.read(_CHUNK_BYTES):
                digest.update(chunk)
                file.write(chunk)
        return digest.hexdigest()


@contextmanager
def opened(path: Path) -> Iterator[Files]:
    """The files of an archive for the time of the block.

    Raises:
        PlanError: it is damaged, or holds what a saved storyboard never does.
        StorageError: there is no such file.
    """
    try:
        with _unpacking(path.name):
            archive = zipfile.ZipFile(path)
    except FileNotFoundError:
        raise StorageError(f"{path.name} is not there any more") from None
    with archive:
        yield Files.of(archive, path)


@contextmanager
def _unpacking(name: str) -> Iterator[None]:
    """Turns what a damaged archive makes of its reading into one PlanError; only around that,
    since others raise RuntimeError too."""
    try:
        yield
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, zlib_error) as error:
        raise PlanError(f"{name} is damaged or no saved storyboard: {error}") from None


def _check_member(member: zipfile.ZipInfo, seen: Mapping[str, Any], archive: str) -> None:
    """Raises PlanError for what a saved storyboard never holds."""
    name = member.filename
    if name != BOARD and not FILE_NAME.fullmatch(name):
        raise PlanError(f"{archive} holds {name!r:.80}, which is no file of a storyboard")
    if name in seen:
        raise PlanError(f"{archive} holds {name} twice")
    if stat.S_ISLNK(member.external_attr >> 16):
        raise PlanError(f"{archive}: {name} is a link; a storyboard has none")
    if name != BOARD and member.compress_type != zipfile.ZIP_STORED:
        raise PlanError(f"{archive}: {name} is packed; pictures and films are stored as they are")


def _check_film(path: Path, entry: TakeEntry, where: str) -> None:
    """Raises PlanError for what is no lossless film of the size that the board describes."""
    with path.open("rb") as file:
        if file.read(4) != _MATROSKA:
            raise PlanError(f"{where} is no Matroska file", entry.line)
    av = import_av()
    with storing(path, "read"), av.open(str(path), format="matroska") as container:
        streams = container.streams.video
        codec = streams[0].codec_context if len(container.streams) == len(streams) == 1 else None
        known = codec is not None and codec.name in LOSSLESS_CODECS
    if not known or (codec.width, codec.height) != entry.size:
        raise PlanError(f"{where} is no film as takes are kept, of {entry.size}", entry.line)


def _check_sound(path: Path, entry: TakeEntry, where: str) -> None:
    """Raises PlanError for what is no sound as takes are kept: 24 bits, mono or stereo."""
    if path.stat().st_size > _MAX_SOUND_BYTES:
        raise PlanError(f"{where} is longer than a take's sound can be", entry.line)
    try:
        with path.open("rb") as file, wave.open(file) as sound:
            sound_of_a_take = sound.getsampwidth() == 3 and sound.getnchannels() in (1, 2)
            known_rate = 8000 <= sound.getframerate() <= 192_000
    except (wave.Error, EOFError) as error:
        raise PlanError(f"{where} is no WAV file: {error}", entry.line) from None
    if not (sound_of_a_take and known_rate):
        raise PlanError(f"{where} is no sound as takes are kept, of 24 bits", entry.line)
