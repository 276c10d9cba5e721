"""The films of this process: their folders, and whether somebody else has changed them."""

from __future__ import annotations

from pathlib import Path

from ..stage_core.project import Project
from . import host

_projects: dict[Path, Project] = {}
_known: dict[Path, tuple[str, ...]] = {}
_counters = {"changes": 0, "takes": 0}


def open_film(title: str) -> Project:
    """The folder of the film of this title, kept open for the whole process.

    Raises:
        StorageError: the folder would lie outside of ComfyUI's output folder.
    """
    folder = host.film_folder(title)
    if folder not in _projects:
        _projects[folder] = Project(folder)
        _known[folder] = _projects[folder].ledger.foreign_changes()
    return _projects[folder]


def changes() -> int:
    """A number that grows when somebody repaints, replaces or removes a file of an open film.

    It is the fingerprint of the nodes that read a film's folder: which folder that will be they
    cannot know before they run, and what they write there themselves does not count.
    """
    for folder, project in _projects.items():
        now = project.ledger.foreign_changes()
        if now != _known[folder]:
            _known[folder] = now
            _counters["changes"] += 1
    return _counters["changes"]


def takes_made(count: int = 0) -> int:
    """How many takes, and pairs from other graphs, this process has stored, `count` more than
    before."""
    _counters["takes"] += count
    return _counters["takes"]
