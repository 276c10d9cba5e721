"""The film, frame by frame."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator

from torch import Tensor

from ..media import playing
from ..story.cinematography import Transition, TransitionKind
from ..story.timeline import Clip, Timeline, overlap
from .transitions import dissolve, fade_in, fade_out


def render(timeline: Timeline) -> Iterator[Tensor]:
    """The frames of the film in order, [H, W, 3] uint8, exactly `timeline.num_frames`.

    A clip is opened when the film reaches it and closed after its last frame; no more frames
    are held than one dissolve has.

    Raises:
        ValueError: while it plays, a clip that is not as long as it says.
    """
    held: deque[Tensor] = deque()
    for index, clip in enumerate(timeline.clips):
        into, out = timeline.transitions[index : index + 2]
        held = yield from _play(clip, into, out, held)


def _play(
    clip: Clip, into: Transition, out: Transition, before: deque[Tensor]
) -> Generator[Tensor, None, deque[Tensor]]:
    """Plays one clip, the frames `before` dissolving into it.

    Returns:
        Its last frames, not played yet, that dissolve into the next clip.
    """
    num_frames, count = len(clip.frames), 0
    held: deque[Tensor] = deque()
    with playing(clip.frames) as frames:
        for count, frame in enumerate(frames, 1):
            index, to_end = count - 1, num_frames - count
            if index < into.num_frames and into.kind is TransitionKind.FADE:
                frame = fade_in(frame, into.colour, index, into.num_frames)
            elif index < overlap(into):
                frame = dissolve(before.popleft(), frame, index, into.num_frames)
            elif to_end < out.num_frames and out.kind is TransitionKind.FADE:
                gone = out.num_frames - 1 - to_end
                frame = fade_out(frame, out.colour, gone, out.num_frames)
            if to_end < overlap(out):
                held.append(frame)
            else:
                yield frame
    if count != num_frames:
        raise ValueError(f"shot {clip.shot_id}: its clip gave {count} of {num_frames} frames")
    return held
