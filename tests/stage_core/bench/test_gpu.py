"""What is measured on a GPU runs in small without one."""

from dataclasses import replace

import pytest

from stage_core.bench import gpu
from stage_core.bench.rows import Row

# What a benchmark measures takes its time; that it is right is tested beside what it measures.
pytestmark = pytest.mark.slow

FEW = replace(gpu.DRY, blocks={"Qwen": 4, "Wan": 4}, caps=(2**10, 10**9))


def quiet(_):
    pass


def test_a_network_is_measured_in_place_streamed_and_under_caps():
    rows = gpu.whole("Wan", FEW, quiet, gpu.ceilings(FEW, quiet))
    found = {row.name.partition(": ")[::2]: row.value for row in rows}
    streamed, capped = (value for (_, what), value in found.items() if what == "fetched")
    assert streamed > 0 and capped == 0
    assert [row.name for row in rows if "does not fit" in row.name] == [
        "Wan, 64 tokens, cap 9.54e-07 GiB: does not fit"
    ]


def test_weights_of_eight_bits_have_half_the_bytes_of_sixteen():
    link = gpu.ceilings(FEW, quiet)
    eight, whole = (part(FEW, quiet, link)[2] for part in (gpu.eight_bits, qwen_whole))
    # The small network is in float32, and a scale is one number in sixty-four.
    assert eight.name.endswith("fetched") and eight.value < 0.35 * whole.value


def qwen_whole(scale, on_row, link):
    return gpu.whole("Qwen", scale, on_row, link)


def test_blocks_that_make_their_modulation_are_measured_beside_those_with_a_table():
    place, streamed = gpu.without_table(FEW, quiet)
    assert place.value > 0 and streamed.value > 0
    assert {place.goal, streamed.goal} == {"at least 1"}


def test_blocks_of_the_real_size_keep_to_their_room_without_being_computed():
    rows = gpu.activations(quiet)
    assert len(rows) == 4 and all(row.met for row in rows)


def test_the_library_is_measured_beside_ours():
    pytest.importorskip("diffusers")
    rows = gpu.beside_library("Qwen", FEW, quiet)
    assert "the library in place" in rows[-1].name and rows[-1].value > 0


def test_without_the_library_ours_is_measured(monkeypatch):
    monkeypatch.setitem(gpu.library_network.__globals__, "_diffusers", missing)
    said = []
    rows = gpu.beside_library("Qwen", FEW, said.append)
    assert len(rows) == 3 and "install" in said[-1]


def missing():
    raise gpu.MissingPackageError("install it")


def test_all_of_it_runs_without_a_gpu_and_says_nothing_of_goals(monkeypatch):
    monkeypatch.setattr(gpu.torch.cuda, "is_available", lambda: False)
    rows = gpu.measure(quiet)
    assert len(rows) > 60 and all(isinstance(row, Row) and row.met is None for row in rows)
    assert any("against plain PyTorch" in row.name for row in rows)
