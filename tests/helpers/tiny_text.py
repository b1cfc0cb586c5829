"""A tiny encoder with its tokenizer, a corpus of texts, and a run of them.

As a program: `python tiny_text.py FOLDER WORKDIR [--set NAME=VALUE ...]` trains the run
in WORKDIR on what `make` made in FOLDER.
"""

import pathlib
import sys

import jax

from mmdiffmask import config, configure, pretrain
from mmdiffmask.models.bert import checkpoints
from mmdiffmask.models.bert.settings import BertSettings

WORDS = "the of parser grammar lexical sentence corpus kinase cells is we use".split()
MODEL, TOKENS = "model", 28  # folder of the encoder; pieces of a window


def encoder(folder, words=WORDS, parts=(), positions=32):
    """A folder with a BERT of one layer, and its tokenizer; `parts` are its heads."""
    from helpers import wordpieces

    wordpieces.vocab_txt(folder, words)
    n = len((folder / "vocab.txt").read_text().splitlines())
    sizes = BertSettings("bert", n, 16, 1, 2, 32, positions=positions)
    checkpoints.save(folder, checkpoints.start(jax.random.key(0), sizes, parts))
    return folder


def sentence(i):
    """A sentence that no other number has."""
    chosen = [WORDS[(i * k + k) % len(WORDS)] for k in range(1, 4 + i % 9)]
    return f"{' '.join(chosen)}, {i} << {WORDS[i % 5]} >>."


def make(folder, parts=("mlm",)):
    """Encoder and texts in a folder: train.jsonl, dev.jsonl, test.jsonl."""
    from helpers import wordpieces

    encoder(folder / MODEL, parts=parts)
    for name, numbers in {"train": range(40), "dev": range(36, 50)}.items():
        rows = [
            {"id": f"{name}-{i}", "text": sentence(i), "label": str(i % 3)}
            for i in numbers
        ]
        wordpieces.jsonl(folder / f"{name}.jsonl", rows)
    return folder


def experiment(folder, *changes):
    """Its run: random words, dropout, six updates."""
    plain = config.Experiment(
        "tiny-text",
        data=config.Texts(length=TOKENS, dev=("dev.jsonl",), dev_share=0.0),
        model=config.Encoder(
            checkpoint=str(pathlib.Path(folder) / MODEL),
            warm_head_steps=2,
            warm_head_batch=4,
        ),
        masking=config.Masking(strategy="random-word", held_out=("random-word",)),
        terms=config.Terms(patches=0.0, mlm=1.0),
        training=config.Training(
            steps=6,
            batch_size=8,
            lr=1e-3,
            warmup_steps=1,
            eval_every=3,
            save_every=2,
            early_stopping=False,
        ),
        rows=("random: masking.strategy=random-word",),
    )
    return configure.override(plain, list(changes))


def train(folder, workdir, *changes, seed=0):
    """Trains it, or goes on."""
    pretrain.pretrain(experiment(folder, *changes), str(folder), str(workdir), seed)


if __name__ == "__main__":
    train(*sys.argv[1:])
