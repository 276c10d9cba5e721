"""A storyboard in one file: nothing is made again elsewhere, and strangers get nowhere."""

import hashlib
import io
import json
import os
import zipfile
from dataclasses import replace

import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from stage_core.backends.load import load_shot_model, load_storyboard_model
from stage_core.errors import PlanError, StorageError
from stage_core.media import write_picture
from stage_core.project import Project
from stage_core.sharing import archive
from stage_core.sharing.archive import describe, load, load_sheet, save
from stage_core.story.frames import Picture
from stage_core.story.storyboard import Storyboard

from ..small_film import SmallFilm, names, three_shots

BOARD = "storyboard.json"


@pytest.fixture
def here(tmp_path):
    return SmallFilm(tmp_path / "here")


@pytest.fixture
def there(tmp_path):
    return SmallFilm(tmp_path / "there")


@pytest.fixture
def made(here):
    return here.make(Storyboard(three_shots()))[0]


@pytest.fixture
def file(here, made, tmp_path):
    save(made, here.project, tmp_path / "film.stage.zip")
    return tmp_path / "film.stage.zip"


def opened(file, film, title=""):
    return load(file, lambda title: film.project, title)


def digests(board):
    return {shot_id: pair.digests for shot_id, pair in board.pairs.items()}


def test_a_saved_board_makes_nothing_on_another_machine(file, made, there):
    loaded = opened(file, there)
    assert loaded.missing == [] and loaded.board.shot_list == made.shot_list
    assert digests(loaded.board) == digests(made) and names(loaded.board) == names(made)
    for board in (loaded.board, Storyboard(made.shot_list)):
        assert there.make(board)[1:] == ([], [])


@pytest.mark.usefixtures("small_sketches")
def test_the_same_with_the_embedded_models(tmp_path):
    models = load_storyboard_model("sketch"), load_shot_model("animatic")
    here, there = (SmallFilm(tmp_path / name, *models) for name in ("here", "there"))
    made = here.make(Storyboard(three_shots()))[0]
    save(made, here.project, tmp_path / "film.stage.zip")
    loaded = opened(tmp_path / "film.stage.zip", there).board
    assert there.make(Storyboard(loaded.shot_list))[1:] == ([], [])


def test_chosen_takes_given_pictures_and_repaints_travel(here, made, there, tmp_path):
    red = Picture.of(torch.full((12, 16, 3), 200, dtype=torch.uint8))
    swapped = made.with_pair(replace(made.pair("1"), end=red, given=frozenset({"end"}), name=""))
    write_picture(tmp_path / "here" / "2_d01_start.png", red.image)
    board = here.make(here.edit(swapped, "3", take="2")[0])[0]
    save(board, here.project, tmp_path / "film.stage.zip")
    loaded = opened(tmp_path / "film.stage.zip", there).board
    assert loaded.shot_list.shot("3").take == 2 and digests(loaded) == digests(board)
    again, *made_again = there.make(loaded)
    assert made_again == [[], []]
    assert again.pair("1").given == {"end"} and again.pair("2").given == {"start"}


def test_a_pair_swapped_after_drawing_is_not_drawn_anew(here, made, there, tmp_path):
    red = Picture.of(torch.full((12, 16, 3), 200, dtype=torch.uint8))
    swap = replace(made.pair("1"), end=red, given=frozenset({"end"}), name="")
    board, filmed = here.film(made.with_pair(swap))
    assert filmed == ["1"]
    save(board, here.project, tmp_path / "film.stage.zip")
    assert there.make(opened(tmp_path / "film.stage.zip", there).board)[1:] == ([], [])


def test_copies_share_one_file_and_come_back_as_copies(here, made, there, tmp_path):
    board = here.make(here.arrange(made, "1, 2, 2")[0])[0]
    save(board, here.project, tmp_path / "film.stage.zip")
    with zipfile.ZipFile(tmp_path / "film.stage.zip") as archive:
        assert len(archive.namelist()) == 1 + 2 * 3
    loaded = opened(tmp_path / "film.stage.zip", there).board
    assert names(loaded) == names(board)
    assert there.make(loaded)[1:] == ([], [])


