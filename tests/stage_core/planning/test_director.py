import re
from fractions import Fraction

import pytest

from stage_core.errors import PlanError
from stage_core.planning.coverage import coverage
from stage_core.planning.director import FilmOrder, instruction, retry_request
from stage_core.planning.language import TRIES, direct
from stage_core.planning.planner import PlanSettings, plan
from stage_core.planning.written import written_out
from stage_core.story.cinematography import CameraAngle, CameraMovement, ShotScale
from stage_core.story.members import Member, MemberKind
from stage_core.story.shot_list import FrameFormat, Scene

CAST = (
    Member("Ida", MemberKind.CHARACTER, "grey braid; yellow oilskin"),
    Member("Brass lamp", MemberKind.PROP, "cracked glass"),
    Member("Old harbour", MemberKind.PLACE, "wet stones"),
)
ORDER = FilmOrder("A keeper lights a lamp for the last time.", 4, cast=CAST, look="ink")
EXAMPLE = re.search(r"\{\n.*\n\}", instruction(ORDER), re.DOTALL)[0]
ANSWER = EXAMPLE.replace("Kite", "Drum").replace("kite", "drum")


def answers(*texts):
    """Gives the texts one after the other; remembers what it was asked."""
    asked, left = [], list(texts)

    def generate(messages):
        asked.append(list(messages))
        return left.pop(0)

    return generate, asked


def test_an_instruction_says_what_is_wanted():
    text = instruction(FilmOrder("T", 7, Fraction(30), "ink", "Dutch", CAST))
    for wanted in ("Exactly 7 shots", "30 seconds", "ink", "Dutch", "Ida: grey braid", "(prop)"):
        assert wanted in text
    for kind in (ShotScale, CameraAngle, CameraMovement):
        assert all(term.value in text for term in kind)


def test_an_answer_in_the_form_of_the_example_is_read():
    found = plan(ANSWER, PlanSettings(format="answer", num_shots=2))
    assert [member.name for member in found.cast] == ["Tomas", "Drum"]
    assert found.shots[1].num_frames == 60


def test_the_example_itself_is_no_answer_but_may_stand_before_one():
    two = PlanSettings(format="answer", num_shots=2)
    with pytest.raises(PlanError, match="only repeats the example"):
        plan(EXAMPLE, two)
    assert plan(EXAMPLE + ANSWER, two) == plan(ANSWER, two)


def test_a_length_without_a_number_becomes_a_number():
    assert FilmOrder("T", seconds=Fraction(30)).shots == 10
    assert FilmOrder("T", 5, Fraction(30)).seconds_each == 6


def test_orders_that_nobody_can_fill_are_refused():
    for wrong in ({"theme": " "}, {"num_shots": 0}, {"num_shots": 201}, {"seconds": Fraction(-1)}):
        with pytest.raises(ValueError):
            FilmOrder(**{"theme": "T", "num_shots": 1, **wrong})


@pytest.mark.parametrize("count", [1, 2, 3, 6, 8, 25])
def test_coverage_has_exactly_the_shots_asked_for(count):
    found = coverage(FilmOrder("T", count, cast=CAST), FrameFormat())
    assert len(found.shots) == count
    assert found.shots[0].scale is ShotScale.EXTREME_WIDE
    assert plan(written_out(found)) == found


def test_six_shots_are_the_classical_coverage():
    found = coverage(FilmOrder("ANNA meets BO.", 6), FrameFormat())
    beats = ["establish", "shot", "reverse shot", "insert", "reaction", "close"]
    assert [shot.beat for shot in found.shots] == beats
    assert found.shots[1].cast == ("Anna", "Bo") and found.shots[2].cast == ("Bo", "Anna")


def test_coverage_plays_where_and_when_the_theme_says():
    theme = "On a rainy night in a harbour IDA must decide whether to let BO take the lamp."
    found = coverage(FilmOrder(theme, 6), FrameFormat())
    assert found.shots[0].scene == Scene("harbour", time_of_day="rainy night")
    assert found.title == "On a rainy night"
    assert theme in found.shots[3].description and found.shots[1].description == "Ida faces Bo."
    roles = coverage(FilmOrder("A nurse and a soldier say goodbye.", 6), FrameFormat())
    assert roles.shots[1].description.startswith("The nurse faces the soldier.")
    assert "A nurse and a soldier" in roles.shots[1].description


def test_coverage_is_about_whom_the_theme_is_about():
    theme = "on the night the harbour closes, its old keeper takes the last boat out"
    found = coverage(FilmOrder(theme, 10), FrameFormat())
    assert found.title == "on the night the harbour closes"
    said = [shot.description for shot in found.shots]
    assert sum("old keeper " in words for words in said) == 9
    assert "keeper" not in said[0] and said[3].startswith("The last boat, and a hand")
    assert not any("somebody" in words.casefold() for words in said)
    assert all(words.split(". ")[-1].startswith("On the night") for words in said)
    assert not any(shot.angle is CameraAngle.OVER_THE_SHOULDER for shot in found.shots)


@pytest.mark.parametrize(
    ("theme", "words"),
    [
        ("Two brothers quarrel.", "One brother faces the other brother. Two brothers quarrel."),
        ("Three pilots meet.", "One pilot faces another pilot. Three pilots meet."),
        ("a cat on the moon", "The cat comes and looks about."),
        ("love", "Somebody faces somebody else. Love."),
        ("IDA and a WAITER meet a waiter.", "Ida faces Waiter. IDA and a WAITER meet a waiter."),
    ],
)
def test_coverage_tells_the_people_of_a_theme_apart(theme, words):
    assert coverage(FilmOrder(theme, 6), FrameFormat()).shots[1].description == words


@pytest.mark.parametrize(
    ("theme", "title"),
    [
        ("A girl with one coin looks for the best bowl of soup in the harbour.", "with one coin"),
        ("An old woman buys a fish at the market on a cold morning in May.", "buys a fish"),
        ("On the night the harbour closes its old keeper takes the last boat.", "harbour closes"),
    ],
)
def test_a_title_ends_where_a_phrase_ends(theme, title):
    assert coverage(FilmOrder(theme, 2), FrameFormat()).title.endswith(title)


def test_coverage_shows_the_cast_and_lasts_as_long_as_asked():
    found = coverage(FilmOrder("T", 6, Fraction(24), cast=CAST), FrameFormat())
    assert sum(shot.num_frames for shot in found.shots) == 24 * 24
    assert {"Ida"} == {name for shot in found.shots for name in shot.cast}
    assert "Brass lamp" in found.shots[3].description
    assert all(shot.scene.place == "Old harbour" for shot in found.shots)


def test_a_refused_answer_is_asked_for_again_with_what_is_missing():
    generate, asked = answers("I cannot.", ANSWER)
    refused = []
    order = FilmOrder("Theme of mine", 2, look="ink", cast=CAST)
    found = direct(order, generate, PlanSettings(), refused.append)
    assert (found.theme, found.look, len(found.shots)) == ("Theme of mine", "ink", 2)
    assert found.cast[:3] == CAST
    assert refused == ["the answer holds no storyboard: no JSON object with 'shots'"]
    question, said, again = asked[1]
    assert said == {"role": "assistant", "content": "I cannot."}
    assert "no storyboard" in again["content"] and retry_request(2) in again["content"]
    assert asked[0] == [question]


def test_a_model_that_never_answers_well_is_given_up():
    generate, asked = answers(*[ANSWER] * TRIES)
    with pytest.raises(PlanError, match=r"3 answers.*2 shots, and 4 were asked for"):
        direct(ORDER, generate, PlanSettings(), lambda reason: None)
    assert len(asked) == TRIES
