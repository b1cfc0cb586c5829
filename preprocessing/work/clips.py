"""One clip to its records: the work that runs in worker processes.

Everything heavy is done once a clip although questions share it: each distinct frame
is decoded and looked at once, the sound is decoded once.
"""

import os
from collections.abc import Iterator, Sequence

import numpy as np

from mmdiffmask.data.records.shards import Record
from mmdiffmask.types import Boxes
from preprocessing import files
from preprocessing.boxes import patch_groups, people
from preprocessing.items import (
    Clip,
    Finder,
    Look,
    Losses,
    Question,
    Search,
    Settings,
    Skip,
)
from preprocessing.media import audio, decode, segments, subtitles
from preprocessing.work import breaks, repairs, settle, workers

DEADLINE_SHARE = 10.0  # seconds more for each second of a clip


def records(
    clip: Clip, settings: Settings, search: Search | None, losses: Losses
) -> Iterator[Record]:
    """The clip's records, in the order of its questions or windows.

    Args:
      clip: the work item.
      settings: of the data set.
      search: for boxes; None = the clip is not to be boxed.
      losses: grows by what could not be used; the rest goes on without it.
    """
    finder = people.finder_of(search) if search else None
    footage = open_footage(clip, losses)
    if footage is None:
        return
    length_s = footage.duration_s
    workers.lengthen(DEADLINE_SHARE * length_s)
    repaired: dict[Skip, None] = {}  # each once, however many questions meet it

    def repair(file: str, reason: str, question: str = "") -> None:
        repaired[Skip(clip.name, question, file=file, reason=reason)] = None

    wanted_ids, done_ids, size_px, broken = [], set(), None, ""
    try:
        sound = repairs.load_sound(clip, length_s, settings.sound_track, repair)
        lines = repairs.load_subtitles(clip, length_s, repair)
        for pairs in _batches(clip, length_s, settings):
            wanted_ids += [question.example_id for question, _ in pairs]
            for record in _batch(
                clip,
                pairs,
                footage=footage,
                sound=sound,
                lines=lines,
                settings=settings,
                finder=finder,
                repair=repair,
            ):
                done_ids.add(record.example_id)
                first = int(record.is_frame_valid.argmax())
                size_px = tuple(record.source_size_px[first].tolist())
                yield record
        _tell_rest(clip, footage, finder, size_px, repair)
    except Exception as error:
        broken = breaks.require_clip(error)
    finally:
        footage.close()
    if done_ids:
        settle.tell(clip, wanted_ids, done_ids, list(repaired), losses, broken)
    else:
        losses.skip(clip, broken or settle.why_nothing(footage.problems))


def open_footage(clip: Clip, losses: Losses) -> decode.Footage | None:
    """The clip's pictures; None, and told, if there are none."""
    try:
        return decode.open_footage(os.path.join(clip.raw, clip.footage))
    except (ValueError, OSError) as error:
        losses.skip(clip, files.why(error))
    except Exception as error:
        losses.skip(clip, breaks.require_clip(error))
    return None


def _tell_rest(
    clip: Clip,
    footage: decode.Footage,
    finder: Finder | None,
    size_px: tuple[int, int] | None,
    repair: repairs.Repair,
) -> None:
    """Tells what is known when all records are made: of pictures, spans and boxes."""
    for name, reason in footage.problems:
        repair(f"{clip.footage}/{name}" if name else clip.footage, reason)
    repairs.tell_spans(clip, footage.duration_s, repair)
    if finder is not None and size_px is not None:
        for file, reason in finder.lost(clip.name, footage.duration_s, size_px):
            repair(file, reason)


Pairs = list[tuple[Question, segments.Window]]


def _batches(clip: Clip, duration_s: float, settings: Settings) -> Iterator[Pairs]:
    """Windows that are decoded together: all questions, or one loose window."""
    count, subs = settings.segments, settings.sub_segments
    if not clip.questions:
        for i, window in enumerate(segments.consecutive(duration_s, count, subs)):
            question = Question(
                f"{clip.name}~w{i:04d}", "", answers=(), answer_index=-1, span_s=None
            )
            yield [(question, window)]
        return
    if clip.placement == "even":
        window = segments.even(duration_s, count, subs)
        yield [(question, window) for question in clip.questions]
        return
    spans = [segments.usable_span(q.span_s, duration_s) for q in clip.questions]
    windows = [segments.centred(span, duration_s, count, subs) for span in spans]
    yield list(zip(clip.questions, windows, strict=True))


def _batch(
    clip: Clip,
    pairs: Pairs,
    footage: decode.Footage,
    sound: audio.Track | None,
    lines: tuple[subtitles.Line, ...],
    settings: Settings,
    finder: Finder | None,
    repair: repairs.Repair,
) -> Iterator[Record]:
    times = sorted({s.frame_time_s for _, w in pairs for s in w.segments})
    shown: dict[float, decode.Frame | None] = {}
    looks = _looks(footage, times, finder.fps if finder else None, shown)
    boxes = finder(clip.name, looks) if finder else patch_groups.no_boxes()
    for _ in looks:  # what the finder did not want to see
        pass
    distinct = {frame.time_s for frame in shown.values() if frame is not None}
    heard = _listen(pairs, sound, settings)
    numbers = {time_s: i for i, time_s in enumerate(sorted(distinct))}
    for question, window in pairs:
        frames = _frames(window, shown, settings.segments)
        if not any(frames):
            continue
        places = {numbers[f.time_s]: i for i, f in enumerate(frames) if f is not None}
        inside = patch_groups.of_window(boxes, places)
        inside = repairs.usable_boxes(clip, inside, frames, repair)
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
            **_frame_fields(frames, inside, settings),
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
        pairs = [(0, 0) if f is None else getattr(f, name) for f in frames]
        return np.array(pairs, np.int32)

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
    pairs: Pairs, sound: audio.Track | None, settings: Settings
) -> dict[segments.Segment, np.ndarray]:
    """Spectrograms of the distinct segments whose middle lies within the track."""
    every = {segment for _, window in pairs for segment in window.segments}
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
