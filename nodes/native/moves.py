"""How many bytes of weights have to be moved when networks take turns in VRAM."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

_GB = 10**9


@dataclass(frozen=True)
class Use:
    """A network of so many bytes, used for the shot at a place of the film."""

    place: int
    network: str
    num_bytes: int


@dataclass
class Moves:
    """The uses of networks in the order they were made.

    Counted as if one network at a time had room in VRAM: what is moved then is the most that can
    be. A network that is used twice in a row is moved once.
    """

    uses: list[Use] = field(default_factory=list)

    def take(self, place: int, network: str, num_bytes: int) -> None:
        """A network is used for the shot at this place."""
        self.uses.append(Use(place, network, num_bytes))

    @property
    def num_bytes(self) -> int:
        """Bytes moved in the order in which the networks were used."""
        return _moved(self.uses)

    @property
    def num_bytes_by_shot(self) -> int:
        """Bytes moved when each shot is finished before the next."""
        return _moved(sorted(self.uses, key=lambda use: use.place))

    def __str__(self) -> str:
        shots = len({use.place for use in self.uses})
        return (
            f"weights moved for {shots} shots: {self.num_bytes / _GB:.3g} GB by phase; "
            f"by shot it would be {self.num_bytes_by_shot / _GB:.3g} GB"
        )


def _moved(uses: Iterable[Use]) -> int:
    return sum(use.num_bytes for use in _runs(uses))


def _runs(uses: Iterable[Use]) -> Iterator[Use]:
    """The first use of every run of uses of one network."""
    before = ""
    for use in uses:
        if use.network != before:
            yield use
        before = use.network
