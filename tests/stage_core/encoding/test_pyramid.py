"""How small memory frames are shown."""

import pytest
import torch

from stage_core.diffusion.canvas import patchify, unpatchify
from stage_core.encoding.pyramid import shrink, shrunk_size
from stage_core.story.memory import MemoryScale

from ..vectors import case, largest, manifest, needs_vectors, tensors

PLACES = range(len(manifest().get("pack", {}).get("input_hw", ())))


def test_full_frames_are_left_as_they_are():
    latents = torch.randn(1, 16, 7, 9)
    assert shrink(latents, 1.0) is latents


@pytest.mark.parametrize("scale", [MemoryScale.RELEASED, MemoryScale.PAPER])
def test_sides_stay_even_and_areas_shrink_as_the_scale_says(scale):
    for place in range(8):
        side = scale.side(place)
        height, width = shrunk_size(108, 192, side)
        assert height % 2 == width % 2 == 0
        assert height == max(2, int(108 * side) // 2 * 2)
        assert width == max(2, int(192 * side) // 2 * 2)


def test_a_pack_of_the_paper_costs_less_than_a_frame_however_long_it_is():
    sizes = [shrunk_size(108, 192, MemoryScale.PAPER.side(place)) for place in range(12)]
    assert sum(height * width for height, width in sizes) < 108 * 192


def test_a_plain_surface_stays_what_it_is():
    assert shrink(torch.full((1, 16, 12, 18), 3.0), 0.25).eq(3.0).all()


@needs_vectors
def test_packing_and_unpacking_are_the_authors():
    stored = tensors("pack")
    latents = stored["pack_in"][:, :, 0]
    assert torch.equal(patchify(latents), stored["pack_out"])
    assert torch.equal(unpatchify(stored["pack_out"], latents.shape[2]), latents)


@needs_vectors
@pytest.mark.parametrize("place", PLACES)
def test_the_released_pyramid_is_the_authors(place):
    latents = case("pack", "in")[str(place)][:, :, 0]
    side = MemoryScale.RELEASED.side(place)
    found = shrink(latents, side)
    assert largest(found, case("pack", "pyramid_fp32")[str(place)][:, :, 0]) < 1e-6
    rounded = shrink(latents.bfloat16(), side)
    # One rounding of bfloat16, of values near 1.
    assert largest(rounded, case("pack", "pyramid_bf16")[str(place)][:, :, 0]) <= 2**-6


@needs_vectors
@pytest.mark.parametrize("which", ["tokens_nopyramid", "tokens_pyramid_fp32"])
def test_memory_tokens_stand_in_the_authors_order(which):
    scale = MemoryScale.FULL if "no" in which else MemoryScale.RELEASED
    latents = [case("pack", "in")[str(place)][:, :, 0] for place in PLACES]
    shown = [patchify(shrink(one, scale.side(place))) for place, one in enumerate(latents)]
    assert largest(torch.cat(shown, dim=1), tensors("pack")[which]) < 1e-6
