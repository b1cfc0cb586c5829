"""What a run of texts has and lacks here: encoder, settings, files, windows."""

import collections
import math
import os
import pathlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax

from mmdiffmask import (
    config,
    effects,
    finetune_start,
    label_vectors,
    labelled_texts,
    machine,
    text_examples,
    text_job,
    text_masks,
    text_start,
)
from mmdiffmask.data.text_corpus import SPLITS, TextCorpus
from mmdiffmask.masking import text_strategies
from mmdiffmask.text import entities
from mmdiffmask.training import schedules

WINDOWS = 64  # of train: those that the rate of the input is measured with
LABELS = 6  # that a line names
SPANS = "masking.spans"
# Settings that may name files, beside those of the corpus.
FILES = ("masking.background", SPANS, "masking.label_embeddings")


def of_model(experiment: config.Experiment, lacking: list[str]) -> Iterator[str]:
    """Lines on the encoder, its tokenizer, and the settings beside them.

    Args:
      experiment: the run that is meant.
      lacking: what is not there; what lacks is added.
    """
    try:
        yield _start(experiment)
    except ValueError as error:
        yield f"start: {error}"
        lacking.append(f"the encoder {experiment.model.checkpoint}")
    else:
        try:
            pieces = text_start.tokenizer(experiment)
            yield f"tokenizer: {pieces.name}, {len(pieces.backend.get_vocab())} pieces"
        except ValueError as error:
            yield f"tokenizer: {error}"
            lacking.append("a tokenizer of the encoder")
        else:
            yield from _settings(experiment, lacking)
    yield from _files(experiment, lacking)


def _start(experiment: config.Experiment) -> str:
    model, sizes = experiment.model, text_start.settings(experiment.model)
    head = ""
    if experiment.terms.mlm and _warms_up(experiment):
        head = (
            "; it has no MLM head, so one is warmed up for"
            f" {model.warm_head_steps} updates"
        )
    start = "" if model.start is None else f"; weights of {model.start}"
    return (
        f"start: {model.checkpoint}, {sizes.family} of {sizes.layers} layers of"
        f" {sizes.hidden}, {_parameters(experiment) / 1e6:.1f} million parameters are"
        f" trained{start}{head}"
    )


def _warms_up(experiment: config.Experiment) -> bool:
    return text_start.HEAD not in text_start.checkpoint(experiment.model).params


def _parameters(experiment: config.Experiment) -> int:
    """How many are trained, but for the last layer of a classifier."""
    model = experiment.model
    if experiment.is_learning:
        sizes = text_start.settings(model)
        parts = finetune_start.parts(sizes, experiment.is_hiding)
        known = tuple(part for part in parts if part != finetune_start.CLASSIFIER)
        shapes = finetune_start.shapes(sizes, known)
    else:
        shapes = text_start.shapes(model)
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))


def _settings(experiment: config.Experiment, lacking: list[str]) -> Iterator[str]:
    """Whether lengths, names, rows and a start of fine-tuning fit the encoder."""
    longest = text_start.settings(experiment.model).longest
    try:
        text_job.check(experiment)
    except ValueError as error:
        yield f"settings: {error}"
        lacking.append("settings that fit")
        return
    yield (
        f"settings: they fit; windows of {experiment.data.length} pieces, where the"
        f" encoder has positions for {longest}"
    )


def _files(experiment: config.Experiment, lacking: list[str]) -> Iterator[str]:
    """Files that masks are drawn by, and the vectors of words."""
    masking = experiment.masking
    if not experiment.terms.mlm and experiment.is_learning:
        return  # nothing is hidden
    for name in FILES:
        value = getattr(masking, name.removeprefix("masking."))
        if value is None or (name == SPANS and value == entities.MARKERS):
            continue
        is_there = pathlib.Path(value).exists()
        yield f"{name}: {value}" + ("" if is_there else ", which is not there")
        lacking += [] if is_there else [name]
    try:
        names = text_masks.held_out_names(experiment)
    except ValueError:  # said above
        return
    needs = {need for name in names for need in text_strategies.find(name).needs}
    if "entities" in needs and masking.spans is None:
        yield f"{SPANS}: not set, and a strategy hides entities (docs/entities.md)"
        lacking.append(SPANS)
    if "anchors" in needs and masking.label_embeddings is None:
        try:
            label_vectors.load()
            yield "vectors of words: MiniLM's"
        except ValueError as error:
            yield f"vectors of words: {error}"
            lacking.append("vectors of words")


