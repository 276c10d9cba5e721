"""Wan: films a shot between its keyframes, by one transformer or by two that share the noise.

The parts take turns on the device, so a film is made in phases: words and pictures of all shots,
the first expert for all, the second for all, then one clip after another. Every phase rests with
the shot, so that what stops a film costs one phase of one shot.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor, nn

from ..diffusion.flow import Velocity
from ..diffusion.sampling import SamplerState, sample
from ..encoding.dual import Once, fitted
from ..encoding.video_prompts import video_negative, video_prompt
from ..models.wan import Wan
from ..offload.placed import Placement
from ..story.brief import ShotBrief, references_of
from ..story.frames import Keyframe, Picture, as_pixels
from ..story.timeline import Clip
from .protocol import FilmJob, Nowhere, OnStep, Sampling, filming_seed, within_room
from .wan_conditions import Between, Condition, Conditioning, HeldStart, Led, Length
from .wan_files import WanFiles
from .wan_keyframes import MOST_REFERENCES, checked_length, meetings
from .wan_networks import DEFAULTS, WanNetworks, WanSettings, WanSource, open_networks
from .wan_report import FilmReport
from .wan_sampling import (
    FEW_STEPS,
    Prompts,
    WanOrder,
    WanSampling,
    own_sampling,
    rehearsal,
    velocity,
    with_start,
)
from .wan_turns import Part, Turns, num_bytes

_KEPT_CONDITIONS = 16
_LESS_ROOM = (
    "while filming; clips that were filmed are kept, and a smaller size, shorter shots or weights "
    "that stream need less"
)

_log = logging.getLogger(__name__)


@dataclass(eq=False)
class _Take:
    """One shot on its way: what it is to become, and how far it is.

    `images` are the keyframes' pixels in the clip's size, by the frame of the clip. `part`: of the
    small networks the one that worked for it last.
    """

    job: FilmJob
    length: Length
    placed: dict[int, Keyframe]
    images: dict[int, Tensor]
    references: list[Picture]
    state: SamplerState
    words: tuple[str, str]
    order: WanOrder | None = None
    part: nn.Module | None = None


@dataclass(frozen=True, eq=False)
class _Phase:
    """The steps that one expert makes, until so many are done."""

    expert: Wan
    guidance: float
    until: int


class WanShots:
    """Films with the networks of a source, loaded when they film first.

    `report` tells of the last film.
    """

    def __init__(
        self,
        source: WanSource,
        sampling: WanSampling | None = None,
        settings: WanSettings = DEFAULTS,
    ):
        self.source = source
        self.sampling = own_sampling(source) if sampling is None else sampling
        kind = Led if source.led else HeldStart if source.holds_start else Between
        self._kind: Conditioning = kind()
        self.reads, self.grid = self._kind.reads, self.sampling.grid
        sampled = hashlib.sha256(repr(self.sampling).encode()).hexdigest()
        self.identity = f"wan-{source.identity[:16]}-{sampled[:8]}"
        self.report = FilmReport()
        self._settings, self._device = settings, settings.offload.device
        self._turns = Turns(self._device, settings.reserve)
        self._conditions: Once[Condition] = Once(_KEPT_CONDITIONS)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What there is to say of the last film, nothing before the first."""
        return self.report.remarks if self.report.seconds else ()

    @cached_property
    def networks(self) -> WanNetworks:
        """The networks, loaded now if they are not.

        Raises:
            ValueError: a file is of another model, by name.
        """
        return self.source.load()

    def film(
        self,
        brief: ShotBrief,
        keyframes: tuple[Keyframe, ...],
        sampling: Sampling,
        on_step: OnStep,
    ) -> Clip:
        """The clip; see `film_many`."""
        (clip,) = self.film_many([FilmJob(brief, keyframes, Nowhere())], sampling, on_step)
        return clip

    @torch.no_grad()
    def film_many(
        self, jobs: Sequence[FilmJob], sampling: Sampling, on_step: OnStep
    ) -> Iterator[Clip]:
        """The clips in order; their ends are the keyframes themselves, where they were given.

        Raises:
            ValueError: too long a shot, or a keyframe that the model does not film towards;
                before a network is loaded.
            MemoryError: RAM or VRAM does not suffice.
        """
        settings = self.sampling.overridden(sampling)
        if not jobs:
            return
        for job in jobs:
            checked_length(job.brief, self.grid, settings.longest)
            self._kind.placed(job.brief, job.keyframes, self.grid)
        self.report = FilmReport()
        with self._room(*jobs), self._turns:
            takes = [self._take(job, sampling) for job in jobs]
            yield from self._filmed(takes, settings, on_step)

    def _room(self, *jobs: FilmJob) -> AbstractContextManager[None]:
        return within_room([job.brief.shot for job in jobs], self._device, _LESS_ROOM)

    def _filmed(self, takes: list[_Take], settings: WanSampling, on_step: OnStep) -> Iterator[Clip]:
        report = self.report
        with report.timed("encode"):
            self._encode([take for take in takes if take.state.done < settings.steps])
        with report.timed("experts"):
            for phase in self._phases(settings):
                waiting = [take for take in takes if take.state.done < phase.until]
                if waiting:
                    self._make(phase, waiting, settings, on_step)
        for take in takes:
            with report.timed("decode"), self._room(take.job):
                clip = self._decoded(take)
            yield clip

    def _take(self, job: FilmJob, sampling: Sampling) -> _Take:
        brief, shot = job.brief, job.brief.shot
        num_frames = self.grid.num_frames(shot, brief.frame_format)
        length = Length(num_frames, *self.grid.size(brief.frame_format))
        placed = self._kind.placed(brief, job.keyframes, self.grid)
        images = {i: fitted(k.image, length.width, length.height) for i, k in placed.items()}
        references = self._references(brief)
        rested = job.halfway.read()
        if rested is None:
            state = SamplerState(self._noise(length, len(references), filming_seed(shot, sampling)))
        else:
            state = SamplerState.of(rested)
        words = video_prompt(brief), video_negative(brief)
        return _Take(job, length, placed, images, references, state, words)

    def _references(self, brief: ShotBrief) -> list[Picture]:
        """Pictures of the shot's cast, for a model that reads them."""
        if "memory" not in self.reads:
            return []
        return list(references_of(brief)[:MOST_REFERENCES])

    def _noise(self, length: Length, references: int, seed: int) -> Tensor:
        vae = self.networks.vae
        times = length.times + references
        shape = 1, vae.channels, times, length.height // vae.side, length.width // vae.side
        return torch.randn(shape, generator=torch.Generator().manual_seed(seed))

    def _phases(self, settings: WanSampling) -> list[_Phase]:
        networks, (high, low) = self.networks, settings.guidance
        if networks.low is None:
            return [_Phase(networks.high, high, settings.steps)]
        first = _Phase(networks.high, high, settings.switch_at())
        return [first, _Phase(networks.low, low, settings.steps)]

    def _encode(self, takes: list[_Take]) -> None:
        """Orders for all takes: one encoder after the other, each text and picture once."""
        words = self._words(takes)
        sights = [self._sights(take) for take in takes]
        # Takes of one shot follow each other here, however many shots are between them.
        several = sorted(zip(takes, words, sights, strict=True), key=lambda it: _shown(it[0]))
        for take, read, seen in several:
            shape = tuple(take.state.latents.shape)
            take.order = WanOrder(shape, read, seen, self._condition(take))

    def _words(self, takes: list[_Take]) -> list[tuple[Tensor, ...]]:
        """What the text encoder reads in the words of all takes."""
        text = self.networks.text
        new = [take for take in takes if not all(map(text.has, take.words))]
        if not new:
            return [tuple(map(text.encode, take.words)) for take in takes]
        part = Part("text encoder", text.network, text.network.block, text.rehearse)
        with self._placed(part, len(new)):
            return [tuple(map(text.encode, take.words)) for take in takes]

    def _sights(self, take: _Take) -> Tensor | None:
        """What the image encoder sees in the keyframes, in their order, [1, P, D]."""
        sight = self.networks.sight
        if sight is None or not take.images:
            return None
        seen = []
        for index, image in sorted(take.images.items()):
            key = f"{take.placed[index].picture.digest} {take.length.width}x{take.length.height}"
            if not sight.has(key):
                self._turn(take, sight.network)
            seen.append(sight.see(key, image))
        return torch.cat(seen, dim=1)

    def _condition(self, take: _Take) -> Condition:
        def encode() -> Condition:
            self._turn(take, self.networks.vae.network)
            shown = [picture.image for picture in take.references]
            return self._kind.condition(self.networks.vae, take.images, shown, take.length)

        return self._conditions.get(_shown(take), encode)

    def _make(
        self, phase: _Phase, takes: list[_Take], settings: WanSampling, on_step: OnStep
    ) -> None:
        """A phase of all takes that have not made it yet."""
        expert = phase.expert
        largest = max(takes, key=lambda take: take.state.latents.numel()).order
        rehearse = rehearsal(expert, largest, phase.guidance)
        name = "transformer for low noise" if expert is self.networks.low else "transformer"
        part = Part(name, expert, expert.visited, rehearse)
        prompts = Prompts(expert)
        with self._placed(part, len(takes)) as placement:
            for take in takes:
                with self._room(take.job):
                    predict = velocity(expert, take.order, settings, prompts, phase.guidance)
                    self._denoise(take, phase.until, predict, placement, settings, on_step)

    @contextmanager
    def _placed(self, part: Part, shots: int) -> Iterator[Placement]:
        """A large part in place for so many shots; what that costs is noted."""
        self._turns.leave()
        with part.placed(self._settings.offload, self._settings.reserve) as placement:
            yield placement
        self.report.places[part.name] = placement.report(part.name)
        _log.info("%s", self.report.places[part.name])
        moved, by_shot = part.moved_bytes(placement, shots)
        self.report.moved_bytes += moved
        self.report.moved_bytes_by_shot += by_shot

    def _denoise(
        self,
        take: _Take,
        until: int,
        predict: Velocity,
        placement: Placement,
        settings: WanSampling,
        on_step: OnStep,
    ) -> None:
        """Steps of a take, from where it is, until so many are done."""
        shot, levels, state = take.job.brief.shot, settings.levels(), take.state.to(self._device)

        def predicted(latents: Tensor, sigma: float) -> Tensor:
            return placement.attempt(lambda: predict(latents, sigma))

        while state.done < until:
            state = sample(settings.step, predicted, state, levels, state.done + 1)
            on_step(shot, state.done, settings.steps)
        if state.done == settings.steps:
            state = SamplerState(with_start(state.latents, take.order.condition), state.done)
        take.part, take.state = None, state.to("cpu")
        take.job.halfway.write(take.state.tensors())

    def _decoded(self, take: _Take) -> Clip:
        vae, shot = self.networks.vae, take.job.brief.shot
        self._turn(take, vae.network)
        before = vae.num_tiled
        pixels = vae.decode(take.state.latents[:, :, len(take.references) :].to(self._device))
        if vae.num_tiled > before:
            self.report.tiled.append(shot.id)
        frames = torch.stack([as_pixels(frame) for frame in pixels])
        self.report.meetings += meetings(shot, take.placed, frames, take.images)
        # Only the frames at the cuts: a picture between frames that miss it would be a flash.
        for index in {0, take.length.num_frames - 1} & take.placed.keys():
            frames[index] = take.images[index]
        return Clip(shot.id, frames, self.grid.rate)

    def _turn(self, take: _Take, part: nn.Module) -> None:
        """Make it a part's turn, and note what that costs, and would cost shot by shot."""
        moved, length = num_bytes(part), take.length
        # Of the parts that take turns the VAE needs most.
        work = self.networks.vae.work_bytes(length.num_frames, length.width, length.height)
        if take.part is not part:
            take.part = part
            self.report.moved_bytes_by_shot += moved
        if self._turns.take(part, work):
            self.report.moved_bytes += moved


def load_wan(
    files: WanFiles, settings: WanSettings = DEFAULTS, sampling: WanSampling | None = None
) -> WanShots:
    """The shot model of these files, sampled as the authors do unless told otherwise; not loaded.

    With an adapter for few steps, as its name tells, the steps are those few.

    Raises:
        MissingPackageError: diffusers or transformers is not installed; nothing is read then.
        ValueError: a file is missing, cut short or of another model; the message names it.
    """
    source = open_networks(files, settings)
    own = own_sampling(source) if sampling is None else sampling
    own = own if files.boundary is None else replace(own, boundary=files.boundary)
    if sampling is None and files.needs_few_steps:
        own = replace(own, **FEW_STEPS)
        _log.warning("adapters for few steps: filmed in %d, without guidance", own.steps)
    return WanShots(source, own, settings)


def _shown(take: _Take) -> tuple:
    """What a take is conditioned on, by content."""
    places = tuple(sorted((i, k.picture.digest) for i, k in take.placed.items()))
    return places, tuple(picture.digest for picture in take.references), take.length
