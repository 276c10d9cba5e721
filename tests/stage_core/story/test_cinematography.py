import pytest

from stage_core.story.cinematography import (
    CUT,
    CameraAngle,
    CameraMovement,
    ShotScale,
    Term,
    Transition,
    TransitionKind,
)

TERMS: list[type[Term]] = [ShotScale, CameraAngle, CameraMovement, TransitionKind]
NAMES = [
    (member, name) for kind in TERMS for member in kind for name in (member.value, *member.aliases)
]


@pytest.mark.parametrize(("member", "name"), NAMES, ids=lambda value: str(value))
def test_every_term_and_alias_names_its_member_in_any_spelling(member, name):
    spellings = [
        name,
        name.upper(),
        f"  {name.title()} ",
        name.replace(" ", "_"),
        name.replace(" ", "-"),
        name.replace("-", "\u2011"),
        name.replace("'", "\u2019"),
    ]
    assert [type(member).parse(spelling) for spelling in spellings] == [member] * len(spellings)


@pytest.mark.parametrize("kind", TERMS)
def test_no_name_stands_for_two_members(kind):
    names = [name.casefold() for member in kind for name in (member.value, *member.aliases)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("kind", "text", "member"),
    [
        (ShotScale, "Close-Up Shot", ShotScale.CLOSE_UP),
        (ShotScale, "wide shot", ShotScale.WIDE),
        (CameraAngle, "low angle", CameraAngle.LOW),
        (CameraAngle, "high-angle shot", CameraAngle.HIGH),
        (CameraAngle, "overhead shot", CameraAngle.OVERHEAD),
        (CameraMovement, "tracking shot", CameraMovement.TRUCK_RIGHT),
    ],
)
def test_the_word_shot_or_angle_after_a_term_is_understood(kind, text, member):
    assert kind.parse(text) is member


def test_an_unknown_word_is_answered_with_the_nearest_term_and_all_terms():
    with pytest.raises(ValueError, match=r"'clsoe-up' is no shot scale; did you mean 'close-up'\?"):
        ShotScale.parse("clsoe-up")
    with pytest.raises(ValueError, match="known are static, pan right"):
        CameraMovement.parse("levitate")
    assert CameraMovement.find("levitate") is None


def test_a_movement_tells_kind_and_direction():
    assert (CameraMovement.DOLLY_IN.kind, CameraMovement.DOLLY_IN.direction) == ("dolly", "in")
    assert (CameraMovement.STATIC.kind, CameraMovement.STATIC.direction) == ("static", "")


@pytest.mark.parametrize(
    ("kind", "num_frames", "colour"),
    [
        (TransitionKind.CUT, 1, "black"),
        (TransitionKind.DISSOLVE, 0, "black"),
        (TransitionKind.FADE, 0, "black"),
        (TransitionKind.FADE, -1, "black"),
        (TransitionKind.FADE, 12, "green"),
    ],
)
def test_a_transition_that_contradicts_itself_is_refused(kind, num_frames, colour):
    with pytest.raises(ValueError, match=r"transition|frames"):
        Transition(kind, num_frames, colour)


def test_a_cut_has_no_frames():
    assert Transition(TransitionKind.CUT, 0) == CUT
