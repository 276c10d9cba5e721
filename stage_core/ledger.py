"""The small records beside the files of a film's folder: one per result, written once.

A record names its files with their SHA-256, so that a damaged or repainted file is noticed.
Nothing is locked or merged: every writer makes names that nobody else has.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .atomic import PARTIAL, remove_older, write_text
from .errors import PlanError, StorageError
from .media import sha256
from .story.shot_list import load_json

STALE_SECONDS = 24 * 3600
FILE_NAME = re.compile(r"[A-Za-z0-9_-]{1,80}\.(png|mkv|wav)")
"""The files that results are made of."""


@dataclass(frozen=True)
class Record:
    """A result by its name: `key` finds it, `files` are what it consists of, by role.

    A file is {"file", "sha256", "bytes", "mtime_ns"}. `fields` is whatever else is known.
    """

    name: str
    kind: str
    shot_id: str
    key: str
    made_ns: int
    files: Mapping[str, Mapping[str, Any]]
    fields: Mapping[str, Any]


@dataclass
class Entry:
    """A result in the making: its name and the files made for it so far."""

    folder: Path
    name: str
    paths: list[Path] = field(default_factory=list)

    def path(self, ending: str) -> Path:
        """A file of this result: `2A_d01` and `_start.png` make `2A_d01_start.png`."""
        self.paths.append(self.folder / f"{self.name}{ending}")
        return self.paths[-1]


class Ledger:
    """The records in one folder, kept up with what other processes write there."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._records: dict[str, Record] = {}
        self._digests: dict[tuple[str, int, int], str] = {}
        self._num_lost = 0

    def records(self, kind: str) -> list[Record]:
        """All records of a kind, oldest first."""
        self._refresh()
        found = (record for record in self._records.values() if record.kind == kind)
        return sorted(found, key=lambda record: (record.made_ns, record.name))

    def newest(self, kind: str, key: str) -> list[Record]:
        """The records of this key, newest first."""
        return [record for record in reversed(self.records(kind)) if record.key == key]

    def get(self, name: str) -> Record | None:
        """The record of this name, or None."""
        self._refresh()
        return self._records.get(name)

    @contextmanager
    def new(self, stem: str) -> Iterator[Entry]:
        """A name nobody else has, to make files under; in the block `write` completes it.

        When the block fails, its files are removed.

        Raises:
            StorageError: the folder cannot be written to.
        """
        entry = Entry(self.folder, self._reserve(stem))
        try:
            yield entry
        except BaseException:
            for path in (*entry.paths, self._path(entry.name)):
                path.unlink(missing_ok=True)
            raise

    def write(self, record: Record) -> Record:
        """Write the record under its reserved name; from now on the result exists."""
        fields = {name: value for name, value in vars(record).items() if name != "name"}
        text = json.dumps({"digest": _digest(fields), "record": fields}, indent=1)
        write_text(self._path(record.name), text)
        self._records[record.name] = record
        return record

    def stamp(self, path: Path) -> dict[str, Any]:
        """What a record says of a file that was just written."""
        status = path.stat()
        return {
            "file": path.name,
            "sha256": self.digest(path),
            "bytes": status.st_size,
            "mtime_ns": status.st_mtime_ns,
        }

    def digest(self, path: Path) -> str:
        """SHA-256 of the file, remembered while size and time of change stay the same.

        Raises:
            StorageError: the file is missing or cannot be read.
        """
        try:
            status = path.stat()
            known = (path.name, status.st_size, status.st_mtime_ns)
            if known not in self._digests:
                self._digests[known] = sha256(path)
            return self._digests[known]
        except OSError as error:
            raise StorageError(f"cannot read {path}: {error.strerror}") from error

    def foreign_changes(self) -> tuple[str, ...]:
        """Files and records that someone else changed or removed since they were written here.

        Our own writing does not change the answer, so it can serve as a fingerprint.
        """
        self._refresh()
        # A number: the name of a lost result may be given again, and lost again.
        changes = [f"{self._num_lost} records removed"] if self._num_lost else []
        for record in self._records.values():
            for stamp in record.files.values():
                now = _status(self.folder / stamp["file"])
                if now != (stamp["bytes"], stamp["mtime_ns"]):
                    changes.append(f"{stamp['file']} {now}")
        return tuple(sorted(changes))

    def is_changed(self, stamp: Mapping[str, Any], since_ns: int) -> bool:
        """Whether somebody has changed a record's file after this time.

        Raises:
            StorageError: the file cannot be read.
        """
        path = self.folder / stamp["file"]
        now = _status(path)
        if now in (None, (stamp["bytes"], stamp["mtime_ns"])) or now[1] <= since_ns:
            return False
        return self.digest(path) != stamp["sha256"]

    def touch(self, name: str) -> None:
        """Let others see, by the time of the record's file, that the result is used now."""
        # A folder that may only be read plays its film too.
        with suppress(OSError):
            os.utime(self._path(name))

    def idle_seconds(self, name: str) -> float:
        """How long ago anybody wrote or touched the result; infinite for one that is gone."""
        status = _status(self._path(name))
        return math.inf if status is None else time.time() - status[1] / 1e9

    def remove(self, name: str) -> None:
        """Remove a result: its files first, so that a record never stands without them."""
        record = self._records.pop(name, None)
        files = [stamp["file"] for stamp in record.files.values()] if record else []
        for path in [*(self.folder / file for file in files), self._path(name)]:
            path.unlink(missing_ok=True)

    def remove_stale_parts(self) -> None:
        """Remove what a crashed writer left behind a day ago or earlier."""
        remove_older(self.folder, f".*{PARTIAL}*", STALE_SECONDS)

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.json"

    def _reserve(self, stem: str) -> str:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for number in range(1, 100_000):
                name = stem if number == 1 else f"{stem}-{number}"
                try:
                    # An empty record holds the name until the real one replaces it.
                    self._path(name).open("x").close()
                    return name
                except FileExistsError:
                    continue
        except OSError as error:
            raise StorageError(f"cannot write to {self.folder}: {error.strerror}") from error
        raise StorageError(f"{self.folder} holds 100000 results named {stem}; clear it out")

    def _refresh(self) -> None:
        found = {path.stem: path for path in self.folder.glob("*.json")}
        for gone in set(self._records) - set(found):
            del self._records[gone]
            self._num_lost += 1
        for name in set(found) - set(self._records):
            record = _read_record(found[name])
            if record is not None:
                self._records[name] = record


def _read_record(path: Path) -> Record | None:
    """The record in a file, or None for one that is reserved, damaged or not ours."""
    try:
        content = load_json(path.read_text(encoding="utf-8") or "null")
        fields = content["record"] if _digest(content["record"]) == content["digest"] else None
        record = Record(name=path.stem, **fields)
        sound = all(_is_sound(stamp) for stamp in record.files.values())
    except (OSError, UnicodeDecodeError, PlanError, TypeError, KeyError, AttributeError):
        return None
    return record if sound else None


def _digest(fields: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


def _is_sound(stamp: Any) -> bool:
    """Whether a file entry is whole and stays in its folder: records may come from a stranger."""
    return (
        isinstance(stamp, dict)
        and {"file", "sha256", "bytes", "mtime_ns"} <= set(stamp)
        and FILE_NAME.fullmatch(stamp["file"]) is not None
    )


def _status(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns
