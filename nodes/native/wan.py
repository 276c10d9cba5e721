"""Wan over ComfyUI's own classes: films between two frames, or through keyframes at any time.

The host samples and has the VRAM. The shots of a film go through each network together, so
encoders, experts and decoder take turns in VRAM once for the film, not once for each shot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from comfy import model_management
from einops import rearrange
from torch import Tensor

from ...stage_core.backends.protocol import (
    FilmJob,
    Grid,
    Nowhere,
    OnStep,
    Sampling,
    filming_seed,
)
from ...stage_core.backends.wan_keyframes import (
    MOST_REFERENCES,
    anywhere,
    at_the_ends,
    checked_length,
    meetings,
)
from ...stage_core.encoding.dual import fitted
from ...stage_core.encoding.video_prompts import READS
from ...stage_core.story.brief import ShotBrief, references_of
from ...stage_core.story.frames import Keyframe, Picture, as_pixels
from ...stage_core.story.shot_list import Shot
from ...stage_core.story.timeline import Clip
from .moves import Moves
from .wan_checks import NativeWanNetworks, check_networks
from .wan_encoding import Encoders, Plates
from .wan_sampling import SAMPLERS, SCHEDULES, NativeWanSettings, Order, Phase, phases, sampled

__all__ = ["MEMORY_READS", "READS", "SAMPLERS", "SCHEDULES", "NativeWan", "NativeWanSettings"]

MEMORY_READS = READS | {"memory", "cast", "members", "between"}
"""What VACE reads of a brief; it films through keyframes between the ends."""

# What a shot of a round holds, in latents of its clip: 70 MB of RAM at 81 frames of 720p, of VACE
# 165 MB.
_HELD, _HELD_BY_VACE = 4, 9
_SHARE_OF_RAM = 0.25


class NativeWan:
    """Films a shot from its start frame, its end frame or both; VACE from keyframes at any time
    and from the references of the shot's cast."""

    # The node that films names the model by the graph above it.
    identity = "ComfyUI Wan"

    def __init__(self, networks: NativeWanNetworks, settings: NativeWanSettings, grid: Grid):
        """Raises ValueError, in one sentence, for networks that do not belong together."""
        check_networks(networks, grid)
        phases(networks, settings)
        self.networks, self.settings, self.grid = networks, settings, grid
        self.reads = MEMORY_READS if networks.is_vace else READS
        self._encoders = Encoders(networks)
        self._moves, self._notes = Moves(), ()

    @property
    def remarks(self) -> tuple[str, ...]:
        """What is to be said of the last film: where keyframes went, which weights moved."""
        return self._notes + ((str(self._moves),) if self._moves.uses else ())

    def film(
        self,
        brief: ShotBrief,
        keyframes: tuple[Keyframe, ...],
        sampling: Sampling,
        on_step: OnStep,
    ) -> Clip:
        """The clip; its first and last frame are the keyframes themselves, where the model has
        filmed towards them.

        Raises:
            ValueError: no keyframe that this model can start from, or too long a shot.
        """
        return next(self.film_many((FilmJob(brief, keyframes, Nowhere()),), sampling, on_step))

    @torch.no_grad()
    def film_many(
        self, jobs: Sequence[FilmJob], sampling: Sampling, on_step: OnStep
    ) -> Iterator[Clip]:
        """The clips in the order of the jobs, the same as `film` makes.

        All are checked first; then all words are encoded, all pictures, all steps of the first
        model made, all of the second, and the clips decoded one after another.

        Raises:
            ValueError: as `film`, before anything is encoded.
        """
        settings = self.settings.overridden(sampling)
        shoots = [self._shoot(place, job, sampling) for place, job in enumerate(jobs)]
        self._moves = Moves()
        self._notes = ()
        film = _Round(self.networks, self._encoders, settings, self._moves, on_step)
        size = self._round(shoots)
        for first in range(0, len(shoots), size):
            for shoot, images in film.made(shoots[first : first + size]):
                yield self._clip(shoot, images)

    def _round(self, shoots: Sequence[_Shoot]) -> int:
        """How many shots go through the networks together: all, as far as RAM has room."""
        held = _HELD_BY_VACE if self.networks.is_vace else _HELD
        most = max((it.plates.num_bytes for it in shoots), default=1) * held
        return max(1, int(_SHARE_OF_RAM * _free_ram() / most))

    def _shoot(self, place: int, job: FilmJob, sampling: Sampling) -> _Shoot:
        brief, grid = job.brief, self.grid
        num_frames = checked_length(brief, grid, self.settings.longest)
        places = self._places(brief, job.keyframes, num_frames)
        pictures = {index: keyframe.picture for index, keyframe in places.items()}
        plates = Plates(
            pictures, self._references(brief), num_frames, *grid.size(brief.frame_format)
        )
        return _Shoot(place, job, plates, places, filming_seed(brief.shot, sampling))

    def _places(
        self, brief: ShotBrief, keyframes: tuple[Keyframe, ...], num_frames: int
    ) -> dict[int, Keyframe]:
        """The keyframes by their places in the clip, as far as the model films towards them."""
        networks, shot = self.networks, brief.shot
        if networks.is_vace:
            places = anywhere(brief, keyframes, self.grid)
        else:
            places = at_the_ends(shot, keyframes, num_frames)
        if networks.start_only:
            places = {index: keyframe for index, keyframe in places.items() if index == 0}
        if not places:
            between = "keyframe" if networks.is_vace else "start or end frame"
            wanted = "start frame" if networks.start_only else between
            raise ValueError(f"shot {shot.id} has no {wanted}, and this model films from one")
        return places

    def _references(self, brief: ShotBrief) -> tuple[Picture, ...]:
        """The artist's pictures of the shot's cast; what earlier shots looked like is in the
        keyframes, which were drawn with it."""
        if not self.networks.is_vace:
            return ()
        return references_of(brief)[:MOST_REFERENCES]

    def _clip(self, shoot: _Shoot, images: Tensor) -> Clip:
        plates = shoot.plates
        frames = torch.stack([as_pixels(image[..., :3]) for image in images])
        wanted = {
            index: fitted(picture.image, plates.width, plates.height)
            for index, picture in plates.pictures.items()
        }
        met = meetings(shoot.shot, shoot.places, frames, wanted)
        self._notes += tuple(str(meeting) for meeting in met if not meeting.is_plain)
        for index in {0, plates.num_frames - 1} & wanted.keys():
            frames[index] = wanted[index]
        return Clip(shoot.shot.id, frames, self.grid.rate)


