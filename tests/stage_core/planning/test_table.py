from dataclasses import replace

import pytest

from stage_core.errors import PlanError
from stage_core.planning.planner import PlanSettings, plan
from stage_core.story.cinematography import CameraAngle, CameraMovement, ShotScale
from stage_core.story.shot_list import Scene

MARKDOWN = """# Harbour

| Shot | Scale | Shooting method | Angle | Duration (s) | Description | Who |
| :--- | --- | --- | --- | --- | --- | ---: |
| 1 | wide | pan left | high | 2.5 | Boats \\| nets | |
| 2A | CU | push in | low | 3 | A hand,<br>a "coin" | Lin, Old Bo |
"""
COMMA = (
    "\ufeffdescription,who,shot,scale,shooting method,angle,seconds\r\n"
    "Boats | nets,,1,wide,pan left,high,2.5\r\n"
    '"A hand,\r\na ""coin""","Lin, Old Bo",2A,CU,push in,low,3\r\n'
)
SEMICOLON = (
    "length;shot;scale;camera movement;camera angle;action;cast\n"
    "60 frames;1;WIDE SHOT;pan left;high angle;Boats | nets;\n\n"
    '3s;2A;close-up;dolly in;low;"A hand,\na ""coin""";Lin, Old Bo\n'
)


def test_one_table_reads_the_same_in_every_notation():
    found = [plan(text).shots for text in (MARKDOWN, COMMA, SEMICOLON, COMMA.replace(",", "\t"))]
    # The commas inside the cells became tabs with the others.
    tabs = [
        replace(s, description=s.description.replace("\t", ","), cast=tuple(s.cast))
        for s in found.pop()
    ]
    assert found[0] == found[1] == found[2]
    assert tabs[0] == found[0][0]
    first, second = found[0]
    assert (first.id, first.description, first.num_frames) == ("1", "Boats | nets", 60)
    assert (first.scale, first.angle) == (ShotScale.WIDE, CameraAngle.HIGH)
    assert second.description == 'A hand,\na "coin"'
    assert (second.cast, second.movement) == (("Lin", "Old Bo"), CameraMovement.DOLLY_IN)


def test_every_other_field_of_a_shot_has_a_column():
    text = (
        "description\tscene\tlocation\tdialogue\tbeat\ttransition\tprompt\tnegative prompt\t"
        "continues\tkeep\tseed\tdrawing\ttake\tframes\n"
        "a\tINT. OFFICE - NIGHT\t\tAnna: Hi\tstart\tdissolve 12 frames\t\t\tno\tyes\t5\t2\t3\t66\n"
        "b\tINT. OFFICE - NIGHT\troof\t\t\tfade\tp\tn\tx\t-\t\t\t\t\n"
    )
    first, second = plan(text).shots
    assert first.scene == Scene("Office", True, "night")
    assert (first.cast, first.dialogue, first.beat) == (("Anna",), "Anna: Hi", "start")
    assert (first.keep, first.seed, first.drawing, first.take) == (True, 5, 2, 3)
    assert (first.num_frames, first.transition.num_frames) == (66, 12)
    assert (second.scene.place, second.prompt, second.negative) == ("roof", "p", "n")
    assert (second.continues, second.keep, second.num_frames) == (True, False, 72)


def test_seconds_count_where_frames_are_given_too():
    (shot,) = plan("frames,seconds,description\n66,2.75275,x\n").shots
    assert shot.num_frames == 66
    assert plan("frames,seconds,description\n66,3,x\n").shots[0].num_frames == 72


def test_a_mark_that_is_no_id_leaves_the_id_to_the_plan():
    found = plan("shot,scale,description\nShot 4,wide,a\n\u4e8c,wide,b\n1/2,wide,c\n")
    assert found.ids == ("4", "5", "6")


def test_tables_one_below_the_other_are_one_film():
    table = "| shot | description |\n| --- | --- |\n| {} | x |\n"
    text = f"Title: Two\n\nDay one\n\n{table.format(1)}\nDay two\n\n{table.format(2)}\nNotes."
    assert (plan(text).title, plan(text).ids) == ("Two", ("1", "2"))


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("shot,scale,colour\n1,wide,red", 1, "column 'colour' is not known; known are shot, scale"),
        ("shot,scale,framing\n1,wide,wide", 1, "both mean scale"),
        ("shot,scale,description\n1,wide,a\n\n2,wide", 4, "2 cells, but there are 3 columns"),
        ('shot,scale,description\n1,wide,"a\nb"\n2,close-upp,c', 4, "did you mean 'close-up'"),
        ('shot,scale,description\n1,wide,a\n2,wide,"b', 3, "cannot be read"),
        ("shot,description,seconds\n1,a,long", 2, "'long' is no length"),
        ("shot,description,keep\n1,a,perhaps", 2, "yes or no"),
        ("shot,description\n1,a\n1,b", 3, "taken by the shot on line 2"),
        ("| shot | scale |\n| --- | --- |\n| 1 | wide | high |", 3, "3 cells"),
        (
            "| shot | scale |\n| --- | --- |\n| 1 | wide |\n\n| 2 | wide |",
            5,
            "outside of any table",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_line(text, line, words):
    with pytest.raises(PlanError, match=words) as caught:
        plan(text, PlanSettings(format="table"))
    assert caught.value.line == line
