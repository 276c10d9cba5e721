"""Save Storyboard and Load Storyboard: a board in one file, on this machine or another."""

from __future__ import annotations

from pathlib import Path

import folder_paths
from comfy_api.latest import io, ui

from ..stage_core.editing.sheet_pdf import write_pdf
from ..stage_core.errors import PlanError, StorageError
from ..stage_core.planning.planner import PlanSettings, plan
from ..stage_core.plurals import counted
from ..stage_core.project import folder_name
from ..stage_core.sharing import archive
from ..stage_core.stories import read_story
from ..stage_core.story.storyboard import Storyboard
from . import films, host, sheet
from .pictures import to_batch
from .sockets import StoryboardSocket

FOLDER = "stage"
IN_OUTPUT = " [output]"
NOTHING = "no file in the input folder"
_ENDINGS = (archive.ENDING, ".png", ".json")
SAVE_INPUTS = [
    StoryboardSocket.Input("storyboard", tooltip="The board to save, as far as it is."),
    io.String.Input(
        "name",
        default="",
        tooltip="Name of the files in output/stage; a number is added, so nothing is written "
        "over. Empty: the film's title.",
    ),
]
SAVE_OUTPUTS = [
    StoryboardSocket.Output("storyboard", tooltip="The same board."),
    io.Image.Output("sheet", tooltip="The sheets that were saved."),
]
TITLE_INPUT = io.String.Input(
    "title",
    default="",
    tooltip="Another title puts the film into a folder of its own. Empty: the file's title.",
)


class SaveStoryboard(io.ComfyNode):
    """Plan, pictures and chosen takes in one file, with the sheet as PNG and PDF beside it."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="STAGE_SaveStoryboard",
            display_name="Save Storyboard",
            category=host.CATEGORY,
            description="Saves a board with its pictures and the takes in use as one file in "
            "output/stage, safe to share, and its sheet as PNG and as PDF.",
            search_aliases=["export storyboard", "share", "archive", "pdf", "sheet", "stage"],
            is_output_node=True,
            hidden=list(sheet.HIDDEN),
            inputs=list(SAVE_INPUTS),
            outputs=list(SAVE_OUTPUTS),
        )

    @classmethod
    def execute(cls, storyboard: Storyboard, name: str):
        project = films.open_film(storyboard.shot_list.title)
        board = project.save(storyboard)
        path = _new_file(name.strip() or board.shot_list.title)
        archive.save(board, project, path)
        image = to_batch(sheet.draw_sheets(board))
        # The host's own saving numbers the sheets and leaves out metadata where it is told to.
        saved = ui.ImageSaveHelper.save_images(
            image,
            filename_prefix=f"{FOLDER}/{_stem(path)}_sheet",
            folder_type=io.FolderType.output,
            cls=sheet.carrier(cls, board, project),
        )
        pages = write_pdf(path.with_name(f"{_stem(path)}.pdf"), board)
        total = path.stat().st_size / 2**20
        host.say(f"saved {FOLDER}/{path.name}, {total:.1f} MB; pages of the sheet's PDF: {pages}")
        return io.NodeOutput(board, image, ui=sheet.shown(board, saved, image))


class LoadStoryboard(io.ComfyNode):
    """A saved board with its pictures and takes; nothing of it is made again."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        files = _files() or [NOTHING]
        return host.schema(
            node_id="STAGE_LoadStoryboard",
            display_name="Load Storyboard",
            category=host.CATEGORY,
            description="Opens a board that Save Storyboard saved, also on another machine: its "
            "pictures and takes go to the film's folder. Or the board that a sheet's PNG "
            "carries, or a shot list in JSON.",
            search_aliases=["import storyboard", "open storyboard", "archive", "stage"],
            inputs=[
                io.Combo.Input(
                    "file",
                    options=files,
                    tooltip="A .stage.zip, a sheet's PNG or a shot list's JSON in the input "
                    "folder, or a file that was saved to output/stage.",
                ),
                TITLE_INPUT,
            ],
            outputs=[StoryboardSocket.Output("storyboard", tooltip="The board as saved.")],
        )

    @classmethod
    def fingerprint_inputs(cls, file, title):
        status = _path(file).stat()
        return [status.st_mtime_ns, status.st_size, films.changes()]

    @classmethod
    def execute(cls, file: str, title: str):
        loaded = _load(_path(file), title)
        board = loaded.board
        shots = counted(len(board.shot_list.shots), "shot")
        made = f"{len(board.pairs)} drawn, {len(board.clips)} filmed"
        missing = f"; not on this machine: {', '.join(loaded.missing)}" if loaded.missing else ""
        host.say(f"{board.shot_list.title}: {shots}, {made}{missing}")
        return io.NodeOutput(board)


def _load(path: Path, title: str) -> archive.Loaded:
    if archive.is_archive(path):
        return archive.load(path, films.open_film, title)
    if path.suffix.lower() == ".png":
        return archive.load_sheet(path, films.open_film, title)
    settings = PlanSettings(title=title.strip(), format="records")
    return archive.Loaded(Storyboard(plan(read_story(str(path)), settings)))


def _files() -> list[str]:
    """What may be opened: files of the input folder, and boards that were saved here."""
    inside = Path(folder_paths.get_input_directory())
    names = sorted(path.name for path in _listed(inside) if path.name.lower().endswith(_ENDINGS))
    saved = _listed(Path(folder_paths.get_output_directory()) / FOLDER)
    boards = sorted(
        f"{FOLDER}/{path.name}{IN_OUTPUT}" for path in saved if archive.is_archive(path)
    )
    return names + boards


def _listed(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_file()] if folder.is_dir() else []


def _path(file: str) -> Path:
    """The file of a choice, inside the host's folders whatever it says."""
    if file == NOTHING:
        raise PlanError(f"{NOTHING}; put a {archive.ENDING} file there and refresh")
    kind = "output" if file.endswith(IN_OUTPUT) else "input"
    folder = Path(getattr(folder_paths, f"get_{kind}_directory")()).resolve()
    path = (folder / file.removesuffix(IN_OUTPUT)).resolve()
    if not path.is_relative_to(folder):
        raise StorageError(f"{file!r:.80} leads out of ComfyUI's {kind} folder")
    if not path.is_file():
        raise StorageError(f"{file!r:.80} is not in ComfyUI's {kind} folder any more; refresh")
    return path


def _new_file(name: str) -> Path:
    """A fresh name in output/stage."""
    root = Path(folder_paths.get_output_directory()).resolve()
    folder = root / FOLDER
    if not folder.resolve().is_relative_to(root):
        raise StorageError(f"{folder} leads out of ComfyUI's output folder; remove that link")
    folder.mkdir(parents=True, exist_ok=True)
    stem, number = folder_name(name), 1
    while (path := folder / f"{stem}_{number:05}{archive.ENDING}").exists():
        number += 1
    return path


def _stem(path: Path) -> str:
    return path.name.removesuffix(archive.ENDING)
