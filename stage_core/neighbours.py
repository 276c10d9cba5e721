"""The films whose folders lie beside a film's own: what they have made is not made again.

Keys depend on no title, so a film under a new title finds what it had under the old one. It is
brought into the film's own folder; nothing in the other one changes, its board least of all.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from .atomic import replacing
from .board_file import BOARD_FILE
from .errors import StorageError
from .ledger import Record
from .project import DRAWING, TAKE, Project
from .story.frames import FramePair
from .story.shot_list import Shot, ShotList
from .story.timeline import Clip

_log = logging.getLogger(__name__)
_ENDINGS = {"start": "_start.png", "end": "_end.png", "film": ".mkv", "sound": ".wav"}
# What the records and files of a folder can lead to that somebody else has written to.
_DAMAGE = (OSError, ValueError, TypeError, KeyError, AttributeError)

_Result = TypeVar("_Result", FramePair, Clip)


@dataclass(frozen=True, eq=False)
class _Film:
    """A film beside this one, as its board was last seen."""

    plan: ShotList
    project: Project
    seen_ns: int


@dataclass
class Neighbours:
    """The films beside a film's folder, for one run: they are read when first asked, once.

    What is found keeps the name of its folder, `The Letter/1_d01`, until it is brought over.
    `brought` counts that by kind and by the title of the film it came from. A folder that cannot
    be read is passed over with a line in the log. `opened` gives the film in a folder.
    """

    project: Project
    opened: Callable[[Path], Project] = Project
    brought: Counter[tuple[str, str]] = field(default_factory=Counter)
    _lent: dict[str, tuple[_Film, str, str]] = field(default_factory=dict)

    def find_pair(self, key: str, memory: str) -> FramePair | None:
        """As `Project.find_pair`, in the other films, the one used last first."""
        return self._find(DRAWING, key, lambda project: project.find_pair(key, memory))

    def find_take(self, key: str) -> Clip | None:
        """As `Project.find_take`, in the other films, the one used last first."""
        return self._find(TAKE, key, lambda project: project.find_take(key))

    def settle(self, shot: Shot, find: Callable[[], _Result | None]) -> _Result | None:
        """What is found for a shot, in the film's own folder if it was another film's."""
        found = find()
        while found is not None and self.bring(found.name, shot):
            found = find()
        return found

    def bring(self, name: str, shot: Shot) -> bool:
        """Bring what was found under this name into the film's own folder, for this shot.

        False for a name that no neighbour gave. Else the result is in the folder now, or could
        not be brought and is not found here again.
        """
        if name not in self._lent:
            return False
        film, kind, key = self._lent[name]
        if film in self._by_key[kind, key]:
            self._by_key[kind, key].remove(film)
            record = film.project.ledger.get(name.rpartition("/")[2])
            with _passing_over(film.project.folder):
                self._copy(record, film.project, shot)
                self.brought[kind, film.plan.title] += 1
        return True

    def plan_like(self, plan: ShotList) -> ShotList | None:
        """The last plan of a film with these very descriptions, whose ids this one then has."""
        wanted = _descriptions(plan)
        plans = (film.plan for film in self._films)
        return next((it for it in plans if _descriptions(it) == wanted), None)

    def told(self, kind: str) -> tuple[str, ...]:
        """What of a kind was brought over, for the person in front; empty for nothing."""
        counts = {title: count for (it, title), count in self.brought.items() if it == kind}
        return tuple(f"{count} from the film {title}" for title, count in counts.items())

    @cached_property
    def _films(self) -> tuple[_Film, ...]:
        """The one used last first."""
        found = []
        with _passing_over(self.project.folder.parent):
            for board in self.project.folder.parent.glob(f"*/{BOARD_FILE}"):
                with _passing_over(board.parent):
                    found += self._film(board)
        return tuple(sorted(found, key=lambda film: -film.seen_ns))

    def _film(self, board: Path) -> list[_Film]:
        own, folder = self.project.folder, board.parent
        # A link may lead anywhere; a film is never looked for where it could not be kept.
        if folder.is_symlink() or (own.exists() and own.samefile(folder)):
            return []
        project = self.opened(folder)
        plan = project.earlier()
        return [_Film(plan, project, board.stat().st_mtime_ns)] if plan else []

    @cached_property
    def _by_key(self) -> dict[tuple[str, str], list[_Film]]:
        """The films that have a result, by its kind and key."""
        found: dict[tuple[str, str], dict[_Film, None]] = defaultdict(dict)
        for film in self._films:
            with _passing_over(film.project.folder):
                for kind in (DRAWING, TAKE):
                    for record in film.project.ledger.records(kind):
                        found[kind, record.key][film] = None
        return {key: list(films) for key, films in found.items()}

    def _find(
        self, kind: str, key: str, look: Callable[[Project], _Result | None]
    ) -> _Result | None:
        for film in self._by_key.get((kind, key), ()):
            folder = film.project.folder
            with _passing_over(folder):
                found = look(film.project)
                if found is not None:
                    name = f"{folder.name}/{found.name}"
                    self._lent[name] = film, kind, key
                    return replace(found, name=name)
        return None

    def _copy(self, record: Record | None, other: Project, shot: Shot) -> None:
        """The result under a name of the film's own folder. Raises one of `_DAMAGE`."""
        if record is None:
            raise StorageError("a result was removed a moment ago")
        ledger = self.project.ledger
        number = f"d{shot.drawing:02d}" if record.kind == DRAWING else f"t{shot.take:02d}"
        with ledger.new(f"{shot.id}_{number}") as entry:
            files = {}
            for role, stamp in record.files.items():
                source = other.folder / stamp["file"]
                if role == "sound" and other.ledger.digest(source) != stamp["sha256"]:
                    # A take plays without a sound that is damaged.
                    continue
                path = entry.path(_ENDINGS[role])
                _place(source, path)
                files[role] = _stamped(stamp, ledger.stamp(path), record.kind)
            made = replace(record, name=entry.name, shot_id=shot.id, files=files)
            ledger.write(replace(made, made_ns=time.time_ns()))


def _place(source: Path, path: Path) -> None:
    """The file under another name, a film without taking its room twice."""
    if path.suffix != ".png":
        # Pictures are painted over, which must not reach the other film; takes never change.
        try:
            os.link(source, path)
            return
        except OSError:
            _log.debug("%s is copied: this disk has no second names", source)
    with replacing(path) as part:
        shutil.copyfile(source, part)


def _stamped(stamp: Any, now: Any, kind: str) -> dict[str, Any]:
    """What the record says of a file that was placed; a repaint stays one."""
    if kind == TAKE and now["sha256"] != stamp["sha256"]:
        raise StorageError(f"{now['file']} has changed since it was written")
    return {**stamp, **now, "sha256": stamp["sha256"]}


def _descriptions(plan: ShotList) -> list[str]:
    return [shot.description for shot in plan.shots if not shot.copy_of]


@contextmanager
def _passing_over(folder: Path):
    """Goes on after what is wrong in another film's folder, with a line in the log."""
    try:
        yield
    except _DAMAGE as error:
        _log.warning("%s is passed over: %s", folder, error)
