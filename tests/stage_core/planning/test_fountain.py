from fractions import Fraction

import pytest

from stage_core.errors import PlanError
from stage_core.planning.fountain import read_fountain
from stage_core.planning.planner import PlanSettings, plan
from stage_core.story.cinematography import (
    CameraAngle,
    CameraMovement,
    ShotScale,
    TransitionKind,
)
from stage_core.story.shot_list import Scene


def shots(text):
    return plan(text, PlanSettings(format="fountain")).shots


def test_every_paragraph_of_action_is_a_shot_and_nothing_else_is():
    text = """Title: The
    Long Walk
Author: Someone

# Act one

INT. HALL - DAY #1#

= He leaves.

A door opens.
It was locked.

/* A scene

that is cut */

BORIS
I am off.

===

!GRANDFATHER CLOCK

CUT TO:

> THE END <
"""
    found = shots(text)
    assert plan(text).title == "The Long Walk"
    assert [shot.description for shot in found] == [
        "A door opens. It was locked.",
        "GRANDFATHER CLOCK",
        "THE END",
    ]
    assert found[0].dialogue == "Boris: I am off."
    assert found[0].beat == "He leaves."


@pytest.mark.parametrize(
    ("heading", "scene"),
    [
        ("INT. QUIET OFFICE - NIGHT", Scene("Quiet Office", True, "night")),
        ("EXT. O'NEIL'S FARM - BARN - DAWN", Scene("O'Neil's Farm - Barn", False, "dawn")),
        ("int. kitchen, day", Scene("kitchen", True, "day")),
        ("INT./EXT. CAR - DUSK #12A#", Scene("Car", None, "dusk")),
        ("I/E VAN", Scene("Van", None, "")),
        ("EST. PARIS - Golden hour", Scene("Paris", False, "Golden hour")),
        (".ORBIT", Scene("Orbit", None, "")),
        ("EXT. \u041c\u041e\u0421\u041a\u0412\u0410 - \u041d\u041e\u0427\u042c",) * 1
        + (Scene("\u041c\u043e\u0441\u043a\u0432\u0430", False, "\u043d\u043e\u0447\u044c"),),
    ],
)
def test_a_scene_heading_says_place_and_time(heading, scene):
    assert shots(f"{heading}\n\nA door opens.")[0].scene == scene


@pytest.mark.parametrize(
    ("heading", "place", "interior", "time"),
    [
        ("INNEN. B\u00c4CKEREI - TAG", "B\u00e4ckerei", True, "tag"),
        ("AUSSEN. WALD, NACHT", "Wald", False, "nacht"),
        ("Au\u00dfen. Wald - Tag", "Wald", False, "Tag"),
        ("INNEN/AUSSEN. AUTO. ABEND", "Auto", None, "abend"),
        ("INT\u00c9RIEUR. GARE - NUIT", "Gare", True, "nuit"),
        ("INT. CUISINE, JOUR", "Cuisine", True, "jour"),
        ("EXTERIOR. PLAYA - NOCHE", "Playa", False, "noche"),
        ("\u5185\u666f \u706f\u5854 - \u591c", "\u706f\u5854", True, "\u591c"),
        ("\u5916\u666f\u3002\u8857\u9053\uff0c\u65e5", "\u8857\u9053", False, "\u65e5"),
        ("1. \u5185 \u5ba2\u5385 \u591c", "\u5ba2\u5385", True, "\u591c"),
        ("\u3010\u5916\u666f\u3011\u6d77\u8fb9", "\u6d77\u8fb9", False, ""),
        ("\u5ba2\u5385 \u591c \u5185\u5916", "\u5ba2\u5385", None, "\u591c"),
    ],
)
def test_headings_are_read_in_the_usual_languages(heading, place, interior, time):
    found = shots(f"{heading}\n\nA door opens.")
    assert [shot.scene for shot in found] == [Scene(place, interior, time)]


def test_chinese_lines_with_a_name_and_a_colon_are_dialogue():
    text = (
        "\u7247\u540d\uff1a\u706f\u5854\n\n\u5185\u666f \u706f\u5854 - \u591c\n\n"
        "\u8001\u6e14\u592b\u5750\u7740\u3002\n\n\u674e\u660e\uff1a\u6211\u6765\u4e86\u3002\n\n"
        "\u4fe1\u4e0a\u5199\u7740\uff1a\u518d\u89c1\u3002\n\n\u65c1\u767d\uff1a\u5929\u4eae\u4e86\u3002"
    )
    first, second = shots(text)
    assert plan(text).title == "\u706f\u5854"
    assert (first.cast, first.dialogue) == (
        ("\u674e\u660e",),
        "\u674e\u660e: \u6211\u6765\u4e86\u3002",
    )
    assert second.description.startswith("\u4fe1\u4e0a\u5199\u7740") and second.cast == ()


