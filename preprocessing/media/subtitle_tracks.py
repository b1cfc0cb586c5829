"""Subtitles in the video file itself: the lines of one of its tracks of text."""

import math
import os
from collections.abc import Callable
from typing import Any

import av

from preprocessing import files
from preprocessing.media import subtitle_forms, subtitles, timeline

FORCED, DEFAULT = av.stream.Disposition.forced, av.stream.Disposition.default
COMMENT = av.stream.Disposition.comment
TEXT_AT = 8  # commas before the text of a line as FFmpeg's decoders give it

Report = Callable[[str], None]


def load(
    path: str | os.PathLike, beside: str | None, report: Report
) -> tuple[subtitles.Line, ...]:
    """The lines of the track that players show; none if a file lies beside it.

    Of several tracks of text it is the default one, then the first; one that is only
    for foreign words (forced) or for comments comes last.

    Args:
      path: of the video; a folder of frames has no tracks.
      beside: name of the file of subtitles that is used in their place.
      report: is told which track is used and what is not.
    """
    if os.path.isdir(path):
        return ()
    try:
        # Without a look at pictures, which takes the longest: most films have none.
        with files.open_container(path, skip_frame="all") as container:
            tracks = _tracks(container)
            if tracks and beside is not None:
                report(_unused(tracks, f"{beside} is used"))
            if not tracks or beside is not None:
                return ()
        with files.open_container(path) as container:
            return _best(container, _tracks(container), report)
    except (av.FFmpegError, OSError):  # told where its pictures are to be shown
        return ()


def _tracks(container: Any) -> list[Any]:
    return [stream for stream in container.streams if stream.type == "subtitle"]


def _best(container: Any, tracks: list[Any], report: Report) -> tuple:
    texts = [track for track in tracks if _is_text(track)]
    others = [track for track in tracks if track not in texts]
    if others:
        report(_unused(others, "pictures of words, or of no known codec"))
    if not texts:
        return ()
    best = min(texts, key=_rank)
    lines, problem = _lines(container, best)
    spared = [_named(track) for track in texts if track is not best]
    sentence = f"its own subtitles are used, {_named(best)}: {len(lines)} with words"
    sentence += f"; {', '.join(spared)} not" if spared else ""
    report(sentence)
    if problem:
        report(f"its own subtitles are damaged ({problem}): none from there")
    return lines


def _unused(tracks: list[Any], why: str) -> str:
    named = ", ".join(map(_named, tracks))
    return f"its own subtitles are not used, {named}: {why}"


def _is_text(track: Any) -> bool:
    """Whether a decoder of text is for it."""
    context = track.codec_context
    return context is not None and bool(context.codec.text_sub)


def _rank(track: Any) -> tuple[bool, bool, int]:
    flags = track.disposition
    is_partial = bool(flags & (FORCED | COMMENT))
    return is_partial, not flags & DEFAULT, track.index


def _named(track: Any) -> str:
    """Such as "track 2 (subrip, eng)"."""
    context = track.codec_context
    said = [context.name if context is not None else "unknown codec"]
    said += [
        track.metadata[key] for key in ("language", "title") if track.metadata.get(key)
    ]
    return f"track {track.index} ({', '.join(said)})"


def _lines(container: Any, track: Any) -> tuple[tuple[subtitles.Line, ...], str]:
    """The lines, in time from the film's start, and what stopped the reading."""
    lines, problem = [], ""
    try:
        clock = timeline.Timeline(container)
        for packet in clock.packets(track):
            lines += _said(packet, clock.start_s)
    except av.FFmpegError as error:
        problem = error.strerror
    return subtitles.in_order(lines), problem


def _said(packet: Any, start_s: float) -> list[subtitles.Line]:
    if packet.pts is None or not packet.size:
        return []
    try:
        parts = [getattr(part, "ass", b"") for part in packet.decode()]
    except av.FFmpegError:  # this line alone
        return []
    start = float(packet.pts * packet.time_base) - start_s
    end = start + float((packet.duration or 0) * packet.time_base)
    if not math.isfinite(end):
        return []
    lines = []
    for part in parts:
        text = part.decode(errors="replace").split(",", TEXT_AT)[-1]
        words = subtitles.clean(subtitle_forms.words(subtitle_forms.untagged(text)))
        if words:
            start_ms, end_ms = round(1000 * start), round(1000 * end)
            lines.append(subtitles.Line(start_ms, end_ms, words))
    return lines
