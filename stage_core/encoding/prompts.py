"""Words into prompts: the template a checkpoint was trained with, or one of our own wording.

A template belongs to the weights as a chat template does: with other weights it is wrong. So the
released one is read from a checkpoint's metadata, or recognised by its SHA-256 in a file that the
user has; it is no part of this source.
"""

from __future__ import annotations

import ast
import hashlib
import json
import logging
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ..story.brief import ShotBrief, negative_of

METADATA_KEY = "stage.templates"
_PICTURE = "Picture 1: <|vision_start|>{}<|vision_end|>"
PICTURE_TOKEN = "<|image_pad|>"
_LAYOUT = "Current shot:"
_SOURCE_BYTES = 2**22

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Template:
    """The text around a prompt, and how much of its encoding the transformer is shown.

    `text` has the prompt's place as `{}`. `drop`: so many leading tokens are left out, None for
    all before the prompt. `longest`: the prompt is cut at so many tokens, None for never.
    """

    text: str
    drop: int | None = None
    longest: int | None = None

    def __post_init__(self):
        numbers = (self.drop, self.longest)
        if not isinstance(self.text, str) or not all(isinstance(n, int | None) for n in numbers):
            raise TypeError("a prompt template is a text, and whole numbers or none")
        if self.text.count("{}") != 1:
            raise ValueError(f"a prompt template with {self.text.count('{}')} places {{}}, not one")

    def token_ids(self, words: str, tokenize: Callable[[str], list[int]]) -> list[int]:
        """Token ids of the template around `words`; special tokens in the words count as such."""
        return tokenize(self.text.replace("{}", words))[: self.longest]

    def dropped(self, tokenize: Callable[[str], list[int]]) -> int:
        """How many leading tokens are left out."""
        return len(tokenize(self.text.split("{}")[0])) if self.drop is None else self.drop


@dataclass(frozen=True)
class Templates:
    """The templates of a checkpoint: for prompts with a picture before them, and without.

    `released`: both are those of the STAGE release, not our own wording. `picture` is what stands
    before the words for a picture, the place of its tokens as `{}`.
    """

    with_picture: Template
    words_only: Template
    released: bool = False
    picture: str = _PICTURE

    def to_metadata(self) -> dict[str, str]:
        """Text for the metadata of a safetensors file."""
        return {METADATA_KEY: json.dumps(asdict(self))}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> Templates | None:
        """What `to_metadata` wrote, or None where it wrote nothing.

        Raises:
            ValueError: the entry is there but cannot be read.
        """
        if METADATA_KEY not in metadata:
            return None
        try:
            fields = json.loads(metadata[METADATA_KEY])
            with_picture, words_only = (
                Template(**fields[name]) for name in ("with_picture", "words_only")
            )
            picture = str(fields.get("picture", _PICTURE))
            return cls(with_picture, words_only, bool(fields["released"]), picture)
        except (TypeError, KeyError, json.JSONDecodeError) as error:
            raise ValueError(
                f"the {METADATA_KEY} of this checkpoint cannot be read ({error}); convert it again"
            ) from None


OWN = Templates(
    Template(
        "<|im_start|>system\nThe picture is the last frame of the shot before. Draw the shot that "
        "is described next as one picture of two frames: above, the frame it starts with; below, "
        "the frame it ends with. Keep people, places and light as they are in the pictures given, "
        "and follow the description for what happens and how the camera sees it.<|im_end|>\n"
        "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
    ),
    Template(
        "<|im_start|>system\nDraw the shot that is described next as one picture of two frames: "
        "above, the frame it starts with; below, the frame it ends with. Follow the description "
        "for people, place, light, for what happens and how the camera sees it.<|im_end|>\n"
        "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
    ),
)
"""Templates of our own wording, for weights that come without any."""


# By the SHA-256 of the released texts. The drop index is that of stock Qwen-Image, although these
# begin with more tokens: the weights were trained so, with part of the instruction left in.
_RELEASED = {
    "a0b681f6f14b171142f7b0b04842a3a4bdace0d7ac7cf6fdddfe0b231ed489d3": (
        "with_picture",
        {"drop": 64},
    ),
    "ff750c47b87cad8dcb515566154b7197803760a3487822702a9141f4aba64b1e": (
        "words_only",
        {"drop": 34, "longest": 1024 + 34},
    ),
}


def find_templates(place: Path) -> Templates | None:
    """The released templates, as far as a file, or the files in a folder, hold them, else None.

    String constants of .py files and whole .txt files are looked at, also those inside .zip
    files. Nothing is run. A text that is not found stays in our own wording.
    """
    found: dict[str, Template] = {}
    for text in _texts(place):
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        if digest in _RELEASED:
            kind, settings = _RELEASED[digest]
            found[kind] = Template(text, **settings)
        if len(found) == len(_RELEASED):
            break
    return replace(OWN, **found, released=len(found) == len(_RELEASED)) if found else None


def with_picture(words: str, num_tokens: int, picture: str = _PICTURE) -> str:
    """`words` after `picture`, the place of a picture, with so many vision tokens in it."""
    return picture.replace("{}", PICTURE_TOKEN * num_tokens) + words


def shot_prompt(brief: ShotBrief) -> str:
    """What is drawn: the shot's own prompt or one from its fields, in the model's layout.

    The released samples also name seconds and frames. They are left out, since a trim or another
    frame rate would draw the shot anew; a prompt that begins with the layout is kept as it is.
    """
    shot, scene = brief.shot, brief.shot.scene
    inside = {True: "inside", False: "outside", None: ""}[scene.interior]
    setting = " ".join(filter(None, (inside, scene.place, scene.time_of_day)))
    camera = f"{shot.scale.value}, {shot.angle.value}, {shot.movement.value}"
    made = (camera, setting, ", ".join(shot.cast), shot.description, brief.theme)
    words = (shot.prompt,) if shot.prompt else made
    caption = ". ".join(filter(None, (*words, brief.look)))
    return caption if caption.startswith(_LAYOUT) else f"{_LAYOUT} \n{caption}"


def negative_prompt(brief: ShotBrief) -> str:
    """What is avoided; a space where nothing is said, as in the release."""
    return negative_of(brief) or " "


def _texts(place: Path) -> Iterator[str]:
    for path in sorted(place.rglob("*")) if place.is_dir() else [place]:
        suffix = path.suffix.lower()
        if suffix not in (".zip", ".py", ".txt") or not path.is_file():
            continue
        if suffix == ".zip":
            yield from _zipped(path)
        elif path.stat().st_size <= _SOURCE_BYTES:
            yield from _constants(path.name, path.read_bytes())


def _zipped(path: Path) -> Iterator[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                suffix = Path(entry.filename).suffix.lower()
                if suffix in (".py", ".txt") and entry.file_size <= _SOURCE_BYTES:
                    yield from _constants(entry.filename, archive.read(entry))
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, zlib.error) as error:
        _log.warning("%s cannot be read for prompt templates: %s", path, error)


def _constants(name: str, source: bytes) -> Iterable[str]:
    try:
        text = source.decode("utf-8").replace("\r\n", "\n")
        if not name.lower().endswith(".py"):
            return [text, text.removesuffix("\n")]
        nodes = ast.walk(ast.parse(text))
    except (UnicodeDecodeError, SyntaxError, ValueError, RecursionError):
        return []
    return [
        node.value
        for node in nodes
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
