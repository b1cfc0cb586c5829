"""Names of videos in a file of boxes to the shorter names that mean the same video."""

import collections
from collections.abc import Mapping, Sequence

from preprocessing.readers.video import ENDINGS


def aliases(videos: Sequence[str]) -> Mapping[str, int]:
    """Video of each name it goes by; a name that several share is nobody's."""
    video_of: dict[str, int] = {}
    shorter = [
        _without_ending,
        lambda name: name.rsplit("/", 1)[-1],
        lambda name: _without_ending(name.rsplit("/", 1)[-1]),
    ]
    for shorten in shorter:
        names = [shorten(name) for name in videos]
        count = collections.Counter(names)
        for i, name in enumerate(names):
            if count[name] == 1:
                video_of.setdefault(name, i)
    return {**video_of, **{name: i for i, name in enumerate(videos)}}


def _without_ending(video: str) -> str:
    """A video's name without .mp4 and the like."""
    stem, dot, ending = video.rpartition(".")
    return stem if dot and f".{ending.lower()}" in ENDINGS else video
