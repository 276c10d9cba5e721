"""The words that the sketch knows: places, things, and what people do."""

from __future__ import annotations

import re

MAX_CHARACTERS = 4000
"""How much of a text is read."""

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
INDOORS: dict[str, tuple[str, ...]] = {
    "bedroom": ("bed", "pillow", "wardrobe", "mattress"),
    "living": (
        *("sofa", "couch", "armchair", "chair", "chairs", "table", "curtain", "curtains", "carpet"),
        *(
            "rug",
            "ceiling",
            "fireplace",
            "upstairs",
            "downstairs",
            "indoors",
            "dinner",
            "breakfast",
        ),
        *("supper", "piano", "mirror", "bathtub", "shelf", "shelves", "window", "windows"),
    ),
}
"""What tells that a place without a name is a room."""
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
    "space": ("space", "on the moon", "moon surface", "planet", "mars", "asteroid", "orbit"),
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
    "box": ("box", "package", "parcel", "gift", "crate", "object", "thing"),
    "hand": ("hand", "hands", "finger", "fingers", "fist"),
}

_COMMON = ("box", "hand", "door", "lamp", "bag")
THINGS = {name: words for name, words in PROPS.items() if name not in _COMMON}
COMMON_THINGS = {name: PROPS[name] for name in _COMMON}
"""What a specific thing lies in or beside; drawn where nothing more specific is named."""

VERBS: tuple[tuple[str, str], ...] = (
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
ANY_VERB = re.compile(
    "|".join(rf"(?P<v{i}>\b(?:{pattern})\b)" for i, (_, pattern) in enumerate(VERBS))
)

WEATHERS = (
    ("rain", r"rain(?:s|y|ing|fall|drops?|storm)?|drizzle|downpour|thunderstorm"),
    ("snow", r"snow(?:s|y|ing|fall|storm|flakes?)?|blizzard"),
    ("fog", r"fogs?|foggy|mists?|misty"),
)


def first_named(table: dict[str, tuple[str, ...]], words: str) -> str:
    """The key whose name stands earliest in the words, the longer name first; or empty."""
    best = (len(words) + 1, 0, "")
    for key, names in table.items():
        for name in names:
            found = re.search(rf"\b{re.escape(name)}\b", words)
            if found:
                best = min(best, (found.start(), -len(name), key))
    return best[2]
