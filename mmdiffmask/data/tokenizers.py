"""Text to token ids: byte-level BPE in the released tokenizer's format.

A tokenizer is a JSON file of the `tokenizers` library: MERLOT-Reserve's own
`lowercase_encoder.json` ("reserve", looked up: it comes with a checkpoint), one that
`preprocessing.bpe` trained, or the shipped "toy", whose
512 entries are trained on the toy set's text (`python -m preprocessing.toy.tokenizer`
writes it again). Ids 0 to 9 are the same special tokens in all of them: the model
reads padding, sound and mask positions from the ids.
"""

import hashlib
import logging
import os
import pathlib
from collections.abc import Iterable

import tokenizers
from etils import epath

from mmdiffmask.tokens import SPECIAL_TOKENS

TOY = pathlib.Path(__file__).with_name("toy_tokenizer.json")
# MERLOT-Reserve's own, which goes with the official checkpoints.
RESERVE = "lowercase_encoder.json"
RESERVE_SHA256 = "afc3b00a1296a356947abf63acd6b6641983accb4fc38bf9deaf66180db83918"
CACHE = "MMDIFFMASK_CACHE"  # environment variable: the folder of `cache_folder`


class Tokenizer:
    """Encodes text; nothing is added at either end, padded or cut."""

    def __init__(self, backend: tokenizers.Tokenizer):
        self._backend = backend

    @property
    def vocabulary(self) -> int:
        """How many ids there are, the special ones included."""
        return self._backend.get_vocab_size()

    def encode(self, text: str) -> list[int]:
        """Ids of a text, lowercased and without accents.

        Special tokens written out in the text become their ids, as in the reference;
        text of users goes through `encode_plain`.
        """
        return self._backend.encode(text, add_special_tokens=False).ids

    def encode_plain(self, text: str) -> list[int]:
        """Ids of text in which no special token may occur, whatever it says.

        A subtitle with "<|MASK|>" in it would otherwise move the read-out position.
        """
        for token in SPECIAL_TOKENS:
            text = text.replace(token, " ")
        return self.encode(text)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids, special tokens written out."""
        return self._backend.decode(list(ids), skip_special_tokens=False)


def load(
    name_or_path: str | os.PathLike, checkpoint: str | os.PathLike | None = None
) -> Tokenizer:
    """The tokenizer named "toy" or "reserve", or of a JSON file.

    Args:
      name_or_path: "reserve" is looked up, see `find_reserve`.
      checkpoint: beside which "reserve" is looked for first.

    Raises:
      ValueError: if the file is missing, is no tokenizer, or has other special tokens
        at ids 0 to 9.
    """
    if name_or_path == "reserve":
        return _read(find_reserve(checkpoint))
    return _read(epath.Path(TOY if name_or_path == "toy" else name_or_path))


def cache_folder() -> epath.Path:
    """Files that all runs of a user share: $MMDIFFMASK_CACHE or ~/.cache/mmdiffmask."""
    name = os.environ.get(CACHE) or os.path.join("~", ".cache", "mmdiffmask")
    return epath.Path(name).expanduser()


def find_reserve(checkpoint: str | os.PathLike | None = None) -> epath.Path:
    """Where MERLOT-Reserve's tokenizer lies; warns if the file has other content.

    It is looked for beside the checkpoint (in its folder, if it is one), then in
    `cache_folder`.

    Raises:
      ValueError: if it is nowhere; names the folders, the file and its checksum.
    """
    folders = [cache_folder()]
    if checkpoint is not None:
        beside = epath.Path(checkpoint)
        folders = [beside, beside.parent, *folders]
    for folder in folders:
        if not _is_file(folder / RESERVE):
            continue
        digest = hashlib.sha256((folder / RESERVE).read_bytes()).hexdigest()
        if digest != RESERVE_SHA256:
            logging.warning(
                "%s: has sha256 %s..., not MERLOT-Reserve's %s...: right only for a"
                " checkpoint that was trained with this very file",
                folder / RESERVE,
                digest[:12],
                RESERVE_SHA256[:12],
            )
        return folder / RESERVE
    listed = ", ".join(str(folder) for folder in folders)
    raise ValueError(
        f"tokenizer reserve: no {RESERVE} in {listed}; put the file (sha256"
        f" {RESERVE_SHA256}) beside the checkpoint, or set data.tokenizer to its path"
    )


def _is_file(path: epath.Path) -> bool:
    try:
        return path.is_file()
    except NotADirectoryError:  # beside a checkpoint that is a file
        return False
    except ImportError as error:  # a bucket without its package
        raise ValueError(f"{path}: cannot be reached: {error}") from error


def _read(path: epath.Path) -> Tokenizer:
    """Reads a file and checks its special tokens."""
    if not _is_file(path):
        raise ValueError(
            f"{path}: no such tokenizer file; name a tokenizers JSON file, reserve or"
            " toy"
        )
    try:
        backend = tokenizers.Tokenizer.from_buffer(path.read_bytes())
    except Exception as error:  # the library raises Exception itself
        raise ValueError(
            f"{path}: not a tokenizer of the tokenizers library: {error}"
        ) from error
    for index, expected in enumerate(SPECIAL_TOKENS):
        token = backend.id_to_token(index)
        if token != expected:
            raise ValueError(
                f"{path}: id {index} is {token!r}, but the model needs {expected};"
                " use MERLOT-Reserve's tokenizer or one that preprocessing.bpe trained"
            )
    backend.no_padding()
    backend.no_truncation()
    return Tokenizer(backend)
