"""Small tokenizers in the forms that encoders' folders have."""

import json
import string

import jax
import tokenizers
from tokenizers import models, pre_tokenizers, trainers

from mmdiffmask.models.bert import checkpoints
from mmdiffmask.models.bert.settings import BertSettings

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def vocab_txt(folder, words=(), cased=False):
    """A folder with BERT's vocab.txt: letters, digits, signs, and these words."""
    letters = string.ascii_letters if cased else string.ascii_lowercase
    signs = [*letters, *string.digits, *string.punctuation]
    tails = [f"##{c}" for c in (*letters, *string.digits)]
    folder.mkdir(parents=True, exist_ok=True)
    entries = dict.fromkeys([*SPECIAL, "[unused0]", *signs, *tails, *words])
    (folder / "vocab.txt").write_text("".join(f"{entry}\n" for entry in entries))
    return folder


def encoder(folder, words=(), positions=64, seed=0):
    """A folder with a small BERT of random weights and its vocab.txt."""
    vocab_txt(folder, words)
    settings = BertSettings(
        "bert",
        vocabulary=len((folder / "vocab.txt").read_text().splitlines()),
        hidden=16,
        layers=2,
        heads=2,
        intermediate=32,
        positions=positions,
        initial_spread=0.5,
    )
    checkpoints.save(folder, checkpoints.start(jax.random.key(seed), settings))
    return folder


def byte_level(folder, texts, size=600):
    """A folder with RoBERTa's vocab.json and merges.txt, trained on texts."""
    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    folder.mkdir(parents=True, exist_ok=True)
    backend.model.save(str(folder))
    return folder


def jsonl(path, rows):
    """A file with an object a line."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
