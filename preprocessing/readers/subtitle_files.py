"""A folder's files of subtitles to the videos they belong to, by their names."""

import os
import pathlib
from collections.abc import Iterable, Mapping

from preprocessing import names
from preprocessing.items import Skip
from preprocessing.readers import plans

ENDINGS = (".srt", ".vtt", ".ass", ".ssa")  # of several files the first is used


class Folder:
    """Files of subtitles in a folder and below it.

    Args:
      raw: where the videos lie.
      named: folder of files named as the videos; None = beside them.
    """

    def __init__(self, raw: pathlib.Path, named: str | None):
        self._raw, self._named = raw, named
        self._root = raw if named is None else pathlib.Path(named)
        self._paths: dict[tuple[str, str], list[str]] = {}
        for folder, folders, files in plans.walk(self._root):
            for name in sorted([*folders, *files], reverse=True):  # .srt before .SRT
                path = pathlib.Path(folder, name).relative_to(self._root).as_posix()
                stem, ending = os.path.splitext(path)
                if ending.lower() in ENDINGS and name[0] != ".":
                    key = names.spelled(stem), ending.lower()
                    self._paths.setdefault(key, []).append(path)

    def of(self, name: str, file: str) -> str | None:
        """The subtitles of a video, from `raw`; what cannot be read is told later."""
        path = next(iter(self._all(name, file)), None)
        if path is None:
            return None
        return pathlib.Path(os.path.relpath(self._root / path, self._raw)).as_posix()

    def _all(self, name: str, file: str) -> list[str]:
        """All of a video's name, in their order."""
        every = []
        for stem in self._stems(name, file):
            for ending in ENDINGS:
                paths = self._paths.get((names.spelled(stem), ending), [])
                every += sorted(paths, key=lambda path: not path.startswith(stem))
        return list(dict.fromkeys(every))

    def _stems(self, name: str, file: str) -> list[str]:
        """What a video's subtitles may be called, without their ending."""
        stems = [os.path.splitext(file)[0], name]
        stems += [os.path.basename(name)] if self._named else []
        return list(dict.fromkeys(stems))

    def strays(self, videos: Mapping[str, str]) -> list[Skip]:
        """A line if there are subtitles of none of the videos, as of NAME.en.vtt.

        And one if a video has several, of which one is used.
        """
        every = {path for paths in self._paths.values() for path in paths}
        of_videos = [self._all(name, file) for name, file in videos.items()]
        used = {paths[0] for paths in of_videos if paths}
        known = {path for paths in of_videos for path in paths}
        reasons = {
            "no video of its name, but for the ending": every - known,
            "another file of its name is": known - used,
        }
        return [row for why, lost in reasons.items() for row in _unused(lost, why)]


def _unused(lost: Iterable[str], why: str) -> list[Skip]:
    lost = sorted(lost)
    reason = f"is not used: {why}"
    reason += f"; nor are {len(lost) - 1} more" if lost[1:] else ""
    return [Skip(file=plans.shown(name), reason=reason) for name in lost[:1]]
