"""What a language model is asked for: a theme as a storyboard, in a form that `answer` reads."""

from __future__ import annotations

import json
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from ..plurals import counted
from ..story.cinematography import CameraAngle, CameraMovement, ShotScale
from ..story.members import Member, MemberKind, check_members

MAX_SHOTS = 200
_USUAL_SECONDS = Fraction(3)

EXAMPLE: dict[str, Any] = {
    "title": "The Kite",
    "theme": "A boy lets go of the last thing his sister made.",
    "story": "On the morning of the move a boy climbs the dune behind the house with his sister's "
    "paper kite. The wind takes it, and for the first time he lets it.",
    "look": "soft gouache, pale morning light, wide empty skies",
    "characters": [
        {
            "name": "Tomas",
            "kind": "character",
            "description": "boy of nine, short black hair, freckles, green rain jacket too large "
            "for him, bare feet",
        },
        {
            "name": "Kite",
            "kind": "prop",
            "description": "diamond of red tissue paper on bamboo, a tail of blue ribbons",
        },
    ],
    "shots": [
        {
            "shot": 1,
            "description": "Tomas climbs the dune with the Kite under his arm, leaning into the "
            "wind.",
            "start": "he is small at the foot of the dune, the sea behind him",
            "end": "he stands on the crest against the sky",
            "place": "dune above the sea",
            "interior": False,
            "time_of_day": "dawn",
            "cast": ["Tomas"],
            "scale": "extreme wide",
            "angle": "low",
            "movement": "tilt up",
            "seconds": 4,
            "dialogue": "",
            "transition": "cut",
        },
        {
            "shot": 2,
            "description": "The fingers of Tomas open, and the line of the Kite runs out.",
            "start": "a closed fist holds the line",
            "end": "the hand is open and empty",
            "place": "dune above the sea",
            "interior": False,
            "time_of_day": "dawn",
            "cast": ["Tomas"],
            "scale": "extreme close-up",
            "angle": "eye level",
            "movement": "static",
            "seconds": 2.5,
            "dialogue": "TOMAS: Go on.",
            "transition": "dissolve",
        },
    ],
}
"""A film of our own that shows the form of an answer; repeated, it is none."""

_INSTRUCTION = """You are the director of a short film. Turn the theme below into a storyboard.

THEME
{theme}

WHAT IS WANTED
{wants}

HOW TO THINK
Write the story in a few sentences first: one wish, one obstacle, one turn. Then list who and what
appears more than once, each with a fixed look that a painter could repeat: age, build, hair,
clothes, colours, materials; its kind is character, prop or place. Use their names, spelled alike,
in every shot that shows them. Then write the shots in the order of the film. Each shot is one
uninterrupted view of one place. Say in `description` what is seen and done, in one or two plain
sentences; in `start` and `end` what the first and the last picture of the shot show, so that the
camera and the people have moved between them. Change scale and angle from shot to shot, keep to one
side of the action, and let a close view follow a wide one.

WHAT EACH SHOT HAS
description, start, end, place: words
interior: true or false
time_of_day: such as day, night, dawn, dusk
cast: the names of the characters in the picture, [] for none
scale: one of {scales}
angle: one of {angles}
movement: one of {movements}
seconds: a number
dialogue: "" or "NAME: words"
transition: how it leads into the next shot, one of cut, dissolve, fade

HOW TO ANSWER
Answer with one JSON object and nothing else, in the form of this example. The example is another,
shorter film; take its form and none of its content.

{example}
"""


@dataclass(frozen=True)
class FilmOrder:
    """A film that is asked for.

    `num_shots`: 0 leaves it to `seconds`, the length of the film. `seconds`: 0 leaves the length
    open. `cast`: who and what must appear as described. `language`: that of the descriptions.
    """

    theme: str
    num_shots: int = 0
    seconds: Fraction = Fraction(0)
    look: str = ""
    language: str = "English"
    cast: tuple[Member, ...] = ()

    def __post_init__(self):
        check_members(self.cast)
        if not self.theme.strip():
            raise ValueError("the theme is empty; say in a sentence what the film is about")
        if not 0 <= self.num_shots <= MAX_SHOTS:
            raise ValueError(f"{self.num_shots} shots; use 1 to {MAX_SHOTS}, or 0 and a length")
        if not 0 <= self.seconds <= 3600:
            raise ValueError(f"a film of {float(self.seconds):g} s; use more than 0, at most 3600")
        if not (self.num_shots or self.seconds):
            raise ValueError("neither a number of shots nor a length; give one of them")

    @property
    def shots(self) -> int:
        """How many shots the film has: those asked for, else as many as its length usually has."""
        usual = max(1, min(MAX_SHOTS, round(self.seconds / _USUAL_SECONDS)))
        return self.num_shots or usual

    @property
    def seconds_each(self) -> Fraction:
        """How long a shot lasts on average."""
        return self.seconds / self.shots if self.seconds else _USUAL_SECONDS


def instruction(order: FilmOrder) -> str:
    """What to ask any language model for this film."""
    return _INSTRUCTION.format(
        theme=order.theme.strip(),
        wants="\n".join(_wants(order)),
        scales=", ".join(term.value for term in ShotScale),
        angles=", ".join(term.value for term in CameraAngle),
        movements=", ".join(term.value for term in CameraMovement),
        example=json.dumps(EXAMPLE, indent=1),
    )


def retry_request(num_shots: int) -> str:
    """What to ask for when an answer could not be used; `num_shots` 0 leaves their number open."""
    count = f"exactly {counted(num_shots, 'shot')}" if num_shots else "all its shots"
    return (
        f"Send the whole storyboard again as one complete JSON object in the form of the example, "
        f"with {count} in the list 'shots', a description in each, and nothing before or after it."
    )


def _wants(order: FilmOrder) -> list[str]:
    wants = [f"- Exactly {counted(order.shots, 'shot')}, no more and no fewer."]
    if order.seconds:
        each = float(order.seconds_each)
        wants.append(f"- {float(order.seconds):g} seconds in all, about {each:.3g} for each shot.")
    if order.look.strip():
        wants.append(f"- The look of the film: {order.look.strip()}")
    language = order.language.strip() or "English"
    wants.append(
        f"- Descriptions and dialogue in {language}. The names of the fields, and scale, angle, "
        "movement and transition, stay in English as listed."
    )
    if order.cast:
        wants.append("- This cast, spelled so and looking so; add others only if the story must:")
        wants += [f"  - {_described(member)}" for member in order.cast]
    return wants


def _described(member: Member) -> str:
    kind = "" if member.kind is MemberKind.CHARACTER else f" ({member.kind.value})"
    look = " ".join(member.description.split())
    return f"{member.name}{kind}: {look}" if look else f"{member.name}{kind}"
