"""One clip to its records: the work that runs in worker processes.

Everything heavy is done once a clip although questions share it: each distinct frame
is decoded and looked at once, the sound is decoded once.
"""

import math
import os
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from mmdiffmask.data.records import Record
from mmdiffmask.types import Boxes
from preprocessing import audio, decode, patch_groups, segments, subtitles, workers
from preprocessing.items import Clip, Finder, Look, Losses, Question, Settings, Skip

DEADLINE_SHARE = 10.0  # seconds more for each second of a clip
MAX_SOUND_LESS_S = 1.0  # encoders pad and cut by less
MAX_SOUND_MORE_S = 60.0
NO_FRAME = "no frame of its window can be shown"


def records(
    clip: Clip, settings: Settings, finder: Finder | None, losses: Losses
) -> Iterator[Record]:
    """The clip's records, in the order of its questions or windows.

    Args:
      clip: the work item.
      settings: of the data set.
      finder: looks for boxes in RGB frames; None = the clip is not to be boxed.
      losses: grows by what could not be used; the rest goes on without it.
    """
    try:
        footage = decode.open_footage(os.path.join(clip.raw, clip.footage))
    except (ValueError, OSError) as error:
        losses.skip(clip, _reason(error))
        return
    workers.lengthen(DEADLINE_SHARE * footage.duration_s)
    repaired: dict[Skip, None] = {}  # each once, however many questions meet it

    def repair(file: str, reason: str, question: str = "") -> None:
        repaired[Skip(clip.name, question, file, reason)] = None

    asked_ids, made = [], set()
    try:
        sound = _load_sound(clip, footage.duration_s, repair)
        lines = _load_subtitles(clip, repair)
        for asked in _batches(clip, footage.duration_s, settings):
            asked_ids += [question.example_id for question, _ in asked]
            for record in _batch(
                clip, asked, footage, sound, lines, settings, finder, repair
            ):
                made.add(record.example_id)
                yield record
        _repair_frames(clip, footage, repair)
        _repair_spans(clip, footage.duration_s, repair)
    finally:
        footage.close()
    if not made:
        losses.skip(clip, NO_FRAME)
        return
    missing = [example_id for example_id in asked_ids if example_id not in made]
    if clip.questions:
        rows = [Skip(clip.name, lost, clip.footage, NO_FRAME) for lost in missing]
        losses.skipped += rows
    elif missing:
        windows = f"{len(missing)} of {len(asked_ids)} windows"
        repair(clip.footage, f"{windows} show no frame: they are left out")
    losses.repaired += [row for row in repaired if row.question not in missing]


Asked = list[tuple[Question, segments.Window]]


def _batches(clip: Clip, duration_s: float, settings: Settings) -> Iterator[Asked]:
    """Windows that are decoded together: all questions, or one loose window."""
    shape = settings.segments, settings.sub_segments
    if not clip.questions:
        for i, window in enumerate(segments.consecutive(duration_s, *shape)):
            asked = Question(f"{clip.name}~w{i:04d}", "", (), -1, None)
            yield [(asked, window)]
        return
    yield [
        (
            question,
            segments.centred(
                segments.usable_span(question.span_s, duration_s), duration_s, *shape
            ),
        )
        for question in clip.questions
    ]


def _batch(
    clip: Clip,
    asked: Asked,
    footage: decode.Footage,
    sound: audio.Track | None,
    lines: tuple[subtitles.Line, ...],
    settings: Settings,
    finder: Finder | None,
    repair: Callable[..., None],
) -> Iterator[Record]:
    times = sorted({s.frame_time_s for _, w in asked for s in w.segments})
    shown: dict[float, decode.Frame | None] = {}
    looks = _looks(footage, times, finder.fps if finder else None, shown)
    boxes = finder(clip.name, looks) if finder else patch_groups.no_boxes()
    for _ in looks:  # what the finder did not want to see
        pass
    distinct = {frame.time_s for frame in shown.values() if frame is not None}
    heard = _listen(asked, sound, settings)
    numbers = {time_s: i for i, time_s in enumerate(sorted(distinct))}
    for question, window in asked:
        frames = _frames(window, shown, settings.segments)
        if not any(frames):
            continue
        places = {numbers[f.time_s]: i for i, f in enumerate(frames) if f is not None}
        found = patch_groups.of_window(boxes, places)
        found = _usable_boxes(clip, found, frames, repair)
        yield Record(
            example_id=question.example_id,
            clip=clip.name,
            group=clip.group,
            question=question.text,
            answers=question.answers,
            answer_index=question.answer_index,
            span_percent=_span_percent(question, window, footage.duration_s),
            subtitles=subtitles.by_segment(lines, window, settings.segments),
            is_boxed=finder is not None,
            labels=dict(clip.labels),
            **subtitles.in_window(lines, window),
            **_sound_fields(window, heard, settings),
            **_frame_fields(frames, found, settings),
        )


