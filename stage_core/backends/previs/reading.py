"""What a shot's words ask for: kind of place, weather, people, gestures, props."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ...story.members import Member, MemberKind, name_key
from ...story.shot_list import Scene, Shot
from .details import landmark_in, light_in, wares_in
from .looks import Look, look_of, stranger
from .palette import time_of

MAX_CHARACTERS = 4000
MAX_FIGURES = 8

INTERIORS: dict[str, tuple[str, ...]] = {
    "office": ("office", "desk", "meeting room", "conference", "newsroom", "lobby", "studio"),
    "kitchen": ("kitchen", "stove", "pantry"),
    "bedroom": ("bedroom", "hotel room", "dormitory", "nursery"),
    "church": ("church", "cathedral", "chapel", "temple", "altar", "throne", "museum", "opera"),
    "bar": (
        "bar",
        "pub",
        "cafe",
        "caf\u00e9",
        "restaurant",
        "diner",
        "tavern",
        "coffee shop",
        "club",
    ),
    "train": ("train", "subway", "metro", "bus", "carriage", "tram", "airplane", "plane cabin"),
    "car": ("inside car", "car interior", "taxi", "cab", "backseat"),
    "hospital": ("hospital", "clinic", "ward", "laboratory", "lab"),
    "school": ("classroom", "school", "library", "lecture", "archive", "bookshop"),
    "warehouse": (
        "warehouse",
        "garage",
        "factory",
        "workshop",
        "hangar",
        "basement",
        "cellar",
        "attic",
    ),
    "ship": ("spaceship", "space station", "cockpit", "airlock", "submarine", "bridge of the"),
    "corridor": (
        "corridor",
        "hallway",
        "hall",
        "stairwell",
        "staircase",
        "tunnel",
        "prison",
        "elevator",
    ),
    "living": ("living room", "apartment", "house", "home", "room", "flat", "parlour", "cabin"),
}
EXTERIORS: dict[str, tuple[str, ...]] = {
    "forest": ("forest", "wood", "woods", "jungle", "grove"),
    "street": (
        "street",
        "city",
        "town",
        "alley",
        "road",
        "rooftop",
        "downtown",
        "avenue",
        "plaza",
        "square",
        "station",
        "platform",
        "bridge",
        "parking",
        "sidewalk",
        "village",
    ),
    "market": ("market", "bazaar", "fair", "stall", "stalls"),
    "beach": ("beach", "shore", "coast", "seaside", "dunes by the sea"),
    "harbour": ("harbour", "harbor", "pier", "dock", "docks", "quay", "wharf", "marina", "jetty"),
    "sea": ("sea", "ocean", "boat", "boats", "ship", "ships", "lake", "river"),
    "desert": ("desert", "dune", "dunes", "wasteland", "canyon"),
    "snow": ("snow", "snowy", "ice", "arctic", "glacier", "tundra", "winter"),
    "mountain": ("mountain", "mountains", "cliff", "peak", "summit", "valley", "hill", "hills"),
    "space": ("space", "moon surface", "planet", "mars", "asteroid", "orbit"),
    "field": ("field", "meadow", "park", "garden", "farm", "prairie", "yard", "cemetery", "grass"),
}

PROPS: dict[str, tuple[str, ...]] = {
    "ring": ("ring box", "ring", "engagement", "wedding band"),
    "letter": ("letter", "paper", "note", "envelope", "contract", "document", "page", "telegram"),
    "phone": ("phone", "smartphone", "cell", "mobile", "telephone"),
    "key": ("key", "keys"),
    "gun": ("gun", "pistol", "revolver"),
    "cup": ("cup", "mug", "coffee", "tea"),
    "pane": tuple(
        f"{how} {what}"
        for how in ("misted", "fogged", "steamed", "frosted")
        for what in ("glass", "window", "pane", "windowpane")
    ),
    "glass": ("glass", "wine", "goblet", "whisky", "whiskey", "beer"),
    "bottle": ("bottle", "flask", "vial", "potion"),
    "book": ("book", "diary", "journal", "notebook", "bible"),
    "lamp": ("lamp", "lantern", "torch", "flashlight"),
    "candle": ("candle", "flame", "match"),
    "photo": ("photo", "photograph", "picture", "portrait", "polaroid"),
    "knife": ("knife", "dagger", "blade", "sword"),
    "flower": ("flower", "flowers", "rose", "bouquet", "tulip", "lily"),
    "watch": ("watch", "clock", "timer", "alarm", "stopwatch", "compass"),
    "coin": ("coin", "coins", "medal", "medallion", "locket"),
    "door": ("door handle", "doorknob", "door", "lock"),
    "map": ("map", "blueprint", "chart"),
    "suitcase": ("suitcase", "briefcase", "luggage", "trunk"),
    "laptop": ("laptop", "computer", "screen", "monitor", "keyboard", "tablet"),
    "umbrella": ("umbrella", "parasol"),
    "bag": ("bag", "backpack", "purse", "sack", "basket"),
    "box": ("box", "package", "parcel", "gift", "crate", "object"),
    "hand": ("hand", "hands", "finger", "fingers", "fist"),
}

# What a specific thing lies in or beside; drawn where nothing more specific is named.
_COMMON = ("box", "hand", "door", "lamp", "bag")
_THINGS = {name: words for name, words in PROPS.items() if name not in _COMMON}
_COMMON_THINGS = {name: PROPS[name] for name in _COMMON}

_VERBS: tuple[tuple[str, str], ...] = (
    ("sit down", r"sits? down|takes? a seat|sinks? into"),
    ("rise", r"stands? up|gets? up|rises?|rose"),
    ("kneel", r"kneels?|kneeling|knelt|on one knee|on (?:his|her|their) knees?|proposes?"),
    ("pray", r"prays?|praying"),
    ("work", r"types?|typing|writes?|writing|works?|working|drives?|driving|eats?|eating|plays?"),
    ("sit", r"sits?|sitting|sat|seated"),
    ("run", r"runs?|running|ran|sprints?|chases?|chasing|flees?|rush(?:es)?|races?|dash(?:es)?"),
    (
        "walk",
        r"walks?|walking|walked|strolls?|enters?|leaves?|steps?|cross(?:es)?|approach(?:es)?|"
        r"goes|comes|arrives?|wanders?|marches?|paces?|exits?|follows?|climbs? the stairs",
    ),
    ("point", r"points?|pointing"),
    ("phone", r"phones?|calls?|answers? the phone|dials?|on the phone"),
    ("embrace", r"embraces?|embracing|hugs?|hugging|kiss(?:es)?|kissing|in (?:his|her) arms"),
    ("give", r"gives?|giving|hands? (?:him|her|over|the|a)|offers?|offering|shows?|presents?"),
    ("open", r"opens?|opening|unlocks?|push(?:es)?|pulls?|knocks?|touch(?:es)?"),
    ("reach", r"reach(?:es)?|reaching|grabs?|takes?|picks?|catch(?:es)?|puts?|places?|lays? the"),
    ("aim", r"aims?|aiming|shoots?|draws? (?:a|his|her) gun"),
    ("fight", r"fights?|fighting|punch(?:es)?|hits?|strikes?|attacks?"),
    ("drink", r"drinks?|drinking|sips?|sipping|raises? (?:a|her|his) glass|toasts?"),
    ("read", r"reads?|reading|studies|examines?"),
    ("hold", r"holds?|holding|carries|carrying|clutch(?:es)?|grips?|brings?|hides?"),
    ("weep", r"weeps?|weeping|cries|crying|sobs?|tears"),
    ("gasp", r"gasps?|covers? (?:his|her|their) mouth|shocked|surprised|startled|breath"),
    ("dance", r"dances?|dancing|spins?"),
    ("wave", r"waves?|waving|greets?"),
    ("raise", r"raises?|cheers?|celebrates?|applauds?|throws?|jumps?"),
    ("crouch", r"crouch(?:es)?|crouching|hiding|ducks?|squats?|cowers?"),
    ("climb", r"climbs?|climbing"),
    ("lie", r"lies?|lying|sleeps?|sleeping|asleep|lays?"),
    ("bow", r"bows?|bowing"),
    ("turn", r"turns?|turning|spun"),
    ("look up", r"looks? up|gazes? up|stares? up"),
    ("look down", r"looks? down|hangs? (?:his|her) head"),
    ("watch", r"watch(?:es)?|watching|searches|scans?"),
    ("look", r"looks?|looking|sees?|stares?|gazes?|glances?|notices?"),
    ("think", r"thinks?|thinking|ponders?|wonders?|hesitates?|considers?"),
    (
        "talk",
        r"talks?|talking|says?|speaks?|argues?|shouts?|tells?|asks?|explains?|laughs?|nods?|smiles?",
    ),
    ("wait", r"waits?|waiting|leans?"),
    ("stand", r"stands?|standing|stops?|freezes?"),
)
_ANY_VERB = re.compile(
    "|".join(rf"(?P<v{i}>\b(?:{pattern})\b)" for i, (_, pattern) in enumerate(_VERBS))
)
_PEOPLE = re.compile(
    r"\b(crowd|people|soldiers|children|passengers|dancers|workers|guests|friends|couple|two men|"
    r"two women|man|woman|boy|girl|child|stranger|figure|driver|waiter|waitress|guard|soldier|"
    r"officer|doctor|nurse|old man|old woman|king|queen|detective|someone|he|she|they)\b"
)
_COUNTS = {
    "crowd": 7,
    "people": 5,
    "soldiers": 5,
    "children": 4,
    "passengers": 5,
    "dancers": 4,
    "workers": 4,
    "guests": 5,
    "friends": 3,
    "couple": 2,
    "two men": 2,
    "two women": 2,
    "they": 2,
}
_JOINED = re.compile(r"(?:\s\w+)?(?:,|,? and|,? with)\s")
_AWAY = re.compile(
    r"\b(walks? away|from behind|back to (?:us|the camera)|(?:his|her|their) backs?|faces? the "
    r"(?:sea|window|horizon|view|sunset)|leaves)\b"
)
_AT_TABLE = re.compile(r"\b(desk|table|counter|bar|typ|writ|piano|dinner|breakfast|laptop)")
_HAND = re.compile(
    r"\b(hand|hold|grip|pick|take|reach|open|put|place|slide|give|offer|clutch|turn)"
)

_TOGETHER = re.compile(r"\b(hand in hand|arm in arm|side by side|together)\b")
_DOORWAY = re.compile(r"\b(doorway|threshold|in the door|at the door)\b")

_IN_A_SEAT = (
    "read",
    "hold",
    "phone",
    "drink",
    "weep",
    "think",
    "talk",
    "give",
    "point",
    "look",
    "look down",
    "look up",
    "reach",
    "open",
)


@dataclass(frozen=True)
class Reading:
    """The picture that a shot's words describe.

    `people`: names of the cast, or words for strangers, with what each does (a key of
    `poses.ACTIONS`, or empty). `named`: whether they are cast. `together`: they go the same way.
    `wares`: what stands on the table. `light`: the only light of a dark room. `costumes`: how the
    film's cast describes those people, by name.
    """

    kind: str
    interior: bool
    time: str
    weather: str
    people: tuple[tuple[str, str], ...]
    named: bool
    away: bool
    at_table: bool
    prop: str
    by_hand: bool
    landmark: str = ""
    together: bool = False
    doorway: bool = False
    wares: tuple[str, ...] = ()
    light: str = ""
    costumes: Mapping[str, str] = field(default_factory=dict)

    def look(self, index: int) -> Look:
        """How the person at this place looks."""
        name = self.people[index][0]
        return look_of(name, self.costumes.get(name, "")) if self.named else stranger(name, index)


def read_shot(shot: Shot, members: Sequence[Member] = ()) -> Reading:
    """What the words of the shot ask for; words that it does not know change nothing.

    Args:
        members: those of the film's cast that the shot names.
    """
    described = {name_key(member.name): member for member in members}
    cast = tuple(name for name in shot.cast if _is_person(described.get(name_key(name))))
    text = shot.description[:MAX_CHARACTERS].casefold()
    kind, interior = _place(shot.scene, text)
    heading = f"{shot.scene.place} {shot.scene.time_of_day}"[:MAX_CHARACTERS].casefold()
    people = _cast_actions(cast[:MAX_FIGURES], text) or _strangers(text)
    if _DOORWAY.search(text):
        # Who is only heard is still in the room that the door leads to.
        people = tuple(p for p in people if _short(p[0]) in text) or people
    words = f"{heading} {text}"
    time = time_of(shot.scene.time_of_day.casefold() or heading or text)
    return Reading(
        kind,
        interior,
        time,
        next((w for w in ("rain", "snow", "fog") if re.search(rf"\b{w}", words)), ""),
        people,
        bool(cast),
        bool(_AWAY.search(text)),
        bool(_AT_TABLE.search(text)),
        _first(_THINGS, text) or _first(_COMMON_THINGS, text),
        bool(_HAND.search(text)),
        "" if interior else landmark_in(kind, words),
        bool(_TOGETHER.search(text)),
        bool(_DOORWAY.search(text)),
        wares_in(text),
        light_in(text) if interior and time in ("night", "dusk") else "",
        {name: described[key].description for name in cast if (key := name_key(name)) in described},
    )


def _is_person(member: Member | None) -> bool:
    return member is None or member.kind is MemberKind.CHARACTER


def _place(scene: Scene, text: str) -> tuple[str, bool]:
    place = scene.place[:MAX_CHARACTERS].casefold()
    for words in (place, "" if place else text):
        inside, outside = _first(INTERIORS, words), _first(EXTERIORS, words)
        if scene.interior is True and (inside or outside):
            return inside or "living", True
        if scene.interior is False and (inside or outside):
            return outside or "street", False
        if inside or outside:
            return (outside, False) if outside else (inside, True)
    return ("living", True) if scene.interior is not False else ("field", False)


def _first(table: dict[str, tuple[str, ...]], words: str) -> str:
    """The key whose name stands earliest in the words, the longer name first; or empty."""
    best = (len(words) + 1, 0, "")
    for key, names in table.items():
        for name in names:
            found = re.search(rf"\b{re.escape(name)}\b", words)
            if found:
                best = min(best, (found.start(), -len(name), key))
    return best[2]


def _cast_actions(cast: tuple[str, ...], text: str) -> tuple[tuple[str, str], ...]:
    """The cast with what each does, whom the words name first in front.

    Each verb belongs to the cast member named last before it, or else to the first of the cast.
    """
    mentions = sorted(
        (found.start(), found.end(), index)
        for index, name in enumerate(cast)
        if name.strip()
        for found in re.finditer(rf"\b{re.escape(_short(name))}\b", text)
    )
    actions = [""] * len(cast)
    for found in _ANY_VERB.finditer(text):
        verb = _VERBS[int(found.lastgroup[1:])][0]
        for owner in _owners(mentions, found.start(), text) if cast else ():
            if not actions[owner]:
                actions[owner] = verb
            elif actions[owner] in ("sit", "work") and verb in _IN_A_SEAT:
                actions[owner] = f"sit+{verb}"
    if "embrace" in actions or re.search(r"\b(together|each other|both|they)\b", text):
        lead = next((a for a in actions if a), "")
        actions = [action or lead for action in actions]
    # Whom the words name first is whom the shot is about.
    first = {index: start for start, _, index in reversed(mentions)}
    leads = sorted(range(len(cast)), key=lambda index: first.get(index, len(text)))
    return tuple((cast[index], actions[index]) for index in leads)


def _owners(mentions: list[tuple[int, int, int]], place: int, text: str) -> list[int]:
    """Who does what the verb at `place` says: the last named before it, and whoever is joined
    to that name by 'and' or a comma."""
    before = [mention for mention in mentions if mention[0] <= place]
    if not before:
        return [0]
    owners = [before[-1][2]]
    for (_, end, index), (start, _, _) in zip(before[-2::-1], before[:0:-1], strict=True):
        if not _JOINED.fullmatch(text[end:start]):
            break
        owners.append(index)
    return owners


def _short(name: str) -> str:
    words = name.casefold().split()
    return words[0] if words else ""


def _strangers(text: str) -> tuple[tuple[str, str], ...]:
    found = _PEOPLE.search(text)
    if not found:
        return ()
    verb = _ANY_VERB.search(text)
    action = _VERBS[int(verb.lastgroup[1:])][0] if verb else ""
    words = _PEOPLE.findall(text)
    count = max(_COUNTS.get(word, 1) for word in words)
    return tuple((found.group(), action) for _ in range(count))
