"""The director's desk: one shot changed, shots arranged, earlier results chosen, nothing else."""

from dataclasses import replace

import pytest
import torch

from stage_core.backends.load import load_shot_model, load_storyboard_model
from stage_core.desk.shots import choose, edit_shot, read_changes
from stage_core.media import write_picture
from stage_core.planning.planner import plan
from stage_core.story.cinematography import ShotScale, Transition, TransitionKind
from stage_core.story.storyboard import ShotStatus, Storyboard

from ..small_film import SmallFilm, names, three_shots


@pytest.fixture
def at(tmp_path):
    return SmallFilm(tmp_path / "film")


@pytest.fixture
def made(at):
    return at.make(Storyboard(three_shots()))[0]


def test_nothing_said_changes_nothing(at, made):
    board, notes = at.edit(made, "2")
    assert board.shot_list == made.shot_list and names(board) == names(made) and notes == ()


def test_every_field_can_be_said_as_a_word():
    words = {
        "description": "new", "dialogue": "IDA: no", "prompt": "p", "negative": "n",
        "scale": "cu", "angle": "low", "movement": "push in", "length": "1s",
        "transition": "fade 2 frames", "keep": "yes", "continues": "no", "seed": "7",
        "drawing": "2", "take": "3",
    }  # fmt: skip
    board = Storyboard(three_shots(continues=True, transition=Transition()))
    shot = edit_shot(board, "2", read_changes(words), None)[0].shot_list.shot("2")
    assert (shot.scale, shot.angle.value, shot.movement.value) == (
        ShotScale.CLOSE_UP,
        "low",
        "dolly in",
    )
    assert (shot.num_frames, shot.transition) == (8, Transition(TransitionKind.FADE, 2))
    assert (shot.keep, shot.continues, shot.seed, shot.drawing, shot.take) == (
        *(True, False, 7),
        *(2, 3),
    )
    assert (shot.description, shot.prompt, shot.negative) == ("new", "p", "n")


def test_a_dash_empties_a_field_and_gives_the_seed_back_to_the_film():
    board = Storyboard(three_shots(prompt="p", seed=7))
    shot = edit_shot(board, "2", read_changes({"prompt": "-", "seed": "-"}), None)[
        0
    ].shot_list.shot("2")
    assert shot.prompt == "" and shot.seed is None


def test_a_note_says_the_same_as_in_a_script_and_goes_first():
    assert read_changes({"take": "5"}, "close-up, take 2") == {
        "take": 2,
        "scale": ShotScale.CLOSE_UP,
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"scale": "wiide"}, "did you mean 'wide'"),
        ({"length": "soon"}, "3s or 81 frames|3s, 2.5 s or 81 frames"),
        ({"transition": "wipe"}, "cut, dissolve, fade"),
        ({"keep": "maybe"}, "yes or no"),
        ({"take": "two"}, "whole number"),
    ],
)
def test_a_word_that_is_no_value_is_answered_with_what_is(words, message):
    with pytest.raises(ValueError, match=message):
        read_changes(words)


def test_an_unknown_shot_is_answered_with_the_ids_there_are(at, made):
    for act in (lambda: at.edit(made, "9"), lambda: at.arrange(made, "1, 9")):
        with pytest.raises(ValueError, match=r"9.*1, 2, 3"):
            act()


def test_the_first_shot_continues_nothing(at, made):
    with pytest.raises(ValueError, match="no shot before it"):
        at.edit(made, "1", continues="yes")


@pytest.mark.parametrize("words", [{"drawing": "2"}, {"description": "IDA shuts the door"}])
def test_a_reroll_before_drawing_makes_that_shot_and_nothing_else(at, made, words):
    board, _ = at.edit(Storyboard(made.shot_list), "3", **words)
    again, drawn, filmed = at.make(board)
    assert (drawn, filmed) == (["3"], ["3"])
    assert {i: names(again)[i] for i in "12"} == {i: names(made)[i] for i in "12"}
    assert at.make(Storyboard(made.shot_list))[1:] == ([], []), "going back is free"


def test_another_take_films_that_shot_and_the_old_one_is_free(at, made):
    board, notes = at.edit(made, "3", take="2")
    assert board.status("3") is ShotStatus.DRAWN and "not filmed yet" in notes[0]
    second, filmed = at.film(board)
    assert filmed == ["3"] and second.clips["3"].name == "3_t02"
    back, notes = at.edit(second, "3", take="1")
    assert names(back) == names(made) and notes == ()
    assert at.film(back)[1] == []


def test_another_drawing_after_drawing_is_found_when_it_was_made(at, made):
    waiting, notes = at.edit(made, "3", drawing="2")
    assert waiting.status("3") is ShotStatus.PLANNED and "not drawn yet" in notes[0]
    at.draw(waiting)
    found, notes = at.edit(made, "3", drawing="2")
    assert found.pair("3").name == "3_d02" and notes == () and "3" not in found.clips


def test_words_changed_after_drawing_leave_the_pictures(at, made):
    board, _ = at.edit(made, "3", description="IDA shuts the door")
    assert board.pair("3").digests == made.pair("3").digests and "3" in board.clips


