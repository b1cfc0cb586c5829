"""Files of sound to the videos beside which they lie, by their names.

`talk.wav` is the sound of `talk.mp4` if that has none; so is `talk.f140.m4a` that of
`talk.f137.mp4`, as youtube-dl and its like leave the two parts of a download.
"""

import collections
import os
import pathlib
import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping

from preprocessing.readers import plans

# What downloads put between name and ending: the format's number or kind.
FORMAT = re.compile(r"\.f(?:\d+|(?:audio|dash|hls|http|video)(?=[-_=.]|$))[\w=+-]*$")


def beside(videos: Collection[str], sounds: Iterable[str]) -> dict[str, list[str]]:
    """Video -> the files of sound that have its name, the likeliest first.

    >>> beside(["a.f137.mp4", "a.mp4"], ["a.wav", "a.f140.m4a", "b.mp3"])
    {'a.f137.mp4': ['a.f140.m4a'], 'a.mp4': ['a.wav']}
    """
    by_stem, by_name = collections.defaultdict(list), collections.defaultdict(list)
    for sound in sorted(sounds):
        stem, name = _stem(sound), _name(sound)
        by_stem[stem].append(sound)
        if name != stem:
            by_name[name].append(sound)
    matched = {}
    for video in videos:
        stem, name = _stem(video), _name(video)
        is_part = name != stem
        kinds = [by_stem[stem], by_name[name] if is_part else []]
        if not any(kinds):  # one of the two was renamed
            kinds = [by_stem[name] if is_part else by_name[stem]]
        if any(kinds):
            matched[video] = [sound for kind in kinds for sound in kind]
    return matched


def without_pictures(raw: pathlib.Path, videos: Collection[str]) -> frozenset[str]:
    """Those of the files that hold sound alone, although their ending is a video's.

    Only files that share their name with another are looked into: `talk.f251.webm`
    beside `talk.f137.mp4`.
    """
    names = collections.Counter(map(_name, videos))
    rivals = [video for video in videos if names[_name(video)] > 1]
    alone = {video for video in rivals if _is_sound(raw / video)}
    left = {_name(video) for video in rivals if video not in alone}
    return frozenset(video for video in alone if _name(video) in left)


def _is_sound(path: pathlib.Path) -> bool:
    import av  # heavy: only when there is work

    from preprocessing import files

    try:
        with files.open_container(path) as container:
            pictures = [
                stream
                for stream in container.streams.video
                if not stream.disposition & av.stream.Disposition.attached_pic
            ]
            return bool(container.streams.audio) and not pictures
    except (av.FFmpegError, OSError):
        return False


def of_ending(raw: pathlib.Path, endings: Collection[str], folder: str = "") -> list:
    """The files of these endings in the folder or below it, from `raw`."""
    return [
        pathlib.Path(inner, name).relative_to(raw).as_posix()
        for inner, _, names in plans.walk(raw / folder)
        for name in names
        if os.path.splitext(name)[1].lower() in endings and name[0] != "."
    ]


def strays(sounds: Iterable[str], used: Mapping[str, list[str]]) -> list[str]:
    """The files of sound that are no video's."""
    known = {sound for every in used.values() for sound in every}
    return sorted(set(sounds) - known)


def _stem(file: str) -> str:
    return unicodedata.normalize("NFC", os.path.splitext(file)[0])


def _name(file: str) -> str:
    """Without its ending and what downloads put before it."""
    return FORMAT.sub("", _stem(file))
