"""The read-outs of texts: each labelled one's features, and heads for its label."""

import functools

import numpy as np
from jaxtyping import Int

from mmdiffmask import config, text_examples, text_start
from mmdiffmask.data import loader
from mmdiffmask.data import texts as corpora
from mmdiffmask.data.text_corpus import TextCorpus
from mmdiffmask.masking import text_strategies
from mmdiffmask.probe import encoders, features, results, text_labels, text_rows
from mmdiffmask.probe.frozen import Frozen
from mmdiffmask.training import mesh as meshes

WIDTH = 16  # rows are as wide as a multiple: few shapes, so few programs
KNOW_LABELS = {"importance", "gain"}  # needs of strategies


def probe(frozen: Frozen, corpus: TextCorpus) -> dict[str, results.Label]:
    """The scores of the label of a corpus (`text_labels.probe`).

    Args:
      frozen: the encoder.
      corpus: whose rows of train, dev and test have labels.

    Raises:
      ValueError: as `check_folds`; if rows have no labels, or heads cannot be fitted.
    """
    check_folds(frozen.experiment)
    rows = read(corpus)
    settings, label = frozen.experiment.probe, corpus.data.label_field
    return text_labels.probe(settings, label, rows, encode(frozen, rows))


def check_folds(experiment: config.Experiment) -> None:
    """Checks that folds, which hold rows of train out, are none that training has seen.

    Raises:
      ValueError: if the run learns their labels, or hides what tells of these.
    """
    if not experiment.probe.folds or not experiment.training.steps:
        return
    strategy, way = experiment.masking.strategy, None
    if experiment.terms.classify > 0:
        way = "it is trained on the labels of data.train (terms.classify)"
    elif experiment.is_hiding and KNOW_LABELS & {*text_strategies.find(strategy).needs}:
        way = f"masking.strategy={strategy} goes by the labels of data.train"
    if way is not None:
        raise ValueError(
            f"probe.folds={experiment.probe.folds}: this run knows the labels that its"
            f" folds hold out, since {way}; set probe.folds=0, and data.test judges it"
        )


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

    Raises:
      ValueError: if no text has a piece.
    """
    distinct = list(dict.fromkeys(rows.texts))
    texts = [corpora.Text(corpora.content_id(t), t, None, "") for t in distinct]
    layout = text_start.layout(frozen.experiment)
    some = text_examples.windows(texts, range(len(texts)), layout)
    if not len(some):
        raise ValueError("no labelled text has a word piece: there is nothing to read")
    sizes = np.array([len(some.window(i)[1].ids) for i in range(len(some))], int)
    order = np.argsort(sizes, kind="stable")  # windows of like size need no padding
    names = [some.name(i) for i in order.tolist()]
    compute = functools.partial(_extract, frozen, some, order, sizes[order])
    of_window = frozen.features("texts", names, compute)
    pieces, text_of_window = sizes[order].astype(float), some.place[order]
    place = {text: i for i, text in enumerate(distinct)}
    of_row = np.array([place[text] for text in rows.texts])
    total = np.bincount(text_of_window, pieces, len(texts))
    vectors = {}
    for name, values in of_window.vectors.items():
        sums = np.zeros((len(texts), values.shape[1]))
        np.add.at(sums, text_of_window, values * pieces[:, None])
        mean = sums / np.maximum(total, 1.0)[:, None]
        vectors[name] = mean[of_row].astype(np.float32)
    return features.Features(rows.names, vectors)


def _extract(
    frozen: Frozen,
    some: text_examples.Windows,
    order: Int[np.ndarray, " w"],
    sizes: Int[np.ndarray, " w"],
    part: slice,
    note: features.Note,
) -> features.Features:
    """Features of a stretch of the windows in `order`, by which `sizes` rise."""
    ends = len(some.layout.pieces.before) + len(some.layout.pieces.after)
    widths = -(-(sizes[part] + ends) // WIDTH) * WIDTH
    widths = np.minimum(widths, some.layout.length)
    encoder = encoders.of_clips(frozen.experiment)
    cut = meshes.by_example(frozen.devices.mesh)
    parts = []
    for width in np.unique(widths):
        positions = order[part][widths == width].tolist()
        names = [some.name(i) for i in positions]
        row = text_examples.make_row(some, width=int(width))
        with loader.eval_batches(
            row, positions, frozen.batch_size, sharding=cut
        ) as batches:
            named = features.named(names, frozen.watched(batches))
            parts.append(features.extract(encoder, frozen.params, named, note))
    return features.joined(parts)