@pytest.mark.parametrize("drawn", [False, True])
def test_reordering_dropping_and_repeating_shots_make_none(at, made, drawn):
    board = made if drawn else Storyboard(made.shot_list)
    arranged, _ = at.arrange(board, "3, 1, 2, 2")
    again, *made_again = at.make(arranged)
    assert made_again == [[], []]
    assert again.shot_list.ids == ("3", "1", "2", "4")
    assert names(again)["4"] == names(again)["2"] == names(made)["2"]
    assert at.make(Storyboard(at.arrange(made, "1, 3")[0].shot_list))[1:] == ([], [])


def test_a_copy_made_before_anything_is_filmed_is_filmed_once(at):
    arranged, _ = at.arrange(Storyboard(three_shots()), "1, 2, 2, 3")
    board, drawn, filmed = at.make(arranged)
    assert (drawn, filmed) == (["1", "2", "3"], ["1", "2", "3"])
    assert names(board)["2A"] == names(board)["2"] == ("2_d01", "2_t01")


def test_a_copy_is_a_shot_of_its_own(at, made):
    arranged, _ = at.arrange(made, "1, 2, 2, 3")
    board, _ = at.edit(arranged, "2A", take="2")
    again, drawn, filmed = at.make(board)
    assert (drawn, filmed) == ([], ["2A"])
    assert names(again)["2A"] == ("2_d01", "2A_t02") and names(again)["2"] == names(made)["2"]


def test_the_script_keeps_its_ids_when_copies_stand_between_its_shots(at, made):
    text = "EXT. HILL - DAY\n\nA dog runs.\n\nA cat sleeps.\n\nA bird sings."
    board = Storyboard(plan(text))
    at.project.save(at.arrange(board, "2, 1, 2, 3")[0])
    assert plan(text, earlier=at.project.earlier()).ids == ("1", "2", "3")


def test_an_order_with_a_range_and_an_empty_one(at, made):
    assert at.arrange(made, "2-3, 1")[0].shot_list.ids == ("2", "3", "1")
    assert at.arrange(made, " ")[0] is made
    assert "left out: 2" in at.arrange(made, "1,3")[1][0]


@pytest.mark.parametrize("drawn", [False, True])
def test_a_shot_that_continues_keeps_its_start_after_another_shot(at, drawn):
    board = Storyboard(three_shots(continues=True))
    made = at.make(board)[0]
    arranged, notes = at.arrange(made if drawn else board, "1, 3, 2")
    assert len(notes) == 1 and "shot 2 keeps its start frame" in notes[0]
    again, *made_again = at.make(arranged)
    assert made_again == [[], []] and names(again) == names(made)


def test_what_never_had_a_start_continues_nothing_now_and_later(at):
    board = Storyboard(three_shots(continues=True))
    arranged, notes = at.arrange(board, "1, 3, 2")
    assert "continues no other shot" in notes[0]
    at.make(arranged)
    assert at.make(at.arrange(board, "1, 3, 2")[0])[1:] == ([], [])


def test_a_shot_too_short_for_its_transitions_there_is_named(at):
    fade = Transition(TransitionKind.DISSOLVE, 3)
    plan = three_shots(transition=fade)
    plan = plan.with_shot(replace(plan.shot("3"), transition=fade))
    with pytest.raises(ValueError, match=r"shot 2: 4 frames.*6 frames"):
        at.arrange(Storyboard(plan), "1, 3, 2, 1")


def test_an_earlier_take_is_chosen_by_number_or_name(at, made):
    second = at.make(at.edit(made, "3", take="2")[0])[0]
    for take in ("1", "3_t01"):
        board = choose(second, "3", "", take, at.project)
        assert board.clips["3"].name == "3_t01" and board.shot_list.shot("3").take == 1
        assert at.film(board)[1] == []
    with pytest.raises(ValueError, match="no take '7'; there are: 3_t01, 3_t02"):
        choose(second, "3", "", "7", at.project)


def test_a_take_brings_the_drawing_it_was_filmed_between(at, made):
    other = at.make(at.edit(Storyboard(made.shot_list), "3", drawing="2")[0])[0]
    board = choose(other, "3", "", "3_t01", at.project)
    assert names(board) == names(made) and board.shot_list == made.shot_list
    assert at.make(board)[1:] == ([], [])


def test_a_drawing_is_chosen_and_its_take_found_again(at, made):
    other = at.make(at.edit(Storyboard(made.shot_list), "3", drawing="2")[0])[0]
    board = choose(other, "3", "1", "", at.project)
    assert board.pair("3").name == "3_d01" and "3" not in board.clips
    assert at.film(board)[1] == []


def test_a_repainted_picture_counts_as_a_swap(at, made, tmp_path):
    red = torch.zeros(48, 64, 3, dtype=torch.uint8)
    write_picture(tmp_path / "film" / "2_d01_end.png", red)
    board, drawn, filmed = at.make(Storyboard(made.shot_list))
    assert (drawn, filmed) == ([], ["2"])
    assert board.pair("2").given == {"end"} and not board.pair("2").end.image.any()


@pytest.mark.usefixtures("small_sketches")
def test_the_laws_hold_with_the_embedded_models(tmp_path):
    one = SmallFilm(tmp_path, load_storyboard_model("sketch"), load_shot_model("animatic"))
    made = one.make(Storyboard(three_shots()))[0]
    rerolled = one.edit(Storyboard(made.shot_list), "3", drawing="2")[0]
    assert one.make(rerolled)[1:] == (["3"], ["3"])
    assert one.make(one.arrange(Storyboard(made.shot_list), "3, 1, 2, 2")[0])[1:] == ([], [])
