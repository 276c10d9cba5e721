import pytest

from stage_core.bench.menu import MEASURES
from stage_core.bench.shots import filming, keeping, moving

# What a benchmark measures takes its time; that it is right is tested beside what it measures.
pytestmark = pytest.mark.slow

pytest.importorskip("diffusers")
pytest.importorskip("transformers")


def quiet(now):
    pass


def figures(rows):
    return {row.name: row.value for row in rows}


def test_the_parts_of_a_shot_add_up_to_all_of_it():
    found = figures(filming(quiet, num_shots=2))
    assert found.pop("tiny shot") > 0
    assert found.keys() == {f"share of {part}" for part in ("encode", "experts", "decode", "store")}
    assert sum(found.values()) == pytest.approx(100)
    assert min(found.values()) > 0


def test_keeping_a_take_is_its_key_and_its_file():
    key, write, few, many = keeping(quiet, num_frames=3, size=(32, 16))
    # Four steps of 1676 TFLOP at 124 TFLOP a second are 54 s; forty of two branches 20 times that.
    assert few.value == pytest.approx((key.value + write.value) / 1000 / 54.06 * 100, rel=1e-3)
    assert few.value == pytest.approx(20 * many.value)
    assert few.goal == many.goal == "at most 2"
    assert few.met


def test_a_film_in_phases_moves_the_weights_of_one_shot():
    by_shot, by_phase, over_one = moving(quiet, num_shots=3)
    assert by_shot.value == pytest.approx(3 * by_phase.value)
    assert over_one.value == 1
    assert over_one.met


def test_shots_are_on_the_menu():
    assert "shots" in MEASURES
