"""A tiny encoder, labelled texts, and runs of them.

As a program: `python tiny_labels.py FOLDER WORKDIR [NAME=VALUE ...]` fine-tunes in
WORKDIR on what `make` made in FOLDER.
"""

import sys

import jax

from mmdiffmask import config, configure, finetune, pretrain
from mmdiffmask.models.bert import checkpoints
from mmdiffmask.models.bert.settings import BertSettings

WORDS = "the of parser grammar lexical sentence corpus kinase cells is we use".split()
LABELS = {"parser": "tool", "grammar": "theory", "corpus": "data"}


def encoder(folder, family="bert", parts=("pooler",)):
    """A folder with an encoder of two layers and its tokenizer."""
    from helpers import wordpieces

    wordpieces.vocab_txt(folder, WORDS)
    n = len((folder / "vocab.txt").read_text().splitlines())
    sizes = BertSettings(
        family, n, 16, 2, 2, 32, positions=34, pad=0, initial_spread=0.4
    )
    checkpoints.save(folder, checkpoints.start(jax.random.key(0), sizes, parts))
    return folder


def row(split, i):
    """A labelled row; a word of each text tells its label."""
    key = [*LABELS][i % 3]
    filler = [WORDS[7 + (i * k) % 5] for k in range(1, 3 + i % 5)]
    text = f"{' '.join(filler)}, {i} << {key} >>."
    return {"id": f"{split}-{i}", "text": text, "label": LABELS[key]}


def make(folder, family="bert"):
    """Encoder and texts in a folder."""
    from helpers import wordpieces

    encoder(folder / "model", family)
    numbers = {"train": range(48), "dev": range(48, 64), "test": range(64, 77)}
    for split, of_split in numbers.items():
        path = folder / f"{split}.jsonl"
        wordpieces.jsonl(path, [row(split, i) for i in of_split])
    return folder


def experiment(folder, *changes):
    """Fine-tuning with dropout, eight updates."""
    plain = config.Experiment(
        "tiny-labels",
        data=config.Texts(length=28, dev=("dev.jsonl",), test=("test.jsonl",)),
        model=config.Encoder(
            checkpoint=f"{folder}/model", warm_head_steps=2, warm_head_batch=4
        ),
        masking=config.Masking(strategy="random-word", held_out=("random-word",)),
        terms=config.Terms(patches=0.0, classify=1.0),
        training=config.Training(
            steps=8,
            batch_size=8,
            lr=1e-3,
            warmup_steps=1,
            decay_to="zero",
            eval_every=4,
            save_every=3,
            stop_on="f1",
        ),
        rows=("start:",),
    )
    return configure.override(plain, list(changes))


def pretrained(folder, workdir, *changes):
    """A run of continued pretraining on the same texts."""
    changes = ("terms.mlm=1", "terms.classify=0", "training.stop_on=loss", *changes)
    run = experiment(folder, "training.steps=3", *changes)
    pretrain.pretrain(run, str(folder), str(workdir), 0)
    return workdir


def tune(folder, workdir, *changes, seed=0):
    """Fine-tunes, or goes on."""
    return finetune.run(experiment(folder, *changes), str(folder), str(workdir), seed)


if __name__ == "__main__":
    tune(*sys.argv[1:])
