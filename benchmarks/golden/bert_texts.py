"""A folder with texts.json: word pieces and vectors of a pretrained encoder.

The encoder is that of the folder if it has weights, else MiniLM's of the installed
package. Sentences are cut to as many pieces as inputs.npz has columns.
"""

import functools
import json
import pathlib
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
import numpy.typing as npt
import tokenizers

from benchmarks.golden import folder
from benchmarks.golden.compare import Row, largest
from mmdiffmask import label_vectors
from mmdiffmask.models import weight_folder
from mmdiffmask.models.bert import checkpoints, model

TEXTS = "texts.json"
RELATIVE = 1e-5  # of the largest magnitude, or of 1 if that is smaller

Verdicts = Iterator[tuple[str, list[Row]]]


class Encoded(NamedTuple):
    """Padded texts with what the encoder gives of them."""

    is_valid: npt.NDArray[np.bool_]
    seq: np.ndarray
    pooled: np.ndarray | None
    attentions: list[np.ndarray]


def rows(path: pathlib.Path) -> Verdicts:
    """The verdict on every list of texts.json but texts, and on every array."""
    texts = json.loads((path / TEXTS).read_text())
    files = {
        name: folder.read_arrays(path / f"{name}.npz") for name in ("inputs", "outputs")
    }
    theirs = {
        f"texts/{k}": x for k, x in texts.items() if k not in ("sentences", "words")
    }
    theirs |= {f"{f}/{k}": x for f, arrays in files.items() for k, x in arrays.items()}
    try:
        ours = _arrays(path, texts, files["inputs"]["input_ids"].shape[1])
    except ValueError as error:
        print(f"{path}: {error}", file=sys.stderr)
        ours = {}
    except KeyError as error:
        raise ValueError(f"{path}: lacks {error}") from error
    for name, expected in theirs.items():
        row = f"{path.name}/{name}"
        yield row, [_verdict(row, ours[name], expected)] if name in ours else []


def _verdict(name: str, ours: Any, theirs: Any) -> Row:
    if isinstance(theirs, list):
        differ = sum(a != b for a, b in zip(ours, theirs, strict=False))
        differ += abs(len(ours) - len(theirs))
        return Row(name, float(differ), 0.0, "unequal texts")
    if ours.shape != theirs.shape:
        return Row(name, np.inf, 0.0, f"shape {ours.shape}, not {theirs.shape}")
    size = max(1.0, float(np.abs(theirs).max(initial=0.0)))
    tolerance = 0.0 if theirs.dtype.kind in "iub" else RELATIVE * size
    return Row(name, largest(ours, theirs), tolerance)


def _arrays(path: pathlib.Path, texts: dict, length: int) -> dict[str, Any]:
    pieces, checkpoint = _encoder(path)
    pieces.enable_truncation(length)
    pieces.enable_padding(length=length, pad_id=checkpoint.settings.pad)
    sentences = pieces.encode_batch(texts["sentences"])
    arrays = _tokenized(sentences)
    arrays |= _sentences(checkpoint, sentences)
    pieces.no_padding()
    pieces.no_truncation()
    words = pieces.encode_batch(texts["words"])
    arrays["texts/word_tokens"] = [word.tokens[1:-1] for word in words]
    vectors = label_vectors.Encoder(pieces, checkpoint).vectors(texts["words"])
    vectors = np.stack([vectors[word] for word in texts["words"]])
    arrays |= _words(checkpoint, words, vectors)
    return {name: x for name, x in arrays.items() if x is not None}


def _encoder(
    path: pathlib.Path,
) -> tuple[tokenizers.Tokenizer, checkpoints.Checkpoint]:
    """The folder's, or MiniLM's."""
    if not (path / weight_folder.CONFIG).is_file():
        encoder = label_vectors.load()
        copied = tokenizers.Tokenizer.from_str(encoder.pieces.to_str())
        return copied, encoder.checkpoint
    file = path / "tokenizer.json"
    if not file.is_file():
        raise ValueError("has weights but no tokenizer.json")
    stem = "mlm" if any(path.glob("mlm.*")) else None
    return tokenizers.Tokenizer.from_file(str(file)), checkpoints.load(path, stem=stem)


def _tokenized(sentences: list[tokenizers.Encoding]) -> dict[str, Any]:
    mask = np.array([one.attention_mask for one in sentences])
    return {
        "texts/tokens": [one.tokens[: sum(one.attention_mask)] for one in sentences],
        "inputs/input_ids": np.array([one.ids for one in sentences]),
        "inputs/attention_mask": mask,
        "inputs/token_type_ids": np.array([one.type_ids for one in sentences]),
        "inputs/offsets": np.array([one.offsets for one in sentences]),
        "outputs/row_lengths": mask.sum(1),
    }


def _run(
    checkpoint: checkpoints.Checkpoint, texts: list[tokenizers.Encoding]
) -> Encoded:
    """Encodes texts of one length, as padded."""
    call = functools.partial(model.Bert(checkpoint.settings).apply)

    def run(params: checkpoints.Params, pieces: model.Pieces):
        encoded = call({"params": params}, pieces, every_layer=True)
        pooled = None
        if "pooler" in params:
            pooled = call({"params": params}, encoded.seq, method="pool")
        return encoded.seq, pooled, list(encoded.attentions)

    is_valid = np.array([one.attention_mask for one in texts]) > 0
    pieces = model.Pieces(np.array([one.ids for one in texts]), is_valid)
    seq, pooled, attentions = folder.fast_jit(run)(checkpoint.params, pieces)
    return Encoded(is_valid, *jax.device_get((seq, pooled, attentions)))


def _sentences(
    checkpoint: checkpoints.Checkpoint, sentences: list[tokenizers.Encoding]
) -> dict[str, np.ndarray | None]:
    encoded = _run(checkpoint, sentences)
    weight = encoded.is_valid[..., None]
    mean = (encoded.seq * weight).sum(1) / weight.sum(1)
    attention = [x[:, :, 0].mean(1) for x in encoded.attentions]
    return {
        "outputs/last_hidden_state": encoded.seq[encoded.is_valid],
        "outputs/pooler_output": encoded.pooled,
        "outputs/sentence_embedding": _unit(mean),
        "outputs/cls_attention": np.stack(attention, axis=1),
    }


def _words(
    checkpoint: checkpoints.Checkpoint,
    words: list[tokenizers.Encoding],
    vectors: np.ndarray,
) -> dict[str, np.ndarray | None]:
    table = checkpoint.params["embeddings"]["word"]
    means = [table[np.array(word.ids[1:-1])].mean(0) for word in words]
    longest = max(len(word.ids) for word in words)
    for word in words:
        word.pad(longest, pad_id=checkpoint.settings.pad)
    unit = _unit(vectors)
    return {
        "outputs/word_inner_mean": vectors,
        "outputs/word_cosine": unit @ unit.T,
        "outputs/word_pooler": _run(checkpoint, words).pooled,
        "outputs/word_input_mean": np.stack(means),
    }


def _unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)