def _looks(
    footage: decode.Footage,
    times_s: Sequence[float],
    fps: float | None,
    shown: dict[float, decode.Frame | None],
) -> Iterator[Look]:
    """Shows each distinct frame once; `shown` fills with the frames of `times_s`."""
    coming: tuple[decode.Frame, bool] | None = None
    for time_s, is_sampled in segments.with_between(times_s, fps):
        (frame,) = footage.frames([time_s])
        if is_sampled:
            shown[time_s] = frame
        if frame is None:
            continue
        if coming is not None and coming[0].time_s == frame.time_s:
            is_sampled = is_sampled or coming[1]
        elif coming is not None:
            yield Look(coming[0].image, coming[0].time_s, coming[1])
        coming = frame, is_sampled
    if coming is not None:
        yield Look(coming[0].image, coming[0].time_s, coming[1])


def _frames(
    window: segments.Window, shown: dict[float, decode.Frame | None], places: int
) -> list[decode.Frame | None]:
    """The frame of each place; one that is still on show does not count again."""
    frames: list[decode.Frame | None] = []
    seen = set()
    for segment in window.segments:
        frame = shown[segment.frame_time_s]
        is_new = frame is not None and frame.time_s not in seen
        frames.append(frame if is_new else None)
        if is_new:
            seen.add(frame.time_s)
    return frames + [None] * (places - len(frames))


def _frame_fields(
    frames: list[decode.Frame | None], boxes: Boxes, settings: Settings
) -> dict:
    def sizes(name: str) -> np.ndarray:
        found = [(0, 0) if f is None else getattr(f, name) for f in frames]
        return np.array(found, np.int32)

    source, stored = sizes("source_size_px"), sizes("stored_size_px")
    boxes, share = patch_groups.on_grid(settings.grid, boxes, source, stored)
    return {
        "frames": tuple(b"" if f is None else f.jpeg for f in frames),
        "frame_time_s": np.array([f.time_s if f else 0.0 for f in frames], np.float32),
        "source_size_px": source,
        "is_frame_valid": np.array([f is not None for f in frames]),
        "boxes": boxes,
        "covered_share": share,
    }


def _listen(
    asked: Asked, sound: audio.Track | None, settings: Settings
) -> dict[segments.Segment, np.ndarray]:
    """Spectrograms of the distinct segments whose middle lies within the track."""
    every = {segment for _, window in asked for segment in window.segments}
    return {
        segment: audio.spectrogram(sound, segment.start_s, settings.sub_segments)
        for segment in every
        if sound is not None and segment.frame_time_s < sound.duration_s
    }


def _sound_fields(
    window: segments.Window,
    heard: dict[segments.Segment, np.ndarray],
    settings: Settings,
) -> dict:
    is_valid = np.zeros(settings.segments, bool)
    pictures = [audio.silence(settings.sub_segments)] * settings.segments
    for place, segment in enumerate(window.segments):
        if segment in heard:
            is_valid[place], pictures[place] = True, heard[segment]
    spectrogram = np.stack(pictures).astype(np.float16)
    return {"is_audio_valid": is_valid, "spectrogram": spectrogram}


def _span_percent(
    question: Question, window: segments.Window, duration_s: float
) -> tuple[int, int]:
    span = segments.usable_span(question.span_s, duration_s)
    return segments.span_percent(span, window)


