"""Keyframes between the ends of a shot: what they film again, and that nothing loses them."""

import json
import zipfile
from dataclasses import replace
from fractions import Fraction

import pytest

from stage_core.backends.load import load_shot_model, load_storyboard_model
from stage_core.backends.wan_tiny import tiny_wan
from stage_core.desk.comparison import compared
from stage_core.desk.shots import choose
from stage_core.editing.conform import cover
from stage_core.editing.sheet import draw_sheet
from stage_core.errors import PlanError
from stage_core.media import write_picture
from stage_core.pipeline import edit, fill
from stage_core.project import KEYFRAME, TAKE
from stage_core.sharing.archive import describe, load, load_sheet, save
from stage_core.story.frames import Keyframe
from stage_core.story.shot_list import FrameFormat
from stage_core.story.storyboard import MOST_BETWEEN, Storyboard

from .small_film import Noise, SmallFilm, names, noise, three_shots


class Through(Noise):
    """The same, filming through keyframes between the ends too."""

    identity, reads = "through", Noise.reads | {"between"}


@pytest.fixture
def at(tmp_path):
    return SmallFilm(tmp_path / "film", shot_model=Through())


@pytest.fixture
def there(tmp_path):
    return SmallFilm(tmp_path / "there", shot_model=Through())


def given(board, shot_id="2", places=(4,), picture="mine"):
    keyframes = [Keyframe(place, noise(picture, place)) for place in places]
    return board.with_between(shot_id, keyframes)


def plan(num_frames=9):
    return Storyboard(three_shots(num_frames=num_frames))


def between(board, shot_id="2"):
    return [(k.index, k.picture.digest) for k in board.between.get(shot_id, ())]


def board_file(film, board, index):
    """The PNG of a keyframe in the film's folder."""
    digest = dict(between(board))[index]
    (record,) = film.project.ledger.newest(KEYFRAME, digest)
    return record.files["picture"]["file"]


def test_one_given_before_drawing_is_filmed_through_and_draws_nothing_again(at):
    board, _, filmed = at.make(plan())
    assert filmed == ["1", "2", "3"]
    with_one, drawn, filmed = at.make(given(plan()))
    assert (drawn, filmed) == ([], ["2"]) and with_one.pair("2").name == board.pair("2").name
    assert at.make(given(plan()))[1:] == ([], []) and at.make(plan())[1:] == ([], [])


def test_swapping_or_moving_one_films_that_shot_and_no_other(at):
    board, _, _ = at.make(given(plan()))
    assert at.film(given(board, picture="other"))[1] == ["2"]
    assert at.film(given(board, places=(5,)))[1] == ["2"]
    assert at.film(given(board))[1] == []


def test_a_model_that_films_from_the_ends_is_not_asked_again(tmp_path):
    film = SmallFilm(tmp_path / "film")
    board, _, _ = film.make(plan())
    clips, filmed = film.film(given(board))
    assert filmed == [] and names(clips) == names(board)


def test_a_swap_after_filming_takes_the_clip_off_the_board_and_the_same_ones_leave_it(at):
    board, _, _ = at.make(given(plan()))
    assert "2" in given(board).clips
    assert set(given(board, picture="other").clips) == {"1", "3"}
    assert between(board.with_between("2", ())) == []


def test_an_approved_shot_is_filmed_again_when_its_pictures_between_change(at):
    board, _, _ = at.make(given(plan()))
    keep = replace(board, shot_list=three_shots(num_frames=9, keep=True, description="other"))
    assert at.film(keep)[1] == []
    assert at.film(given(keep, picture="other"))[1] == ["2"]


def test_another_rate_of_the_film_films_nothing_again(at):
    board, _, _ = at.make(given(plan(num_frames=7), places=(3,)))
    slow = board.shot_list
    shots = tuple(replace(shot, num_frames=2 * shot.num_frames) for shot in slow.shots)
    fast = replace(slow, shots=shots, frame_format=FrameFormat(64, 48, Fraction(16)))
    # The same time; of 14 frames the model's 7 have it at 6 / 13 * 6, which is nearest to 3.
    moved = [replace(keyframe, index=6) for keyframe in board.between["2"]]
    assert at.film(replace(board, shot_list=fast).with_between("2", moved))[1] == []


