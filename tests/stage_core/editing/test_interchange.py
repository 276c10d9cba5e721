"""Edit lists: what other programs read in them is the film that we render, frame for frame."""

import io
from fractions import Fraction
from xml.etree import ElementTree

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stage_core.editing.interchange.cut import Cut, SoundFile, Source, at_rate, parts_of, reels
from stage_core.editing.interchange.edl import edl
from stage_core.editing.interchange.fcpxml import fcpxml
from stage_core.editing.interchange.otio import otio
from stage_core.editing.interchange.timecode import (
    EDITING_RATES,
    editing_rate,
    timecode,
)
from stage_core.editing.render import render
from stage_core.story.cinematography import CUT, Transition, TransitionKind
from stage_core.story.shot_list import FrameFormat, Shot, ShotList
from stage_core.story.timeline import Clip, Timeline

from .lists import read_by_opentimelineio, read_by_pycmx, read_fcpxml, seconds

opentimelineio = pytest.importorskip("opentimelineio")
pycmx = pytest.importorskip("pycmx")

NTSC_30 = Fraction(30_000, 1001)


def level(shot, frame):
    """The brightness of a frame: no two of a film's are alike."""
    return 10 + 40 * shot + frame


def film(lengths, transitions, rate=Fraction(24)):
    """A film of flat frames, and its cut."""
    clips = []
    for shot, length in enumerate(lengths):
        levels = torch.tensor([level(shot, frame) for frame in range(length)], dtype=torch.uint8)
        clips.append(Clip(str(shot), levels[:, None, None, None].expand(-1, 2, 2, 3), rate))
    timeline = Timeline(rate, tuple(clips), tuple(transitions))
    names = [f"Two Doors {shot}" for shot in range(len(lengths))]
    sources = [
        Source(name, f"{name}.mov", reel, length, note=f"shot {reel}")
        for name, reel, length in zip(names, reels([n[-1] for n in names]), lengths, strict=True)
    ]
    return timeline, Cut("Two Doors", rate, 64, 48, parts_of(timeline, sources))


@st.composite
def films(draw, rates=EDITING_RATES):
    count, rate = draw(st.integers(1, 4)), draw(st.sampled_from(rates))
    kinds = [draw(st.sampled_from(TransitionKind)) for _ in range(count + 1)]
    if TransitionKind.DISSOLVE in (kinds[0], kinds[-1]):
        kinds[0] = kinds[-1] = TransitionKind.FADE
    edges = [
        CUT if kind is TransitionKind.CUT else Transition(kind, draw(st.integers(1, 5)))
        for kind in kinds
    ]
    lengths = [
        max(2, edges[i].num_frames + edges[i + 1].num_frames + draw(st.integers(1, 3)))
        for i in range(count)
    ]
    return film(lengths, edges, rate)


def shown(items):
    """The brightness of a film's frames, from (first, end, dissolve into it, source, in)."""
    frames = {}
    for first, end, join, shot, source_in in items:
        for place in range(first, end):
            own = 0 if shot is None else level(shot, source_in + place - first)
            if place < first + join:
                weight = (place - first + 1) / (join + 1)
                own = frames[place] * (1 - weight) + own * weight
            frames[place] = own
    return [frames[place] for place in range(len(frames))]


@given(films())
@settings(max_examples=60, deadline=None)
def test_what_each_program_reads_is_the_film(made):
    timeline, cut = made
    rendered = [int(frame[0, 0, 0]) for frame in render(timeline)]
    for items in (
        read_by_opentimelineio(otio(cut)),
        read_by_pycmx(edl(cut), cut.rate),
        read_fcpxml(fcpxml(cut)),
    ):
        played = shown(items)
        assert len(played) == len(rendered)
        # Where two transitions meet, each of the two roundings is half a level.
        assert max(abs(a - b) for a, b in zip(played, rendered, strict=True)) <= 1


def test_a_dissolve_takes_its_frames_from_inside_both_clips():
    dissolve = Transition(TransitionKind.DISSOLVE, 5)
    _, cut = film([10, 12], [CUT, dissolve, CUT])
    first, second = cut.parts
    # 10 + 12 - 5 frames of film; the cut lies two frames into the dissolve.
    assert (first.source_in, first.num_frames) == (0, 7)
    assert (second.source_in, second.num_frames, second.before, second.after) == (2, 10, 2, 3)