def test_a_trade_in_capitals_is_one_of_the_cast_and_a_crowd_is_not():
    found = shots("INT. SHOP\n\nA GLASSMAKER waits.\n\nTwo FISHERMEN wait.\n\nA TABLE.")
    assert [shot.cast for shot in found] == [("Glassmaker",), (), ()]


def test_title_pages_are_read_in_the_usual_languages():
    for key in ("Titel", "Titre", "T\u00edtulo", "\u6807\u9898"):
        assert plan(f"{key}: Anna\n\nA door opens.").title == "Anna"


def test_a_note_of_camera_terms_alone_is_a_shot_note():
    one, two, three = shots(
        "[[close-up, low angle]]\nA door opens.\n\n[[2 s]]\n\nIt closes.\n\n"
        "It is [[too close-up?]] quiet. [[cut]] [[keep]]"
    )
    assert (one.scale, one.angle) == (ShotScale.CLOSE_UP, CameraAngle.LOW)
    assert two.num_frames == 48 and two.description == "It closes."
    assert three.description == "It is quiet." and not three.keep
    assert three.scale is not ShotScale.CLOSE_UP


def test_prose_that_begins_like_a_heading_is_prose():
    found = shots("Est modus in rebus.\n\nInternal voices.\n\n...and then.")
    assert len(found) == 3


@pytest.mark.parametrize(
    "text",
    [
        "[[shot 2A: close-up, low angle, slow dolly in, 81 frames, keep, seed 7]]\nA ring.",
        "A ring.\n[[shot 2A: close-up, low angle, dolly in, 81 frames; keep; seed 7]]",
        "A ring. [[shot 2A: CU,\nlow-angle, push in, 81 frames, approved, seed: 7]]",
        "[[shot 2A: close-up, low, dolly in]]\n\n[[shot: 81 frames, keep, seed 7]]\n\nA ring.",
    ],
)
def test_a_note_sets_the_shot_it_stands_in_or_before(text):
    (shot,) = shots(text)
    assert (shot.id, shot.description, shot.num_frames) == ("2A", "A ring.", 81)
    assert (shot.scale, shot.angle) == (ShotScale.CLOSE_UP, CameraAngle.LOW)
    assert shot.movement is CameraMovement.DOLLY_IN
    assert (shot.keep, shot.seed) == (True, 7)


def test_a_note_after_a_blank_line_sets_the_next_shot_alone():
    first, second = shots("A ring.\n\n[[shot: insert]]\n\nA hand.")
    assert (first.scale, second.scale) == (ShotScale.WIDE, ShotScale.INSERT)


def test_other_notes_leave_no_trace():
    (shot,) = shots("A ring [[is it gold?]] shines. [[todo]]")
    assert shot.description == "A ring shines."


def test_dialogue_is_a_shot_of_its_own_after_a_heading_a_cut_or_a_lone_note():
    speech = "ANNA\nHello.\n\n"
    text = f"INT. A\n\n{speech}{speech}CUT TO:\n\n{speech}[[shot: close-up]]\n\n{speech}"
    assert [len(shot.dialogue.split("\n")) for shot in shots(text)] == [2, 1, 1]


def test_a_speech_keeps_name_parentheticals_and_pauses_and_drops_the_rest():
    text = "A door.\n\nANNA (CONT'D) ^\n(softly)\nI *do*.\n  \nReally.\n\n@McCoy\n~La la"
    assert shots(text)[0].dialogue == "Anna: (softly) I do. Really.\nMcCoy: La la"


def test_dialogue_lengthens_a_shot_by_the_time_to_read_it():
    rate = Fraction(24000, 1001)
    from stage_core.story.shot_list import FrameFormat

    text = f"A door.\n\nANNA\n(very slowly)\n{'x' * 30}"
    (shot,) = plan(text, PlanSettings(FrameFormat(rate=rate))).shots
    # 3 s and 30 characters at 15 a second: 5 s, 119.88 frames.
    assert shot.num_frames == 120


def test_transitions_lead_out_of_the_shot_before_them():
    text = (
        "FADE IN:\n\nA.\n\nDISSOLVE TO:\n\nB. [[shot: fade to white 12 frames]]\n\n"
        "C.\n\n> BACK TO:\n\nD.\n\nFADE OUT."
    )
    found = [(s.transition.kind, s.transition.num_frames) for s in shots(text)]
    assert found == [
        (TransitionKind.DISSOLVE, 24),
        (TransitionKind.FADE, 12),
        (TransitionKind.CUT, 0),
        (TransitionKind.FADE, 24),
    ]
    assert shots(text)[1].transition.colour == "white"


