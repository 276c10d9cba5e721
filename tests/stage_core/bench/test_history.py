"""What a shot costs does not grow with the number of shots before it."""

import json
import subprocess
import sys

import pytest

from stage_core.bench.history import PACK, AllKeyframes, history

# What a benchmark measures takes its time; that it is right is tested beside what it measures.
pytestmark = pytest.mark.slow

SMALL = (64, 48)

LONG = """
import dataclasses, json
from stage_core.bench.history import PACK, history
found = history("memory pack", PACK, (832, 480), 64, lambda *_: None)
print(json.dumps(dataclasses.asdict(found)))
"""


def quiet(*_):
    pass


def test_all_keyframes_cost_more_with_every_shot_and_a_pack_does_not():
    every = history("all", AllKeyframes(), SMALL, 8, quiet)
    # A canvas of two frames of 4x3 tokens, and two more for every shot before it.
    assert every.tokens == (2 * 12 * 4, 2 * 12 * 8)
    packed = history("pack", PACK, SMALL, 8, quiet)
    assert packed.tokens[0] == packed.tokens[1] < 96


def test_the_shots_that_are_drawn_again_are_told_too():
    told = []
    history("pack", PACK, SMALL, 8, lambda shot, *_: told.append(shot.id))
    assert told[-2:] == ["4", "8"] and told.count("8") > 5


@pytest.mark.parametrize(("size", "shots"), [((60, 48), 8), (SMALL, 4)])
def test_a_size_or_length_that_cannot_be_measured_is_refused(size, shots):
    with pytest.raises(ValueError, match="use m"):
        history("pack", PACK, size, shots, quiet)


@pytest.mark.timeout(600)
def test_the_last_of_64_shots_costs_what_the_fourth_does():
    # A process of its own: what other tests have freed would hide growth.
    done = subprocess.run([sys.executable, "-c", LONG], capture_output=True, check=True)
    found = json.loads(done.stdout)
    early, late = found["tokens"]
    assert abs(late / early - 1) < 0.03
    assert found["rss_bytes_per_shot"] < 2 * 10**6
    # The two do the same work; the rest is for what else the machine does.
    assert found["seconds"][1] / found["seconds"][0] < 1.5
