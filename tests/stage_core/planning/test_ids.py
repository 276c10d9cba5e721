import time

from hypothesis import given, settings
from hypothesis import strategies as st

from stage_core.planning.ids import with_ids

WORDS = """river mirror candle engine orchard violin harbour letter window garden"""
STORY = [f"The {word} waits in room {place}" for place, word in enumerate(WORDS.split())]
NUMBERS = tuple(str(count) for count in range(1, 11))
EARLIER = list(zip(NUMBERS, STORY, strict=True))
QUICK = settings(max_examples=50, deadline=None)


def ids(texts, explicit=None, earlier=EARLIER):
    return with_ids(texts, explicit or [""] * len(texts), earlier)


def test_a_first_plan_counts_from_one():
    assert ids(STORY, earlier=()) == NUMBERS


def test_ids_written_in_the_text_are_kept_and_the_others_count_on_from_them():
    assert ids(list("abcd"), ["", "2A", "", "intro"], ()) == ("1", "2A", "3", "intro")


def test_shots_inserted_between_two_take_letters_and_move_nothing():
    found = ids([*STORY[:2], "A dog barks", "It runs off", *STORY[2:]])
    assert found == ("1", "2", "2A", "2B", *NUMBERS[2:])


def test_shots_inserted_before_the_first_take_letters_before_its_number():
    assert ids(["A dog barks", "It runs off", *STORY]) == ("A1", "B1", *NUMBERS)


def test_shots_added_at_the_end_take_the_next_numbers():
    assert ids([*STORY, "A dog barks", "It runs off"]) == (*NUMBERS, "11", "12")


@QUICK
@given(st.data())
def test_deleting_and_reordering_keep_every_id(data):
    kept = data.draw(st.lists(st.sampled_from(range(10)), unique=True, min_size=1))
    assert ids([STORY[place] for place in kept]) == tuple(NUMBERS[place] for place in kept)


@QUICK
@given(st.integers(0, 10), st.integers(1, 4))
def test_inserting_keeps_every_id_and_the_next_plan_finds_the_new_ones(place, num_new):
    new = [f"{'xyzw'[count] * 12} appears" for count in range(num_new)]
    texts = [*STORY[:place], *new, *STORY[place:]]
    first = ids(texts)
    assert [i for i, text in zip(first, texts, strict=True) if text in STORY] == list(NUMBERS)
    assert ids(texts, earlier=list(zip(first, texts, strict=True))) == first


def test_an_edited_description_keeps_its_id_wherever_it_stands():
    edited = "The old candle still waits in room 2"
    assert ids([edited, *STORY[:2], *STORY[3:]]) == ("3", "1", "2", *NUMBERS[3:])


def test_a_rewritten_description_between_known_neighbours_keeps_its_id():
    assert ids([*STORY[:4], "Nobody is there", *STORY[5:]]) == NUMBERS


def test_the_id_of_a_deleted_shot_is_not_given_to_another():
    found = ids([*STORY[:2], "A dog barks", "It runs off", *STORY[3:9], "Night falls", "The end"])
    assert "3" not in found
    assert "10" not in found
    assert len(set(found)) == len(found)


def test_equal_descriptions_are_told_apart_by_their_neighbours():
    earlier = [("1", "a room"), ("2", "a storm"), ("3", "a room"), ("4", "a boat")]
    assert ids(["a storm", "a room", "a boat"], earlier=earlier) == ("2", "3", "4")


def test_equal_descriptions_without_a_difference_are_taken_in_order():
    earlier = [("1", "rain"), ("2", "rain"), ("3", "rain")]
    assert ids(["rain", "rain"], earlier=earlier) == ("1", "2")


def test_another_film_counts_from_one():
    earlier = [("7", "a dog barks"), ("8", "it runs off"), ("9", "night falls")]
    assert ids(STORY[:3], earlier=earlier) == ("1", "2", "3")


def test_a_spelling_of_spaces_and_capitals_is_no_difference():
    assert ids([text.upper().replace(" ", "  ") for text in reversed(STORY)]) == NUMBERS[::-1]


@QUICK
@given(
    st.lists(st.tuples(st.text("ab ", max_size=4), st.sampled_from(["", "", "2", "2A", "x"]))),
    st.lists(st.text("ab ", max_size=4), max_size=6),
)
def test_ids_are_unique_for_any_texts(shots, earlier):
    explicit, seen = [], set()
    for _, shot_id in shots:
        explicit.append("" if shot_id in seen else shot_id)
        seen.add(shot_id)
    known = list(zip(NUMBERS, earlier, strict=False))
    found = with_ids([text for text, _ in shots], explicit, known)
    assert len({shot_id.casefold() for shot_id in found}) == len(shots)
    assert all(given in ("", kept) for given, kept in zip(explicit, found, strict=True))


def test_a_thousand_edited_shots_are_matched_in_seconds():
    story = [f"Shot {n}: somebody walks past door {n} of the hotel" for n in range(1000)]
    earlier = [(str(n), text) for n, text in enumerate(story, 1)]
    begun = time.monotonic()
    found = ids([text.replace("somebody", "nobody") for text in story], earlier=earlier)
    assert found == tuple(known for known, _ in earlier)
    # 0.2 s on one core; comparing each with each takes over a minute.
    assert time.monotonic() - begun < 5
