"""What readers of raw data return: the clips of each split, and what was skipped."""

import dataclasses
import hashlib
import os
import pathlib
from collections.abc import Collection, Iterable, Iterator

from preprocessing import files
from preprocessing.items import Clip, Skip
from preprocessing.names import Names

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
      ValueError: if it cannot be read.
    """
    try:
        return files.read(path)
    except OSError as error:
        raise ValueError(f"{path}: {files.why(error)}; name a file to read") from error


def without(
    kind: str, folder: str, files: Collection[str], clips: Iterable[str]
) -> list[Skip]:
    """A line for each clip without subtitles or sound; one if none has any."""
    if not files:
        return [Skip(file=folder, reason=f"holds no {kind}: no clip has any")]
    reason = f"no {kind} of its name: the clip has none"
    return [
        Skip(clip, file=folder, reason=reason) for clip in clips if clip not in files
    ]


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
    for folder, folders, names in os.walk(root, followlinks=True):
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield folder, folders, sorted(names)


def index(raw: pathlib.Path, folder: str, endings: Collection[str]) -> Names[str]:
    """Name without ending -> the first file of it in a folder or below it, from `raw`.

    A folder with such an ending counts: it is told as damage when it is to be read.
    """
    every = index_all(raw, folder, endings)
    return Names({stem: files[0] for stem, files in every.items()})


def index_all(
    raw: pathlib.Path, folder: str, endings: Collection[str]
) -> dict[str, list[str]]:
    """As `index`, with all files of a name."""
    by_stem: dict[str, list[str]] = {}
    for inner, folders, names in walk(raw / folder):
        for name in sorted([*names, *folders]):
            stem, ending = os.path.splitext(name)
            if ending.lower() in endings and not name.startswith("."):
                path = pathlib.Path(inner, name).relative_to(raw)
                by_stem.setdefault(stem, []).append(path.as_posix())
    return by_stem


def shown(name: str) -> str:
    """A file's name as UTF-8, whatever its bytes."""
    return name.encode(errors="surrogateescape").decode(errors="replace")


def is_text(name: str) -> bool:
    """Whether a file's name is UTF-8, as ids in records must be."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
