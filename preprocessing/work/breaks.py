"""Unforeseen errors to the reason why a clip is skipped, or to the end of the run."""

import errno
import pathlib
import traceback

import av

from mmdiffmask import atomic

# Of the machine: the next clip would meet it too.
OF_THE_RUN = frozenset({*atomic.FULL, errno.EROFS, errno.EMFILE, errno.ENFILE})
LONGEST = 200  # signs of a message


def require_clip(error: Exception) -> str:
    """What is told of a clip that an error ends; raises it if it ends the run.

    Example: "is given up: TypeError in audio.py, line 87 (no such layout)".
    """
    is_of_system = isinstance(error, OSError) and error.errno in OF_THE_RUN
    # FFmpeg's own is of a file that asks for all memory.
    is_of_file = isinstance(error, av.FFmpegError)
    if (isinstance(error, MemoryError) or is_of_system) and not is_of_file:
        raise error
    last = traceback.extract_tb(error.__traceback__)[-1:]
    where = "".join(
        f" in {pathlib.PurePath(frame.filename).name}, line {frame.lineno}"
        for frame in last
    )
    return f"is given up: {type(error).__name__}{where}{_message(error)}"


def _message(error: Exception) -> str:
    """Its first line, without what is of this machine alone."""
    text = error.strerror if isinstance(error, OSError) else str(error)
    lines = (text or "").strip().splitlines()
    if not lines:
        return ""
    words = [pathlib.PurePath(w).name if "/" in w else w for w in lines[0].split()]
    return f" ({' '.join(words)[:LONGEST]})"
