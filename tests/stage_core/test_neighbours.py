"""A film under another title makes nothing again, and the film beside it stays as it was."""

import errno
import os
import shutil
from dataclasses import replace

import pytest

from stage_core.backends.protocol import Sampling
from stage_core.media import read_picture, write_picture
from stage_core.neighbours import Neighbours
from stage_core.pipeline import draw, film
from stage_core.project import Project
from stage_core.story.memory import MemoryPack
from stage_core.story.storyboard import Storyboard
from stage_core.takes import KeptDrawings, KeptTakes, Redraw, Refilm

from .small_film import Noise, SmallFilm, ignore, noise, three_shots

ALL = ["1", "2", "3"]


class Renamed:
    """The film of three shots in another folder, with films beside it."""

    def __init__(self, folder, **choices):
        self.project = Project(folder)
        self.opened = []
        beside = Neighbours(self.project, self.open)
        redraw, refilm = choices.get("redraw", Redraw.CHANGED), choices.get("refilm")
        self.drawings = KeptDrawings(Noise(), self.project, redraw, neighbours=beside)
        self.takes = KeptTakes(Noise(), self.project, refilm or Refilm.CHANGED, neighbours=beside)

    def open(self, folder):
        self.opened.append(folder.name)
        return Project(folder)

    def run(self, plan=None):
        """What was drawn and filmed; nothing of it may point out of the folder."""
        board = Storyboard(plan or replace(three_shots(), title="renamed"))
        board, memory = draw(board, self.drawings, MemoryPack(), Sampling(), ignore)
        board = film(board, self.takes, memory, Sampling(), ignore)
        self.board = self.project.save(board)
        assert all(self.project.drawing(pair.name) for pair in board.pairs.values())
        assert all(self.project.take(clip.name) for clip in board.clips.values())
        return self.drawings.drawn, self.takes.filmed


@pytest.fixture
def letter(tmp_path):
    """A film whose three shots are drawn and filmed."""
    one = SmallFilm(tmp_path / "letter")
    one.make(Storyboard(replace(three_shots(), title="The Letter")))
    return one.project.folder


@pytest.fixture
def renamed(letter):
    return Renamed(letter.with_name("renamed"))


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_under_another_title_nothing_is_made_again_and_both_films_are_whole(letter, renamed):
    before = contents(letter)
    assert renamed.run() == ([], [])
    assert renamed.drawings.told_of_neighbours == ("3 from the film The Letter",)
    assert renamed.takes.told_of_neighbours == ("3 from the film The Letter",)
    assert contents(letter) == before
    shutil.rmtree(letter)
    again = Renamed(renamed.project.folder)
    assert again.run() == ([], []) and again.drawings.told_of_neighbours == ()


def test_a_take_is_no_second_time_on_the_disk_and_a_picture_is_no_other_films(letter, renamed):
    renamed.run()
    own = renamed.project.folder
    assert (own / "2_t01.mkv").samefile(letter / "2_t01.mkv")
    painted = noise("painted").image
    write_picture(own / "2_d01_end.png", painted)
    assert not read_picture(letter / "2_d01_end.png").equal(painted)


def test_on_a_disk_without_second_names_takes_are_copied(letter, renamed, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EPERM, "not here")

    monkeypatch.setattr(os, "link", refuse)
    assert renamed.run() == ([], [])
    assert not (renamed.project.folder / "2_t01.mkv").samefile(letter / "2_t01.mkv")


def test_counting_what_is_left_to_make_brings_nothing(letter, renamed):
    board = Storyboard(three_shots())
    assert renamed.drawings.to_draw(board, MemoryPack(), Sampling()) == ()
    assert not renamed.project.folder.exists()


def test_other_films_are_read_once_and_only_when_something_is_missing(letter, renamed):
    renamed.run()
    assert renamed.opened == ["letter"]
    again = Renamed(renamed.project.folder)
    again.run()
    assert again.opened == []


def test_a_shot_that_no_film_has_is_made_and_the_others_are_brought(letter, renamed):
    plan = three_shots(description="IDA closes the door")
    assert renamed.run(plan) == (["2"], ["2"])