@pytest.mark.parametrize("rate", [*EDITING_RATES, Fraction(16)], ids=str)
def test_opentimelineio_finds_rate_length_and_markers_at_every_rate(rate):
    timeline, cut = film([10, 12], [CUT, CUT, CUT], rate)
    read = opentimelineio.adapters.read_from_string(otio(cut), "otio_json")
    assert read.duration().to_frames() == timeline.num_frames
    assert read.duration().rate == pytest.approx(float(rate), abs=1e-9)
    clips = read.find_clips()
    assert [clip.name for clip in clips] == ["Two Doors 0", "Two Doors 1"]
    assert [clip.markers[0].comment for clip in clips] == ["shot 0", "shot 1"]
    if rate in EDITING_RATES:
        assert read.global_start_time.to_timecode().replace(";", ":") == "01:00:00:00"


@given(st.sampled_from(EDITING_RATES), st.integers(0, 2_000_000))
def test_timecode_is_that_of_opentimelineio(rate, frame):
    expected = opentimelineio.opentime.RationalTime(frame, float(rate)).to_timecode()
    assert timecode(frame, rate) == expected


def test_drop_frame_keeps_up_with_the_clock():
    # SMPTE ST 12-1: 17982 frames are ten minutes at 29.97, and minute one has no frames 0 and 1.
    assert timecode(17_982, NTSC_30) == "00:10:00;00"
    assert timecode(1799, NTSC_30) == "00:00:59;29"
    assert timecode(1800, NTSC_30) == "00:01:00;02"


def test_an_edl_says_whether_it_drops_numbers():
    for rate, counting in ((NTSC_30, "DROP FRAME"), (Fraction(24), "NON-DROP FRAME")):
        (text,) = edl(film([3], [CUT, CUT], rate)[1])
        assert text.splitlines()[1] == f"FCM: {counting}"


def test_rates_that_editing_programs_do_not_know_are_brought_to_one_they_do():
    assert [editing_rate(Fraction(rate)) for rate in (16, 24, 12, 15, 240)] == [24, 24, 24, 30, 60]
    cut = film([3], [CUT, CUT], Fraction(16))[1]
    for write in (edl, fcpxml):
        with pytest.raises(ValueError, match="16 frames per second"):
            write(cut)


@given(films([Fraction(16)]))
@settings(max_examples=40, deadline=None)
def test_at_another_rate_every_cut_lies_on_the_nearest_frame(made):
    timeline, _ = made
    frame_format = FrameFormat(64, 48, Fraction(16))
    edges = [*timeline.transitions[1:-1], CUT]
    shots = tuple(
        Shot(clip.shot_id, num_frames=len(clip.frames), transition=edge)
        for clip, edge in zip(timeline.clips, edges, strict=True)
    )
    plan = at_rate(ShotList(frame_format=frame_format, shots=shots), Fraction(24))
    clips = [Clip(s.id, torch.zeros(s.num_frames, 2, 2, 3), Fraction(24)) for s in plan.shots]
    edges = (CUT, *(shot.transition for shot in plan.shots[:-1]), CUT)
    fast = Timeline(Fraction(24), tuple(clips), edges)
    for slow_first, first in zip(timeline.first_frames(), fast.first_frames(), strict=True):
        assert abs(first - Fraction(3, 2) * slow_first) <= Fraction(1, 2)
    assert abs(fast.num_frames - Fraction(3, 2) * timeline.num_frames) <= Fraction(1, 2)
    assert at_rate(plan, Fraction(24)) is plan


def test_more_events_than_an_edl_can_number_make_several_files():
    count = 1001
    timeline = Timeline(
        Fraction(24),
        tuple(Clip(str(i), torch.zeros(2, 1, 1, 3), Fraction(24)) for i in range(count)),
        (CUT,) * (count + 1),
    )
    names = [f"shot_{i}" for i in range(count)]
    sources = [Source(n, f"{n}.mov", r, 2) for n, r in zip(names, reels(names), strict=True)]
    texts = edl(Cut("Long", Fraction(24), 64, 48, parts_of(timeline, sources)))
    lists = [list(pycmx.parse_cmx3600(io.StringIO(text)).events) for text in texts]
    assert [len(events) for events in lists] == [999, 2]
    assert [event.number for event in lists[1]] == [1, 2]
    assert lists[0][-1].edits[0].record_out == lists[1][0].edits[0].record_in
    assert len({edit.source for events in lists for e in events for edit in e.edits}) == count


@given(st.lists(st.text("aA2_-\u00e4b", max_size=40), max_size=30))
def test_reels_are_short_plain_and_never_alike(names):
    made = reels(names)
    assert len({reel.casefold() for reel in made}) == len(names)
    assert all(1 <= len(reel) <= 8 and reel.isascii() and " " not in reel for reel in made)
    assert not {"BL", "AX"} & set(made)


