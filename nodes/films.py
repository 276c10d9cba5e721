"""The films of this process: their folders, and whether somebody else has changed them."""

from __future__ import annotations

from pathlib import Path

from ..stage_core.neighbours import Neighbours
from ..stage_core.project import Project
from . import host

_projects: dict[Path, Project] = {}
_beside: dict[Path, Project] = {}
_known: dict[Path, tuple[str, ...]] = {}
_counters = {"changes": 0, "takes": 0}
# By graph: the number of takes that it was told, and how many there were when it showed them.
_shown: dict[str, tuple[int, int]] = {}


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


def neighbours(project: Project) -> Neighbours:
    """The other films in ComfyUI's output folder; their records stay known for the whole process,
    and what somebody changes there is no change of this film's."""
    return Neighbours(project, _opened_beside)


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


def _opened_beside(folder: Path) -> Project:
    return _projects.get(folder) or _beside.setdefault(folder, Project(folder))


def takes_told(graph: str) -> int:
    """The fingerprint of a node that shows takes: how many there are, or were when it showed them
    last, if all that came since were made on the way there.

    `graph` names the node and all above it; empty, nothing is known of it. Without this a graph
    that films and then shows would never be the same in its second run.
    """
    told, shown = _shown.get(graph, (0, -1))
    if shown != _counters["takes"]:
        told = _counters["takes"]
    if graph:
        _shown[graph] = (told, shown)
    return told


def takes_shown(graph: str) -> None:
    """The node that a graph ends with shows all takes that there are now."""
    if graph in _shown:
        _shown[graph] = (_shown[graph][0], _counters["takes"])
