"""The rules by which damaged raw data are mended; each use of one is listed.

`repair(file, reason, question)` puts a line into `OUT/repaired.jsonl`.
"""

import math
import os
from collections.abc import Callable

import numpy as np

from mmdiffmask.types import Boxes
from preprocessing import files
from preprocessing.items import Clip
from preprocessing.media import audio, decode, sound, subtitle_tracks, subtitles

MAX_SOUND_LESS_S = 1.0  # encoders pad and cut by less
MAX_SOUND_MORE_S = 60.0
Repair = Callable[..., None]


def usable_boxes(
    clip: Clip,
    boxes: Boxes,
    frames: list[decode.Frame | None],
    repair: Repair,
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


def tell_spans(clip: Clip, duration_s: float, repair: Repair) -> None:
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


def load_sound(
    clip: Clip, duration_s: float, wanted: str | None, repair: Repair
) -> audio.Track | None:
    """The clip's sound; None = silence.

    Args:
      clip: its `sound` is used, or the first of `more_sound` that can be.
      duration_s: of its pictures.
      wanted: which track of files with several, as in `Settings`.
      repair: is told what is not used, and why.
    """
    names = [name for name in (clip.sound, *clip.more_sound) if name is not None]
    longest_s = 2 * duration_s + MAX_SOUND_MORE_S
    failed: list[tuple[str, str]] = []
    for place, name in enumerate(names):
        try:
            track = sound.load(os.path.join(clip.raw, name), longest_s, wanted)
        except (ValueError, OSError) as error:
            failed.append((name, files.why(error)))
            continue
        if track is not None:
            _tell_choice(clip, name, failed, names[place + 1 :], repair)
            _tell_sound(name, track, duration_s, repair)
            return track
        is_silent_film = name == clip.footage  # a video without sound is no mistake
        failed.append((name, "" if is_silent_film else "holds no sound"))
    for name, reason in failed:
        if reason:
            repair(name, f"{reason}: the clip is silent")
    return None


def _tell_choice(
    clip: Clip,
    used: str,
    failed: list[tuple[str, str]],
    others: list[str],
    repair: Repair,
) -> None:
    """Tells which of a clip's files of sound are used and which are not."""
    for name, reason in failed:
        if reason:
            repair(name, f"{reason}: {used} is used in its place")
        else:
            repair(used, f"is used as the sound of {name}, which has none")
    for name in others:
        if used == clip.footage:
            repair(name, f"is not used: {used} has sound of its own")
        elif clip.sound == clip.footage:
            repair(name, f"is not used: {used} is, as the sound of {clip.footage}")


def _tell_sound(
    name: str, track: audio.Track, duration_s: float, repair: Repair
) -> None:
    for note in track.notes:
        repair(name, note)
    if track.problem:
        repair(name, f"{track.problem}: silence from there")
    elif track.duration_s < duration_s - MAX_SOUND_LESS_S:
        ends = f"its sound ends at {track.duration_s:.1f} of {duration_s:.1f} s"
        repair(name, f"{ends}: silence from there")


def load_subtitles(
    clip: Clip, duration_s: float, repair: Repair
) -> tuple[subtitles.Line, ...]:
    """The clip's subtitles: of a file, or of its own where there is none.

    None if their file cannot be used. Lines whose times count from a whole hour, as
    those of a tape, are moved to the film's start.
    """
    path = os.path.join(clip.raw, clip.footage)
    beside = clip.subtitles and os.path.basename(clip.subtitles)
    lines = subtitle_tracks.load(path, beside, lambda why: repair(clip.footage, why))
    source = clip.footage if clip.subtitles is None else clip.subtitles
    if clip.subtitles is not None:
        try:
            lines = subtitles.load(
                os.path.join(clip.raw, clip.subtitles),
                lambda reason: repair(clip.subtitles, reason),
            )
        except (ValueError, OSError) as error:
            repair(clip.subtitles, f"{files.why(error)}: the clip has no subtitles")
    lines, reason = subtitles.in_film(lines, duration_s)
    if reason:
        repair(source, reason)
    return lines
