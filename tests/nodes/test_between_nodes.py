"""Replace Keyframes with pictures between start and end, and who films through them."""

import pytest
import torch
from PIL import Image

from .test_nodes import drawn, plan, red
from .test_shot_sampler import film

__all__ = ["drawn", "film", "plan"]
pytestmark = pytest.mark.comfy


def two(height=48, width=64):
    return torch.cat([red(height, width), 1 - red(height, width)])


def places(board, shot_id="2"):
    return [keyframe.index for keyframe in board.between.get(shot_id, ())]


def test_pictures_between_film_one_shot_and_draw_none(run, plan, drawn, said):
    run("DualEncoderShotSampler", storyboard=drawn)
    (given,) = run("ReplaceKeyframes", storyboard=plan, shot="2", between=red(), at="50%")
    board = run("STEP2Storyboard", storyboard=given)[0]
    assert said[-1].startswith("drew 0 of 3 shots") and places(board) == [2]
    filmed = run("DualEncoderShotSampler", storyboard=board)[0]
    assert said[-1].startswith("filmed 1 of 3 shots, 2 from takes")
    (swapped,) = run("ReplaceKeyframes", storyboard=filmed, shot="2", between=1 - red(), at="2")
    run("DualEncoderShotSampler", storyboard=swapped, takes=2)
    assert "filmed 1 of 3 shots, 2 from takes; 3 other takes" in said[-1]


def test_painting_over_one_runs_the_nodes_again_and_films_that_shot(run, node, plan, output, said):
    fingerprint = node("STAGE_STEP2Storyboard").fingerprint_inputs

    def make():
        (given,) = run("ReplaceKeyframes", storyboard=plan, shot="2", between=red(), at="50%")
        board = run("STEP2Storyboard", storyboard=given)[0]
        run("DualEncoderShotSampler", storyboard=board)
        return fingerprint(storyboard=board)

    before = make()
    assert make() == before and said[-1].startswith("filmed 0 of 3 shots")
    (path,) = (output / "stage" / plan.shot_list.title).glob("2_between*.png")
    Image.new("RGB", (64, 48), "green").save(path)
    assert make() != before and said[-1].startswith("filmed 1 of 3 shots, 2 from takes")


def test_a_batch_goes_to_its_places_and_more_are_added(run, plan, said):
    (given,) = run("ReplaceKeyframes", storyboard=plan, shot="1", between=two(96, 96), at="2, 1")
    assert "shot 1: keyframes between at 1 (0.06 s), 2 (0.12 s), of 4 frames" in said[-1]
    first, second = given.between["1"]
    assert first.image[0, 0].tolist() == [0, 255, 255] and second.image[0, 0].tolist()[0] == 255
    assert (first.picture.width, first.picture.height) == (96, 72)
    (more,) = run("ReplaceKeyframes", storyboard=given, shot="1", between=red(), at="1")
    assert places(more, "1") == [1, 2] and more.between["1"][0].image[0, 0].tolist()[0] == 255
    assert places(run("ReplaceKeyframes", storyboard=plan, shot="1", between=two())[0], "1") == [
        1,
        2,
    ]


def test_a_place_without_a_picture_changes_nothing_and_a_wrong_one_is_answered(run, drawn):
    (board,) = run("ReplaceKeyframes", storyboard=drawn, shot="2", at="1s")
    assert board.between == {}
    with pytest.raises(ValueError, match="shot 2: 1s is frame 16, and frames 1 to 2"):
        run("ReplaceKeyframes", storyboard=drawn, shot="2", between=red(), at="1s")


def test_a_model_that_films_from_the_ends_says_so_and_films_nothing_again(run, film, drawn):
    film(drawn)
    (board,) = run("ReplaceKeyframes", storyboard=drawn, shot="2", between=red(), at="2")
    film(board)
    assert film.texts[-1].endswith(
        "filmed 0 of 3 shots, 3 from takes; keyframes between start and end are ignored: this "
        "model films from the ends"
    )


def test_one_beyond_the_end_of_a_shortened_shot_is_said_to_wait(run, drawn, said):
    (board,) = run("ReplaceKeyframes", storyboard=drawn, shot="2", between=red(), at="2")
    shorter = run("EditShot", storyboard=board, shot="2", length="3 frames")[0]
    run("DualEncoderShotSampler", storyboard=shorter)
    assert said[-1].endswith("shot 2: its keyframe at 2 waits, beyond its end")
