"""The folder in which this machine keeps what it worked out: $MMDIFFMASK_CACHE."""

import hashlib
import logging
import os
import pathlib

from mmdiffmask import atomic

VARIABLE = "MMDIFFMASK_CACHE"


def folder() -> pathlib.Path:
    """$MMDIFFMASK_CACHE or, without that, ~/.cache/mmdiffmask; need not exist."""
    path = os.environ.get(VARIABLE) or os.path.join("~", ".cache", "mmdiffmask")
    try:
        return pathlib.Path(path).expanduser()
    except RuntimeError:  # no home, as in some containers
        return pathlib.Path(path)


def key(*parts: str) -> str:
    """16 hex digits that name what depends on all of these."""
    return sha256(*parts)[:16]


def sha256(*parts: str) -> str:
    """The sha256 of several texts."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def keep(path: pathlib.Path, content: bytes, loss: str) -> None:
    """Writes a file of the cache; where that cannot be, says what is lost.

    Args:
      path: in `folder`.
      content: of the file.
      loss: what happens without it, for the warning.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic.write(path, content)
    except OSError as error:
        logging.warning(
            "%s cannot be written (%s), so %s; set %s to a folder that can be written",
            path,
            error.strerror,
            loss,
            VARIABLE,
        )
