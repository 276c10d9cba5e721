"""Whom and what a text is about where it gives no names."""

import pytest

from stage_core.story.subjects import each_once, is_one_person, is_person, living_in, people_in


def found(subjects):
    return [(who.one, who.count) for who in each_once(subjects)]


@pytest.mark.parametrize(
    ("text", "people"),
    [
        ("on the night the harbour closes, its old keeper takes the last boat out.", "old keeper"),
        ("a lighthouse keeper sighs", "lighthouse keeper"),
        ("the glazier smiles", "glazier"),
        ("a fisherman mends his net", "fisherman"),
        ("somebody faces somebody else", "someone, other someone"),
        ("another man looks at the man", "other man, man"),
        ("the keeper guards the door, and she cooks", "keeper"),
    ],
)
def test_a_person_is_whoever_has_a_trade_or_does_what_people_do(text, people):
    assert ", ".join(name for name, _ in found(people_in(text))) == people


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("two children run", 2),
        ("three women and no man wait", 3),
        ("a crowd of people", 5),
        ("both brothers kneel", 2),
        ("the keeper and the keeper's lamp", 1),
    ],
)
def test_a_number_word_counts_the_people(text, count):
    assert [number for _, number in found(people_in(text))] == [count]


@pytest.mark.parametrize(
    "text",
    [
        "one worn coin lies in the palm of a small hand",
        "old bo lifts the lid of a great pot, and the steam hides his face",
        "the guest room is empty, a couple of cups stand there",
        "the sign says so and the old keeper's lamp burns",
        "a dog guards the german car",
    ],
)
def test_things_are_no_people(text):
    assert people_in(text) == ()


def test_animals_and_what_acts_alive_are_living():
    assert found(living_in("a cat on the moon.")) == [("cat", 1)]
    assert found(living_in("two dogs bark, and the statue waits.")) == [("dog", 2), ("statue", 1)]
    assert living_in("the steam hides the tower. a train crosses the field.") == ()


def test_roles_are_known_in_any_case_and_number():
    assert all(map(is_person, ("WAITER", "Nurses", "women", "policemen", "shopkeeper")))
    assert not any(map(is_person, ("talisman", "table", "this", "s", "")))
    assert is_one_person("WAITER") and not is_one_person("WAITERS") and not is_one_person("women")
