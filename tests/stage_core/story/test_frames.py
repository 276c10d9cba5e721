import pytest
import torch

from stage_core.story.frames import FramePair, Picture, as_pixels, no_frames, pixel_digest
from stage_core.story.shot_list import Shot


def pixels(value=7, height=2, width=3):
    return torch.full((height, width, 3), value, dtype=torch.uint8)


def test_equal_pixels_have_equal_digests_however_they_came():
    as_float = pixels().float() / 255
    strided = pixels().permute(2, 0, 1).contiguous().permute(1, 2, 0)
    digests = {Picture.of(image).digest for image in (pixels(), as_float, strided)}
    assert digests == {pixel_digest(pixels())}


def test_one_changed_level_changes_the_digest():
    changed = pixels()
    changed[1, 2, 0] += 1
    assert pixel_digest(changed) != pixel_digest(pixels())


def test_the_same_bytes_in_another_size_have_another_digest():
    assert pixel_digest(pixels(7, 2, 3)) != pixel_digest(pixels(7, 3, 2))


def test_floats_are_clamped_and_rounded_to_the_nearest_level():
    levels = torch.tensor([-0.5, 0.0, 0.4 / 255, 0.6 / 255, 1.0, 1.5])
    image = levels[:, None, None].expand(6, 1, 3)
    assert as_pixels(image)[:, 0, 0].tolist() == [0, 0, 0, 1, 255, 255]


def test_all_256_levels_survive_as_floats():
    levels = torch.arange(256, dtype=torch.uint8).reshape(16, 16, 1).expand(16, 16, 3)
    assert torch.equal(as_pixels(levels.float() / 255), levels)


def test_a_picture_keeps_its_pixels_when_the_tensor_it_came_from_is_overwritten():
    image = pixels()
    picture = Picture.of(image)
    image.zero_()
    assert pixel_digest(picture.image) == picture.digest


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (torch.zeros(3, 4, 4), r"should be \[H, W, 3\]"),
        (torch.zeros(1, 4, 4, 3), r"should be \[H, W, 3\]"),
        (torch.zeros(0, 4, 3), r"should be \[H, W, 3\]"),
        (torch.zeros(4, 4, 3, dtype=torch.int32), "uint8 or floating point"),
        (torch.full((4, 4, 3), float("nan")), "not finite"),
        (torch.full((4, 4, 3), float("inf")), "not finite"),
    ],
)
def test_what_is_no_picture_is_refused(image, message):
    with pytest.raises(ValueError, match=message):
        Picture.of(image)


def test_keyframes_stand_at_both_ends_of_the_shot():
    start, end = Picture.of(pixels(1)), Picture.of(pixels(2))
    keyframes = FramePair("1", start, end).keyframes(25)
    assert [(k.index, k.picture) for k in keyframes] == [(0, start), (24, end)]
    assert [k.index for k in FramePair("1", end=end).keyframes(25)] == [24]


def test_only_given_halves_remain():
    pair = FramePair("1", Picture.of(pixels(1)), Picture.of(pixels(2)), frozenset({"end"}))
    kept = pair.only_given()
    assert (kept.start, kept.end, kept.given) == (None, pair.end, {"end"})


def test_a_pair_of_nothing_has_no_digests():
    pair = no_frames(Shot("1"))
    assert pair.digests == ("", "")
    assert not pair.complete


@pytest.mark.parametrize("given", [{"start"}, {"middle"}])
def test_a_given_half_must_be_there(given):
    with pytest.raises(ValueError, match="no such frame"):
        FramePair("1", end=Picture.of(pixels()), given=frozenset(given))
