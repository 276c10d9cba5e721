"""Where tokens stand: the pair is one tall picture, text begins beyond the largest picture."""

import pytest
import torch

from stage_core.encoding.positions import (
    canvas_positions,
    picture_positions,
    text_positions,
    vision_language_positions,
)

from ..vectors import case, manifest, needs_vectors


def test_positions_are_centred_and_odd_sizes_have_one_more_negative():
    positions = picture_positions(3, 2, 5)
    assert positions[:, 0].unique().tolist() == [3]
    assert positions[:, 1].unique().tolist() == [-1, 0]
    assert positions[:, 2].unique().tolist() == [-3, -2, -1, 0, 1]


def test_the_start_lies_above_the_middle_and_the_end_below_in_the_same_columns():
    start, end = canvas_positions(3, 4).chunk(2)
    assert start[:, 1].unique().tolist() == [-3, -2, -1]
    assert end[:, 1].unique().tolist() == [0, 1, 2]
    assert torch.equal(start[:, 2], end[:, 2])
    assert (canvas_positions(3, 4)[:, 0] == 0).all()


def test_memory_frames_are_numbered_from_1():
    places = canvas_positions(1, 1, [(1, 2), (2, 1)])
    assert places[:, 0].tolist() == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize(
    ("memory", "first"), [([], 3), ([(2, 2)], 3), ([(2, 17)], 8), ([(1, 1)] * 9, 3)]
)
def test_text_begins_beyond_the_largest_of_all_pictures_whatever_their_number(memory, first):
    words = text_positions(canvas_positions(3, 4, memory), 2)
    assert words.tolist() == [[first] * 3, [first + 1] * 3]


def test_words_around_a_picture_go_on_after_its_longer_side():
    places = vision_language_positions([7, 9, 9, 9, 9, 9, 9, 8], 9, (2, 3))
    assert places[:, 0].T.tolist() == [
        [0, 0, 0],
        *([1, 1 + row, 1 + column] for row in range(2) for column in range(3)),
        [4, 4, 4],
    ]


def test_a_prompt_without_a_picture_counts_up():
    assert vision_language_positions([7, 8], 9, (0, 0))[2].tolist() == [[0, 1]]


def test_picture_tokens_that_do_not_fill_the_grid_are_refused():
    with pytest.raises(ValueError, match="3 picture tokens for a grid of 1x2"):
        vision_language_positions([9, 9, 9], 9, (1, 2))


@needs_vectors
@pytest.mark.parametrize("index", range(len(manifest().get("text", {}).get("images", ()))))
def test_vision_language_positions_are_the_authors(index):
    stored = case("text_io", f"with_image{index}")
    _, rows, columns = stored["image_grid_thw"][0].tolist()
    token = manifest()["text"]["special_ids"]["<|image_pad|>"]
    ids = stored["input_ids"][0].tolist()
    found = vision_language_positions(ids, token, (rows // 2, columns // 2))
    assert torch.equal(found, stored["position_ids"])