def test_loading_twice_and_loading_at_home_store_nothing_new(file, here, there):
    before = sorted(here.project.folder.iterdir())
    opened(file, here)
    assert sorted(here.project.folder.iterdir()) == before
    opened(file, there)
    before = sorted(there.project.folder.iterdir())
    opened(file, there)
    assert sorted(there.project.folder.iterdir()) == before


def test_an_unfinished_board_is_saved_as_far_as_it_is(here, there, tmp_path):
    for board in (Storyboard(three_shots()), here.draw(Storyboard(three_shots()))[0]):
        save(board, here.project, tmp_path / "film.stage.zip")
        loaded = opened(tmp_path / "film.stage.zip", there).board
        assert digests(loaded) == digests(board) and loaded.clips == {}


def test_another_title_is_another_folder(file, tmp_path):
    titles = []

    def open_film(title):
        titles.append(title)
        return Project(tmp_path / title)

    assert load(file, open_film, "mine").board.shot_list.title == "mine"
    load(file, open_film)
    assert titles == ["mine", "film"]


def test_a_saved_file_says_nothing_of_the_machine_it_was_saved_on(file, tmp_path):
    with zipfile.ZipFile(file) as archive:
        text = archive.read(BOARD).decode()
        assert all("/" not in name for name in archive.namelist())
    assert str(tmp_path) not in text and "here" not in text


def test_a_file_that_was_not_saved_whole_is_not_there(here, made, tmp_path, full_disk):
    with full_disk(), pytest.raises(StorageError):
        save(made, here.project, tmp_path / "film.stage.zip")
    assert not list(tmp_path.glob("*.zip*"))


def test_what_is_damaged_at_home_is_not_saved(here, made, tmp_path):
    path = here.project.folder / "3_t01.mkv"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(StorageError, match="the take of shot 3 is not in the folder 'here'"):
        save(made, here.project, tmp_path / "film.stage.zip")
    write_picture(here.project.folder / "2_d01_end.png", torch.zeros(12, 16, 3, dtype=torch.uint8))
    with pytest.raises(StorageError, match="the drawing of shot 2"):
        save(replace(made, clips={}), here.project, tmp_path / "film.stage.zip")
    assert not list(tmp_path.glob("*.zip"))


# What a stranger may send.


def record_of(file):
    with zipfile.ZipFile(file) as archive:
        return json.loads(archive.read(BOARD))


def rewritten(file, change=None, replaced=(), more=()):
    """The file with its record changed and with other or more members."""
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    record = json.loads(members.pop(BOARD))
    if change:
        change(record)
    text = record if isinstance(record, str) else json.dumps(record, indent=1)
    members = {**members, **dict(replaced)}
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(BOARD, text)
        for name, data in [*members.items(), *more]:
            if data is not None:
                archive.writestr(name, data)
    return file


def at(*path):
    def change(value):
        def apply(record):
            for step in path[:-1]:
                record = record[step]
            record[path[-1]] = value

        return apply

    return change


