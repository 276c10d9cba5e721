"""The size at which each encoder reads a picture, and that it reads each one once."""

import hashlib
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from stage_core.encoding.dual import (
    EncoderAreas,
    Once,
    bucket,
    fitted,
    held_canvas,
    memory_tokens,
    pack_tokens,
    read_at,
    vae_pixels,
    vision_patches,
)
from stage_core.story.frames import FramePair, Picture
from stage_core.story.memory import MemoryFrame, MemoryPack, MemoryScale

from ..vectors import FOLDER, case, largest, manifest, needs_vectors

OFFICIAL = EncoderAreas()
SIZES = manifest().get("preprocess", {}).get("sizes", [])
IMAGES = manifest().get("preprocess", {}).get("images", [])


def noise(height, width, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (height, width, 3), generator=generator).byte()


def opened(entry):
    with Image.open(FOLDER / entry["file"]) as image:
        pixels = image.convert("RGB")
        return torch.tensor(list(pixels.tobytes()), dtype=torch.uint8).view(*image.size[::-1], 3)


@given(st.integers(16, 5000), st.integers(16, 5000))
def test_a_bucket_is_of_16s_within_the_area_and_near_the_aspect(width, height):
    if max(width, height) > 20 * min(width, height):
        return
    wide, high = bucket(width, height, 1024 * 1024)
    assert wide % 16 == high % 16 == 0
    assert 0.8 * 1024**2 < wide * high <= 1024**2
    # Rounding down leaves less than a step of 16 on each side.
    assert abs(math.log(wide / high * height / width)) < 32 / min(wide, high)


def test_a_picture_of_the_right_size_is_left_alone():
    image = noise(32, 48)
    assert fitted(image, 48, 32) is image


def test_what_sticks_out_is_cut_off_evenly_and_nothing_is_squeezed():
    image = torch.zeros(32, 64, 3, dtype=torch.uint8)
    image[:, 16:48] = 255
    assert (fitted(image, 32, 32) == 255).all()


def test_a_picture_too_small_for_any_size_is_refused():
    with pytest.raises(ValueError, match="picture of 8x8 has no size of multiples of 16"):
        read_at(noise(8, 8), None)


def test_a_very_long_picture_is_squeezed_to_180_to_1():
    assert read_at(noise(2, 1000), OFFICIAL.vae).shape == read_at(noise(2, 360), OFFICIAL.vae).shape


@pytest.mark.parametrize("size", [(504, 280), (512, 288), (30, 40)])
def test_vision_patches_are_four_to_a_token_of_28_pixels(size):
    width, height = size
    patches, (rows, columns) = vision_patches(noise(height, width))
    assert patches.shape == (rows * columns, 3 * 2 * 14 * 14)
    assert rows % 2 == columns % 2 == 0
    assert rows * columns * 14 * 14 >= 56 * 56


def test_each_key_is_made_once_until_it_is_forgotten():
    made, once = [], Once(2)
    for key in "abacba":
        once.get(key, lambda key=key: made.append(key))
    assert made == list("abcba")


def test_the_cost_of_memory_counts_each_frame_at_its_own_size():
    picture = Picture.of(noise(90, 160))
    frames = [MemoryFrame(picture, "start", side=side) for side in (1.0, 0.5)]
    assert memory_tokens(frames, OFFICIAL) == 85 * 48 + 42 * 24


def test_only_given_halves_are_encoded_and_held():
    end = Picture.of(noise(16, 16))
    given_pair = FramePair("1", end=end, given=frozenset({"end"}))
    canvas, held = held_canvas(given_pair, lambda half: torch.ones(1, 16, 2, 4), (1, 16, 2, 4))
    assert held.flatten().tolist() == [False, False, True, True]
    assert canvas[:, :, :2].eq(0).all() and canvas[:, :, 2:].eq(1).all()


@needs_vectors
@pytest.mark.parametrize("entry", SIZES, ids=lambda entry: "x".join(map(str, entry["input"])))
def test_sizes_are_the_authors(entry):
    width, height = entry["input"]
    wanted = [tuple(entry[kind]) for kind in ("vae", "cond", "keep")]
    areas = (OFFICIAL.vae, OFFICIAL.vision, width * height)
    assert [bucket(width, height, area) for area in areas] == wanted


@needs_vectors
@pytest.mark.parametrize("entry", IMAGES, ids=lambda entry: entry["file"])
def test_official_pictures_are_the_authors_byte_for_byte(entry):
    image, stored = opened(entry), case("preprocess", name_of(entry))
    for kind, area in (("vae", OFFICIAL.vae), ("cond", OFFICIAL.vision)):
        found = read_at(image, area)
        assert list(found.shape[:2]) == entry[f"official_{kind}_hw"]
        digest = hashlib.sha256(found.numpy().tobytes()).hexdigest()
        if digest != entry[f"official_{kind}_sha256_u8"]:
            # Another Pillow may round otherwise by one grey level.
            seen = (found[::4, ::4], stored["official_cond_sub4"])
            read = (vae_pixels(found)[..., ::16, ::16], stored["official_vae_sub16"])
            assert largest(*(seen if kind == "cond" else read)) <= (1 if kind == "cond" else 0.008)


@needs_vectors
@pytest.mark.parametrize("entry", IMAGES, ids=lambda entry: entry["file"])
def test_other_sizes_of_pictures_are_the_authors(entry):
    image, stored = opened(entry), case("preprocess", name_of(entry))
    for found, kind in ((read_at(image, None), "keep"), (fitted(image, 48, 32), "resize48x32")):
        assert largest(found, stored[f"{kind}_cond"]) <= 1
        assert largest(vae_pixels(found), stored[f"{kind}_vae"]) <= 2 / 255


@needs_vectors
@pytest.mark.parametrize("index", range(len(manifest().get("text", {}).get("images", ()))))
def test_vision_patches_are_the_authors(index):
    image = case("text_io", "image")[str(index)]
    wanted = case("text_io", f"with_image{index}")
    patches, grid = vision_patches(image)
    assert wanted["image_grid_thw"].tolist() == [[1, *grid]]
    assert largest(patches, wanted["pixel_values"]) < 1e-5


def name_of(entry):
    return entry["file"].removeprefix("images/").removesuffix(".png")


def test_a_full_pack_costs_what_its_frames_cost_at_their_places():
    reference = Picture.of(torch.zeros(1024, 1024, 3, dtype=torch.uint8))
    pack = MemoryPack((MemoryFrame(reference, "reference"),), capacity=3)
    # 85x48 tokens of a frame of 16:9, 64x64 of a square.
    assert pack_tokens(pack, (1536, 864), EncoderAreas()) == 2 * 4080 + 4096
    tiled = MemoryPack(capacity=64, scale=MemoryScale.PAPER)
    assert pack_tokens(tiled, (1536, 864), EncoderAreas()) < 7 / 3 * 4080
