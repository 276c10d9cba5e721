"""`board.json` in a film's folder: the plan as last seen, and what of each shot is in use."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .atomic import write_text
from .errors import PlanError, StorageError
from .story.shot_list import ShotList, load_json, shot_list_from_record

BOARD_FILE = "board.json"
BOARD_SCHEMA = "stage.Board.1"

_log = logging.getLogger(__name__)


class BoardFile:
    """The board file of a folder, which may be damaged, or of a newer version, and is then unread:
    it says nothing, and is kept under another name before it is written over."""

    def __init__(self, folder: Path):
        self.path = folder / BOARD_FILE

    @property
    def is_unread(self) -> bool:
        """Whether the file is there, and nobody can tell what it says. Raises StorageError."""
        return self._record() is None and self.path.exists()

    def in_use(self) -> Mapping[str, Mapping[str, str]]:
        """The names of the pair and of the take in use, by shot id. Raises StorageError."""
        return (self._record() or {}).get("in_use", {})

    def shot_list(self) -> ShotList | None:
        """The plan as last seen, or None. Raises StorageError."""
        record = self._record()
        try:
            return shot_list_from_record(record["shot_list"]) if record else None
        except (KeyError, PlanError) as error:
            _log.warning("%s is not read: %s", self.path, error)
            return None

    def write(self, shot_list: ShotList, in_use: Mapping[str, Mapping[str, str]]) -> None:
        """Record both, unless the file says so already.

        Raises:
            StorageError: the file cannot be read or written.
        """
        plan = json.loads(shot_list.to_json())
        record = {"schema": BOARD_SCHEMA, "shot_list": plan, "in_use": in_use}
        known = self._record()
        if record == known:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if known is None and self.path.exists():
            self._set_aside()
        write_text(self.path, json.dumps(record, ensure_ascii=False, indent=1))

    def _record(self) -> Mapping[str, Any] | None:
        try:
            record = load_json(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageError(f"{self.path} cannot be read: {error.strerror}") from error
        except (UnicodeDecodeError, PlanError) as error:
            _log.warning("%s is not read: %s", self.path, error)
            return None
        if not _is_board(record):
            _log.warning("%s is not read: it is no %s", self.path, BOARD_SCHEMA)
            return None
        return record

    def _set_aside(self) -> None:
        names = ("board.unread.json", *(f"board.unread-{n}.json" for n in range(2, 1000)))
        free = next(it for it in map(self.path.with_name, names) if not it.exists())
        self.path.replace(free)
        _log.warning("%s could not be read and is kept as %s", self.path, free.name)


def _is_board(record: Any) -> bool:
    if not isinstance(record, dict) or record.get("schema") != BOARD_SCHEMA:
        return False
    in_use = record.get("in_use")
    return isinstance(in_use, dict) and all(isinstance(entry, dict) for entry in in_use.values())
