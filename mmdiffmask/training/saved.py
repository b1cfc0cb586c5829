"""What was saved of a run: where it stands, and size and checksum of every file.

saved.json is written after each save. With it a part that was lost or damaged later is
told by name, where Orbax would take another step in its place.
"""

import contextlib
import pathlib
import zlib
from collections.abc import Iterable, Iterator
from typing import Any

from mmdiffmask import atomic, claims

PIECE = 1 << 22  # bytes read at a time


def note(
    run_dir: pathlib.Path, part: str, kept: Iterable[str] = (), **progress: Any
) -> None:
    """Adds a part of the folder, which is whole now.

    Args:
      run_dir: of the run.
      part: "start", or "steps/" and a step.
      kept: parts that are kept beside it; others are forgotten.
      progress: where the run stands.
    """
    before = _read(run_dir)
    parts = {name: files for name, files in before["parts"].items() if name in kept}
    place = run_dir / part
    parts[part] = {
        str(path.relative_to(place)): [path.stat().st_size, _checksum(path)]
        for path in sorted(place.rglob("*"))
        if path.is_file()
    }
    now = {"progress": progress or before["progress"], "parts": parts}
    atomic.write_json(run_dir / claims.SAVED, now)


def progress(run_dir: pathlib.Path) -> dict[str, Any]:
    """Where the run stood when it was saved last; empty before."""
    return _read(run_dir)["progress"]


def parts(run_dir: pathlib.Path) -> list[str]:
    """Names of all that was saved and should be there."""
    return list(_read(run_dir)["parts"])


def check(run_dir: pathlib.Path, part: str, is_quick: bool = False) -> None:
    """Checks a part's files; one that was never noted is not known.

    Args:
      run_dir: of the run.
      part: as in `note`.
      is_quick: of large files, look at the size alone.

    Raises:
      ValueError: naming the first that is lost or damaged.
    """
    files = _read(run_dir)["parts"].get(part, {})
    if files and not (run_dir / part).is_dir():
        raise lost(run_dir, part)
    for name, (size, checksum) in files.items():
        path = run_dir / part / name
        if not path.is_file():
            raise lost(run_dir, f"{part}/{name}")
        is_same = path.stat().st_size == size
        if is_same and not (is_quick and size > PIECE):
            is_same = _checksum(path) == checksum
        if not is_same:
            raise lost(run_dir, f"{part}/{name}", "damaged")


def check_all(run_dir: pathlib.Path) -> None:
    """Checks that nothing is lost; damage in large files may stay unseen.

    Raises:
      ValueError: as `check`.
    """
    for part in parts(run_dir):
        check(run_dir, part, is_quick=True)


@contextlib.contextmanager
def told(run_dir: pathlib.Path, part: str) -> Iterator[None]:
    """Says in a sentence what Orbax could not read."""
    try:
        yield
    except Exception as error:  # of any kind: it calls many libraries
        cause = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"{run_dir}: {part} cannot be read ({cause:.120}); put it back as it was"
            " saved, or train again in another --workdir"
        ) from error


def lost(run_dir: pathlib.Path, name: str, how: str = "lost") -> ValueError:
    """The error of a part or a file that is not as it was saved."""
    return ValueError(
        f"{run_dir}: {name} is {how}; put it back as it was saved, or train again in"
        " another --workdir"
    )


def _read(run_dir: pathlib.Path) -> dict[str, Any]:
    path = run_dir / claims.SAVED
    found = atomic.read_json(path) if path.is_file() else {}
    return {"progress": {}, "parts": {}} | found


def _checksum(path: pathlib.Path) -> int:
    total = 0
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            total = zlib.crc32(piece, total)
    return total
