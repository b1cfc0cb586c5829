"""What a reader of raw data hands over: clips per split, and what it had to skip."""

import csv
import dataclasses
import hashlib
import os
import pathlib
from collections.abc import Collection, Iterable, Iterator

from preprocessing import files
from preprocessing.items import Clip, Skip

LABELS = "labels.csv"
SOUNDS = frozenset(
    ".aac .ac3 .aif .aiff .flac .m4a .mka .mp2 .mp3 .mp4 .oga .ogg .opus .wav .webm"
    " .wma".split()
)


@dataclasses.dataclass(frozen=True)
class Plan:
    """Work items of each split, sorted by name; splits without clips are absent.

    `lacks` says what the folder lacks if no clip gives a record. `repaired` is what was
    mended before any clip was looked at.
    """

    raw: str
    clips: dict[str, tuple[Clip, ...]]
    skipped: tuple[Skip, ...]
    lacks: str
    repaired: tuple[Skip, ...] = ()


def raw_folder(path: str | pathlib.Path) -> pathlib.Path:
    """The folder of raw data.

    Raises:
      ValueError: if it is missing or a file.
    """
    folder = pathlib.Path(path)
    if folder.is_dir():
        return folder
    if folder.exists():
        raise ValueError(f"{folder}: is a file; --raw takes a folder of raw data")
    raise ValueError(f"{folder}: no such folder of raw data")


def content(path: str | pathlib.Path) -> bytes:
    """Of a file that the user named.

    Raises:
      ValueError: if it can not be read.
    """
    try:
        return files.read(path)
    except OSError as error:
        raise ValueError(f"{path}: {files.why(error)}; name a file to read") from error


def read_labels(
    raw: pathlib.Path, named: str | None = None
) -> dict[str, tuple[tuple[str, str], ...]]:
    """Labels of videos: video -> ((column, value), ...) sorted by column.

    The first column names the video, with or without its file's ending.

    Args:
      raw: its labels.csv is read, if there is one.
      named: the file that is read in its place.

    Raises:
      ValueError: if the file has no header, no row, a row of another length or a video
        twice.
    """
    path = raw / LABELS if named is None else pathlib.Path(named)
    if named is None and not os.path.lexists(path):
        return {}
    try:
        rows = list(csv.reader(content(path).decode("utf-8-sig").splitlines()))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: is not UTF-8; write it as UTF-8") from error
    except csv.Error as error:
        raise ValueError(f"{path}: is no CSV table ({error})") from error
    rows = [row for row in rows if row]
    if not rows or len(set(rows[0])) < max(2, len(rows[0])):
        raise ValueError(f"{path}: its first line must name a column video and labels")
    labels = {}
    for number, row in enumerate(rows[1:], 2):
        if len(row) != len(rows[0]):
            raise ValueError(
                f"{path}: row {number} has {len(row)} values, the header names"
                f" {len(rows[0])}"
            )
        if row[0] in labels:
            raise ValueError(f"{path}: row {number} names {row[0]} for a second time")
        pairs = zip(rows[0][1:], row[1:], strict=True)
        labels[row[0]] = tuple(sorted(pairs))
    if not labels:
        raise ValueError(f"{path}: holds no row but its header; add rows or delete it")
    return labels


def unknown_labels(
    labels: Collection[str], videos: Collection[str], path: str | pathlib.Path
) -> list[Skip]:
    """A line for each video that the labels alone name.

    Raises:
      ValueError: if that is all of them.
    """
    lost = sorted(set(labels) - set(videos))
    if lost and videos and len(lost) == len(labels):
        raise ValueError(
            f"{path}: names none of the clips; its first column must hold their names"
            f" as in --raw, such as {min(videos)!r}, not {lost[0]!r}"
        )
    table = os.path.basename(path)
    return [Skip(name, "", table, "has labels, but there is no video") for name in lost]


def without(
    what: str, folder: str, files: Collection[str], clips: Iterable[str]
) -> list[Skip]:
    """A line for each clip without subtitles or sound; one if none has any."""
    if not files:
        return [Skip("", "", folder, f"holds no {what}: no clip has any")]
    reason = f"no {what} of its name: the clip has none"
    return [Skip(clip, "", folder, reason) for clip in clips if clip not in files]


def fingerprint(
    raw: pathlib.Path,
    contents: Iterable[str],
    sizes: Iterable[str],
    names: Iterable[str] = (),
) -> str:
    """sha256 over some files' contents, others' names and sizes, and bare names.

    Cheap on purpose: it is taken again whenever the command is repeated.
    """
    digest = hashlib.sha256()
    for name in contents:
        path = raw / name
        if path.is_file():
            digest.update(f"{name}\n".encode() + path.read_bytes())
    for name in sizes:
        try:
            size = str((raw / name).stat().st_size)
        except OSError:  # a link to nowhere: listed when it is to be read
            size = "missing"
        digest.update(f"{name}\t{size}\n".encode(errors="surrogateescape"))
    for name in names:
        digest.update(f"{name}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def walk(root: pathlib.Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """As `os.walk`, sorted, links to folders included; none twice, none hidden."""
    seen: set[tuple[int, int]] = set()
    for place, folders, names in os.walk(root, followlinks=True):
        status = os.stat(place)
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield place, folders, sorted(names)


def index(raw: pathlib.Path, folder: str, endings: Collection[str]) -> dict[str, str]:
    """Name without ending -> the first file of it in a folder or below it, from `raw`.

    A folder with such an ending counts: it is told as damage when it is to be read.
    """
    return {stem: files[0] for stem, files in index_all(raw, folder, endings).items()}


def index_all(
    raw: pathlib.Path, folder: str, endings: Collection[str]
) -> dict[str, list[str]]:
    """As `index`, with all files of a name."""
    found: dict[str, list[str]] = {}
    for place, folders, names in walk(raw / folder):
        for name in sorted([*names, *folders]):
            stem, ending = os.path.splitext(name)
            if ending.lower() in endings and not name.startswith("."):
                path = pathlib.Path(place, name).relative_to(raw)
                found.setdefault(stem, []).append(path.as_posix())
    return found


def is_text(name: str) -> bool:
    """Whether a file's name is UTF-8, as ids in records must be."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