SHOT = ("shot_list", "shots", 1)
TAKE = ("shots", "2", "take")
DRAWING = ("shots", "2", "drawing")
REFUSED = {
    "a newer version": (at("schema")("stage.Archive.2"), r"line 2: .*newer version.*update"),
    "no version": (at("schema")(None), r"newer version"),
    "an unknown field": (at("path")("/etc"), r"unknown field 'path'"),
    "duplicate ids": (at(*SHOT, "id")("1"), r"line \d+: .*ids are unique"),
    "an id that leads out": (at(*SHOT, "id")("../1"), r"line \d+: .*letters, digits"),
    "a wrong type": (at(*SHOT, "take")("1"), r"line \d+: .*take is '1'"),
    "a shot that is no object": (at("shot_list", "shots", 1)(7), r"line \d+: .*not an object"),
    "shots that are no list": (at("shot_list", "shots")({}), r"line \d+: .*not a list"),
    "not a number": (at(*SHOT, "seed")(float("nan")), r"line \d+: .*NaN"),
    "a shot that is not planned": (at("shots", "9")({}), r"line \d+: no shot '9'"),
    "an absolute file": (at(*TAKE, "file")("/etc/passwd"), r"line \d+: .*file is '/etc/passwd'"),
    "a file outside": (at(*DRAWING, "files", "end")("../x.png"), r"line \d+: .*'\.\./x.png'"),
    "a file on a drive": (at(*TAKE, "file")("C:\\x.mkv"), r"line \d+: .*file is"),
    "a file that is the plan": (at(*TAKE, "file")("storyboard.json"), r"line \d+: .*file is"),
    "a file that is not there": (at(*TAKE, "file")("9_t01.mkv"), r"line \d+: .*lacks 9_t01.mkv"),
    "another film": (at(*TAKE, "sha256")("0" * 64), r"line \d+: 2_t01.mkv .* not the film"),
    "other pixels": (at(*DRAWING, "pixels", "end")("0" * 64), r"line \d+: .*not the picture"),
    "another size": (at(*TAKE, "size")([64, 48]), r"no film as takes are kept, of \(64, 48\)"),
    "no size": (at(*TAKE, "size")([0, 5]), r"line \d+: .*size is 0"),
    "endless frames": (at(*TAKE, "num_frames")(10**9), r"num_frames is 1000000000"),
    "a rate of nothing": (at(*TAKE, "rate")("0"), r"rate is 0"),
    "a rate that fills the memory": (at(*TAKE, "rate")("1e99999"), r"rate is '1e99999'"),
    "a count that is true": (at(*TAKE, "count")(True), r"count is True"),
    "a text that is a list": (at(*TAKE, "key")([]), r"key is \[\]"),
    "a third half": (at(*DRAWING, "given")(["middle"]), r"same halves"),
    "half a character": (at(*DRAWING, "model")("\ud800"), r"model is"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_record_that_is_not_sound_is_refused_with_its_line(file, there, case):
    change, message = REFUSED[case]
    with pytest.raises(PlanError, match=message):
        opened(rewritten(file, change), there)
    assert not list(there.project.folder.glob("*")), "nothing is kept of a refused file"


def png(size=(16, 12), mode="RGB", kind="PNG"):
    data = io.BytesIO()
    Image.new(mode, size).save(data, kind)
    return data.getvalue()


@pytest.mark.parametrize(
    ("replaced", "message"),
    [
        ({"2_d01_end.png": b"no picture"}, "no PNG"),
        ({"2_d01_end.png": png(kind="GIF")}, "no PNG"),
        ({"2_d01_end.png": png()}, "not the picture"),
        ({"2_d01_end.png": png((9000, 1))}, "9000x1"),
        ({"2_d01_end.png": png(mode="L")}, "L picture"),
        ({"2_d01_end.png": None}, "lacks 2_d01_end.png"),
        ({"2_t01.mkv": b"#EXTM3U\n/etc/passwd"}, "not the film"),
        ({"../out.png": b""}, "holds '../out.png'"),
        ({"/etc/out.png": b""}, "holds '/etc/out.png'"),
        ({"folder/": b""}, "holds 'folder/'"),
        ({"run.py": b""}, "holds 'run.py'"),
    ],
)
def test_a_file_that_does_not_belong_is_refused(file, there, tmp_path, replaced, message):
    before = set(tmp_path.iterdir())
    with pytest.raises(PlanError, match=message):
        opened(rewritten(file, replaced=replaced), there)
    assert not list(there.project.folder.glob("*.*"))
    assert set(tmp_path.iterdir()) - before <= {there.project.folder}


def test_a_playlist_that_calls_itself_a_film_is_never_opened(file, there):
    playlist = b"#EXTM3U\nfile:///etc/passwd\n"
    digest = hashlib.sha256(playlist).hexdigest()
    rewritten(file, at(*TAKE, "sha256")(digest), {"2_t01.mkv": playlist})
    with pytest.raises(PlanError, match="no Matroska file"):
        opened(file, there)


def test_links_packed_films_and_repeated_names_are_refused(file, there):
    link = zipfile.ZipInfo("x.png")
    link.external_attr = 0o120777 << 16
    with pytest.raises(PlanError, match="is a link"):
        opened(rewritten(file, more=[(link, "/etc/passwd")]), there)
    with zipfile.ZipFile(file, "w") as made:
        made.writestr("x.mkv", bytes(10**7), zipfile.ZIP_DEFLATED)
    with pytest.raises(PlanError, match="packed"):
        opened(file, there)
    with zipfile.ZipFile(file, "w") as made, pytest.warns(UserWarning, match="Duplicate"):
        made.writestr("x.mkv", b"")
        made.writestr("x.mkv", b"")
    with pytest.raises(PlanError, match="twice"):
        opened(file, there)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 200_000, "nested too deeply"),
        ('{"schema": NaN}', "NaN"),
        ("{\n\n,}", "line 3"),
        ("[]", "JSON object"),
        (" " * (17 * 2**20), "characters"),
        ('{"seed": ' + "9" * 5000 + "}", "too many digits|schema"),
    ],
)
def test_a_plan_that_is_huge_or_deep_or_no_json_is_refused(file, there, text, message):
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr(BOARD, text)
    with pytest.raises(PlanError, match=message):
        opened(file, there)


