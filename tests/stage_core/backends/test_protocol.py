from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stage_core.backends.protocol import Grid, Sampling, drawing_seed, filming_seed
from stage_core.story.shot_list import FrameFormat, Shot

SHOT = Shot("2A")
SEEDS = pytest.mark.parametrize("seed_of", [drawing_seed, filming_seed])
GRID = Grid(area=1536 * 864, multiple=16, rate=Fraction(16), stride=4)


@pytest.mark.parametrize(
    ("width", "height", "size"),
    [
        (1920, 1080, (1536, 864)),
        (832, 480, (1520, 880)),
        (1080, 1920, (864, 1536)),
        (1024, 1024, (1152, 1152)),
        (8192, 16, (26064, 48)),
    ],
)
def test_a_size_has_the_models_area_in_the_films_aspect(width, height, size):
    assert GRID.size(FrameFormat(width, height)) == size


@given(st.integers(16, 8192), st.integers(16, 8192), st.sampled_from([8, 16, 32]))
def test_sides_are_positive_multiples_within_half_a_multiple(width, height, multiple):
    grid = Grid(area=256 * 144, multiple=multiple)
    aspect = width / height
    wanted = (grid.area * aspect) ** 0.5, (grid.area / aspect) ** 0.5
    for side, exact in zip(grid.size(FrameFormat(width, height)), wanted, strict=True):
        assert side >= multiple
        assert side % multiple == 0
        # The rounding of a float may fall to either side of an exact half.
        assert abs(side - max(exact, multiple / 2)) <= multiple / 2 + 1e-6


@given(st.integers(2, 100_000), st.fractions(1, 120, max_denominator=1001), st.integers(1, 8))
def test_a_length_is_on_the_stride_and_nearest_to_the_planned_seconds(frames, rate, stride):
    grid = Grid(area=1, multiple=1, rate=Fraction(16), stride=stride)
    length = grid.num_frames(replace(SHOT, num_frames=frames), FrameFormat(rate=rate))
    assert length > 1
    assert (length - 1) % stride == 0
    exact = Fraction(frames) / rate * 16
    assert abs(length - exact) <= Fraction(stride, 2) or length == stride + 1


def test_a_length_by_hand():
    # Three seconds at 16 frames per second are 48; the nearest of 45, 49 is 49.
    assert GRID.num_frames(replace(SHOT, num_frames=72), FrameFormat(rate=Fraction(24))) == 49


def test_a_model_without_a_rate_keeps_the_films_frames():
    still = Grid(area=1, multiple=1)
    assert still.num_frames(replace(SHOT, num_frames=72), FrameFormat()) == 72


@SEEDS
def test_an_explicit_seed_is_used_literally_and_gives_others_to_later_results(seed_of):
    counted = [replace(SHOT, seed=42, drawing=n, take=n) for n in (1, 2, 3)]
    assert seed_of(counted[0], Sampling(seed=7)) == 42
    assert len({seed_of(shot, Sampling(seed=7)) for shot in counted}) == 3
    assert seed_of(counted[1], Sampling(seed=8)) == seed_of(counted[1], Sampling(seed=7))


@SEEDS
def test_seeds_fit_63_bits(seed_of):
    for seed in (0, 2**63, 2**64 - 1):
        assert 0 <= seed_of(replace(SHOT, seed=seed), Sampling()) < 2**63
        assert 0 <= seed_of(SHOT, Sampling(seed=seed)) < 2**63


@SEEDS
def test_seeds_follow_the_films_seed_and_the_shots_id(seed_of):
    variants = [(SHOT, 0), (SHOT, 1), (replace(SHOT, id="2B"), 0)]
    assert len({seed_of(shot, Sampling(seed=seed)) for shot, seed in variants}) == 3


def test_drawings_and_takes_have_noise_of_their_own():
    later_drawing, later_take = replace(SHOT, drawing=2), replace(SHOT, take=2)
    assert drawing_seed(SHOT, Sampling()) != filming_seed(SHOT, Sampling())
    assert drawing_seed(later_drawing, Sampling()) != drawing_seed(SHOT, Sampling())
    assert filming_seed(later_take, Sampling()) != filming_seed(SHOT, Sampling())
    assert drawing_seed(later_take, Sampling()) == drawing_seed(SHOT, Sampling())
    assert filming_seed(later_drawing, Sampling()) == filming_seed(SHOT, Sampling())


def test_seeds_depend_on_nothing_else_of_the_plan():
    changed = replace(SHOT, description="rain", num_frames=10, keep=True)
    assert drawing_seed(changed, Sampling(steps=9)) == drawing_seed(SHOT, Sampling())


def test_the_hash_is_the_same_on_every_machine():
    # First 8 bytes of SHA-256 of "0 2A drawing 1", big endian, without the top bit.
    assert drawing_seed(SHOT, Sampling()) == 0x170CE5EF12A240C9