def run_bytes(experiment: config.Experiment) -> int | None:
    """What the folder of a run takes; None where the encoder is not there."""
    try:
        return machine.saved_bytes(_parameters(experiment))
    except ValueError:
        return None


def of_texts(
    experiment: config.Experiment, folder: str, lacking: list[str]
) -> Iterator[str]:
    """Lines on the files, their labels, windows, updates and the rate of the input.

    Args:
      experiment: the run that is meant.
      folder: that names of files begin from.
      lacking: what is not there; what lacks is added.
    """
    try:
        corpus = TextCorpus.of(experiment.data, folder)
        for split in SPLITS:
            if corpus.paths(split):
                yield _split(corpus, split)
        text_job.verify(experiment, folder)
    except ValueError as error:
        yield f"texts: {error}"
        lacking.append("texts that can serve")
        return
    try:
        layout = text_start.layout(experiment)
    except ValueError:  # said above
        yield "windows: not counted; needs an encoder and its tokenizer"
        return
    try:
        yield from _windows(experiment, corpus, layout)
    except ValueError as error:
        yield f"windows: {error}"
        lacking.append("texts that can serve")


def _split(corpus: TextCorpus, split: str) -> str:
    """The files of a split, every text of which is read."""
    paths, texts = corpus.paths(split), corpus.texts(split, are_marked=True)
    n_bytes = sum(os.path.getsize(path) for path in paths)
    count = collections.Counter(text.label for text in texts)
    without = count.pop(None, 0)
    shown = [f"{name} {n}" for name, n in count.most_common(LABELS)]
    shown += ["..."] * (len(count) > LABELS)
    labels = f"{len(count)} labels ({', '.join(shown)})" if count else "no labels"
    if count and without:
        labels += f", {without} texts without one"
    where = ", ".join(paths)
    return f"{split}: {len(texts)} texts in {where}, {machine.size(n_bytes)}; {labels}"


class _Rows(NamedTuple):
    """What a run is trained on.

    Attributes:
      train: windows of train.
      held_out: how many windows, or labelled texts, are.
      row: makes one of train.
      kind: what they are called.
    """

    train: text_examples.Windows
    held_out: int
    row: Callable[..., Any]
    kind: str


def _rows(
    experiment: config.Experiment, corpus: TextCorpus, layout: text_examples.Layout
) -> _Rows:
    if experiment.is_learning:
        labels = labelled_texts.names(corpus)
        train, dev = (
            labelled_texts.rows(corpus, split, labels, layout)
            for split in ("train", "dev")
        )
        return _Rows(train.windows, len(dev), train.make_row(), "labelled texts")
    chosen = corpus.chosen
    train, dev = (
        text_examples.windows(corpus.trained_on(split), places, layout)
        for split, places in (("train", chosen.train), (chosen.dev_split, chosen.dev))
    )
    return _Rows(train, len(dev), text_examples.make_row(train), "windows of texts")


def _windows(
    experiment: config.Experiment, corpus: TextCorpus, layout: text_examples.Layout
) -> Iterator[str]:
    """How many rows and updates there are, and how fast one thread makes rows."""
    train, held_out, row, kind = _rows(experiment, corpus, layout)
    n = len(train)
    yield (
        f"{kind}: {n} to train on, {held_out} held out, of at most {layout.length}"
        " pieces"
    )
    size = effects.fit_batch(experiment.training.batch_size, n, kind)
    steps = schedules.in_steps(experiment.training, n, size).steps
    yield f"updates: {steps} of {size}, {steps * size / max(n, 1):.1f} epochs"
    count = min(WINDOWS, n)
    seconds = machine.seconds(lambda: [row(i) for i in range(count)])
    yield f"input: {count / seconds:.0f} windows a second of a thread"
