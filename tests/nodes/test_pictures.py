"""Pictures as the host gives them, and as it wants them."""

from fractions import Fraction

import pytest
import torch

pytestmark = pytest.mark.comfy


def grey_levels(pack, images):
    return [p.image[0, 0].tolist() for p in pack.nodes.pictures.pictures(images, "image_1")]


def test_every_picture_of_a_batch_is_one(pack):
    images = torch.stack([torch.full((4, 6, 3), value) for value in (0.0, 1.0)])
    assert grey_levels(pack, images) == [[0, 0, 0], [255, 255, 255]]


def test_transparency_lies_on_middle_grey(pack):
    red = torch.tensor([1.0, 0.0, 0.0])
    images = torch.stack([torch.cat([red, torch.tensor([a])]) for a in (0.0, 0.5, 1.0)])
    found = grey_levels(pack, images.reshape(3, 1, 1, 4))
    assert found == [[128, 128, 128], [191, 64, 64], [255, 0, 0]]


def test_one_channel_is_grey(pack):
    assert grey_levels(pack, torch.full((1, 2, 2, 1), 0.2)) == [[51, 51, 51]]


@pytest.mark.parametrize(
    "images, reason",
    [
        (torch.full((1, 2, 2, 3), float("nan")), "not finite"),
        (torch.zeros(1, 0, 4, 3), "shape"),
        (torch.zeros(0, 4, 4, 3), "shape"),
        (torch.zeros(1, 4, 4, 5), "shape"),
    ],
)
def test_what_is_no_picture_is_refused_by_the_name_of_its_socket(pack, images, reason):
    with pytest.raises(ValueError, match=rf"image_1.*{reason}"):
        pack.nodes.pictures.pictures(images, "image_1")


@pytest.mark.parametrize("height, width", [(512, 512), (100, 900), (900, 100), (480, 832)])
def test_a_crop_has_the_aspect_and_touches_two_sides(pack, height, width):
    aspect = Fraction(832, 480)
    cropped = pack.nodes.pictures.crop(torch.zeros(height, width, 3, dtype=torch.uint8), aspect)
    assert cropped.shape[0] == height or cropped.shape[1] == width
    # The sides are whole pixels.
    assert abs(cropped.shape[1] - cropped.shape[0] * aspect) <= aspect
