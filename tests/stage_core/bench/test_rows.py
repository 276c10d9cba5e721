"""Figures and their goals, as text and as JSON."""

import json

from stage_core.bench.rows import Row, at_least, at_most, table, to_json


def test_a_figure_meets_its_goal_or_does_not():
    assert at_most("wait", 0.5, 0.5).met and not at_most("wait", 0.6, 0.5).met
    assert at_least("speed", 2, 2).met and not at_least("speed", 1.9, 2).met


def test_json_has_an_object_for_every_row():
    rows = Row("time", 1.5, "s"), at_most("ratio", 1.2, 1.1)
    assert json.loads(to_json(rows)) == [
        {"name": "time", "value": 1.5, "unit": "s", "goal": "", "met": None},
        {"name": "ratio", "value": 1.2, "unit": "", "goal": "at most 1.1", "met": False},
    ]


def test_the_table_has_a_line_for_every_row():
    lines = table((Row("time", 1.5, "s"), at_most("ratio", 1.2, 1.1))).splitlines()
    assert [line.split()[0] for line in lines] == ["time", "ratio"]
    assert lines[1].endswith("at most 1.1  not met")
