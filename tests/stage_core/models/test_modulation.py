"""Noise levels are made once for weights and exact time, and not kept for ever."""

import torch
from torch import nn

from stage_core.models.modulation import ModulationTable, NoiseLevel, applied_on


def making(log):
    def make(times):
        log.append(times.tolist())
        return [NoiseLevel(time[None]) for time in times]

    return make


def test_a_level_is_made_once_for_each_weights_and_exact_time():
    table, log = ModulationTable(), []
    half = torch.tensor([1.0, 0.5])
    first = table.levels("weights", half, making(log))
    assert table.levels("weights", half.flip(0), making(log)) == first[::-1]
    table.levels("others", half[:1], making(log))
    table.levels("weights", half[:1].bfloat16(), making(log))
    nearly = torch.nextafter(half[:1], torch.zeros(1))
    table.levels("weights", nearly, making(log))
    assert log == [[1.0, 0.5], [1.0], [1.0], [float(nearly)]]
    assert table.made == 5


def test_one_level_asked_for_twice_at_once_is_made_once():
    table, log = ModulationTable(), []
    one, same = table.levels("weights", torch.tensor([0.5, 0.5]), making(log))
    assert one is same and log == [[0.5]]


def test_levels_least_recently_used_go_and_a_long_schedule_stays_whole():
    table, log = ModulationTable(capacity=2), []
    table.levels(0, torch.tensor([1.0, 2.0]), making(log))
    table.levels(0, torch.tensor([1.0, 3.0]), making(log))
    table.levels(0, torch.tensor([1.0, 3.0]), making(log))
    assert len(log) == 2
    table.levels(0, torch.tensor([2.0]), making(log))
    assert len(log) == 3
    long = torch.arange(5.0)
    table.levels(0, long, making(log))
    table.levels(0, long, making(log))
    assert len(log) == 4


def test_weights_stay_where_they_are():
    layer = nn.Sequential(nn.SiLU(), nn.Linear(3, 2)).requires_grad_(False)
    weight = layer[1].weight
    inputs = [torch.randn(1, 3), torch.randn(1, 3)]
    found = applied_on(layer, inputs)
    assert all(torch.equal(one, layer(given)) for one, given in zip(found, inputs, strict=True))
    assert layer[1].weight is weight