def test_one_beyond_the_end_of_a_shorter_shot_waits_and_comes_back(at):
    board, _, _ = at.make(given(plan(), places=(2, 7)))
    shorter, _ = at.edit(board, "2", "6 frames")
    shot = shorter.shot_list.shot("2")
    assert [keyframe.index for keyframe in shorter.all_keyframes(shot)] == [0, 2, 5]
    assert [keyframe.index for keyframe in shorter.beyond(shot)] == [7]
    longer, _ = at.edit(at.make(shorter)[0], "2", "9 frames")
    assert between(longer) == between(board) and at.film(longer)[1] == []


def test_they_lie_in_the_films_folder_once_and_are_read_from_there(at):
    board, _, _ = at.make(given(plan(), places=(2, 4)))
    at.make(given(plan(), places=(2, 4)))
    assert len(at.project.ledger.records(KEYFRAME)) == 2
    assert between(board) == between(given(plan(), places=(2, 4)))
    assert sorted(path.name for path in at.project.folder.glob("2_between*.png"))


def test_a_damaged_one_is_written_again_and_never_shown(at):
    board, _, _ = at.make(given(plan()))
    (path,) = at.project.folder.glob("2_between*.png")
    path.write_bytes(b"no picture")
    again, _, filmed = at.make(given(plan()))
    assert filmed == [] and again.between["2"][0].image.equal(noise("mine", 4).image)
    assert at.project.find_picture(board.between["2"][0].picture.digest)


def test_painting_over_one_films_that_shot_with_the_new_picture_and_painting_back_none(at):
    board, _, _ = at.make(given(plan(), places=(2, 4)))
    path = at.project.folder / board_file(at, board, 4)
    was = path.read_bytes()
    write_picture(path, noise("paint").image)
    painted, drawn, filmed = at.make(given(plan(), places=(2, 4)))
    assert (drawn, filmed) == ([], ["2"])
    assert between(painted) == [between(board)[0], (4, noise("paint").digest)]
    assert at.make(painted)[1:] == at.make(given(plan(), places=(2, 4)))[1:] == ([], [])
    # No copy of the paint: the file to paint on stays the same.
    assert len(at.project.ledger.records(KEYFRAME)) == 2
    path.write_bytes(was)
    assert at.make(given(plan(), places=(2, 4)))[2] == []
    assert between(at.make(given(plan(), places=(2, 4)))[0]) == between(board)


def test_what_was_painted_over_travels_and_the_board_saved_before_comes_back(at, there, tmp_path):
    board, _, _ = at.make(given(plan()))
    save(board, at.project, tmp_path / "before.stage.zip")
    write_picture(at.project.folder / board_file(at, board, 4), noise("paint").image)
    painted, _, _ = at.make(given(plan()))
    save(painted, at.project, tmp_path / "after.stage.zip")
    loaded = load(tmp_path / "after.stage.zip", lambda title: there.project).board
    assert between(loaded) == between(painted) and there.make(loaded)[1:] == ([], [])
    again = load(tmp_path / "before.stage.zip", lambda title: at.project).board
    assert between(again) == between(board) and at.make(again)[1:] == ([], [])
    assert at.project.find_picture(noise("paint").digest), "the paint is still there"


def test_a_saved_board_brings_them_and_its_take_to_another_machine(at, there, tmp_path):
    board, _, _ = at.make(given(plan(), places=(2, 4)))
    save(board, at.project, tmp_path / "film.stage.zip")
    loaded = load(tmp_path / "film.stage.zip", lambda title: there.project)
    assert between(loaded.board) == between(board) and loaded.missing == []
    assert there.make(loaded.board)[1:] == ([], [])
    again, _ = there.film(given(loaded.board, places=(2,)))
    back = choose(again, "2", "", loaded.board.clips["2"].name, there.project)
    assert between(back) == between(board) and there.film(back)[1] == []


