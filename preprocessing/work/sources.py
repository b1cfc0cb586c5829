"""The raw files of a clip, known by their names and sizes."""

import hashlib
import json
import os
import pathlib
from typing import Any

from mmdiffmask.data.records import index
from preprocessing import files
from preprocessing.items import Clip
from preprocessing.media import decode


def digest(clip: Clip, is_rendered: bool = False) -> str:
    """The same for the same raw files, whatever reads them.

    Names and sizes of pictures and sound; of subtitles the content, as other words may
    be as long. A file that cannot be read counts as one that is missing.

    Args:
      clip: the work item.
      is_rendered: the toy set made its pictures: other libraries compress the same
        ones to other sizes, so these do not count.
    """
    raw = pathlib.Path(clip.raw)
    sounds = [clip.sound, *clip.more_sound]
    rows: list[Any] = [[clip.footage, _footage(raw / clip.footage, is_rendered)]]
    rows += [[name, _size(raw / name)] for name in sounds if name]
    if clip.subtitles:
        rows.append([clip.subtitles, _content(raw / clip.subtitles)])
    text = json.dumps(rows)  # names that are no UTF-8 are escaped
    return hashlib.sha256(text.encode()).hexdigest()[: index.DIGEST]


def _footage(path: pathlib.Path, is_rendered: bool) -> Any:
    """A file's size; of a folder of frames each one's name and size."""
    if not path.is_dir():
        return _size(path)
    return [
        [name, None if is_rendered else _size(path / name)]
        for name in sorted(filter(decode.NUMBERED.fullmatch, os.listdir(path)))
    ]


def _size(path: pathlib.Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _content(path: pathlib.Path) -> str | None:
    try:
        return hashlib.sha256(files.read(path)).hexdigest()
    except OSError:
        return None
