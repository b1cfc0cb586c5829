"""Windows of segments for time spans, whole clips and loose videos."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preprocessing.media import segments, subtitles

LENGTH = 14 / 3
durations = st.floats(0.4, 200.0)
counts = st.integers(1, 16)
steady = settings(deadline=None)  # machines under load stall


def test_tvqa_window_around_the_middle():
    window = segments.centred((29.0, 31.2), 60.0, 7, 3)
    times = [s.frame_time_s for s in window.segments]
    assert times == pytest.approx([30 + k * LENGTH for k in range(-3, 4)])
    assert window.start_s == pytest.approx(30 - 3.5 * LENGTH)
    assert window.end_s == pytest.approx(30 + 3.5 * LENGTH)


def test_window_at_the_clips_start_reaches_three_segments_on():
    window = segments.centred((0.0, 2.0), 60.0, 7, 3)
    times = [s.frame_time_s for s in window.segments]
    assert times == pytest.approx([1.0 + k * LENGTH for k in range(4)])


@steady
@given(durations, st.floats(0.0, 1.0), st.floats(0.0, 1.0), counts, st.integers(1, 3))
def test_centred_laws(duration, a, b, count, subs):
    span = min(a, b) * duration, max(a, b) * duration
    window = segments.centred(span, duration, count, subs)
    times = [s.frame_time_s for s in window.segments]
    assert 1 <= len(times) <= count
    assert all(0 <= time < duration for time in times)
    middle = (span[0] + span[1]) / 2
    nearest = min(times, key=lambda time: abs(time - middle))
    assert abs(nearest - middle) <= 0.51
    steps = [later - earlier for earlier, later in zip(times, times[1:], strict=False)]
    assert steps == pytest.approx([window.length_s] * len(steps))
    assert sum(t < nearest - 1e-9 for t in times) <= count // 2
    assert sum(t > nearest + 1e-9 for t in times) <= count // 2


@steady
@given(durations, counts, st.integers(1, 3))
def test_consecutive_windows_tile_the_clip(duration, count, subs):
    windows = segments.consecutive(duration, count, subs)
    every = [s for window in windows for s in window.segments]
    assert all(len(window.segments) == count for window in windows[:-1])
    assert all(0 <= s.frame_time_s < duration for s in every)
    length = windows[0].length_s
    assert [s.start_s for s in every] == pytest.approx(
        [i * length for i in range(len(every))]
    )
    assert len(every) == max(1, math.ceil(duration / length - 0.5 - 1e-9)) or (
        abs(duration / length % 1 - 0.5) < 1e-6
    )


@pytest.mark.parametrize("duration", [0.5, 1.9, 2.3, 4.0])
def test_a_short_video_gives_the_frame_in_its_middle(duration):
    (window,) = segments.consecutive(duration, 7, 3)
    (segment,) = window.segments
    expected = min(duration / 2, LENGTH / 2) if duration <= LENGTH / 2 else LENGTH / 2
    assert segment.frame_time_s == pytest.approx(expected)
    assert segment.start_s == 0.0


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        ((2.0, 5.0), (2.0, 5.0)),
        ((-1.0, 99.0), (0.0, 20.0)),
        ((math.nan, math.nan), (0.0, 20.0)),
        ((5.0, 2.0), (0.0, 20.0)),
        ((25.0, 30.0), (0.0, 20.0)),
        ((4.0, 4.0), (4.0, 4.0)),
        (None, (0.0, 20.0)),
    ],
)
def test_usable_span(span, expected):
    assert segments.usable_span(span, 20.0) == expected


def test_span_percent_is_of_the_window_and_truncated():
    window = segments.centred((29.0, 31.2), 60.0, 7, 3)
    assert segments.span_percent((29.0, 31.2), window) == (46, 53)
    assert segments.span_percent((0.0, 60.0), window) == (0, 100)


@steady
@given(st.lists(st.integers(-10_000, 160_000), max_size=30), durations)
def test_a_line_lies_in_the_one_segment_that_holds_its_middle(halves_ms, duration):
    middles = [half / 2000 for half in halves_ms]  # files hold milliseconds
    lines = tuple(
        subtitles.Line(half - 700, 700, f"<{i}>") for i, half in enumerate(halves_ms)
    )
    windows = segments.consecutive(duration, 4, 2)
    texts = [subtitles.by_segment(lines, window, 4) for window in windows]
    for i, middle in enumerate(middles):
        homes = [
            window.segments[place].start_s
            for window, text in zip(windows, texts, strict=True)
            for place in range(4)
            if f"<{i}>" in text[place]
        ]
        total = sum(len(window.segments) for window in windows) * windows[0].length_s
        assert len(homes) == (0 <= middle < total) or abs(middle - total) < 1e-6
        for start in homes:
            assert start - 1e-6 <= middle < start + windows[0].length_s + 1e-6


@given(
    st.lists(st.floats(0, 60), min_size=1, max_size=12, unique=True),
    st.sampled_from([1.0, 3.0, 10.0]),
)
def test_times_between_are_spaced_and_within(times, fps):
    times = sorted(times)
    every = segments.with_between(times, fps)
    assert [t for t, is_sampled in every if is_sampled] == times
    assert every == sorted(every)
    between = np.array([t for t, is_sampled in every if not is_sampled])
    assert ((between > times[0]) & (between < times[-1])).all()
    gaps = np.diff([t for t, _ in every])
    assert gaps.max(initial=0.0) <= 2.0 / fps + 1e-6
    away = np.abs(between[:, None] - np.array(times)[None]).min(1, initial=9.0)
    assert (away >= 0.5 / fps - 1e-6).all()
    assert segments.with_between(times, None) == [(t, True) for t in times]
