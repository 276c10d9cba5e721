"""Whom and what a text is about where it gives no names: an old keeper, two brothers, a cat."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_PEOPLE = _words(
    """man woman boy girl child kid baby toddler teenager person lady gentleman stranger figure
    mother father mum dad mom sister brother son daughter wife husband widow widower aunt uncle
    cousin grandmother grandfather grandma grandpa parent friend lover rival neighbour neighbor
    bride groom guest visitor passenger traveller traveler tourist hiker customer villager
    king queen prince princess knight duke duchess monk nun priest bishop vicar witch wizard
    waiter waitress driver soldier sergeant guard nurse doctor surgeon dentist vet officer
    cop detective spy agent inspector sheriff clerk courier vendor seller merchant trader cook chef
    baker butcher brewer grocer bartender barista teacher tutor professor student pupil librarian
    keeper captain sailor pilot mechanic engineer farmer gardener hunter miner carpenter plumber
    potter weaver tailor cobbler painter artist sculptor writer author poet journalist reporter
    photographer singer dancer actor actress pianist violinist drummer musician composer conductor
    director clown magician juggler acrobat athlete runner boxer swimmer cyclist judge lawyer thief
    burglar robber pirate prisoner refugee orphan beggar scientist inventor florist barber cleaner
    janitor maid butler cashier worker apprentice mayor president astronaut diver rider ranger
    elder hermit ghost hero heroine"""
)
_TRADES = r"[a-z]{2,}(?:m[ae]n|keepers?|makers?|smiths?|mongers?|wrights?|nauts?|herds?)"
_NOBODY = _words("human roman german talisman ottoman doberman omen specimen acumen")
_PLURALS = {"children": "child", "wives": "wife", "thieves": "thief"}
_PLURALS |= dict.fromkeys(("people", "crowd", "couple", "family"), "person")
_GROUPS = {"crowd": 7, "people": 5, "family": 3, "couple": 2, "children": 4, "kids": 4}
_ALSO_VERBS = _words("guards cooks nurses judges pilots mothers fathers doctors butchers")
_KEPT_BY_THEM = _words("room house seat chair car bed cabin uniform hat coat quarters school")
_SOMEBODY = frozenset(("someone", "somebody", "anyone", "anybody"))
_NUMBERS = {
    "no": 0,
    **dict.fromkeys(("a", "an", "one"), 1),
    **{
        word: number
        for number, word in enumerate(("two", "three", "four", "five", "six", "seven"), 2)
    },
    "both": 2,
    **dict.fromkeys(("some", "several"), 3),
    "many": 7,
}
_ONE = _words("a an one this that every each another")
_OTHERS = ("another", "other", "second")
_DETERMINERS = _words("the his her its their my our your") | _ONE | {*_NUMBERS, *_OTHERS}
_ADJECTIVES = _words("old young little small tall lonely elderly lost tired poor blind")
_BETWEEN = _words(
    """in on at by of to from with without for into onto over under near inside outside through
    across above below behind before after and or but when while where who as is are was were
    has have had he she it they him them"""
)
_BEASTS = _words(
    """cat kitten dog puppy horse pony donkey bird owl crow raven gull seagull parrot hen duck goose
    swan fish whale shark dolphin turtle frog snake lizard mouse rat rabbit hare fox wolf bear lion
    tiger elephant monkey ape deer goat sheep lamb cow bull pig bee butterfly spider ant dragon
    unicorn robot machine android monster alien"""
)
_THINGS_THAT_ACT = _words("world town city village house sea wind sun heart engine")
_DEEDS = (
    "ask|argue|bake|beg|believe|buy|confess|decide|dream|forget|forgive|grin|hesitate|kneel|knit|"
    "laugh|mourn|paint|pray|regret|repair|sell|shrug|smile|speak|steal|stud(?:y|ie)|swear|talk|"
    "teach|think|understand|wonder|yawn"
)
"""What only people do; the wind whispers, a sign says and a coin lies."""
_MOVES = (
    "arrive|bark|bow|climb|crawl|cr(?:y|ie)|dance|drink|eat|enter|find|fl(?:y|ie)|follow|greet|"
    "hunt|jump|leap|listen|look|lose|love|meet|play|run|search|see|sing|sit|sleep|stare|swim|wait|"
    "wake|walk|wander|want|watch|weep|whisper"
)
_PERSONAL = re.compile(rf"(?:{_DEEDS})(?:e?s)?")
_LIVING = re.compile(rf"\s(?:{_DEEDS}|{_MOVES})(?:e?s)?\b")
_WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*(?P<own>['\u2019]s?\b)?")
_BETWEEN_THEM = 2
"""Words that may stand between a determiner and its noun."""


@dataclass(frozen=True)
class Subject:
    """What a text mentions from `start` to `end`: its noun in the singular, and with the words
    before it, without an article; `count` of them. Another of a kind has `other` before the noun.
    """

    start: int
    end: int
    noun: str
    words: str
    count: int = 1

    @property
    def one(self) -> str:
        """What each of them is called: `old woman`, of `two old women` too."""
        return " ".join([*self.words.split()[:-1], self.noun])


def is_person(noun: str) -> bool:
    """Whether a noun, in any case, singular or plural, means people."""
    return bool(_person(noun.casefold()))


def is_one_person(noun: str) -> bool:
    """Whether a noun, in any case, means a single person."""
    return _person(noun.casefold()) == noun.casefold() != ""


def people_in(text: str) -> tuple[Subject, ...]:
    """The people whom a casefolded text mentions by what they are, in the order of the words.

    A noun that is not known means a person where it does what only people do: `the glazier smiles`.
    """
    words = list(_WORD.finditer(text))
    found = []
    for place, word in enumerate(words):
        follows = _next(text, words, place)
        if word[0] in _SOMEBODY:
            other = "other " if follows == "else" else ""
            found.append(Subject(word.start(), word.end(), f"{other}someone", "someone"))
        elif not (word["own"] or (_person(word[0]) and _is_noun(follows))):
            subject = _phrase(text, words, place)
            determined = subject.start < word.start()
            acts = determined and _PERSONAL.fullmatch(follows) and _may_act(word[0])
            verb = word[0] in _ALSO_VERBS and not (determined and subject.words == word[0])
            known = _person(word[0]) and not verb
            if subject.count and (acts or (known and not _names_a_thing(word[0], follows))):
                found.append(subject)
    return tuple(found)


def living_in(text: str) -> tuple[Subject, ...]:
    """What lives in a casefolded text besides people: animals, and what a sentence begins with
    that does something only the living do, as in `the statue waits`."""
    words = list(_WORD.finditer(text))
    people = {subject.end for subject in people_in(text)}
    found = []
    for place, word in enumerate(words):
        subject = _phrase(text, words, place)
        before = text[max(0, subject.start - 9) : subject.start].rstrip()
        begins = not before or before[-1] in ".!?;,:" or before.endswith((" and", " when"))
        acts = begins and subject.start < word.start() and _LIVING.match(text, word.end())
        other = word["own"] or _person(word[0]) or subject.end in people
        if (acts or subject.noun in _BEASTS) and word[0] not in _BETWEEN and not other:
            found.append(subject)
    return tuple(found)


def each_once(subjects: Iterable[Subject]) -> tuple[Subject, ...]:
    """The subjects without those whose noun came before."""
    first: dict[str, Subject] = {}
    for subject in subjects:
        first.setdefault(subject.noun, subject)
    return tuple(first.values())


def _person(word: str) -> str:
    """The singular of a word for people; empty for any other."""
    singular = _PLURALS.get(word) or re.sub(r"men$|(?<=.)s$", _one, word)
    known = {word, singular} & _PEOPLE
    trade = re.fullmatch(_TRADES, singular) and singular not in _NOBODY
    return singular if known or trade else ""


def _one(ending: re.Match[str]) -> str:
    return "man" if ending[0] == "men" else ""


def _is_noun(word: str) -> bool:
    return bool(_person(word)) and word not in _ALSO_VERBS


def _may_act(word: str) -> bool:
    others = _BEASTS | _THINGS_THAT_ACT | _DETERMINERS | _BETWEEN
    return not {word, word.removesuffix("s")} & others


def _names_a_thing(word: str, follows: str) -> bool:
    """Whether a word for people says whose or how many of the next: a guest room, a couple of
    cups."""
    return follows in _KEPT_BY_THEM or (word in _GROUPS and follows == "of")


def _next(text: str, words: Sequence[re.Match[str]], place: int) -> str:
    """The word that follows, with nothing but a space between; else empty."""
    after = words[place + 1] if place + 1 < len(words) else None
    return after[0] if after and text[words[place].end() : after.start()].isspace() else ""


def _phrase(text: str, words: Sequence[re.Match[str]], place: int) -> Subject:
    """The noun at `place` with the words that belong before it; a count of 0: none at all, or
    no noun, as in `a dog guards`."""
    first, determiner = place, ""
    for before in range(place - 1, max(-1, place - 2 - _BETWEEN_THEM), -1):
        word = words[before][0]
        joined = text[words[before].end() : words[before + 1].start()].isspace()
        if not joined or (word in _BETWEEN and word not in _DETERMINERS):
            break
        if word in _DETERMINERS:
            first, determiner = before, word
            break
    if not determiner:
        for before in range(place - 1, max(-1, place - 1 - _BETWEEN_THEM), -1):
            if words[before][0] not in _ADJECTIVES:
                break
            first = before
    described = [word[0] for word in words[first + bool(determiner) : place + 1]]
    noun = words[place][0]
    singular = _person(noun) or (noun[:-1] if noun[:-1] in _BEASTS else noun)
    plural = singular != noun
    count = _GROUPS.get(noun, 3 if plural else 1)
    if plural and determiner in _ONE:
        count = 0
    elif _NUMBERS.get(determiner, 1) != 1:
        count = _NUMBERS[determiner]
    named = f"other {singular}" if determiner in _OTHERS else singular
    start = words[first].start()
    return Subject(start, words[place].end(), named, " ".join(described), count)
