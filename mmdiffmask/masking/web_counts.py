"""How often words occur on the web: the background of TF-ICF (paper: Eq. 2)."""

import functools
import hashlib
import pathlib

REQUIREMENT = "wordsegment==1.3.1"
SHA256 = "fd27e15b83ee7a55d8e17731a397eb4d389cbe2afd1c26afcba8ee2634c0a6d5"


@functools.cache
def load() -> dict[str, int]:
    """Word -> count, of 333,213 English words of a-z.

    The most frequent words of Google's web corpus, as the package `wordsegment` carries
    them. None of them has a digit or occurs less than 12,711 times.

    Raises:
      ValueError: if the package or its file is missing, or holds other counts.
    """
    way_out = f"pip install --no-deps --force-reinstall {REQUIREMENT}"
    try:
        import wordsegment
    except ImportError:
        raise ValueError(f"the web's word counts are missing: {way_out}") from None
    path = pathlib.Path(wordsegment.__file__).parent / "unigrams.txt"
    content = path.read_bytes() if path.is_file() else b""
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise ValueError(f"{path} does not hold the web's word counts: {way_out}")
    rows = (line.split("\t") for line in content.decode().splitlines())
    return {word: int(count) for word, count in rows}
