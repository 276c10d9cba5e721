"""What is measured on a GPU runs in small without one, and keeps what it has."""

import json
from collections import Counter
from dataclasses import replace

import pytest
import torch

from stage_core import __main__
from stage_core.bench import drawn_history, gpu, gpu_networks, kernel_speed
from stage_core.bench.gpu_goals import Goal, goals
from stage_core.bench.kernel_cases import Case
from stage_core.bench.rows import Row, at_least, at_most

# What a benchmark measures takes its time; that it is right is tested beside what it measures.
slow = pytest.mark.slow

FEW = replace(gpu.DRY, blocks={"Qwen": 4, "Wan": 4})
# Of these there is nothing to see without a GPU.
ON_GPUS = (": peak", ": plan off by", "compiled", ": of the link", "offload", "sequential")


def quiet(_):
    pass


def few(**changes):
    return gpu.Bench(replace(FEW, **changes), quiet)


def table(rows):
    return {row.name: row for row in rows}


def measured(bench, rows):
    """The rows by name, which what follows finds among the figures."""
    for row in rows:
        bench.figures[row.name] = row
    return dict(bench.figures)


def part(name, *rows, seconds=1, failure=None, clock=None):
    """A part that gives rows, takes its time on a clock, and fails."""

    def run():
        if clock:
            clock[0] += seconds
        yield from rows
        if failure:
            raise failure

    return gpu.Part(name, seconds, run)


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(gpu.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    """The ways that are for GPUs alone, on the CPU."""
    monkeypatch.setattr(gpu.Scale, "dry", False)
    for name, value in (
        ("max_memory_allocated", 10**6),
        ("mem_get_info", (10**9, 10**9)),
        *((name, None) for name in ("reset_peak_memory_stats", "set_per_process_memory_fraction")),
    ):
        monkeypatch.setattr(torch.cuda, name, lambda *_, value=value: value)
    monkeypatch.setattr(torch.version, "cuda", "13")
    monkeypatch.setattr(torch.nn.Module, "compile", lambda module: None)
    monkeypatch.setattr(kernel_speed, "_compiled", lambda plain: [plain])
    monkeypatch.setattr(gpu_networks, "offload_by_library", lambda *_: None)
    monkeypatch.setattr(gpu, "ceilings", lambda bench: [])


def test_what_a_part_has_stays_when_it_runs_out_of_memory_and_the_next_one_goes_on(clock):
    failure = torch.OutOfMemoryError("no room\nfor this")
    wanted = [part("first", Row("one", 1), failure=failure), part("second", Row("two", 2))]
    names = list(table(gpu.measured(few(), wanted)))
    assert names == [
        *("one", "first: failed, OutOfMemoryError: no room", "first: took"),
        *("two", "second: took", "time of all"),
    ]


@pytest.mark.parametrize("failure", [RuntimeError("lost"), AttributeError("gone"), ImportError()])
def test_no_other_failure_of_a_part_loses_the_table(clock, failure):
    rows = table(gpu.measured(few(), [part("first", failure=failure), part("second")]))
    assert f"first: failed, {type(failure).__name__}: {failure}" in rows and "second: took" in rows


def test_who_stops_the_measurement_stops_it(clock):
    def stop(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(gpu.measured(gpu.Bench(FEW, stop), [part("first")]))


@pytest.mark.usefixtures("as_on_a_gpu")
def test_a_part_is_left_out_for_want_of_time_and_a_short_one_still_done(clock):
    wanted = [
        part("long", Row("one", 1), seconds=500, clock=clock),
        part("too long", Row("two", 2), seconds=80, clock=clock),
        part("short", Row("three", 3), seconds=60, clock=clock),
    ]
    rows = table(gpu.measured(few(), wanted))
    assert "one" in rows and "three" in rows and "two" not in rows
    assert rows["too long: left out for want of time"].value == 80
    assert rows["time of all"].value == 560 and rows["time of all"].met


def test_all_parts_fit_into_ten_minutes(monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", "13")
    wanted = list(gpu.parts(gpu.Bench(gpu.REAL, quiet)))
    assert sum(one.seconds for one in wanted) < 570
    assert len({one.name for one in wanted}) == len(wanted)


def test_a_goal_is_judged_by_the_worst_of_its_figures():
    figures = table([Row("a: waste", 1, "x"), Row("b: waste", 3, "x"), Row("c", 0)])
    most, only = Goal(at_most, 2, ".*: waste", "most"), Goal(at_least, 2, "a: waste")
    assert most.row(figures) == Row("most", 3, "x", "at most 2", False)
    assert only.row(figures) == Row("a: waste", 1, "x", "at least 2", False)
    assert Goal(at_most, 1, "d").row(figures) is None


@pytest.mark.usefixtures("as_on_a_gpu")
def test_a_worse_figure_of_a_later_part_stands_for_the_one_before(clock):
    wanted = [part(str(value), Row(f"{value}: efficiency", value)) for value in (0.97, 0.9, 0.99)]
    judged = [row for row in gpu.measured(few(), wanted) if row.goal and "all" not in row.goal]
    judged = [row for row in judged if row.name.startswith("efficiency")]
    assert [(row.value, row.met) for row in judged] == [(0.97, True), (0.9, False)]


def test_rows_are_saved_as_they_come(tmp_path, monkeypatch, capsys):
    file = tmp_path / "rows.json"

    def stopped(on_row):
        yield Row("one", 1)
        yield Row("two", 2)
        yield Row("one", 3)
        raise KeyboardInterrupt

    monkeypatch.setitem(__main__.MEASURES, "gpu", stopped)
    assert __main__.main(["bench", "gpu", "--json", str(file)]) == 130
    saved = [(row["name"], row["value"]) for row in json.loads(file.read_text())]
    assert saved == [("one", 3), ("two", 2)]


def test_a_kernel_that_fails_loses_no_other(monkeypatch):
    one = torch.ones(1)
    good = Case("weight of one", one.clone, one.clone, (one,), one, 1)
    bad = replace(good, name="weight of another", fused=lambda: 1 // 0)
    monkeypatch.setattr(kernel_speed, "cases", lambda *_: [bad, good])
    names = list(table(kernel_speed.speeds(quiet, "cpu")))
    assert names[1].startswith("weight of another: failed, ZeroDivisionError")
    assert "weight of one: of the copy" in names


def test_a_foreign_kernel_that_fails_leaves_our_figures(monkeypatch):
    one = torch.ones(1)
    case = Case("weight of one", one.clone, one.clone, (one,), one, 1, lambda package: 1 // 0)
    monkeypatch.setattr(kernel_speed, "cases", lambda *_: [case])
    monkeypatch.setattr(kernel_speed, "_kitchen", lambda: torch)
    names = list(table(kernel_speed.speeds(quiet, "cpu")))
    assert "weight of one: speed" in names and not any("failed" in name for name in names)


@slow
def test_a_network_is_measured_in_place_streamed_and_under_caps():
    caps = (2**10, 10**9)
    bench = few(work={**FEW.work, "Wan": {64: caps}})
    rows = measured(bench, gpu.workload(bench, "Wan", 64))
    fetched = [row.value for name, row in rows.items() if name.endswith(": fetched")]
    assert fetched[0] > 0 and fetched[1] == 0
    assert [name for name in rows if "does not fit" in name] == [
        "Wan, 64 tokens, cap 9.54e-07 GiB: does not fit"
    ]


@slow
def test_a_mode_that_runs_out_of_memory_loses_no_other(monkeypatch):
    best, modes = gpu_networks._best, []

    def at_times(call, device, runs):
        modes.append(call)
        if len(modes) == 2:
            raise torch.OutOfMemoryError("no room")
        return best(call, device, runs)

    monkeypatch.setattr(gpu_networks, "_best", at_times)
    rows = table(gpu.workload(few(), "Wan", 128))
    assert "Wan, 128 tokens, all streamed: failed, OutOfMemoryError: no room" in rows
    assert sum(name.endswith(": efficiency") for name in rows) == len(FEW.caps)


@slow
def test_blocks_that_were_dropped_for_want_of_memory_are_told(monkeypatch):
    calls = []
    call_of = gpu_networks.Subject.call

    def short_of_memory(subject, device):
        call = call_of(subject, device)

        def once_too_much():
            calls.append(1)
            # In place and streamed there are two runs each; this is the first under a cap.
            if len(calls) == 5:
                raise torch.OutOfMemoryError("no room")
            return call()

        return once_too_much

    monkeypatch.setattr(gpu_networks.Subject, "call", short_of_memory)
    bench = few(work={**FEW.work, "Wan": {64: (10**9,)}})
    rows = table(gpu.workload(bench, "Wan", 64))
    (dropped,) = (row for name, row in rows.items() if "dropped" in name)
    assert dropped.value == 1 and "cap" in dropped.name


@slow
def test_weights_of_eight_bits_have_half_the_bytes_of_sixteen():
    bench = few()
    whole = measured(bench, gpu.workload(bench, "Qwen", 64))
    eight = measured(bench, gpu.eight_bits(bench))
    name = "64 tokens, all streamed: fetched"
    # The small network is in float32, and a scale is one number in sixty-four.
    assert eight[f"Qwen in eight bits, {name}"].value < 0.35 * whole[f"Qwen, {name}"].value


@slow
def test_blocks_that_make_their_modulation_are_measured_beside_those_with_a_table():
    place, streamed = gpu.without_table(few())
    assert place.value > 0 and streamed.value > 0


@slow
def test_blocks_of_the_real_size_keep_to_their_room_without_being_computed():
    rows = gpu.activations(quiet)
    assert len(rows) == 4 and all(row.met for row in rows)


@slow
def test_the_last_shots_of_a_history_see_as_much_as_the_early_one():
    sizes = []

    class Noted(drawn_history._ItsTurn):
        def draw(self, rehearse, size):
            sizes.append(size)
            return super().draw(rehearse, size)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drawn_history, "_ItsTurn", Noted)
        last, over = drawn_history.drawn_history(few())
    assert last.value > 0 and over.value > 0
    assert len(set(sizes[1:])) == 1 and sizes[0] != sizes[1]
    assert len(sizes) == drawn_history.NUM_SHOTS + 6


@slow
def test_without_the_library_the_other_parts_are_measured(monkeypatch):
    def missing():
        raise ImportError("install it")

    monkeypatch.setitem(gpu_networks.library_network.__globals__, "_diffusers", missing)
    rows = table(gpu.measure(quiet))
    assert sum("failed, ImportError: install it" in name for name in rows) == 2
    assert "4 blocks of Qwen, without the table over with it, streamed" in rows


@slow
def test_all_of_it_runs_without_a_gpu_and_says_nothing_of_goals(monkeypatch):
    pytest.importorskip("diffusers")
    monkeypatch.setattr(gpu.torch.cuda, "is_available", lambda: False)
    rows = table(gpu.measure(quiet))
    assert len(rows) > 150 and all(row.met is None for row in rows.values())
    assert not any("failed" in name or "does not fit" in name for name in rows)
    missing = [goal for goal in goals(gpu.DRY) if goal.row(rows) is None]
    # The mean is of what torch.compile makes.
    assert all(any(word in str(goal) for word in (*ON_GPUS, "mean")) for goal in missing)


@slow
@pytest.mark.usefixtures("as_on_a_gpu")
def test_every_goal_has_one_row_on_a_gpu(monkeypatch):
    pytest.importorskip("diffusers")
    mean = Row("against torch.compile, geometric mean", 1, "x")
    speeds = gpu.speeds
    monkeypatch.setattr(gpu, "speeds", lambda *given: [*speeds(*given), mean])
    bench = few()
    # So slow a link is what every step waits for.
    bench.link = 1.0
    rows = table(gpu.measured(bench, gpu.parts(bench)))
    assert not [name for name in rows if "failed" in name or "left out" in name]
    wanted = list(goals(FEW))
    judged = [row.name for row in rows.values() if row.goal]
    judged.remove("time of all")
    assert len(judged) == len(wanted) == 28
    assert Counter(goal.row(rows).name for goal in wanted) == Counter(judged)
    assert all(rows[name].met is not None for name in judged)
