"""Files that are whole or absent, and locks that die with their process."""

import contextlib
import errno
import fcntl
import json
import logging
import os
import pathlib
from collections.abc import Iterator
from typing import Any

_READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)


def write_json(path: pathlib.Path, content: Any) -> None:
    """Writes a whole file or nothing."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    os.replace(temporary, path)


def read_json(path: pathlib.Path) -> Any:
    """The content of a JSON file.

    Raises:
      ValueError: if the file is damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path}: damaged ({error}); choose another --workdir"
        ) from error


@contextlib.contextmanager
def lock(path: pathlib.Path, busy: str) -> Iterator[None]:
    """Keeps others who ask for the same file out while it lasts.

    The file is made if it is absent, and left there. Whoever holds the lock may delete
    it: one who waits at the door with the deleted file in hand is turned away.

    Args:
      path: of the lock's file; its folder exists.
      busy: what to say where another process holds it.

    Raises:
      ValueError: `busy`.
    """
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(open(path, "a"))
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_same = path.exists() and os.path.samestat(
                path.stat(), os.stat(file.fileno())
            )
        except BlockingIOError:
            raise ValueError(busy) from None
        except OSError as error:  # a mounted bucket has no locks
            is_open = path.exists() or error.errno in _READ_ONLY
            if not is_open:
                raise
            logging.warning("%s cannot be locked (%s)", path.parent, error.strerror)
            is_same = True
        if not is_same:
            raise ValueError(busy)
        yield