def test_a_copy_of_a_shot_comes_with_it(letter, renamed):
    plan = three_shots()
    copy = replace(plan.shots[0], id="4", copy_of="1")
    assert renamed.run(replace(plan, shots=(*plan.shots, copy))) == ([], [])
    assert renamed.board.pair("4").name == renamed.board.pair("1").name == "1_d01"


def test_a_painted_picture_comes_as_it_was_painted(letter, renamed):
    painted = noise("painted").image
    write_picture(letter / "2_d01_end.png", painted)
    assert renamed.run() == ([], ["2"])
    pair = renamed.board.pair("2")
    assert pair.end.image.equal(painted) and pair.given == {"end"}
    before = renamed.project.ledger.foreign_changes()
    assert Project(renamed.project.folder).ledger.foreign_changes() == before == ()


def test_what_is_asked_for_anew_is_not_brought(letter):
    anew = Renamed(letter.with_name("anew"), redraw=Redraw.EVERYTHING, refilm=Refilm.EVERYTHING)
    assert anew.run() == (ALL, ALL)
    assert anew.drawings.told_of_neighbours == ()


def test_a_take_in_use_is_not_left_for_another_films(letter, renamed):
    renamed.run(three_shots(description="IDA waits"))
    missing = Renamed(renamed.project.folder, refilm=Refilm.MISSING)
    taken = renamed.board.clips["2"].name
    missing.run()
    assert missing.board.clips["2"].name == taken


def spoil_take(folder):
    (folder / "2_t01.mkv").write_bytes(b"cut short")


def spoil_record(folder):
    (folder / "2_t01.json").write_text("[1", encoding="utf-8")


def lose_take(folder):
    (folder / "2_t01.mkv").unlink()


@pytest.mark.parametrize("spoil", [spoil_take, spoil_record, lose_take])
def test_a_damaged_take_beside_is_filmed_and_the_others_are_brought(letter, renamed, spoil):
    spoil(letter)
    assert renamed.run() == ([], ["2"])


@pytest.mark.parametrize("board", ["{", "[]", '{"schema": "stage.Board.1", "in_use": {}}'])
def test_a_folder_beside_with_an_unread_board_stops_nothing(letter, renamed, board):
    (letter / "board.json").write_text(board, encoding="utf-8")
    assert renamed.run() == (ALL, ALL)


def test_what_cannot_be_brought_is_made_and_leaves_nothing(letter, renamed, monkeypatch, caplog):
    def refuse(*_):
        raise OSError(errno.EIO, "the disk is tired")

    monkeypatch.setattr(shutil, "copyfile", refuse)
    assert renamed.run() == (ALL, [])
    assert "letter is passed over: cannot write" in caplog.text
    assert not list(renamed.project.folder.glob("*-2*"))


def test_a_take_that_is_damaged_on_its_way_is_filmed_and_leaves_nothing(
    letter, renamed, monkeypatch
):
    def refuse(*_):
        raise OSError(errno.EPERM, "not here")

    copy = shutil.copyfile
    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(
        shutil, "copyfile", lambda a, b: b.write_bytes(b"") if b.suffix == ".mkv" else copy(a, b)
    )
    assert renamed.run() == ([], ALL)
    assert [renamed.board.clips[i].name for i in ALL] == ["1_t01", "2_t01", "3_t01"]


def test_a_shot_that_is_not_asked_for_stays_as_it_was(letter, renamed):
    renamed.run(three_shots(description="IDA waits"))
    drawn = renamed.board.pair("2").digests
    again = Renamed(renamed.project.folder)
    again.drawings.shots = frozenset({"1"})
    again.run(three_shots())
    assert again.board.pair("2").digests == drawn


def test_a_link_beside_is_no_film(letter, renamed, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    letter.rename(tmp_path / "elsewhere" / "letter")
    letter.symlink_to(tmp_path / "elsewhere" / "letter")
    assert renamed.run() == (ALL, ALL)


def test_the_same_descriptions_have_the_ids_that_they_had(letter, renamed):
    shots = tuple(replace(shot, id=f"{shot.id}0") for shot in three_shots().shots)
    found = Neighbours(renamed.project).plan_like(replace(three_shots(), shots=shots))
    assert found.ids == ("1", "2", "3")
    assert Neighbours(renamed.project).plan_like(three_shots(description="other")) is None