@given(st.text(min_size=1))
@settings(max_examples=80, deadline=None)
def test_names_and_notes_survive_in_every_list(text):
    timeline, _ = film([3], [CUT, CUT])
    source = Source(text, "T\u00fcr \u6249 #1.mov", "A", 3, note=text)
    cut = Cut(text, Fraction(24), 64, 48, parts_of(timeline, [source]))
    read = opentimelineio.adapters.read_from_string(otio(cut), "otio_json")
    assert read.find_clips()[0].media_reference.target_url.startswith("T%C3%BCr%20")
    (listed,) = edl(cut)
    (event,) = pycmx.parse_cmx3600(io.StringIO(listed)).events
    assert event.edits[0].source_file == "T\u00fcr \u6249 #1.mov"
    ElementTree.fromstring(fcpxml(cut).encode("utf-8"))
    assert listed.encode("utf-8")


def test_unicode_names_come_back_as_they_were():
    timeline, _ = film([3], [CUT, CUT])
    name = 'Zwei T\u00fcren \u6249 <2A> & "\u0639\u0631\u0628"'
    cut = Cut("t", Fraction(24), 64, 48, parts_of(timeline, [Source(name, "a.mov", "A", 3)]))
    read = opentimelineio.adapters.read_from_string(otio(cut), "otio_json")
    (event,) = pycmx.parse_cmx3600(io.StringIO(edl(cut)[0])).events
    clip = ElementTree.fromstring(fcpxml(cut)).find(".//asset-clip")
    assert read.find_clips()[0].name == event.edits[0].clip_name == clip.get("name") == name


def test_a_dissolve_in_an_edl_names_both_clips():
    dissolve = Transition(TransitionKind.DISSOLVE, 4)
    _, cut = film([10, 12], [CUT, dissolve, CUT])
    _, event = pycmx.parse_cmx3600(io.StringIO(edl(cut)[0])).events
    assert [edit.clip_name for edit in event.edits] == ["Two Doors 0", "Two Doors 1"]
    assert event.edits[1].transition.effect_duration == 4


def test_a_dissolve_too_long_for_an_edl_is_refused():
    dissolve = Transition(TransitionKind.DISSOLVE, 256)
    timeline = Timeline(
        Fraction(24),
        tuple(Clip(str(i), torch.zeros(300, 1, 1, 3), Fraction(24)) for i in range(2)),
        (CUT, dissolve, CUT),
    )
    sources = [Source(str(i), f"{i}.mov", str(i), 300) for i in range(2)]
    cut = Cut("Slow", Fraction(24), 64, 48, parts_of(timeline, sources))
    with pytest.raises(ValueError, match=r"256 frames.*OTIO"):
        edl(cut)


def test_sound_lies_where_it_plays():
    timeline, cut = film([10, 12], [CUT, CUT, CUT])
    sounds = (
        SoundFile("score", "s.wav", "SCORE", 0, 22, 2, "music"),
        SoundFile("1", "1.wav", "S1", 10, 12, 1),
    )
    cut = Cut(cut.title, cut.rate, 64, 48, cut.parts, sounds)
    read = opentimelineio.adapters.read_from_string(otio(cut), "otio_json")
    heard = [track[-1].range_in_parent() for track in read.audio_tracks()]
    assert [(h.start_time.value, h.duration.value) for h in heard] == [(0, 22), (10, 12)]
    edits = [e.edits[0] for e in pycmx.parse_cmx3600(io.StringIO(edl(cut)[0])).events]
    heard = [edit for edit in edits if edit.channels.audio]
    assert [edit.record_in for edit in heard] == ["01:00:00:00", "01:00:00:10"]
    clips = ElementTree.fromstring(fcpxml(cut)).findall(".//spine/asset-clip/asset-clip")
    assert [clip.get("lane") for clip in clips] == ["-1", "-2"]
    assert timeline.num_frames == 22


def test_fcpxml_refers_to_what_it_lists():
    dissolve = Transition(TransitionKind.DISSOLVE, 4)
    _, cut = film([10, 12], [CUT, dissolve, CUT], NTSC_30)
    root = ElementTree.fromstring(fcpxml(cut))
    assert root.get("version") == "1.10"
    ids = [resource.get("id") for resource in root.find("resources")]
    assert len(ids) == len(set(ids))
    named = {e.get(n) for e in root.iter() for n in ("ref", "format") if e.get(n)}
    assert named <= set(ids)
    listed = root.find("resources/format")
    assert listed.get("frameDuration") == "1001/30000s"
    assert root.find(".//sequence").get("tcFormat") == "DF"
    for asset in root.iter("asset"):
        assert asset.find("media-rep").get("src").startswith("./")
    for clip in root.iter("asset-clip"):
        marker = clip.find("marker")
        start, length = seconds(clip.get("start")), seconds(clip.get("duration"))
        assert start <= seconds(marker.get("start")) < start + length
