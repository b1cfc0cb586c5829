"""Writes files whole or not at all, and locks files as long as a process lives."""

import contextlib
import errno
import fcntl
import json
import logging
import os
import pathlib
import platform
import threading
from collections.abc import Iterator
from typing import Any

from etils import epath

Path = pathlib.Path | epath.Path  # a bucket's too
UNFINISHED = ".tmp"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # no more can be written
_READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)


@contextlib.contextmanager
def place(path: Path, work: Path | None = None) -> Iterator[Path]:
    """Gives a path to make a file at, and moves the file to `path` when it is whole.

    A file that was at `path` stays until then, and stays where making fails.

    Args:
      path: of the file.
      work: the folder to make it in, on the same file system; None: beside `path`.
    """
    unfinished = partial(path, work)
    try:
        yield unfinished
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def partial(path: Path, work: Path | None = None) -> Path:
    """The path to make something at before it is moved to `path`; `work` as in `place`.

    It names machine, process and thread: several may write the same file at once.
    """
    maker = f"{platform.node()}.{os.getpid()}.{threading.get_ident()}"
    return (path.parent if work is None else work) / f"{path.name}.{maker}{UNFINISHED}"


def is_partial_of(name: str, path: Path) -> bool:
    """Whether a file's name is that of `path` while it is made."""
    return name.startswith(f"{path.name}.") and name.endswith(UNFINISHED)


def write(path: Path, content: str | bytes, work: Path | None = None) -> None:
    """Writes a whole file or nothing; arguments as in `place`."""
    data = content.encode() if isinstance(content, str) else content
    with place(path, work) as unfinished:
        unfinished.write_bytes(data)


def write_json(path: Path, content: Any) -> None:
    """Writes a whole file or nothing."""
    write(path, json.dumps(content, indent=1) + "\n")


def read_json(path: Path, remedy: str = "put it back as it was") -> Any:
    """The content of a JSON file.

    Args:
      path: of the file.
      remedy: what to do where it is damaged.

    Raises:
      ValueError: if it is damaged, with the remedy.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: damaged ({error}); {remedy}") from error


def require_local(path: str | os.PathLike | None) -> None:
    """Refuses an address such as gs://bucket/run where something is to be written.

    A local folder of that name would be made.

    Raises:
      ValueError: saying where else to write.
    """
    if path is not None and "://" in str(path):
        raise ValueError(
            f"{path}: runs, records and results lie in a folder of this machine, not at"
            " an address; put them on a disk that outlives it (docs/tpu.md)"
        )


@contextlib.contextmanager
def lock(path: pathlib.Path, busy: str) -> Iterator[None]:
    """Holds the lock of a file; a process that asks for a held one is refused.

    The file is made if it is absent, and left there. Whoever holds the lock may delete
    the file: a process that opened it before that is refused too.

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


@contextlib.contextmanager
def turn(path: pathlib.Path) -> Iterator[None]:
    """Waits while another process makes the file at `path`, then keeps others waiting.

    Whoever had the turn may have made the file: look before making it. A process that
    is killed loses its turn. Where nothing can be locked nobody waits, and several may
    make the same file.

    Args:
      path: of the file; its folder is made if it is absent.
    """
    place_of_lock = path.with_name(f"{path.name}.lock")
    with contextlib.ExitStack() as stack:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context(open(place_of_lock, "a"))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                logging.info("waiting for another process, which makes %s", path)
                fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:  # a folder that cannot be written, a mounted bucket
            pass
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                place_of_lock.unlink(missing_ok=True)
