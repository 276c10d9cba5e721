"""Ids last: a new plan keeps the ids of the old one."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Sequence
from itertools import count, pairwise, product
from string import ascii_uppercase

Known = Sequence[tuple[str, str]]

SIMILAR = 0.6
"""Share of common letter triples from which an edited description is still the same shot. In the
sample stories different shots share at most 0.44, and a shot with every fifth word changed 0.65."""

_COMPARED = 4000
_COMMON = 40


def with_ids(texts: Sequence[str], explicit: Sequence[str], earlier: Known = ()) -> tuple[str, ...]:
    """An id for every shot.

    Ids written in the text are kept. The others are found in the earlier plan: by equal
    description, wherever it stands; by similar description; and by place, where a shot stands
    between the same two neighbours as one that is gone. What is left is new: between 2 and 3 it
    is 2A, then 2B; before 1 it is A1, then B1, as on a film set; at the end the next number. No id
    of the earlier plan is given to another shot. If less than half of the descriptions agree
    (half of the shorter plan), it is another film, and numbers count from 1.

    Args:
        texts: what each shot is known by, in film order.
        explicit: for each shot the id that its text gives, or an empty string.
        earlier: (id, text) of each shot of the earlier plan, in film order.
    """
    ids = list(explicit)
    if earlier:
        matched, agreeing = _match(texts, explicit, earlier)
        if 2 * agreeing >= min(len(texts), len(earlier)):
            for place, old in matched.items():
                ids[place] = ids[place] or earlier[old][0]
            return _name_new(ids, [known for known, _ in earlier])
    return _name_new(ids, [])


def with_copies(order: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    """The ids of an order in which some appear again: the first keeps its id, each copy gets one
    as a new shot in its place does, and none of the `known` ids."""
    first = {shot_id: place for place, shot_id in reversed(list(enumerate(order)))}
    ids = [shot_id if first[shot_id] == place else "" for place, shot_id in enumerate(order)]
    return _name_new(ids, list(known))


def _match(
    texts: Sequence[str], explicit: Sequence[str], earlier: Known
) -> tuple[dict[int, int], int]:
    """Which earlier shot each shot is, by place, and how many of them agree in words."""
    new = [_normal(text) for text in texts]
    old = [_normal(text) for _, text in earlier]
    place_of = {shot_id.casefold(): place for place, (shot_id, _) in enumerate(earlier)}
    matched = {
        place: place_of[shot_id.casefold()]
        for place, shot_id in enumerate(explicit)
        if shot_id.casefold() in place_of
    }
    free_new = [place for place, shot_id in enumerate(explicit) if not shot_id]
    for keys in (_with_both, _with_one_before, _with_one_after, list):
        _match_equal(keys(new), keys(old), free_new, matched)
    _match_similar(new, old, free_new, matched)
    agreeing = len(matched)
    _match_places(len(new), len(old), free_new, matched)
    return matched, agreeing


def _normal(text: str) -> str:
    return unicodedata.normalize("NFC", " ".join(text.split())).casefold()


# Equal descriptions are told apart by their neighbours first, then taken in order. The film's
# own ends are no neighbours: they are equal to nothing.


def _with_both(texts: list[str]) -> list[tuple]:
    edge = [object(), *texts, object()]
    return list(zip(edge, texts, edge[2:], strict=False))


def _with_one_before(texts: list[str]) -> list[tuple]:
    return list(zip([object(), *texts], texts, strict=False))


def _with_one_after(texts: list[str]) -> list[tuple]:
    return list(zip(texts, [*texts[1:], object()], strict=False))


def _match_equal(new: list, old: list, free_new: list[int], matched: dict[int, int]) -> None:
    used = set(matched.values())
    places: dict[object, deque[int]] = defaultdict(deque)
    for place, key in enumerate(old):
        if place not in used:
            places[key].append(place)
    for place in free_new:
        if place not in matched and places.get(new[place]):
            matched[place] = places[new[place]].popleft()


def _match_similar(
    new: list[str], old: list[str], free_new: list[int], matched: dict[int, int]
) -> None:
    used = set(matched.values())
    left_old = [place for place in range(len(old)) if place not in used]
    left_new = [place for place in free_new if place not in matched]
    if not left_old or not left_new:
        return
    profiles = {place: _triples(old[place]) for place in left_old}
    by_word: dict[str, list[int]] = defaultdict(list)
    for place in left_old:
        for word in _words(old[place]):
            by_word[word].append(place)
    found = []
    for place in left_new:
        triples = _triples(new[place])
        for candidate in _candidates(new[place], by_word):
            share = _common_share(triples, profiles[candidate])
            if share >= SIMILAR:
                found.append((-share, abs(place - candidate), place, candidate))
    for _, _, place, candidate in sorted(found):
        if place not in matched and candidate not in used:
            matched[place] = candidate
            used.add(candidate)


def _candidates(text: str, by_word: dict[str, list[int]]) -> list[int]:
    """The few earlier shots that share the rarest words with `text`."""
    weights: Counter[int] = Counter()
    for word in _words(text):
        places = by_word.get(word, ())
        # Words of every shot tell nothing and would compare each with each.
        for place in places if len(places) <= _COMMON else ():
            weights[place] += 1 / len(places)
    return [place for place, _ in weights.most_common(5)]


def _words(text: str) -> set[str]:
    """Words, and pairs of letters of scripts that write without spaces."""
    found = set()
    for word in re.findall(r"\w+", text[:_COMPARED]):
        if word > "\u2e80":
            found.update(word[i : i + 2] for i in range(max(1, len(word) - 1)))
        else:
            found.add(word)
    return found


def _triples(text: str) -> Counter[str]:
    text = f" {text[:_COMPARED]} "
    return Counter(text[i : i + 3] for i in range(len(text) - 2))


def _common_share(a: Counter[str], b: Counter[str]) -> float:
    """Twice the common letter triples over all of them, from 0 to 1 (Dice 1945)."""
    total = a.total() + b.total()
    return 2 * (a & b).total() / total if total else 0.0


def _match_places(num_new: int, num_old: int, free_new: list[int], matched: dict[int, int]) -> None:
    """Shots between the same neighbours in both plans, if equally many are left there."""
    free = set(free_new)
    anchors = [(-1, -1), *sorted(matched.items()), (num_new, num_old)]
    used = set(matched.values())
    for (new_left, old_left), (new_right, old_right) in pairwise(anchors):
        new_gap = range(new_left + 1, new_right)
        old_gap = range(old_left + 1, old_right)
        if (
            len(new_gap) == len(old_gap) > 0
            and free.issuperset(new_gap)
            and used.isdisjoint(old_gap)
        ):
            matched.update(zip(new_gap, old_gap, strict=True))


def _name_new(ids: list[str], earlier_ids: list[str]) -> tuple[str, ...]:
    """The ids with names for the shots that have none."""
    known = [shot_id for shot_id in (*ids, *earlier_ids) if shot_id]
    taken = {shot_id.casefold() for shot_id in known}
    top = max(map(_number, known), default=0)
    first_named = next((place for place, shot_id in enumerate(ids) if shot_id), len(ids))
    named_after = _next_named(ids)
    for place, shot_id in enumerate(ids):
        if shot_id:
            continue
        following = named_after[place]
        number = _number(ids[place - 1]) + 1 if place else 1
        fits = number <= _number(following) or not _number(following)
        if not following:
            names = _numbers(top + 1)
        elif fits and str(number) not in taken:
            names = _numbers(number)
        elif place < first_named:
            names = (letters + following[:28] for letters in _letters())
        else:
            names = (_without_letters(ids[place - 1]) + letters for letters in _letters())
        ids[place] = next(name for name in names if name.casefold() not in taken)
        taken.add(ids[place].casefold())
        top = max(top, _number(ids[place]))
    return tuple(ids)


def _next_named(ids: list[str]) -> list[str]:
    """For each place the first id at or after it that is there already, or an empty string."""
    found, following = [""] * len(ids), ""
    for place in reversed(range(len(ids))):
        following = ids[place] or following
        found[place] = following
    return found


def _number(shot_id: str) -> int:
    """The number in an id: 2 in 2A and in A2, 0 where there is none."""
    match = re.search(r"(\d{1,9})[A-Za-z]*$", shot_id)
    return int(match[1]) if match else 0


def _without_letters(shot_id: str) -> str:
    match = re.fullmatch(r"(.*\d)[A-Za-z]*", shot_id)
    return (match[1] if match else shot_id)[:28]


def _numbers(first: int) -> Iterator[str]:
    return map(str, count(first))


def _letters() -> Iterator[str]:
    """A, B, ... Z, AA, AB, ..."""
    for length in count(1):
        yield from map("".join, product(ascii_uppercase, repeat=length))
