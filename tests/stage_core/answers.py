"""An answer of a language model as it should be, for tests that damage or send it."""

import json

FILM = {
    "title": "The Well",
    "theme": "A girl trades her name for water.",
    "look": "chalk on slate",
    "characters": [
        {"name": "Nour", "kind": "character", "description": "girl of ten, blue scarf"},
        {"name": "Bucket", "kind": "prop", "description": "dented tin"},
    ],
    "shots": [
        {
            "shot": 1,
            "description": "Nour crosses a dry square with the Bucket.",
            "start": "she is far away",
            "end": "she stands at the well",
            "place": "village square",
            "interior": False,
            "time_of_day": "day",
            "cast": ["Nour"],
            "scale": "extreme wide",
            "angle": "high",
            "movement": "pan right",
            "seconds": 4,
            "dialogue": "",
            "transition": "cut",
        },
        {
            "shot": 2,
            "description": "Nour leans over the rim.",
            "place": "village square",
            "cast": ["Nour"],
            "scale": "close-up",
            "angle": "low",
            "movement": "dolly in",
            "seconds": 2.5,
            "dialogue": "NOUR: Is anyone there?",
        },
        {
            "shot": 3,
            "description": "A rope runs down into the dark.",
            "scale": "insert",
            "angle": "overhead",
            "movement": "static",
            "seconds": 2,
        },
    ],
}
GOOD = json.dumps(FILM, indent=1)

_SHORT = [
    {**shot, "seconds": 0.5, "transition": transition}
    for shot, transition in zip(FILM["shots"], ("dissolve 4 frames", "cut", "cut"), strict=True)
]
QUICK = f"Gladly:\n```json\n{json.dumps({**FILM, 'shots': _SHORT}, indent=1)}\n```"
"""The same film with shots of half a second, the first of which dissolves into the second, in a
fence and with a friendly word before it."""
