"""The cut as a CMX 3600 edit decision list."""

from __future__ import annotations

from .cut import Cut, Part, SoundFile, one_line
from .timecode import EDITING_RATES, drops, one_hour, timecode

MAX_EVENTS = 999
_MAX_DISSOLVE = 255
_BLACK = "BL"


def edl(cut: Cut) -> tuple[str, ...]:
    """The texts of as many .edl files as it takes: an event number has three digits.

    The film begins at 01:00:00:00. A dissolve is an event of two lines that begins with its
    first mixed frame. Names, files and markers stand in remarks, in UTF-8.

    Raises:
        ValueError: a rate that timecode does not know, or a dissolve that has no number.
    """
    if cut.rate not in EDITING_RATES:
        known = ", ".join(f"{float(rate):.5g}" for rate in EDITING_RATES)
        raise ValueError(f"{float(cut.rate):g} frames per second have no timecode; use {known}")
    list_of = _List(cut)
    events = [list_of.picture(index) for index in range(len(cut.parts))]
    events += [list_of.sound(sound) for sound in cut.sounds]
    files = [events[i : i + MAX_EVENTS] for i in range(0, len(events), MAX_EVENTS)]
    return tuple(_file(cut, place, len(files), file) for place, file in enumerate(files, 1))


def _file(cut: Cut, place: int, of: int, events: list[list[str]]) -> str:
    title = one_line(cut.title) + (f" {place} of {of}" if of > 1 else "")
    counting = "DROP FRAME" if drops(cut.rate) else "NON-DROP FRAME"
    lines = [f"TITLE: {title}", f"FCM: {counting}"]
    for number, event in enumerate(events, 1):
        # A line that begins with the place of the number is an edit, the others are remarks.
        lines += [f"{number:03}{line}" if line.startswith("  ") else line for line in event]
    return "\n".join(lines) + "\n"


class _List:
    """Writes the events of one cut, without their numbers."""

    def __init__(self, cut: Cut):
        self.cut, self.firsts = cut, (*cut.firsts, cut.num_frames)
        self.hour = one_hour(cut.rate)

    def picture(self, index: int) -> list[str]:
        """The event of a part, from the first frame of the dissolve into it."""
        part = self.cut.parts[index]
        following = self.cut.parts[index + 1 : index + 2]
        first = self.firsts[index] - part.before
        end = self.firsts[index + 1] - (following[0].before if following else 0)
        source_in = _source_in(part, part.before)
        if not part.join:
            line = self._edit(part, "C", "", (source_in, first, end - first))
            return [line, *_remarks("FROM", part), *self._marker(part, index)]
        if part.join > _MAX_DISSOLVE:
            raise ValueError(
                f"a dissolve of {part.join} frames into {_name(part)}; an EDL knows at most "
                f"{_MAX_DISSOLVE}, use OTIO or FCPXML"
            )
        before = self.cut.parts[index - 1]
        left_at = _source_in(before, self.firsts[index - 1] - first)
        return [
            self._edit(before, "C", "", (left_at, first, 0)),
            self._edit(part, "D", f"{part.join:03}", (source_in, first, end - first)),
            *_remarks("FROM", before),
            *_remarks("TO", part),
            *self._marker(part, index),
        ]

    def sound(self, sound: SoundFile) -> list[str]:
        """The event of a file of sound."""
        channels = "A" if sound.num_channels == 1 else "AA"
        times = self._times(0, sound.first, sound.num_frames)
        return [
            f"  {sound.reel:<8} {channels:<4}  C        {times}",
            f"* FROM CLIP NAME: {one_line(sound.name)}",
            f"* SOURCE FILE: {sound.file}",
        ]

    def _edit(self, part: Part, kind: str, length: str, place: tuple[int, int, int]) -> str:
        reel = part.source.reel if part.source else _BLACK
        return f"  {reel:<8} V     {kind:<4} {length:<3} {self._times(*place)}"

    def _times(self, source_in: int, first: int, num_frames: int) -> str:
        record_in = self.hour + first
        frames = (source_in, source_in + num_frames, record_in, record_in + num_frames)
        return " ".join(timecode(frame, self.cut.rate) for frame in frames)

    def _marker(self, part: Part, index: int) -> list[str]:
        if part.source is None:
            return [] if part.colour == "black" else [f"* COMMENT: {part.colour}"]
        place = timecode(self.hour + self.firsts[index], self.cut.rate)
        return [f"* LOC: {place} GREEN   {one_line(part.source.note)}"] if part.source.note else []


def _remarks(direction: str, part: Part) -> list[str]:
    name = [f"* {direction} CLIP NAME: {_name(part)}"]
    return [*name, f"* SOURCE FILE: {part.source.file}"] if part.source else name


def _name(part: Part) -> str:
    return one_line(part.source.name) if part.source else part.colour


def _source_in(part: Part, earlier: int) -> int:
    """The frame of its file that a part shows so many frames before the part begins."""
    return part.source.first + part.source_in - earlier if part.source else 0
