"""Labelled texts whose label hangs on one word, and features that know every word."""

import pathlib
import zlib

import jax
import numpy as np

from mmdiffmask.data import texts as corpora
from mmdiffmask.masking import word_counts
from mmdiffmask.models.bert import checkpoints
from mmdiffmask.models.bert.settings import BertSettings
from mmdiffmask.probe import features, text_rows

from . import wordpieces

TELLING = ("kinase", "enzyme", "receptor")
FILL = ("the", "of", "in", "cells", "rats", "monday", "study", "results", "show", "and")
LABELS = ("a", "b", "c")


def objects(count: int, name: str, seed: int = 0) -> list[dict]:
    """Objects of a file: a text with signs around an entity, and its label."""
    rng, rows = np.random.default_rng(seed), []
    for i in range(count):
        label = int(rng.integers(3))
        words = [*rng.choice(FILL, 6).tolist(), TELLING[label]]
        rng.shuffle(words)
        text = f"<< {words[0]} >> {' '.join(words[1:])} {name}{i}."
        rows.append({"id": f"{name}-{i}", "text": text, "label": LABELS[label]})
    return rows


def files(seed: int = 0) -> dict[str, list[dict]]:
    """Splits of objects; the first five texts of test stand in train as well."""
    splits = {
        name: objects(count, name, seed + i)
        for i, (name, count) in enumerate({"train": 60, "dev": 20, "test": 30}.items())
    }
    for row, other in zip(splits["test"][:5], splits["train"], strict=False):
        row |= {"text": other["text"].replace("<< ", "").replace(" >>", "")}
        row |= {"label": other["label"]}
    return splits


def rows(splits: dict[str, list[dict]]) -> text_rows.TextRows:
    """The rows of `files`."""
    texts = {
        name: [corpora.Text(x["id"], x["text"], x["label"], "") for x in part]
        for name, part in splits.items()
    }
    return text_rows.read(texts, "label")


def bags(some: text_rows.TextRows, width: int = 32) -> features.Features:
    """Features "mean" of hashed words, which stand in for an encoder's."""
    vectors = np.zeros((len(some), width), np.float32)
    for i, text in enumerate(some.texts):
        for word in word_counts.words(text):
            vectors[i, zlib.crc32(word.encode()) % width] += 1
    return features.Features(some.names, {"mean": vectors, "cls": vectors[:, :8]})


def folder(path: pathlib.Path) -> pathlib.Path:
    """A folder with the files of `files` and, in `bert`, a small encoder for them."""
    path.mkdir(parents=True, exist_ok=True)
    for name, part in files().items():
        wordpieces.jsonl(path / f"{name}.jsonl", part)
    bert = wordpieces.vocab_txt(path / "bert", (*TELLING, *FILL))
    size = len((bert / "vocab.txt").read_text().splitlines())
    settings = BertSettings(
        family="bert",
        vocabulary=size,
        hidden=16,
        layers=1,
        heads=2,
        intermediate=32,
        positions=64,
    )
    checkpoints.save(bert, checkpoints.start(jax.random.key(0), settings, ("mlm",)))
    return path
