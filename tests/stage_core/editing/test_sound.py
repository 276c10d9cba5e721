"""Sound: resampled without drift, placed in time, as long as the picture."""

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stage_core.editing.mix import Cue, find_time, mix, own_sounds
from stage_core.editing.sound import resample
from stage_core.story.cinematography import CUT, Transition, TransitionKind
from stage_core.story.timeline import Clip, Sound, Timeline

RATE = Fraction(24)


def tone(seconds, sample_rate=48_000, level=0.5, channels=1):
    wave = torch.sin(
        torch.arange(int(seconds * sample_rate)).double() / sample_rate * 880 * math.pi
    )
    return Sound((level * wave).float().expand(channels, -1).contiguous(), sample_rate)


def film(lengths=(24, 24), transition=CUT, sounds=(None, None)):
    clips = tuple(
        Clip(shot_id, torch.zeros(length, 2, 2, 3, dtype=torch.uint8), RATE, sound)
        for shot_id, length, sound in zip(("1", "2A"), lengths, sounds, strict=True)
    )
    return Timeline(RATE, clips, (CUT, transition, CUT))


def loud(samples, first, end):
    """The level of the samples between two seconds."""
    return float(samples[:, round(first * 48_000) : round(end * 48_000)].abs().max())


@pytest.mark.parametrize("sample_rate", [8000, 22_050, 32_000, 44_100, 48_000, 96_000])
def test_resampling_keeps_every_moment_in_its_place(sample_rate):
    made = resample(tone(2, sample_rate)).samples
    assert made.shape == (1, 96_000)
    # The same tone, sampled at the new rate; away from the ends, where a filter sees silence.
    inside = slice(2000, -2000)
    expected = tone(2).samples
    assert float((made - expected)[:, inside].abs().max()) < 2e-3


def test_a_film_without_sound_stays_silent():
    assert mix(film(), own_sounds(film())).sound is None


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 60), st.integers(1, 90))
def test_the_mix_is_as_long_as_the_picture(film_frames, sound_frames):
    timeline = film((film_frames, 24))
    sound = tone(Fraction(sound_frames, 24))
    made = mix(timeline, [Cue(sound, Fraction(0), "score")])
    assert made.sound.samples.shape == (1, round(timeline.seconds * 48_000))
    assert any("longer" in note for note in made.notes) == (sound_frames > film_frames + 24)


def test_what_is_longer_than_the_film_fades_out_over_its_last_second():
    samples = mix(film(), [Cue(tone(9, level=1.0), Fraction(0), "score")]).sound.samples
    levels = [loud(samples, at, at + 0.05) for at in (0.5, 1.2, 1.6, 1.9)]
    assert levels[0] > 0.99 and levels == sorted(levels, reverse=True) and levels[-1] < 0.25
    assert loud(samples, 1.999, 2) < 0.01


def test_ends_do_not_click():
    samples = mix(film(), [Cue(tone(0.5, level=1.0), Fraction(1, 2), "line")]).sound.samples
    assert loud(samples, 0, 0.5) == 0 and loud(samples, 1, 2) == 0
    assert loud(samples, 0.5, 0.5005) < 0.1 and loud(samples, 0.6, 0.9) > 0.99


def test_a_sum_above_full_level_is_turned_down_and_said():
    cues = [Cue(tone(1, level=0.9), Fraction(0), name) for name in ("a", "b")]
    made = mix(film(), cues)
    assert float(made.sound.samples.abs().max()) == pytest.approx(1.0)
    assert "5.1 dB" in made.notes[0]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("", 0),
        ("1", 0),
        (" 2A ", 1),
        ("2a+0.5s", 1.5),
        ("2A - 6f", 0.75),
        ("2A+.5", None),
        ("0:01", 1),
        ("0:00:01.25", 1.25),
        ("1.5s", 1.5),
        ("3", None),
        ("-1s", None),
        ("0:01:xx", None),
    ],
)
def test_places_are_shots_and_times(text, seconds):
    if seconds is None:
        with pytest.raises(ValueError, match="1, 2A"):
            find_time(text, film())
    else:
        assert find_time(text, film()) == seconds


def test_sound_outside_the_film_is_refused():
    for at in (Fraction(-1), Fraction(2)):
        with pytest.raises(ValueError, match="line begins at"):
            mix(film(), [Cue(tone(1), at, "line")])


def test_a_clips_own_sound_plays_with_it_and_ends_at_the_cut():
    timeline = film(sounds=(tone(3, level=1.0), None))
    made = mix(timeline, own_sounds(timeline))
    assert loud(made.sound.samples, 0.1, 0.9) > 0.99
    assert loud(made.sound.samples, 1, 2) == 0
    assert "2.00 s longer than the shot" in made.notes[0]


def test_own_sounds_dissolve_as_the_pictures_do():
    dissolve = Transition(TransitionKind.DISSOLVE, 12)
    timeline = film(transition=dissolve, sounds=(None, tone(1, level=1.0)))
    samples = mix(timeline, own_sounds(timeline)).sound.samples
    # The second shot begins after half a second and is whole half a second later.
    levels = [loud(samples, at, at + 0.02) for at in (0.48, 0.6, 0.8, 1.1)]
    assert levels[0] == 0 and levels == sorted(levels) and levels[-1] > 0.99
    assert levels[1] == pytest.approx(math.sin(math.pi / 2 * 0.12 / 0.5), abs=0.05)
