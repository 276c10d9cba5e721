import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stage_core.errors import PlanError
from stage_core.planning.repair import MAX_CHARACTERS, json_values

QUICK = settings(max_examples=60, deadline=None)
SCALARS = st.text(max_size=8) | st.integers(-999, 999) | st.booleans() | st.none()
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text(max_size=5), VALUES, min_size=1, max_size=3)


def one(text):
    (found,) = json_values(text)
    return found.value


@QUICK
@given(OBJECTS, st.text("abc .,:\n", max_size=20))
def test_what_is_right_is_read_as_it_is_among_any_words(value, words):
    assert one(words + json.dumps(value) + words) == value


@QUICK
@given(st.text("{}[]\",:\\n\n /*x1'", max_size=60))
def test_any_text_has_values_or_is_refused_with_one_sentence(text):
    try:
        json_values(text)
    except PlanError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{'a': 'it\\'s', b: True, c: None}", {"a": "it's", "b": True, "c": None}),
        ('{"a": "she said "go" and left", "b": 1}', {"a": 'she said "go" and left', "b": 1}),
        ('{"a": [1, 2,], "b": 3,}', {"a": [1, 2], "b": 3}),
        ('{"a": "x"\n "b": wide}', {"a": "x", "b": "wide"}),
        ('{"a": "x\ny" // why\n}', {"a": "x\ny"}),
        ('{"a": "\\u00e9\\ud83d\\ude00",}', {"a": "\u00e9\U0001f600"}),
        ("{\u201ca\u201d: \u201cb\u201d}", {"a": "b"}),
    ],
)
def test_what_can_mean_one_thing_is_mended(text, value):
    assert one(text) == value


@pytest.mark.parametrize(
    "text", ['{"a": 1, ...}', '{"a": NaN}', '{"a" "b"}', '{"a": 1]', '{"a": :}']
)
def test_what_may_mean_more_is_refused_or_no_value(text):
    try:
        assert json_values(text) == []
    except PlanError as error:
        assert str(error).startswith("line 1: ")


def test_what_the_text_stops_in_is_marked():
    (found,) = json_values('{"a": [{"b": 1}, {"c": "d')
    whole, half = found.value["a"]
    assert (whole, half) == ({"b": 1}, {"c": "d"})
    assert found.unfinished == {id(found.value), id(found.value["a"]), id(half)}


HOSTILE = (
    "[" * 300_000,
    '{"a":' * 100_000,
    '{"a": "' + '" ' * 200_000,
    '[" ' * 50_000 + '", {:',
    "[" + "/*," * 200_000,
)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_text_is_answered_at_once(text):
    begun = time.process_time()
    try:
        json_values(text)
    except PlanError as error:
        assert "nested too deeply" in str(error)
    # A fraction of a second when each character is read a few times; minutes when from each start.
    assert time.process_time() - begun < 4


def test_a_text_that_is_too_long_is_refused():
    with pytest.raises(PlanError, match="at most"):
        json_values("{" * (MAX_CHARACTERS + 1))
