"""Edit lists as other programs read them: what plays when, which dissolves over what."""

import io
import re
from fractions import Fraction
from xml.etree import ElementTree

import av
import pytest
import torch

from stage_core.editing.interchange.timecode import one_hour

opentimelineio = pytest.importorskip("opentimelineio")
pycmx = pytest.importorskip("pycmx")

# What plays is a list of [first frame, end, frames of the dissolve into it, shot, source in];
# what is plain colour has the shot None. A name of a clip or a reel says which shot it is.


def last_figure(name):
    return int(name[-1])


def read_by_opentimelineio(text, shot_of=last_figure):
    """What plays when, as opentimelineio reads it."""
    timeline = opentimelineio.adapters.read_from_string(text, "otio_json")
    (track,) = timeline.video_tracks()
    items, join = [], (0, 0)
    for child in track:
        if isinstance(child, opentimelineio.schema.Transition):
            join = child.in_offset.value, child.out_offset.value
            continue
        place, (before, after) = child.range_in_parent(), join
        first, end = place.start_time.value, place.end_time_exclusive().value
        items.append([first - before, end, before + after, *_source(child, before, shot_of)])
        if len(items) > 1:
            items[-2][1] += after
        join = (0, 0)
    return [_counted(item) for item in items]


def _source(child, before, shot_of):
    if isinstance(child, opentimelineio.schema.Gap):
        return None, 0
    available = child.media_reference.available_range
    needed = child.source_range.start_time.value - before
    assert available.start_time.value <= needed
    assert child.source_range.end_time_exclusive() <= available.end_time_exclusive()
    return shot_of(child.name), needed


def frame_of(code, rate):
    return opentimelineio.opentime.RationalTime.from_timecode(code, float(rate)).to_frames()


def read_by_pycmx(texts, rate, shot_of=last_figure):
    """What plays when, as pycmx reads it and opentimelineio counts its timecodes."""
    items = []
    for text in texts:
        for event in pycmx.parse_cmx3600(io.StringIO(text)).events:
            edit = event.edits[-1]
            if not edit.channels.video:
                continue
            first, end = (
                frame_of(code, rate) - one_hour(rate) for code in (edit.record_in, edit.record_out)
            )
            source_in, source_out = (frame_of(c, rate) for c in (edit.source_in, edit.source_out))
            assert source_in >= 0 and source_out - source_in == end - first
            join = edit.transition.effect_duration if edit.transition.dissolve else 0
            if join:
                # An event ends where the next begins; its dissolve plays on under that.
                items[-1][1] += join
                (left, _) = event.edits
                leaves = items[-1][4] + first - items[-1][0]
                assert left.black or frame_of(left.source_in, rate) == leaves
            shot = None if edit.black else shot_of(edit.source)
            items.append([first, end, join, shot, source_in])
    return items


def read_fcpxml(text, shot_of=last_figure):
    """What plays when, as the FCPXML Reference defines it."""
    root = ElementTree.fromstring(text)
    rate = 1 / seconds(root.find("resources/format").get("frameDuration"))
    spine, items, join = root.find(".//spine"), [], None
    place = 0
    for child in spine:
        first, length = (seconds(child.get(name)) * rate for name in ("offset", "duration"))
        assert first.denominator == length.denominator == 1
        if child.tag == "transition":
            join = first, length
            continue
        assert first == place
        place += length
        begin, frames = join if join else (first, 0)
        if join:
            items[-1][1] = begin + frames
        shot, source_in = None, 0
        if child.tag == "asset-clip":
            shot = shot_of(child.get("name"))
            source_in = seconds(child.get("start")) * rate - (first - begin)
        items.append([begin, first + length, frames, shot, source_in])
        join = None
    return [_counted(item) for item in items]


def _counted(item):
    first, end, join, shot, source_in = item
    return [int(first), int(end), int(join), shot, int(source_in)]


def seconds(text):
    assert text.endswith("s")
    return Fraction(text[:-1])


def shot_and_take(name):
    """The shot of a clip `Well 2A t01` or a reel `2A_T01`."""
    return re.search(r"([^\W_]+)[ _][tT]\d+$", name)[1]


def frames_of(path):
    """The frames of a film's file, [H, W, 3] float, one after the other."""
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            yield torch.from_numpy(frame.to_ndarray(format="rgb24")).float()


def agreed_cut(film, folder):
    """What plays when in a film and in its hand-over with a file per shot, all of which must agree.

    The three lists say the same, and what they say, played from the media files, is the film
    frame for frame.
    """
    (otio,), (fcpxml,) = folder.glob("*.otio"), folder.glob("*.fcpxml")
    cut = read_by_opentimelineio(otio.read_text("utf-8"), shot_and_take)
    rate = opentimelineio.adapters.read_from_file(str(otio)).duration().rate
    edls = [path.read_text("utf-8") for path in sorted(folder.glob("*.edl"))]
    assert cut == read_by_pycmx(edls, Fraction(rate).limit_denominator(1001), shot_and_take)
    assert cut == read_fcpxml(fcpxml.read_text("utf-8"), shot_and_take)
    media = {shot_and_take(path.stem): list(frames_of(path)) for path in folder.glob("*.mov")}
    shown = list(frames_of(film))
    assert len(shown) == cut[-1][1] and [item[0] for item in cut] == sorted(i[0] for i in cut)
    expected = {}
    for first, end, join, shot, source_in in cut:
        for place in range(first, end):
            own = media[shot][source_in + place - first]
            weight = min(1, (place - first + 1) / (join + 1))
            own = own * weight + expected[place] * (1 - weight) if weight < 1 else own
            expected[place] = own
    # Both were encoded with loss; another shot's frame would be tens of levels away.
    far = [(shown[place] - frame).abs().mean() for place, frame in sorted(expected.items())]
    assert len(far) == len(shown) and max(far) < 6
    return cut
