"""Drawings and takes of a shot side by side."""

import av
import pytest
import torch

from stage_core.desk.comparison import MOST_SHOWN, compared, report, side_by_side, write_film
from stage_core.desk.shots import choose
from stage_core.story.storyboard import Storyboard

from ..small_film import SmallFilm, three_shots


@pytest.fixture
def one(tmp_path):
    return SmallFilm(tmp_path / "film")


@pytest.fixture
def board(one):
    """Shot 3 has two drawings and, of the second, two takes."""
    one.make(Storyboard(three_shots()))
    board = one.make(one.edit(Storyboard(three_shots()), "3", drawing="2")[0])[0]
    return one.make(one.edit(board, "3", take="2")[0])[0]


def test_all_results_of_the_shot_are_found_and_those_in_use_marked(one, board):
    found = compared(board, "3", one.project)
    assert [entry.record.name for entry in found] == ["3_d01", "3_d02", "3_t01", "3_t01-2", "3_t02"]
    assert [entry.record.name for entry in found if entry.in_use] == ["3_d02", "3_t02"]
    with pytest.raises(ValueError, match=r"9.*1, 2, 3"):
        compared(board, "9", one.project)


def test_the_report_names_the_settings_that_differ_and_no_others(one, board):
    drawings, takes = report(compared(board, "3", one.project)).split("\n\n")
    assert "model" not in drawings + takes and "size" not in takes
    head, _, *rows = [line.strip("| ").split(" | ") for line in takes.splitlines()]
    assert {"take", "number", "seed", "pictures"} <= set(head) and "description" not in head
    columns = [head.index(name) for name in ("take", "number", "pictures")]
    assert [[row[column] for column in columns] for row in rows] == [
        ["3_t01", "1", "3_d01"],
        ["3_t01-2", "1", "3_d02"],
        ["* 3_t02", "2", "3_d02"],
    ]


def test_a_shot_of_which_nothing_is_made_is_compared_too(one):
    board = Storyboard(three_shots())
    found = compared(board, "1", one.project)
    assert found == () and "nothing" in report(found)
    assert side_by_side(found, one.project).ndim == 3


def test_every_result_has_its_row_and_old_ones_are_left_out(one, board):
    found = compared(board, "3", one.project)
    rows = [side_by_side(found[:n], one.project).shape[0] for n in (1, 2, 5)]
    assert rows[1] == 2 * rows[0] and rows[2] == 5 * rows[0]
    many = found[2:] * MOST_SHOWN
    assert side_by_side(many, one.project).shape[0] == MOST_SHOWN * rows[0]


def test_the_takes_play_side_by_side_for_the_planned_length(one, board, tmp_path):
    assert write_film(board, "3", one.project, tmp_path / "takes.mp4") == 3
    with av.open(str(tmp_path / "takes.mp4")) as film:
        pictures = [torch.from_numpy(f.to_ndarray(format="rgb24")) for f in film.decode(video=0)]
    assert len(pictures) == board.shot_list.shot("3").num_frames
    assert pictures[0].shape == (216, 3 * 288 + 2 * 8, 3)


def test_nothing_is_written_where_there_are_no_takes(one, tmp_path):
    board = one.draw(Storyboard(three_shots()))[0]
    assert write_film(board, "3", one.project, tmp_path / "takes.mp4") == 0
    assert not (tmp_path / "takes.mp4").exists()


def test_the_takes_of_an_original_are_those_of_its_copy(one, board):
    arranged = one.arrange(board, "1, 3, 3")[0]
    copy = arranged.shot_list.ids[-1]
    assert [e.record.name for e in compared(arranged, copy, one.project)][-1] == "3_t02"
    assert choose(arranged, copy, "", "3_t01", one.project).clips["3"].name == "3_t02"
