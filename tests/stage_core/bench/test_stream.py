"""The measurements of streaming say what they measure, and find what they should."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest

from stage_core.bench import stream
from stage_core.bench.rows import Row
from stage_core.bench.subjects import Size
from stage_core.offload.slab import Packed

# What a benchmark measures takes its time; that it is right is tested beside what it measures.
pytestmark = pytest.mark.slow

TINY = Size(5, 2, 16, 32)

HELD = """
import dataclasses, json
from stage_core.bench import stream
from stage_core.bench.subjects import Size
rows = stream.memory(lambda now: None, Size(8, 4, 64, 16, 1), steps=20)
print(json.dumps([dataclasses.asdict(row) for row in rows]))
"""


def quiet(_):
    pass


@pytest.mark.parametrize("kind", ["Wan", "Qwen"])
def test_streamed_numbers_are_those_in_place(monkeypatch, kind):
    monkeypatch.setattr(stream, "KINDS", {kind: stream.KINDS[kind]})
    rows = stream.equality(quiet, TINY)
    assert len(rows) == 10 and all(row.met for row in rows)


def test_wrong_numbers_would_be_seen(monkeypatch):
    monkeypatch.setattr(stream, "KINDS", dict([*stream.KINDS.items()][:1]))
    monkeypatch.setattr(Packed, "write", lambda packed, slab: slab.zero_())
    assert not any(row.met for row in stream.equality(quiet, TINY))


def test_words_that_were_read_with_wrong_weights_would_be_seen(monkeypatch):
    make, write, of_words = stream.KINDS["Wan"], Packed.write, []

    def made(*arguments):
        subject = make(*arguments)
        of_words[:] = [block.attn2.to_v for block in subject.blocks]
        return subject

    def wrong(packed, slab):
        write(packed, slab)
        for piece in packed.pieces:
            if any(piece.tensor is layer.weight for layer in of_words):
                piece.view(slab).zero_()

    monkeypatch.setattr(stream, "KINDS", {"Wan": made})
    monkeypatch.setattr(Packed, "write", wrong)
    assert not any(row.met for row in stream.equality(quiet, TINY))


def test_branches_and_shots_share_the_bytes_of_a_visit_and_skipped_blocks_have_none():
    assert [row.met for row in stream.traffic(quiet, TINY)] == [True] * 3


def test_plans_reach_their_bound_in_simulation():
    assert all(row.met for row in stream.simulated(quiet))


def test_planned_peaks_are_those_of_the_tensors():
    rows = stream.predicted(quiet, replace(TINY, num_tokens=512))
    assert len(rows) == 6 and all(row.met for row in rows)


def test_times_are_of_both_lengths():
    rows = stream.times(quiet, TINY, pairs=2)
    assert [row.name.split()[1] for row in rows] == ["32", "32", "8", "8"]
    assert all(isinstance(row, Row) and row.value >= 0 for row in rows)


def test_weights_from_a_mapped_file_take_two_blocks_of_ram_however_long_it_goes_on():
    # An allocator that keeps what was freed, out of which the slots could be taken unseen.
    keeps = os.environ | {"MALLOC_MMAP_THRESHOLD_": "1000000000"}
    done = subprocess.run([sys.executable, "-c", HELD], capture_output=True, check=True, env=keeps)
    held, growth = json.loads(done.stdout)
    assert 1.9 < held["value"] <= 2.1 and growth["value"] < 5
