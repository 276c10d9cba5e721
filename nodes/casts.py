"""Shared casts by name: folders inside ComfyUI's input folder or its output/stage/cast."""

from __future__ import annotations

from pathlib import Path

import folder_paths

from ..stage_core.errors import StorageError
from ..stage_core.project import folder_name
from ..stage_core.sharing.cast_folder import CAST_FILE


def cast_to_write(name: str) -> Path:
    """The folder in which a cast of this name is kept.

    Raises:
        ValueError: no plain name.
        StorageError: a link leads out of ComfyUI's output folder.
    """
    output = Path(folder_paths.get_output_directory()).resolve()
    return _inside(output / "stage" / "cast", name)


def cast_to_read(name: str) -> Path:
    """The folder of a cast that is kept, or that lies in the input folder.

    Raises:
        ValueError: no plain name.
        StorageError: no such cast, or a link leads out of its folder.
    """
    kept = cast_to_write(name)
    given = _inside(Path(folder_paths.get_input_directory()).resolve(), name)
    for folder in (kept, given):
        if (folder / CAST_FILE).is_file():
            return folder
    raise StorageError(f"there is no cast {name!r}: neither {kept} nor {given} holds a {CAST_FILE}")


def _inside(root: Path, name: str) -> Path:
    if folder_name(name) != name:
        raise ValueError(
            f"{name!r:.100} is no name of a folder; use a plain name such as {folder_name(name)!r}"
        )
    folder = root / name
    if not folder.resolve().is_relative_to(root):
        raise StorageError(f"{folder} leads out of {root}; remove that link")
    return folder