@dataclass(frozen=True, eq=False)
class _Shoot:
    """A job on its way: `steps` are made, and `latents` are what came of them.

    `places`: the keyframes by their places in the clip.
    """

    place: int
    job: FilmJob
    plates: Plates
    places: dict[int, Keyframe]
    seed: int
    steps: int = 0
    latents: Tensor | None = None
    order: Order | None = None

    @property
    def shot(self) -> Shot:
        return self.job.brief.shot


class _Round:
    """Some shots that go through every network together."""

    def __init__(
        self,
        networks: NativeWanNetworks,
        encoders: Encoders,
        settings: NativeWanSettings,
        moves: Moves,
        on_step: OnStep,
    ):
        self.networks, self.encoders, self.settings = networks, encoders, settings
        self.moves, self.on_step = moves, on_step

    def made(self, shoots: Sequence[_Shoot]) -> Iterator[tuple[_Shoot, Tensor]]:
        """Each shoot with its pictures [T, H, W, C], in [0, 1] or a little beyond."""
        waiting = self._encoded([self._resumed(shoot) for shoot in shoots])
        for phase in phases(self.networks, self.settings):
            waiting = [self._advanced(shoot, phase) for shoot in waiting]
        while waiting:
            shoot = waiting.pop(0)
            self._report(shoot, self.settings.steps)
            self._use(shoot, "vae")
            latents = shoot.latents[:, :, len(shoot.plates.references) :]
            images = self.networks.vae.decode(latents)
            yield shoot, rearrange(images, "1 t h w c -> t h w c")

    def _resumed(self, shoot: _Shoot) -> _Shoot:
        """The shoot as far as an earlier run has brought it."""
        rest = shoot.job.halfway.read() or {}
        if not {"latents", "steps"} <= set(rest):
            return shoot
        steps = int(rest["steps"])
        if steps not in [phase.last for phase in phases(self.networks, self.settings)]:
            return shoot
        return replace(shoot, steps=steps, latents=rest["latents"])

    def _encoded(self, shoots: list[_Shoot]) -> list[_Shoot]:
        """The shoots with all that sampling needs; each encoder sees all shots in one turn."""
        texts, sights = {}, {}
        unfinished = [shoot for shoot in shoots if shoot.steps < self.settings.steps]
        for shoot in unfinished:
            self._report(shoot, shoot.steps)
            texts[shoot.place] = self.encoders.texts(shoot.job.brief, self._user(shoot))
        for shoot in unfinished:
            self._report(shoot, shoot.steps)
            sights[shoot.place] = self.encoders.sights(shoot.plates, self._user(shoot))
        encoded = {}
        # Takes of one shot follow each other here, however many shots are between them.
        for shoot in sorted(unfinished, key=lambda it: it.plates.key):
            self._report(shoot, shoot.steps)
            seen = texts.pop(shoot.place), sights.pop(shoot.place)
            order = self.encoders.order(*seen, shoot.plates, shoot.seed, self._user(shoot))
            encoded[shoot.place] = replace(shoot, order=order)
        return [encoded.get(shoot.place, shoot) for shoot in shoots]

    def _advanced(self, shoot: _Shoot, phase: Phase) -> _Shoot:
        """The shoot after a phase; its latents rest on disk until its clip is kept."""
        if shoot.steps >= phase.last:
            return shoot
        order = shoot.order
        if shoot.latents is not None:
            order = replace(order, latents=shoot.latents)
        self._report(shoot, phase.first)
        self._use(shoot, phase.name)
        latents = sampled(order, phase, self.settings, partial(self._report, shoot))
        shoot.job.halfway.write({"latents": latents, "steps": torch.tensor(phase.last)})
        is_last = phase.last == self.settings.steps
        return replace(
            shoot, steps=phase.last, latents=latents, order=None if is_last else shoot.order
        )

    def _report(self, shoot: _Shoot, done: int) -> None:
        self.on_step(shoot.shot, done, self.settings.steps)

    def _user(self, shoot: _Shoot) -> Callable[[str], None]:
        return partial(self._use, shoot)

    def _use(self, shoot: _Shoot, network: str) -> None:
        self.moves.take(shoot.place, network, self.networks.num_bytes(network))


def _free_ram() -> int:
    return model_management.get_free_memory(torch.device("cpu"))
