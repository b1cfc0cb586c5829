"""Language sequences for the tiny run's rows: random words, every kind of sequence."""

import dataclasses

import numpy as np

from helpers import training_run as tiny
from mmdiffmask import config
from mmdiffmask.tokens import AUDIOSPAN, LTOVPOOL, MASK, MASKAUDIO
from mmdiffmask.training.terms import shared
from mmdiffmask.types import ClozeBatch, ReserveBatch, Sequences, VideoBatch

WORDS = shared.Vocabulary(
    spans=np.pad(np.arange(20, 30, dtype=np.int32)[:, None], ((0, 0), (0, 14))),
    is_content=np.arange(10) < 8,
    word_class=np.arange(10) // 4,
    classes=("a", "b", "c"),
)
RESERVE = config.Reserve(words="toy")
TERMS = config.Terms(1.0, 1.0, 1.0, 1.0, 1.0, 1.0)


def make_objective(terms=TERMS, reserve=RESERVE, **changes) -> shared.Objective:
    """The tiny objective with all terms; `changes` are of config.Training."""
    made = tiny.make_objective(dataclasses.replace(tiny.TRAINING, **changes), terms)
    return dataclasses.replace(made, reserve=reserve, vocabulary=WORDS)


def make_batch(clips) -> VideoBatch:
    """The tiny batch with sequences: sub-segments 1 and 2 are hidden, the rest said."""
    batch = tiny.make_batch(clips)
    parts = [_language(index) for index in clips]
    reserve, cloze = zip(*parts, strict=True)
    return batch._replace(reserve=_stack(reserve), cloze=_stack(cloze))


def _stack(rows):
    import jax

    return jax.tree.map(lambda *x: np.stack(x), *rows)


def _language(index: int) -> tuple[ReserveBatch, ClozeBatch]:
    rng = np.random.default_rng([5, index])
    words = rng.integers(20, 30, (tiny.FRAMES, 2))
    spans = np.zeros((3, 15), np.int32)
    spans[0, :2], spans[1, :2] = words[1], words[2]
    said = [[(w, i, -1) for w in words[i]] for i in range(tiny.FRAMES)]
    heard = [[(AUDIOSPAN, i, -1)] * 6 for i in range(tiny.FRAMES)]
    seen = [*said[:1], [(MASK, 1, 0), (MASKAUDIO, 1, -1)], *said[2:]]
    audio = [*heard[:2], [(MASK, 2, 1)], *heard[3:]]
    match = [[(LTOVPOOL, -1, -1), *part] for part in said]
    one = [_sequence(parts) for parts in (seen, audio, match)]
    sequences = ReserveBatch(*one, None, spans, np.zeros(tiny.FRAMES, np.int32))
    tokens, target = np.zeros(tiny.LENGTH, np.int32), np.full(2, -1, np.int32)
    tokens[:3], target[0] = (21, MASK, 22), int(words[0, 0]) - 20
    narrated = np.zeros(10, bool)
    narrated[words[0] - 20] = True
    frame = np.array([index % 3])
    segment = np.ones_like(tokens)
    return sequences, ClozeBatch(tokens, segment, target, frame, narrated)


def _sequence(parts) -> Sequences:
    flat = [row for part in parts for row in part][: tiny.LENGTH]
    flat += [(0, -1, -1)] * (tiny.LENGTH - len(flat))
    return Sequences(*np.array(flat, np.int32).T[:, None])
