"""What a film cost, and how near it came to its keyframes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from ..offload.placed import PlaceReport
from .wan_keyframes import Meeting


@dataclass
class FilmReport:
    """What a film has cost so far.

    `moved_bytes` of weights were moved; shot by shot it would be `moved_bytes_by_shot`. `seconds`
    by phase: encode, experts, decode. `meetings` with keyframes, take by take. `tiled` shots were
    decoded in tiles. `places` by large network.
    """

    moved_bytes: int = 0
    moved_bytes_by_shot: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    meetings: list[Meeting] = field(default_factory=list)
    tiled: list[str] = field(default_factory=list)
    places: dict[str, PlaceReport] = field(default_factory=dict)

    def __str__(self) -> str:
        sizes = self.moved_bytes, self.moved_bytes_by_shot
        moved, by_shot = (f"{size / 1e9:.3g} GB" for size in sizes)
        spent = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in self.seconds.items())
        apart = [meeting.levels for meeting in self.meetings]
        near = f"; keyframes met within {max(apart):.0f} of 255 levels" if apart else ""
        return f"weights moved: {moved}, shot by shot it would be {by_shot}; {spent}{near}"

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a person is told: the cost, where large networks were, keyframes not set exactly."""
        told = [str(meeting) for meeting in self.meetings if not meeting.is_plain]
        if self.tiled:
            shots = ", ".join(dict.fromkeys(self.tiled))
            told.append(f"decoded in tiles, for want of VRAM: {shots}; 480p needs half as much")
        return (str(self), *map(str, self.places.values()), *told)

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        """Adds the time of a block to that of a phase."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - begun
            self.seconds[phase] = self.seconds.get(phase, 0.0) + spent
