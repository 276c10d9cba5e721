"""What is said wrongly on the command line is answered in one sentence, before anything is made."""

import pytest
import torch

from stage_core.__main__ import main
from stage_core.media import write_picture

MAKE = ["make", "story.md", "--storyboard-model", "tiny", "--shot-model", "tiny"]
FILM = [*MAKE, "--out", "film.mp4"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a story, a file and a folder, in which the command line runs."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "story.md").write_text("A cat.", encoding="utf-8")
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    (tmp_path / "folder").mkdir()
    (tmp_path / "film.mkv").write_bytes(b"\x1a\x45\xdf\xa3 and so on")
    write_picture(tmp_path / "frame.png", torch.zeros(2, 2, 3, dtype=torch.uint8))
    return tmp_path


def answered(capsys, arguments):
    """The exit status, and the one line that was said."""
    try:
        status = main(arguments)
    except SystemExit as stopped:
        status = stopped.code
    (line,) = capsys.readouterr().err.splitlines()
    return status, line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "COMMAND; 'stage-film --help' says more"),
        (["shoot"], "invalid choice: 'shoot'"),
        (["make"], "STORY, --out; 'stage-film make --help' says more"),
        ([*FILM, "--size", "large"], "'large' is no size; use WIDTHxHEIGHT"),
        ([*FILM, "--rate", "fast"], "'fast' is no rate"),
        ([*FILM, "--seed", "1.5"], "--seed"),
        ([*FILM, "--film", "maybe"], "'changed', 'missing', 'everything'"),
        ([*FILM, "--dialogue", "line.wav"], "is no PLACE=FILE"),
        ([*FILM, "--no-such-option"], "--no-such-option"),
    ],
)
def test_wrong_use_is_one_sentence_with_the_way_to_the_help(capsys, folder, arguments, message):
    status, line = answered(capsys, arguments)
    assert status == 2 and message in line and line.endswith("--help' says more")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([*MAKE, "--out", "film.avi"], "name it film.mp4"),
        ([*MAKE, "--out", "folder"], "name it folder.mp4"),
        ([*MAKE, "--out", "file/film.mp4"], "file is a file and no folder"),
        ([*FILM, "--project", "file"], "--project: "),
        ([*FILM, "--handover", "file"], "--handover: "),
        ([*FILM, "--board", "file/board"], "--board: "),
        ([*FILM, "--report", "folder"], "--report folder is a folder"),
        ([*FILM, "--report", "story.md"], "written over what it is made from"),
        ([*FILM, "--score", "gone.wav"], "gone.wav cannot be read"),
        ([*FILM, "--cast", "folder"], "folder holds no cast"),
        ([*FILM, "--shots", "9"], "no shots '9'"),
        (["make", "folder", "--out", "film.mp4"], "'folder' is a folder; name the story in it"),
        (["make", "gone.md", "--out", "film.mp4"], "is no file and no sample story"),
        (["make", "film.mkv", "--out", "film.mp4"], "film.mkv is a film and no story; a story is"),
        (["make", "frame.png", "--out", "film.mp4"], "frame.png is a picture and no story"),
        (["board", "story.md", "--out", "file"], "file is a file and no folder"),
        (["plan", " "], "the theme is empty"),
        (["plan", "T", "--shots", "0"], "neither a number of shots nor a length"),
        (["plan", "T", "--shots", "-3"], "-3 shots; use 1 to 200, or 0 and a length"),
        (["plan", "T", "--model", "llama"], "name the server too"),
        (["plan", "T", "--llm", "folder"], "holds no config.json"),
        (["plan", "T", "--out", "file"], "is there already"),
        (["plan", "T", "--out", "file/plan.md"], "file: "),
        (["convert"], "convert needs --check BASE CHECKPOINT"),
        (["convert", "gone", "--out", "folder"], "there is no file gone"),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_nothing_is_made(
    capsys, folder, arguments, message
):
    status, line = answered(capsys, arguments)
    assert status == 1 and line.startswith("stage-film: ") and message in line
    assert "Errno" not in line and not list((folder / "folder").iterdir())
    there = {"story.md", "file", "folder", "film.mkv", "frame.png"}
    assert {path.name for path in folder.iterdir()} == there
    assert (folder / "file").read_text(encoding="utf-8") == "mine"


def test_a_sample_is_found_beside_the_folder_of_its_film(capsys, folder):
    (folder / "the_ring").mkdir()
    arguments = ["make", "the_ring", "--out", "film.mp4", "--shots", "no such shot"]
    assert "no shots 'no such shot'" in answered(capsys, arguments)[1]
