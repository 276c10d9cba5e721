"""The words of film language: shot scale, camera angle, camera movement, transition."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from enum import Enum


class Term(Enum):
    """A standard term of the field, with the aliases by which scripts also name it."""

    def __new__(cls, term: str, *aliases: str):
        member = object.__new__(cls)
        member._value_ = term
        member.aliases = aliases
        return member

    @classmethod
    def find(cls, text: str) -> Term | None:
        """The member that `text` names, by term or alias in any case and spelling, or None."""
        wanted = _normalise(text)
        for member in cls:
            if wanted in (_normalise(name) for name in (member.value, *member.aliases)):
                return member
        return None

    @classmethod
    def parse(cls, text: str) -> Term:
        """The member that `text` names.

        Raises:
            ValueError: no member has this name; the message holds the nearest term and all terms.
        """
        found = cls.find(text)
        if found is not None:
            return found
        terms = [member.value for member in cls]
        near = difflib.get_close_matches(_normalise(text), terms, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"{text!r} is no {cls.label()}; {hint}known are {', '.join(terms)}")

    @classmethod
    def label(cls) -> str:
        """The name of the enumeration in plain words: 'shot scale'."""
        return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", cls.__name__).lower()


def _normalise(text: str) -> str:
    words = re.sub(r"[\s_\-\u2010-\u2015]+", " ", text.strip().casefold().replace("\u2019", "'"))
    return re.sub(r"(?<=\w)( (shot|angle))+$", "", words)


class ShotScale(Term):
    """How large the subject stands in the picture, from the widest to the closest."""

    EXTREME_WIDE = (
        "extreme wide",
        "ews",
        "xws",
        "els",
        "extreme long",
        "very wide",
        "establishing",
        "vista",
    )
    WIDE = ("wide", "ws", "ls", "long", "master", "general")
    FULL = ("full", "fs", "full body", "head to toe")
    MEDIUM_WIDE = (
        "medium wide",
        "mws",
        "mls",
        "medium long",
        "cowboy",
        "american",
        "three quarter",
        "knee",
    )
    MEDIUM = ("medium", "ms", "mid", "waist", "two", "half")
    MEDIUM_CLOSE_UP = ("medium close-up", "mcu", "medium close", "bust", "chest")
    CLOSE_UP = ("close-up", "cu", "close", "closeup", "close on", "head and shoulders")
    EXTREME_CLOSE_UP = (
        "extreme close-up",
        "ecu",
        "xcu",
        "big close up",
        "bcu",
        "extreme close",
        "extreme closeup",
        "macro",
    )
    INSERT = ("insert", "ins", "detail", "cutaway", "prop", "insert on")


class CameraAngle(Term):
    """Where the camera looks from."""

    EYE_LEVEL = ("eye level", "eye", "eyeline", "neutral", "straight on", "level", "normal")
    LOW = ("low", "low angle up", "worm's eye", "worms eye", "from below", "looking up", "upshot")
    HIGH = ("high", "from above", "looking down", "downshot")
    OVER_THE_SHOULDER = ("over the shoulder", "ots", "o.t.s.", "over shoulder")
    OVERHEAD = (
        "overhead",
        "bird's eye",
        "birds eye",
        "bird's eye view",
        "birds eye view",
        "top",
        "top down",
        "aerial",
        "god's eye",
    )
    DUTCH = ("dutch", "dutch tilt", "canted", "oblique", "tilted")
    POINT_OF_VIEW = ("point of view", "pov", "p.o.v.", "subjective", "first person")


class CameraMovement(Term):
    """How the camera moves during the shot; a movement without a direction takes the first."""

    STATIC = ("static", "still", "locked", "locked off", "fixed", "none", "tripod", "lock off")
    PAN_RIGHT = ("pan right", "pan", "pans right")
    PAN_LEFT = ("pan left", "pans left")
    TILT_UP = ("tilt up", "tilt", "tilts up")
    TILT_DOWN = ("tilt down", "tilts down")
    DOLLY_IN = (
        "dolly in",
        "dolly",
        "push in",
        "push",
        "dolly forward",
        "track in",
        "move in",
        "slow push in",
    )
    DOLLY_OUT = (
        "dolly out",
        "pull out",
        "pull back",
        "dolly back",
        "track out",
        "move out",
        "dolly backward",
    )
    TRUCK_RIGHT = (
        "truck right",
        "truck",
        "track right",
        "track",
        "tracking",
        "slide right",
        "crab right",
        "follow",
        "dolly right",
    )
    TRUCK_LEFT = ("truck left", "track left", "slide left", "crab left", "dolly left")
    PEDESTAL_UP = ("pedestal up", "pedestal", "boom up", "crane up", "crane", "ped up", "jib up")
    PEDESTAL_DOWN = ("pedestal down", "boom down", "crane down", "ped down", "jib down")
    ZOOM_IN = ("zoom in", "zoom", "zooms in")
    ZOOM_OUT = ("zoom out", "zooms out")
    ARC_RIGHT = ("arc right", "arc", "orbit", "orbit right", "circle", "arc clockwise")
    ARC_LEFT = ("arc left", "orbit left", "arc counterclockwise")
    HANDHELD = ("handheld", "hand held", "shaky", "steadicam", "shoulder")

    @property
    def kind(self) -> str:
        """The movement without its direction: 'pan'."""
        return self.value.split()[0]

    @property
    def direction(self) -> str:
        """'left', 'right', 'up', 'down', 'in', 'out', or empty for static and handheld."""
        return self.value.partition(" ")[2]


class TransitionKind(Term):
    """How one shot gives way to the next."""

    CUT = ("cut", "cut to", "hard cut", "straight cut", "smash cut", "match cut", "jump cut")
    DISSOLVE = ("dissolve", "dissolve to", "cross dissolve", "crossfade", "cross fade", "mix")
    FADE = (
        "fade",
        "fade out",
        "fade in",
        "fade to black",
        "fade from black",
        "dip to black",
        "fade to",
    )


@dataclass(frozen=True)
class Transition:
    """A transition and its length in frames of the film.

    A dissolve of N frames overlaps the last N of one shot with the first N of the next. A fade
    of N frames takes the last N frames of one shot to `colour` and the first N of the next out
    of it. A cut has no frames.
    """

    kind: TransitionKind = TransitionKind.CUT
    num_frames: int = 0
    colour: str = "black"

    def __post_init__(self):
        if self.colour not in ("black", "white"):
            raise ValueError(f"transition colour {self.colour!r} is neither 'black' nor 'white'")
        if self.num_frames < 0:
            raise ValueError(f"a transition of {self.num_frames} frames; use 0 or more")
        if (self.kind is TransitionKind.CUT) != (self.num_frames == 0):
            raise ValueError(
                f"a {self.kind.value} of {self.num_frames} frames; a cut has 0 frames, "
                "a dissolve or a fade at least 1"
            )


CUT = Transition()
