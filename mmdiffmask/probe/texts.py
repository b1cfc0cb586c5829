"""The read-outs of texts: each labelled one's features, and heads for its label."""

import functools
from collections.abc import Sequence

import numpy as np

from mmdiffmask import text_examples, text_start
from mmdiffmask.data import loader
from mmdiffmask.data import texts as corpora
from mmdiffmask.data.text_corpus import TextCorpus
from mmdiffmask.probe import encoders, features, results, text_labels, text_rows
from mmdiffmask.probe.frozen import Frozen
from mmdiffmask.training import mesh as meshes


def probe(frozen: Frozen, corpus: TextCorpus) -> dict[str, results.Label]:
    """The scores of the label of a corpus (`text_labels.probe`).

    Args:
      frozen: the encoder.
      corpus: whose rows of train, dev and test have labels.

    Raises:
      ValueError: if they have none, or heads cannot be fitted.
    """
    rows = read(corpus)
    settings, label = frozen.experiment.probe, corpus.data.label_field
    return text_labels.probe(settings, label, rows, encode(frozen, rows))


def read(corpus: TextCorpus) -> text_rows.TextRows:
    """The labelled rows, with the signs around entities.

    Raises:
      ValueError: as `text_rows.read`.
    """
    texts = {
        split: corpus.texts(split, are_marked=True)
        for split in text_rows.SPLITS
        if corpus.paths(split)
    }
    return text_rows.read(texts, corpus.data.label_field)


def encode(frozen: Frozen, rows: text_rows.TextRows) -> features.Features:
    """The features of each row; equal texts are encoded once.

    A text of several windows has the mean of theirs, by their pieces: so the mean over
    pieces is that over all pieces of the text. One without a piece has 0.

    Args:
      frozen: the encoder.
      rows: labelled texts.
    """
    distinct = list(dict.fromkeys(rows.texts))
    texts = [corpora.Text(corpora.content_id(t), t, None, "") for t in distinct]
    layout = text_start.layout(frozen.experiment)
    some = text_examples.windows(texts, range(len(texts)), layout)
    names = [some.name(i) for i in range(len(some))]
    compute = functools.partial(_extract, frozen, some, names)
    of_window = frozen.features("texts", names, compute)
    pieces = np.array([len(some.window(i)[1].ids) for i in range(len(some))], float)
    place = {text: i for i, text in enumerate(distinct)}
    of_row = np.array([place[text] for text in rows.texts])
    total = np.bincount(some.place, pieces, len(texts))
    vectors = {}
    for name, values in of_window.vectors.items():
        sums = np.zeros((len(texts), values.shape[1]))
        np.add.at(sums, some.place, values * pieces[:, None])
        mean = sums / np.maximum(total, 1.0)[:, None]
        vectors[name] = mean[of_row].astype(np.float32)
    return features.Features(rows.names, vectors)


def _extract(
    frozen: Frozen,
    some: text_examples.Windows,
    names: Sequence[str],
    part: slice,
    note: features.Note,
) -> features.Features:
    """Features of a stretch of the windows."""
    positions = range(len(some))[part]
    row, size = text_examples.make_row(some), frozen.batch_size
    cut = meshes.by_example(frozen.devices.mesh)
    with loader.eval_batches(row, positions, size, sharding=cut) as batches:
        named = features.named(names[part], frozen.watched(batches))
        encoder = encoders.of_clips(frozen.experiment)
        return features.extract(encoder, frozen.params, named, note)