def _usable_boxes(
    clip: Clip,
    boxes: Boxes,
    frames: list[decode.Frame | None],
    repair: Callable[..., None],
) -> Boxes:
    """The boxes of a window that hold numbers and touch their frame."""
    sizes = np.array([(0, 0) if f is None else f.source_size_px for f in frames])
    low, high = boxes.xyxy_px[:, :2], boxes.xyxy_px[:, 2:]
    is_usable = np.isfinite(boxes.xyxy_px).all(1) & np.isfinite(boxes.score)
    is_usable &= ((low < sizes[boxes.frame]) & (high > 0) & (low <= high)).all(1)
    for place in np.unique(boxes.frame[~is_usable]):
        where = f"a box at {frames[place].time_s:.2f} s"
        repair(
            clip.footage,
            f"{where} lies outside the picture or holds no numbers: it is left out",
        )
    return boxes.take(np.flatnonzero(is_usable))


def _repair_frames(
    clip: Clip, footage: decode.Footage, repair: Callable[..., None]
) -> None:
    for name, reason in footage.problems:
        is_folder = isinstance(footage, decode.FrameFolder)
        repair(f"{clip.footage}/{name}" if is_folder else clip.footage, reason)


def _repair_spans(clip: Clip, duration_s: float, repair: Callable[..., None]) -> None:
    """Tells what `segments.usable_span` made of odd spans."""
    for question in clip.questions:
        reason = _span_problem(question.span_s, duration_s)
        if reason:
            repair(clip.footage, reason, question.example_id)


def _span_problem(span_s: tuple[float, float] | None, duration_s: float) -> str:
    """Why a span is not used as it is; "" if it is, or there is none.

    One that ends less than a frame of TVQA after the end says nothing of a mistake.
    """
    if span_s is None:
        return ""
    if not all(math.isfinite(time_s) for time_s in span_s):
        return "its time span holds no numbers: the whole clip is used"
    start, end = span_s
    said, length = f"its time span {start:g} to {end:g} s", f"{duration_s:.1f} s"
    if start > end:
        return f"{said} is reversed: the whole clip is used"
    if start > duration_s or end < 0:
        return f"{said} lies outside the clip of {length}: the whole clip is used"
    if start < 0 or end > duration_s + 1.0 / decode.FOLDER_FPS:
        return f"{said} reaches out of the clip of {length}: it is cut there"
    return ""


def _load_sound(
    clip: Clip, duration_s: float, repair: Callable[..., None]
) -> audio.Track | None:
    if clip.sound is None:
        return None
    try:
        longest_s = 2 * duration_s + MAX_SOUND_MORE_S
        track = audio.load(os.path.join(clip.raw, clip.sound), longest_s)
    except (ValueError, OSError) as error:
        repair(clip.sound, f"{_reason(error)}: the clip is silent")
        return None
    if track is None:
        if clip.sound != clip.footage:  # a video without sound is no mistake
            repair(clip.sound, "holds no sound: the clip is silent")
    elif track.problem:
        repair(clip.sound, f"{track.problem}: silence from there")
    elif track.duration_s < duration_s - MAX_SOUND_LESS_S:
        ends = f"its sound ends at {track.duration_s:.1f} of {duration_s:.1f} s"
        repair(clip.sound, f"{ends}: silence from there")
    return track


def _load_subtitles(
    clip: Clip, repair: Callable[..., None]
) -> tuple[subtitles.Line, ...]:
    if clip.subtitles is None:
        return ()
    try:
        return subtitles.load(
            os.path.join(clip.raw, clip.subtitles),
            lambda reason: repair(clip.subtitles, reason),
        )
    except (ValueError, OSError) as error:
        repair(clip.subtitles, f"{_reason(error)}: the clip has no subtitles")
        return ()


def _reason(error: Exception) -> str:
    """What to tell about an error, without paths of this machine."""
    return decode.why(error) if isinstance(error, OSError) else str(error)


def usable(clip: Clip) -> str | None:
    """None if at least one frame of the clip can be shown, else why not."""
    try:
        footage = decode.open_footage(os.path.join(clip.raw, clip.footage))
    except (ValueError, OSError) as error:
        return _reason(error)
    try:
        for time_s in footage.starts_s:
            if footage.frames([time_s])[0] is not None:
                return None
        return footage.problems[0][1] if footage.problems else "shows nothing"
    finally:
        footage.close()
