"""The films' folders: where they lie, and what counts as a change."""

from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.comfy


@pytest.fixture
def film(pack, output):
    """An open film with one drawing."""
    project = pack.nodes.films.open_film("Film")
    keep_drawing(pack, project, "1")
    return project


def keep_drawing(pack, project, shot_id):
    frames, made = pack.stage_core.story.frames, pack.stage_core.project.Made
    picture = frames.Picture.of(torch.zeros(2, 2, 3))
    return project.keep_pair(frames.FramePair(shot_id, picture, picture), made("key", "model"))


def changed(pack, act) -> bool:
    before = pack.nodes.films.changes()
    act()
    return pack.nodes.films.changes() != before


def test_our_own_writing_is_no_change(pack, film):
    assert not changed(pack, lambda: keep_drawing(pack, film, "2"))
    assert not changed(pack, lambda: film.ledger.remove("2_d01"))


def test_a_repaint_a_lost_file_and_a_lost_result_are_changes(pack, film):
    keep_drawing(pack, film, "2")
    start, end = (film.folder / f"1_d01_{half}.png" for half in ("start", "end"))
    assert changed(pack, lambda: start.write_bytes(b"another picture"))
    assert changed(pack, end.unlink)
    assert changed(pack, (film.folder / "2_d01.json").unlink)
    keep_drawing(pack, film, "2")
    assert changed(pack, (film.folder / "2_d01.json").unlink)
    assert not changed(pack, lambda: None)


def test_what_was_changed_before_the_film_was_opened_is_no_change(pack, film):
    (film.folder / "1_d01_end.png").write_bytes(b"another picture")
    pack.nodes.films.changes()
    pack.nodes.films._projects.clear()
    assert not changed(pack, lambda: pack.nodes.films.open_film("Film"))


def test_a_node_is_told_of_takes_of_other_graphs_and_not_of_those_of_its_own(pack, monkeypatch):
    films = pack.nodes.films
    monkeypatch.setattr(films, "_counters", {"takes": 5})
    monkeypatch.setattr(films, "_shown", {})

    def run(graph, made):
        told = films.takes_told(graph)
        films.takes_made(made)
        films.takes_shown(graph)
        return told

    first = run("one", made=3)
    assert films.takes_told("one") == first
    second = run("two", made=1)
    assert second not in (first, films.takes_told("one"))
    again = run("one", made=0)
    assert again != first and films.takes_told("one") == again
    assert films.takes_told("two") == second
    assert films.takes_told("") == 9


@pytest.mark.parametrize(
    "title",
    ["../../above", "/etc/passwd", "..", "a/../../b", "C:\\x", "con", "", "%2e%2e", "x" * 999],
)
def test_every_title_gives_a_folder_right_below_stage(pack, output, title):
    folder = pack.nodes.host.film_folder(title)
    assert folder.parent == output.resolve() / "stage"
    assert folder.name not in ("", ".", "..")


def test_a_link_out_of_the_output_folder_is_refused(pack, output, tmp_path):
    (output / "stage").mkdir()
    (tmp_path / "outside").mkdir()
    (output / "stage" / "Film").symlink_to(tmp_path / "outside")
    with pytest.raises(OSError, match="output folder"):
        pack.nodes.host.film_folder("Film")


def test_a_video_gets_a_new_name_after_the_title(pack, output):
    first, shown = pack.nodes.host.new_video("My: Film")
    first.write_bytes(b"film")
    second, _ = pack.nodes.host.new_video("My: Film")
    assert first.name.startswith("My_ Film") and first.suffix == ".mp4"
    assert first.parent == Path(output.parent / "temp") and first != second
    assert shown.as_dict()["images"][0]["filename"] == first.name


@pytest.fixture
def make(run):
    """Makes the film of a text under a title."""

    def make(text, title):
        (board, _) = run("Script", text=text, title=title, width=64, height=48)
        (board, _, _) = run("STEP2Storyboard", storyboard=board)
        return run("DualEncoderShotSampler", storyboard=board)[0]

    return make


def test_under_another_title_nothing_is_made_again(make, said):
    shots = [f"[[shot: 0.25s]]\n{it}\n\n" for it in ("The sea.", "A boat leaves.", "A gull lands.")]
    make(shots[0] + shots[2], "The Letter")
    # The shot between them is 1A, and would be 2 in a film that nobody has seen.
    longer = "".join(shots)
    assert make(longer, "The Letter").shot_list.ids == ("1", "1A", "2")
    said.clear()
    board = make(longer, "Renamed")
    assert board.shot_list.ids == ("1", "1A", "2")
    for done in ("drew 0 of 3 shots", "filmed 0 of 3 shots"):
        (told,) = (text for text in said if text.startswith(done))
        assert "; 3 from the film The Letter" in told
