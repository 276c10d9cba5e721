"""A cast as a folder that artists share: `cast.json` and the pictures beside it.

The folder may come from a stranger: its JSON names pictures in the folder itself and nothing else,
and what is too large, damaged or there twice is refused in one sentence.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from .. import media
from ..atomic import write_text
from ..errors import PlanError, StorageError
from ..story.cast import MAX_PICTURES, Cast
from ..story.frames import Picture
from ..story.members import MAX_MEMBERS, Member, MemberKind, name_key
from ..story.shot_list import load_json

CAST_FILE = "cast.json"
SCHEMA = "stage.Cast.1"
MAX_BYTES = 2**22
MAX_PICTURE_BYTES = 2**26
MAX_SIDE = 8192
# Of a whole cast: a thousand pictures of a million pixels.
MAX_PIXELS = 2**30
_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
_FIELDS = frozenset(("name", "kind", "description", "pictures"))


def read_cast_folder(folder: Path) -> Cast:
    """The cast in a folder; its pictures are read from their files whenever they are looked at.

    Raises:
        StorageError: no cast there, or a file that cannot be read.
        PlanError: a cast.json that is no cast, too large, or names a file outside of its folder.
    """
    path = folder / CAST_FILE
    try:
        if path.stat().st_size > MAX_BYTES:
            size = path.stat().st_size
            raise PlanError(f"{path} has {size} bytes; a cast has at most {MAX_BYTES}")
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise StorageError(f"{folder} holds no cast: there is no {CAST_FILE} in it") from None
    except UnicodeDecodeError:
        raise PlanError(f"{path} is no text in UTF-8; save it as UTF-8") from None
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}") from None
    try:
        members, files = _decoded(load_json(text))
        made = Cast(members)
    except ValueError as error:
        raise PlanError(f"{path}: {error}") from None
    read = _pictures(folder, dict.fromkeys(itertools.chain(*files)))
    pictures = {
        member.name: tuple(read[name] for name in names)
        for member, names in zip(members, files, strict=True)
    }
    return Cast(made.members, pictures)


def write_cast_folder(cast: Cast, folder: Path) -> None:
    """Keep a cast in a folder; members that are there already and not in `cast` stay.

    A picture's name holds its digest, so that none is ever written over.

    Raises:
        StorageError: the folder cannot be written.
        PlanError: it holds a cast that cannot be read.
    """
    if (folder / CAST_FILE).exists():
        cast = read_cast_folder(folder).with_cast(cast)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"{folder} cannot be made: {error.strerror}") from None
    members = [
        {
            "name": member.name,
            "kind": member.kind.value,
            "description": member.description,
            "pictures": [
                _kept(folder, member, picture) for picture in cast.pictures.get(member.name, ())
            ],
        }
        for member in cast.members
    ]
    record = {"schema": SCHEMA, "members": members}
    text = json.dumps(record, ensure_ascii=False, indent=1) + "\n"
    path = folder / CAST_FILE
    # A file that says the same keeps its time, by which others tell that it has changed.
    if not path.exists() or path.read_text(encoding="utf-8-sig") != text:
        write_text(path, text)


def cast_stamp(folder: Path) -> str:
    """Changes when somebody changes a file of the cast; empty where there is no cast."""
    files = sorted(path for path in folder.glob("*") if _is_of_cast(path))
    stats = ((path.name, path.stat()) for path in files)
    return " ".join(f"{name} {stat.st_size} {stat.st_mtime_ns}" for name, stat in stats)


def _is_of_cast(path: Path) -> bool:
    return path.is_file() and (path.name == CAST_FILE or path.suffix.lower() in _FORMATS)


def _decoded(record: Any) -> tuple[tuple[Member, ...], tuple[list[str], ...]]:
    """The members and the names of their pictures."""
    if not isinstance(record, dict) or not isinstance(record.get("members"), list):
        raise PlanError("a cast is a JSON object with a list 'members'")
    if record.get("schema") != SCHEMA:
        raise PlanError(
            f"schema {record.get('schema')!r:.60} is not {SCHEMA!r}; a newer version of STAGE may "
            "have written it"
        )
    if len(record["members"]) > MAX_MEMBERS:
        raise PlanError(f"{len(record['members'])} members; at most {MAX_MEMBERS}")
    found = [_member(entry, number) for number, entry in enumerate(record["members"], 1)]
    return tuple(member for member, _ in found), tuple(names for _, names in found)


def _member(entry: Any, number: int) -> tuple[Member, list[str]]:
    where = f"member {number}"
    if not isinstance(entry, dict):
        raise PlanError(f"{where} is {type(entry).__name__}, not an object")
    if unknown := sorted(set(entry) - _FIELDS):
        raise PlanError(f"{where} has the unknown field {unknown[0]!r:.60}")
    for name in ("name", "kind", "description"):
        if not isinstance(entry.get(name, ""), str):
            raise PlanError(f"{where}: {name} is {entry[name]!r:.60}; it should be text")
    pictures = entry.get("pictures", [])
    if not isinstance(pictures, list) or not all(isinstance(name, str) for name in pictures):
        raise PlanError(f"{where}: pictures is no list of file names")
    if len(pictures) > MAX_PICTURES:
        raise PlanError(f"{where} has {len(pictures)} pictures; at most {MAX_PICTURES}")
    kind = MemberKind.parse(entry["kind"]) if entry.get("kind") else MemberKind.CHARACTER
    return Member(entry.get("name", ""), kind, entry.get("description", "")), pictures


def _pictures(folder: Path, names: Iterable[str]) -> dict[str, Picture]:
    """The pictures by the names of their files, all checked before the first is unpacked."""
    sizes = {folder / name: _size(folder, name) for name in names}
    total = sum(width * height for width, height in sizes.values())
    if total > MAX_PIXELS:
        raise PlanError(
            f"the pictures in {folder} have {total} pixels together; at most {MAX_PIXELS}"
        )
    return {path.name: _lazy(path) for path in sizes}


def _lazy(path: Path) -> Picture:
    """A picture whose pixels do not stay in RAM."""
    return replace(Picture.of(media.read_picture(path)), read=lambda: media.read_picture(path))


def _size(folder: Path, name: str) -> tuple[int, int]:
    """Width and height of a picture of the folder itself, checked before its pixels are read."""
    path = folder / name
    if name != Path(name).name or re.search(r'[\\/:*?"<>|\x00-\x1f]', name):
        raise PlanError(f"picture {name!r:.100} is no file of the cast's own folder")
    form = _FORMATS.get(path.suffix.lower())
    if form is None:
        raise PlanError(f"picture {name!r:.100} is none of {', '.join(_FORMATS)}")
    if not path.is_file():
        raise StorageError(f"{path} is missing; put it there or take it out of {CAST_FILE}")
    if path.resolve().parent != folder.resolve():
        raise PlanError(f"picture {name!r:.100} is a link out of the cast's folder")
    if path.stat().st_size > MAX_PICTURE_BYTES:
        size = path.stat().st_size
        raise PlanError(f"{path} has {size} bytes; a picture has at most {MAX_PICTURE_BYTES}")
    return _size_in_header(path, form)


def _size_in_header(path: Path, form: str) -> tuple[int, int]:
    """Refuses a file that is no picture of its kind, or that would be huge once it is unpacked."""
    _, image_module, _ = media.import_pillow()
    try:
        with image_module.open(path, formats=(form,)) as image:
            width, height = image.size
    except (OSError, ValueError, SyntaxError, image_module.DecompressionBombError):
        raise StorageError(f"{path} is no {form} picture that can be read") from None
    if max(width, height) > MAX_SIDE:
        raise PlanError(f"{path} has {width}x{height} pixels; each side has at most {MAX_SIDE}")
    return width, height


def _kept(folder: Path, member: Member, picture: Picture) -> str:
    """The name of the picture's file in the folder, written unless it is there."""
    plain = re.sub(r"[^\w-]+", "_", name_key(member.name))[:40].strip("_")
    path = folder / f"{plain or 'member'}_{picture.digest[:12]}.png"
    if not path.exists():
        media.write_picture(path, picture.image)
    return path.name
