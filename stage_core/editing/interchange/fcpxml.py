"""The cut as FCPXML, which Final Cut Pro and DaVinci Resolve open."""

from __future__ import annotations

from fractions import Fraction
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from ..sound import SAMPLE_RATE
from .cut import Cut, Part, SoundFile, Source, one_line, url
from .timecode import EDITING_RATES, drops

VERSION = "1.10"
_HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE fcpxml>\n\n'
_FORMAT, _DISSOLVE = "r1", "r2"
# The identifier of Final Cut Pro's own Cross Dissolve.
_DISSOLVE_UID = "FxPlug:4731E73A-8DAC-4113-9A30-AE85B1761265"
_BT709 = "1-1-1 (Rec. 709)"


def fcpxml(cut: Cut) -> str:
    """The text of an .fcpxml file; media are named relative to it.

    Times are whole frames, as fractions of a second. A plain colour is a gap, which is black.

    Raises:
        ValueError: a rate at which Final Cut Pro has no projects.

    Source: Apple, FCPXML Reference, version 1.10.
    """
    if cut.rate not in EDITING_RATES:
        raise ValueError(f"Final Cut Pro has no projects of {float(cut.rate):g} frames per second")
    return _HEAD + _Document(cut).text()


class _Document:
    """Builds the tree of one cut."""

    def __init__(self, cut: Cut):
        self.cut = cut
        self.root = Element("fcpxml", version=VERSION)
        self.resources = SubElement(self.root, "resources")
        self.assets: dict[str, str] = {}

    def text(self) -> str:
        cut, title = self.cut, one_line(self.cut.title)
        size = {"width": str(cut.width), "height": str(cut.height), "colorSpace": _BT709}
        frame = {"frameDuration": f"{1 / cut.rate}s"}
        SubElement(self.resources, "format", {"id": _FORMAT, **frame, **size})
        if any(part.join for part in cut.parts):
            names = {"name": "Cross Dissolve", "uid": _DISSOLVE_UID}
            SubElement(self.resources, "effect", {"id": _DISSOLVE, **names})
        event = SubElement(SubElement(self.root, "library"), "event", name=title)
        sequence = SubElement(
            SubElement(event, "project", name=title),
            "sequence",
            format=_FORMAT,
            duration=self._seconds(cut.num_frames),
            tcStart="0s",
            tcFormat="DF" if drops(cut.rate) else "NDF",
            audioLayout="stereo",
            audioRate="48k",
        )
        self._fill(SubElement(sequence, "spine"))
        indent(self.root, " ")
        return tostring(self.root, encoding="unicode") + "\n"

    def _fill(self, spine: Element) -> None:
        for part, first in zip(self.cut.parts, self.cut.firsts, strict=True):
            if part.join:
                self._add_dissolve(spine, first - part.before, part.join)
            place = {"offset": self._seconds(first), "duration": self._seconds(part.num_frames)}
            item = self._add_part(spine, part, place)
            for lane, sound in enumerate(self.cut.sounds, 1):
                if first <= sound.first < first + part.num_frames:
                    start = part.source.first + part.source_in if part.source else 0
                    self._add_sound(item, sound, -lane, start + sound.first - first)
            # The schema has markers after everything that is connected to a clip.
            if part.source is not None and part.source.note:
                where = {"start": item.get("start"), "duration": self._seconds(1)}
                SubElement(item, "marker", {**where, "value": one_line(part.source.note)})

    def _add_dissolve(self, spine: Element, first: int, num_frames: int) -> None:
        place = {"offset": self._seconds(first), "duration": self._seconds(num_frames)}
        transition = SubElement(spine, "transition", {"name": "Cross Dissolve", **place})
        SubElement(transition, "filter-video", ref=_DISSOLVE, name="Cross Dissolve")

    def _add_part(self, spine: Element, part: Part, place: dict[str, str]) -> Element:
        if part.source is None:
            return SubElement(spine, "gap", {"name": "Gap", **place, "start": "0s"})
        source = part.source
        start = self._seconds(source.first + part.source_in)
        names = {"ref": self._picture(source), "name": one_line(source.name)}
        counting = {"format": _FORMAT, "tcFormat": "DF" if drops(self.cut.rate) else "NDF"}
        return SubElement(spine, "asset-clip", {**names, **place, "start": start, **counting})

    def _add_sound(self, item: Element, sound: SoundFile, lane: int, offset: int) -> None:
        length = {"duration": self._seconds(sound.num_frames), "start": "0s"}
        place = {"lane": str(lane), "offset": self._seconds(offset), **length}
        names = {"ref": self._audio(sound), "name": one_line(sound.name)}
        SubElement(item, "asset-clip", {**names, **place, "audioRole": sound.role})

    def _picture(self, source: Source) -> str:
        length = {"start": "0s", "duration": self._seconds(source.first + source.num_frames)}
        kind = {"hasVideo": "1", "format": _FORMAT, "videoSources": "1"}
        return self._asset(source.file, source.name, {**length, **kind})

    def _audio(self, sound: SoundFile) -> str:
        length = {"start": "0s", "duration": self._seconds(sound.num_frames)}
        kind = {"hasAudio": "1", "audioSources": "1", "audioRate": str(SAMPLE_RATE)}
        kind["audioChannels"] = str(sound.num_channels)
        return self._asset(sound.file, sound.name, {**length, **kind})

    def _asset(self, file: str, name: str, fields: dict[str, str]) -> str:
        """The id of the asset of a file, which is listed once however often it is used."""
        if file not in self.assets:
            self.assets[file] = f"r{len(self.assets) + 3}"
            names = {"id": self.assets[file], "name": one_line(name)}
            asset = SubElement(self.resources, "asset", {**names, **fields})
            SubElement(asset, "media-rep", kind="original-media", src=f"./{url(file)}")
        return self.assets[file]

    def _seconds(self, frames: int) -> str:
        return f"{Fraction(frames) / self.cut.rate}s"
