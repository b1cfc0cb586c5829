"""Opens raw files, which may be anything, so that none hangs or fills the memory."""

import errno
import mmap
import os
import pathlib
import stat

import av

MARK = 12  # bytes by which a kind of file is known
MAX_PIXELS = 2**26  # twice 8K video; a damaged header may ask for all memory
# Of FFmpeg: a text file called .mp4 cannot make it wait for another machine.
OPEN_OPTIONS = {"protocol_whitelist": "file", "max_pixels": str(MAX_PIXELS)}


def open_container(path: str | os.PathLike, **more: str):
    """A file's sound or pictures, as PyAV opens it; `more` are options of FFmpeg.

    Raises:
      OSError: if there is no such file.
      av.FFmpegError: if it is none that opens.
    """
    require_file(path)
    options = OPEN_OPTIONS | more
    return av.open(os.path.abspath(path), options=options, metadata_errors="ignore")


def read(path: str | os.PathLike) -> bytes:
    """A file's bytes.

    Raises:
      OSError: if it cannot be read.
    """
    require_file(path)
    return pathlib.Path(path).read_bytes()


def decode(data: bytes) -> tuple[str, str]:
    """The text and how it was guessed: UTF-8, or UTF-16 by its mark, needs no guess."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", errors="replace"), ""
    # Every other byte of western text is 0 in UTF-16, none is in the others.
    for encoding, zeros in {"utf-16-le": data[1::2], "utf-16-be": data[::2]}.items():
        if zeros.count(0) > len(data) / 4:
            text = data.decode(encoding, errors="replace")
            return text, "is UTF-16 without its mark: read as such"
    try:
        return data.decode("utf-8-sig"), ""
    except UnicodeDecodeError:
        text = data.decode("cp1252", errors="replace")
        return text, "is not UTF-8: read as Windows-1252"


def require_file(path: str | os.PathLike) -> None:
    """Raises OSError where there is no file; a pipe would never end."""
    mode = os.stat(path).st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "no regular file", str(path))


def holds_another(path: str | os.PathLike, after: int) -> bool:
    """Whether a file of the same kind lies behind so many of a file's bytes.

    Several may have been put together as bytes, of which a reader sees the first.
    """
    size = os.path.getsize(path)
    if size - after <= MARK:
        return False
    with open(path, "rb") as file:
        start = file.read(2 * MARK)
        # The size that follows RIFF differs.
        mark = start[8 : 8 + MARK] if start.startswith(b"RIFF") else start[:MARK]
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return len(set(mark)) > 1 and data.find(mark, max(after, 2 * MARK)) > 0


def why(error: OSError | ValueError) -> str:
    """Why a file cannot be used, without its path; a ValueError says it itself."""
    if isinstance(error, ValueError):
        return str(error)
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return "is missing"
    if isinstance(error, IsADirectoryError):
        return "is a folder, not a file"
    if isinstance(error, PermissionError):
        return "may not be read by this user"
    return f"cannot be read ({error.strerror})"
