"""What is done to filmed clips on their way into the film, one by one and as they play."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from torch import Tensor

from ..media import playing
from ..story.frames import FramePair, Picture
from ..story.shot_list import FrameFormat
from ..story.storyboard import Storyboard
from ..story.timeline import Clip, Frames
from .colour import ColourFit, fit_colours, mean_error
from .conform import Between, conform, cover

# An end that differs more from its drawn frame shows something else: many models read no end. By
# the contrast of the picture, since all frames of a dark scene are near each other in levels.
_SAME_PICTURE = 0.25
_SAME_LEVELS = 4.0


@dataclass(frozen=True, eq=False)
class Finish:
    """How filmed clips are finished.

    `upscale` makes a frame [H, W, 3] uint8 larger, `between` the frames that a clip at a lower
    rate has not. `match_colours` brings a clip to the colours of its drawn frames. `on_note` is
    called with what was found, in words, while the clip plays.
    """

    upscale: Callable[[Tensor], Tensor] | None = None
    between: Between | None = None
    match_colours: bool = False
    on_note: Callable[[str], None] | None = None


def finish(board: Storyboard, how: Finish) -> Storyboard:
    """The board with every filmed clip as the film shows it, made as it plays.

    A clip is upscaled, interpolated to the film's rate, cropped to its size and matched in
    colour, never across a cut. Its first and last frame are the drawn ones wherever it begins
    and ends with them.
    """
    film = board.shot_list.frame_format
    for shot in board.shot_list.shots:
        clip, pair = board.clips.get(shot.id), board.pair(shot.id)
        if clip is None:
            continue
        made = clip
        if how.upscale is not None:
            made = replace(clip, frames=_Upscaled(clip.frames, how.upscale))
        # A clip at the film's rate or above has every frame that the film shows.
        made = conform(made, shot.num_frames, film, how.between if clip.rate < film.rate else None)
        if how.match_colours:
            made = replace(made, frames=_Matched(made, clip, pair, film, how))
        board = board.with_clip(replace(made, frames=_Pinned(made, pair, film, how)))
    return board


@dataclass(frozen=True, eq=False)
class _Upscaled(Frames):
    frames: Frames
    upscale: Callable[[Tensor], Tensor]

    def __len__(self) -> int:
        return len(self.frames)

    def __iter__(self) -> Iterator[Tensor]:
        with playing(self.frames) as frames:
            for frame in frames:
                yield self.upscale(frame)


@dataclass(frozen=True, eq=False)
class _Matched(Frames):
    """A conformed clip in the colours of its pair, as far as `own`, unconformed, shows it."""

    clip: Clip
    own: Clip
    pair: FramePair
    film: FrameFormat
    how: Finish

    def __len__(self) -> int:
        return len(self.clip.frames)

    def __iter__(self) -> Iterator[Tensor]:
        fits = [fit for fit in self._fits() if fit is not None]
        self._note(fits)
        last = len(self) - 1
        with playing(self.clip.frames) as frames:
            for index, frame in enumerate(frames):
                if fits:
                    fit = fits[0].between(fits[-1], index / last if last else 0)
                    frame = fit.applied(frame)
                yield frame

    def _fits(self) -> Iterator[ColourFit | None]:
        first = last = None
        with playing(self.own.frames) as frames:
            for frame in frames:
                first, last = frame if first is None else first, frame
        for frame, drawn in ((first, self.pair.start), (last, self.pair.end)):
            if drawn is not None:
                yield fit_colours(*(_at_size(it, self.film) for it in (frame, drawn.image)))

    def _note(self, fits: list[ColourFit]) -> None:
        if not fits:
            _say(self.how, f"shot {self.clip.shot_id}: no end is like its drawn frame to match")
            return
        before = sum(fit.error_before for fit in fits) / len(fits)
        after = sum(fit.error_after for fit in fits) / len(fits)
        _say(
            self.how,
            f"shot {self.clip.shot_id}: colours {before:.1f} levels from the drawn frames before, "
            f"{after:.1f} after matching",
        )


@dataclass(frozen=True, eq=False)
class _Pinned(Frames):
    """A conformed clip whose first and last frame are the drawn ones where it agrees with them."""

    clip: Clip
    pair: FramePair
    film: FrameFormat
    how: Finish

    def __len__(self) -> int:
        return len(self.clip.frames)

    def __iter__(self) -> Iterator[Tensor]:
        ends = {0: ("begins", "start", self.pair.start)}
        ends[len(self) - 1] = ("ends", "end", self.pair.end)
        with playing(self.clip.frames) as frames:
            for index, frame in enumerate(frames):
                yield self._pinned(frame, *ends[index]) if index in ends else frame

    def _pinned(self, frame: Tensor, verb: str, half: str, drawn: Picture | None) -> Tensor:
        if drawn is None:
            return frame
        picture = _at_size(drawn.image, self.film)
        error = mean_error(frame, picture)
        if error <= max(_SAME_LEVELS, _SAME_PICTURE * float(picture.float().std())):
            return picture
        _say(
            self.how,
            f"shot {self.clip.shot_id} {verb} {error:.0f} levels from its drawn {half} frame and "
            "is shown as filmed",
        )
        return frame


def _at_size(picture: Tensor, film: FrameFormat) -> Tensor:
    return cover(picture, film.width, film.height)


def _say(how: Finish, text: str) -> None:
    if how.on_note is not None:
        how.on_note(text)
