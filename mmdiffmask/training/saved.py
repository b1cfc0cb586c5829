"""What was saved of a run: where it stands, and size and checksum of every file.

saved.json is written after each save. With it a part that was lost or damaged later is
named, where Orbax would take another step in its place.
"""

import contextlib
import os
import pathlib
import re
import shutil
import zlib
from collections.abc import Iterable, Iterator
from typing import Any

from mmdiffmask.run_files import FEATURES, PUT_BACK, SAVED, START, STEPS
from mmdiffmask.run_folder import RunFolder

PIECE = 1 << 22  # bytes read at a time
REMOVED = "is_removed"
_OF_SYSTEM = re.compile(r"os_error_code='(\d+)'")  # at the end of tensorstore's


def note(
    folder: RunFolder, part: str, kept: Iterable[str] = (), **progress: Any
) -> None:
    """Adds a part of the folder, which is whole now; one that is noted stays as it is.

    Args:
      folder: of the run.
      part: "start", or "steps/" and a step.
      kept: parts that are kept beside it; others are forgotten.
      progress: where the run stands.
    """
    before = _read(folder)
    kept = {*kept, part}
    parts = {name: files for name, files in before["parts"].items() if name in kept}
    if part not in parts:
        parts[part] = _files(folder.at(part))
    now = {"progress": progress or before["progress"], "parts": parts}
    folder.write(SAVED, now)


def _files(place: pathlib.Path) -> dict[str, list[int]]:
    """Name -> size and checksum."""
    return {
        str(path.relative_to(place)): [path.stat().st_size, _checksum(path)]
        for path in sorted(place.rglob("*"))
        if path.is_file()
    }


def drop(folder: RunFolder, part: str, item: str) -> None:
    """Deletes a folder within a part, if it is there: out of the notes first."""
    place = folder.at(part) / item
    if not place.is_dir():
        return
    noted = _read(folder)
    files = noted["parts"].get(part, {}).items()
    left = {name: entry for name, entry in files if not name.startswith(f"{item}/")}
    folder.write(SAVED, noted | {"parts": noted["parts"] | {part: left}})
    shutil.rmtree(place)


def remove(folder: RunFolder) -> None:
    """Deletes all weights of a run that nobody needs any more, and notes it first."""
    folder.write(SAVED, {"progress": {}, "parts": {}, REMOVED: True})
    for name in (START, STEPS, FEATURES):  # features are made of the weights
        shutil.rmtree(folder.at(name), ignore_errors=True)


def is_removed(folder: RunFolder) -> bool:
    """Whether its weights were deleted by `remove`."""
    return folder.has(SAVED) and REMOVED in folder.read(SAVED)


def progress(folder: RunFolder) -> dict[str, Any]:
    """Where the run stood when it was saved last; empty before."""
    return _read(folder)["progress"]


def parts(folder: RunFolder) -> list[str]:
    """Names of all that was saved and should be there."""
    return list(_read(folder)["parts"])


def check(folder: RunFolder, part: str, is_quick: bool = False) -> None:
    """Checks a part's files; one that was never noted is not known.

    Args:
      folder: of the run.
      part: as in `note`.
      is_quick: of large files, look at the size alone.

    Raises:
      ValueError: naming the first that is lost or damaged.
    """
    files = _read(folder)["parts"].get(part, {})
    if files and not folder.at(part).is_dir():
        raise lost(folder, part)
    for name, (size, checksum) in files.items():
        path = folder.at(part) / name
        if not path.is_file():
            raise lost(folder, f"{part}/{name}")
        is_same = path.stat().st_size == size
        if is_same and not (is_quick and size > PIECE):
            is_same = _checksum(path) == checksum
        if not is_same:
            raise lost(folder, f"{part}/{name}", "damaged")


def check_all(folder: RunFolder) -> None:
    """Checks that nothing is lost; damage in large files may stay unseen.

    Raises:
      ValueError: as `check`.
    """
    for part in parts(folder):
        check(folder, part, is_quick=True)


@contextlib.contextmanager
def explained(folder: RunFolder, part: str) -> Iterator[None]:
    """Says in a sentence what Orbax could not read."""
    try:
        yield
    except Exception as error:  # of any kind: it calls many libraries
        raise ValueError(
            f"{folder}: {part} cannot be read ({cause_of(error)}); {PUT_BACK}"
        ) from error


def cause_of(error: Exception) -> str:
    """What an error of Orbax says, short: the system's own words where it has some."""
    if match := _OF_SYSTEM.search(str(error)):
        return os.strerror(int(match[1]))
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:120]


def lost(folder: RunFolder, name: str, how: str = "lost") -> ValueError:
    """The error of a part or a file that is not as it was saved."""
    return ValueError(f"{folder}: {name} is {how}; {PUT_BACK}")


def _read(folder: RunFolder) -> dict[str, Any]:
    content = folder.read(SAVED) if folder.has(SAVED) else {}
    return {"progress": {}, "parts": {}} | content


def _checksum(path: pathlib.Path) -> int:
    total = 0
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            total = zlib.crc32(piece, total)
    return total