def test_the_lines_of_many_shots_are_found_without_reading_on_for_each(file, there, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "stage_core.sharing.record.line_of", lambda text, *path: asked.append(path) or 1
    )
    opened(file, there)
    assert asked == [("shots",)]


def test_what_is_no_archive_is_refused(file, there, tmp_path):
    data = file.read_bytes()
    for damaged in (b"", b"PK", b"no archive", data[:-30], data[: len(data) // 2]):
        file.write_bytes(damaged)
        with pytest.raises(PlanError, match="no saved storyboard"):
            opened(file, there)
    with zipfile.ZipFile(file, "w") as made:
        made.writestr("x.png", b"")
    with pytest.raises(PlanError, match="has no storyboard"):
        opened(file, there)
    with pytest.raises(StorageError, match="not there"):
        opened(tmp_path / "gone.stage.zip", there)


def test_what_fails_beside_the_archive_is_not_called_its_damage(file, there, monkeypatch):
    def fails(pixels):
        raise RuntimeError("no room left")

    monkeypatch.setattr(Picture, "of", fails)
    with pytest.raises(RuntimeError, match=r"^no room left$"):
        opened(file, there)


def test_a_file_that_is_locked_with_a_password_is_refused(file, there):
    data = bytearray(file.read_bytes())
    # The first of the general purpose flags, in the file's own header and in the directory.
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    file.write_bytes(data)
    with pytest.raises(PlanError, match=r"damaged or no saved storyboard: .*encrypted"):
        opened(file, there)


def test_a_take_dated_before_1980_is_saved(here, made, there, tmp_path):
    os.utime(here.project.folder / "1_t01.mkv", (0, 0))
    save(made, here.project, tmp_path / "old.stage.zip")
    assert opened(tmp_path / "old.stage.zip", there).missing == []


def test_a_flipped_byte_is_noticed_and_nothing_is_kept(file, there):
    data = bytearray(file.read_bytes())
    with zipfile.ZipFile(file) as made:
        data[made.getinfo("3_t01.mkv").header_offset + 200] ^= 1
    file.write_bytes(data)
    with pytest.raises(PlanError, match="damaged"):
        opened(file, there)
    assert not list(there.project.folder.glob("*.*"))


# The sheet.


def sheet(tmp_path, record, chunk=archive.CHUNK):
    info = PngInfo()
    info.add_text(chunk, json.dumps(record))
    Image.new("RGB", (8, 8)).save(tmp_path / "sheet.png", pnginfo=info)
    return tmp_path / "sheet.png"


def test_a_sheet_brings_back_the_board_where_its_folder_is(here, made, there, tmp_path):
    path = sheet(tmp_path, describe(made, here.project))
    at_home = load_sheet(path, lambda title: here.project)
    assert names(at_home.board) == names(made) and at_home.missing == []
    elsewhere = load_sheet(path, lambda title: there.project)
    assert elsewhere.board.shot_list == made.shot_list and elsewhere.board.clips == {}
    assert len(elsewhere.missing) == 6


def test_a_sheet_without_a_board_or_with_a_bad_one_is_refused(there, tmp_path):
    for record, chunk, message in (
        ({}, "other", "carries no storyboard"),
        ({"schema": "x"}, archive.CHUNK, "newer version"),
    ):
        with pytest.raises(PlanError, match=message):
            load_sheet(sheet(tmp_path, record, chunk), lambda title: there.project)
    (tmp_path / "sheet.png").write_bytes(b"no picture")
    with pytest.raises(StorageError, match="PNG"):
        load_sheet(tmp_path / "sheet.png", lambda title: there.project)
