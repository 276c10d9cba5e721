"""Sample stories, and the reading of a story by its name or from a file."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from ..errors import PlanError

MAX_BYTES = 64 * 2**20
# How files begin that somebody may take for a story, after so many bytes.
_NO_STORIES = (
    (0, b"\x89PNG", "a picture"),
    (0, b"\xff\xd8\xff", "a picture"),
    (0, b"GIF8", "a picture"),
    (8, b"WEBP", "a picture"),
    (8, b"AVI ", "a film"),
    (8, b"WAVE", "a sound"),
    (4, b"ftyp", "a film"),
    (0, b"\x1a\x45\xdf\xa3", "a film"),
    (0, b"%PDF", "a PDF"),
    (0, b"PK\x03\x04", "an archive or a document of an office program"),
)


def story_names() -> tuple[str, ...]:
    """The names of the sample stories."""
    return tuple(sorted(_samples()))


def read_story(name: str) -> str:
    """The text of a sample story by its name, with or without its ending, or of a file.

    Raises:
        PlanError: neither; the message names the sample stories. Or the file is too long, or is
            no text in UTF-8 or UTF-16; of a picture, a film and their like it says so.
    """
    path = Path(name)
    if path.is_file():
        _check_text(path)
        if path.stat().st_size > MAX_BYTES:
            raise PlanError(f"{name} has {path.stat().st_size} bytes; at most {MAX_BYTES} are read")
        return _decoded(path.read_bytes(), name)
    samples = _samples()
    found = samples.get(name.rpartition(".")[0] or name) or samples.get(name)
    if found is None and path.is_dir():
        raise PlanError(f"{name!r} is a folder; name the story in it")
    if found is None:
        raise PlanError(
            f"{name!r} is no file and no sample story; there are {', '.join(story_names())}"
        )
    return found.read_text(encoding="utf-8")


def story_title(name: str) -> str:
    """The title of a story that gives none: a sample's name in words, a file's as it is."""
    path = Path(name)
    is_sample = not path.is_file() and path.stem in _samples()
    return path.stem.replace("_", " ").title() if is_sample else path.stem


def _check_text(path: Path) -> None:
    """Raises PlanError for what begins as no text does."""
    with path.open("rb") as file:
        begins = file.read(16)
    for place, mark, kind in _NO_STORIES:
        if begins[place:].startswith(mark):
            raise PlanError(
                f"{path} is {kind} and no story; a story is a screenplay, a shot table or JSON as "
                "text, a saved storyboard (.stage.zip), or a sheet that carries its storyboard"
            )


def _samples() -> dict:
    # The package's own name, whatever it is imported as.
    files = resources.files(__package__).iterdir()
    stories = (file for file in files if not file.name.endswith((".py", ".pyc")) and file.is_file())
    return {file.name.rpartition(".")[0]: file for file in stories}


def _decoded(data: bytes, name: str) -> str:
    # Spreadsheets save "Unicode text" as UTF-16 with its mark.
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise PlanError(f"{name} is no text in UTF-8; save it as UTF-8", line) from None
