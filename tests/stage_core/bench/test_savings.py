"""The rows of exact savings, at sizes that take no time."""

from dataclasses import replace

import pytest
import torch

from stage_core.bench import savings
from stage_core.offload.working import each_tensor

# What a benchmark measures takes its time; that it is right is tested beside what it measures.
pytestmark = pytest.mark.slow


def quiet(*_):
    pass


def by_name(rows):
    return {row.name: row for row in rows}


def test_no_number_differs_and_a_third_is_left_out():
    rows = [*savings.table(quiet), *savings.exactness(quiet)]
    assert len(rows) == 2 + 2 * 3 * 2
    assert all(row.met for row in rows), [row for row in rows if not row.met]


def test_a_table_that_rounds_otherwise_would_be_noticed(monkeypatch):
    one_by_one = savings.QwenImage._make_levels

    def off(network, times):
        levels = one_by_one(network, times)
        changed = (each_tensor(one.blocks, lambda row: row * 1.01) for one in levels)
        return [replace(one, blocks=blocks) for one, blocks in zip(levels, changed, strict=True)]

    monkeypatch.setattr(savings.QwenImage, "_make_levels", off)
    rows = by_name(savings.exactness(quiet))
    assert not rows["A5 table, bfloat16, plain: numbers that differ"].met
    assert not rows["A5 table, float32, plain: largest difference"].met


def test_steps_are_compared_with_the_librarys_own_class():
    pytest.importorskip("diffusers")
    size = replace(savings.TIMED, num_layers=1, num_heads=1, num_tokens=64, dtype=torch.float32)
    rows = savings.speed(quiet, size, pairs=1)
    assert [row.goal for row in rows] == ["at least 1", "at least 1.03"]
    assert all(row.value > 0 for row in rows)


def test_python_around_the_work_is_less_than_the_whole():
    (row,) = savings.overhead(quiet, replace(savings.SMALL, num_layers=1), pairs=2)
    assert row.unit == "us" and row.value < 5000