def test_a_sheet_finds_them_in_the_folder_or_says_which_are_missing(at, there, tmp_path):
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    board, _, _ = at.make(given(plan()))
    chunk = PngInfo()
    chunk.add_text("stage_storyboard", json.dumps(describe(board, at.project)))
    Image.new("RGB", (8, 8)).save(tmp_path / "sheet.png", pnginfo=chunk)
    at_home = load_sheet(tmp_path / "sheet.png", lambda title: at.project)
    assert between(at_home.board) == between(board) and at_home.missing == []
    elsewhere = load_sheet(tmp_path / "sheet.png", lambda title: there.project)
    assert "the keyframe at 4 of shot 2" in elsewhere.missing


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda made: made["between"]["files"].update({"0": "x.png"}), "files is '0'"),
        (lambda made: made["between"]["files"].update({"4": "../x.png"}), "files is '../x.png'"),
        (lambda made: made["between"]["files"].update({"5": "x.png"}), "same frames"),
        (lambda made: made["between"]["pixels"].update({"4": "0" * 64}), "not the picture"),
        (lambda made: made.update(between=[]), "between is list"),
        (lambda made: made["take"].update(between=7), "between is 7"),
        (lambda made: made["take"].update(between=[[1]]), r"between has \[1\]"),
        (lambda made: made["take"].update(between=[[0, "0" * 64]]), "between is 0"),
        (lambda made: made["take"].update(between=[[4, "mine"]]), "between is 'mine'"),
    ],
)
def test_a_record_of_them_that_is_not_sound_is_refused(at, there, tmp_path, change, message):
    board, _, _ = at.make(given(plan()))
    path = tmp_path / "film.stage.zip"
    save(board, at.project, path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    record = json.loads(members["storyboard.json"])
    change(record["shots"]["2"])
    members["storyboard.json"] = json.dumps(record).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    with pytest.raises(PlanError, match=message):
        load(path, lambda title: there.project)
    assert not list(there.project.folder.glob("*")), "nothing is kept of a refused file"


def test_copies_and_other_orders_of_shots_keep_them(at):
    board, _, _ = at.make(given(plan()))
    arranged, _ = at.arrange(board, "2, 1, 2")
    assert [between(arranged, shot_id) for shot_id in arranged.shot_list.ids] == [
        between(board),
        [],
        between(board),
    ]
    assert at.make(arranged)[1:] == ([], [])


def test_another_drawing_keeps_them(at):
    board, _, _ = at.make(given(plan()))
    edited, _ = at.edit(board, "2", drawing="2")
    redrawn, drawn, filmed = at.make(edited)
    assert drawn == filmed == ["2"] and between(redrawn) == between(board)


@pytest.mark.usefixtures("small_sketches")
def test_the_film_shows_them_at_their_frames_before_anything_is_filmed():
    board = given(plan(), places=(4,))
    sketch, animatic = load_storyboard_model("sketch"), load_shot_model("animatic")
    clip = edit(fill(board, sketch, animatic, marked=False)).clips[1]
    frames = list(clip.frames)
    bare = list(fill(plan(), sketch, animatic, marked=False).clips["2"].frames)
    for keyframe in board.between["2"]:
        own = cover(keyframe.image, 64, 48).float()
        there = (bare[keyframe.index].float() - own).abs().mean()
        # Scaled up and down again it is another one by some levels.
        assert (frames[keyframe.index].float() - own).abs().mean() < 0.1 * there


def test_the_sheet_shows_them_and_says_how_many_wait():
    board = plan()
    assert not draw_sheet(given(board)).equal(draw_sheet(board))
    assert not draw_sheet(given(board, places=(8,))).equal(draw_sheet(board))


@pytest.mark.parametrize(
    ("places", "message"),
    [
        ((0,), "shot 2: a keyframe at 0 after one at 0"),
        ((3, 3), "shot 2: a keyframe at 3 after one at 3"),
        (range(1, MOST_BETWEEN + 2), f"shot 2: {MOST_BETWEEN + 1} keyframes"),
    ],
)
def test_places_that_no_shot_has_are_refused(places, message):
    with pytest.raises(ValueError, match=message):
        given(plan(), places=places)


def test_takes_compared_say_what_they_were_filmed_through(at):
    at.make(plan())
    board, _, _ = at.make(given(plan(), places=(2, 4)))
    found = compared(board, "2", at.project)
    takes = [one.settings["between"] for one in found if one.record.kind == TAKE]
    assert takes == ["", "2, 4"]


def test_vace_of_our_engine_films_that_shot_again(tmp_path):
    pytest.importorskip("diffusers")
    pytest.importorskip("transformers")
    film = SmallFilm(tmp_path / "film", shot_model=tiny_wan("led", steps=1))
    # Of 9 frames the middle is a place of its own for a model whose latents are four apart.
    board, _ = film.draw(plan())
    assert film.film(board)[1] == ["1", "2", "3"]
    assert film.film(given(board))[1] == ["2"]