@pytest.mark.parametrize(
    ("action", "cast"),
    [
        ("BORIS waits.", ("Boris",)),
        ("A dog barks. Anna pats BORIS (40s) on the back.", ("Anna", "Boris")),
        ("ANNA's hand, then MR. SMITH and DR. JANE DOE's.", ("Anna",)),
        ("The phone RINGS. A KNOCK. BANG! SILENCE falls.", ()),
        ("A WAITER brings K. the bill.", ("Waiter",)),
        ("CLOSE ON BORIS. The POV of a GUN.", ("Boris",)),
        ("ANNA MARIA dances with ANNA.", ("Anna Maria", "Anna")),
        ("Annabel sleeps.", ()),
    ],
)
def test_people_are_found_and_capitals_for_other_things_are_not(action, cast):
    script = f"{action}\n\nINT. ELSEWHERE\n\nANNA\nYes."
    found = shots(script)[0].cast
    assert found[: len(cast)] == cast
    if "SMITH" not in action:
        assert found == cast


def test_one_person_has_one_spelling_in_every_shot():
    found = shots("JOS\u00c9 waits.\n\nJose\u0301 laughs.\n\nJOS\u00c9\nHa!")
    assert [shot.cast for shot in found] == [("Jos\u00e9",), ("Jos\u00e9",)]


def test_names_without_capitals_are_found_where_they_speak_and_act():
    name = "\u5b89\u5a1c"
    found = shots(f"{name}\u8d70\u8fdb\u6765\u3002\n\n\u96e8\u3002\n\n@{name}\n\u4f60\u597d")
    assert [shot.cast for shot in found] == [(name,), (name,)]


def test_a_voice_off_speaks_without_being_in_the_picture():
    (shot,) = shots("The sea.\n\nANNA (V.O.)\nI left.")
    assert (shot.cast, shot.dialogue) == ((), "Anna: I left.")


@pytest.mark.parametrize(
    ("action", "scale", "angle", "movement"),
    [
        ("CLOSE ON the ring.", ShotScale.CLOSE_UP, CameraAngle.EYE_LEVEL, CameraMovement.STATIC),
        ("Wide shot: the sea.", ShotScale.WIDE, CameraAngle.EYE_LEVEL, CameraMovement.STATIC),
        ("INSERT - a key.", ShotScale.INSERT, CameraAngle.EYE_LEVEL, CameraMovement.STATIC),
        ("POV through fog.", ShotScale.WIDE, CameraAngle.POINT_OF_VIEW, CameraMovement.STATIC),
        ("LOW ANGLE, FULL SHOT: a horse.", ShotScale.FULL, CameraAngle.LOW, CameraMovement.STATIC),
        ("Wide eyes stare.", ShotScale.WIDE, CameraAngle.EYE_LEVEL, CameraMovement.STATIC),
        ("BORIS waits.", ShotScale.MEDIUM, CameraAngle.EYE_LEVEL, CameraMovement.STATIC),
        (
            "The fog. The camera slowly dollies in.",
            ShotScale.WIDE,
            CameraAngle.EYE_LEVEL,
            CameraMovement.DOLLY_IN,
        ),
        ("We push the cart.", ShotScale.WIDE, CameraAngle.EYE_LEVEL, CameraMovement.STATIC),
        ("We pull back.", ShotScale.WIDE, CameraAngle.EYE_LEVEL, CameraMovement.DOLLY_OUT),
    ],
)
def test_plain_camera_words_set_the_camera(action, scale, angle, movement):
    (shot,) = shots(action)
    assert (shot.scale, shot.angle, shot.movement) == (scale, angle, movement)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("A.\n\n[[shot 2: clos-up]]\nB.", 3, "did you mean 'close-up'"),
        ("A.\n\n[[shot: wide]]", 3, "no shot follows"),
        ("A.\n[[shot: wide", 2, "never ends"),
        ("A.\n\n/* B.", 3, "close it with"),
        ("A. [[shot: wide, full]]", 1, "given twice"),
        ("[[shot 2: 1s]]\nA.\n\n[[shot 2: 1s]]\nB.", 5, "taken by the shot on line 2"),
        ("A.\n\n[[shot 2 A: wide]]\nB.", 3, "is no shot id"),
        ("A. [[shot: continues]]", 1, "no shot before"),
        ("A.\n\n\nWIPE TO:\n\nB.", 4, "known are cut, dissolve, fade"),
        ("A.\n\nB. [[shot: 0.5s, dissolve 1s]]\n\nC.", 3, "too few for the 24 frames"),
        ("A. [[shot: 0 frames]]", 1, "use 2 to"),
        ("A.\ud800", 1, "surrogate"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(text, line, words):
    with pytest.raises(PlanError, match=words) as caught:
        shots(text)
    assert caught.value.line == line
    assert str(caught.value).startswith(f"line {line}: ")


def test_an_outline_knows_the_lines_of_its_shots_under_every_line_end():
    text = "A.\n\n/* x\ny */\n\nB."
    for end in ("\n", "\r\n", "\r"):
        drafts = read_fountain(text.replace("\n", end)).drafts
        assert [draft.line for draft in drafts] == [1, 6]
