"""Anchors that TF-ICF proposes, and what each label weighs under them, as lines."""

import collections
import dataclasses
import io
import logging
import pathlib
import types
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from mmdiffmask import atomic, config, label_vectors
from mmdiffmask.data.corpus import Corpus
from mmdiffmask.masking import anchors, web_counts

PERSON = "person"  # what faces and bodies count as (`anchors.labels_of`)
SHOWN = 8  # words named in a line
# Words for persons, by which it is said whether these lead; names are not known here.
PERSONS = frozenset(
    "person persons people human humans man men woman women guy guys girl girls boy"
    " boys lady ladies gentleman kid kids child children baby adult adults teenager"
    " someone somebody everyone anyone he she him her his hers they them who whom"
    " friend friends father mother dad mom son daughter brother sister husband wife"
    " boyfriend girlfriend doctor nurse patient teacher student".split()
)


@dataclasses.dataclass(frozen=True)
class Choice:
    """What TF-ICF proposes.

    Attributes:
      texts: how many were read.
      words: how many words distinct texts have.
      scores: the anchors and their scores, best first.
      counts: word -> how often it occurs in the texts.
      web: word -> how often it occurs on the web.
      competing: how many words were ranked.
      unseen: frequent words that dropped out, the web's counts lacking them.
    """

    texts: int
    words: int
    scores: tuple[tuple[str, float], ...]
    counts: Mapping[str, int]
    web: Mapping[str, int]
    competing: int
    unseen: tuple[str, ...]

    @property
    def anchors(self) -> tuple[str, ...]:
        """The words alone."""
        return tuple(word for word, _ in self.scores)


@dataclasses.dataclass(frozen=True)
class Label:
    """A label that boxes carry.

    Attributes:
      name: as the boxes have it.
      kind: of the boxes; "" where the label is only a detector's class.
      boxes: how many carry it.
    """

    name: str
    kind: str = ""
    boxes: int = 0


def choose(texts: Sequence[str], k: int, max_candidates: int | None) -> Choice:
    """The k words with the highest TF-ICF (`anchors.tf_icf`).

    Raises:
      ValueError: if k is no number of words, or no text has a word that can be one.
    """
    return of_counts(anchors.count_words(texts), len(texts), k, max_candidates)


def of_counts(
    counts: Mapping[str, int],
    n_texts: int,
    k: int,
    max_candidates: int | None,
    *,
    web: Mapping[str, int] | None = None,
    unseen: str = "drop",
) -> Choice:
    """As `choose`, of words that were counted.

    Args:
      counts: word -> how often it stands in distinct texts.
      n_texts: how many texts were read.
      k: how many anchors.
      max_candidates: as `anchors.tf_icf`.
      web: counts of the general corpus; None: of the web.
      unseen: as `anchors.tf_icf`.

    Raises:
      ValueError: as `choose`.
    """
    if k < 1 or (max_candidates is not None and max_candidates < 1):
        raise ValueError(f"{k} anchors of {max_candidates} words: must be at least 1")
    web = web_counts.load() if web is None else web
    if not counts:
        raise ValueError("the texts have no word, so no anchor can be chosen from them")
    ranked, unknown = anchors.competing(counts, web, max_candidates)
    is_dropped = unseen == "drop"
    return Choice(
        texts=n_texts,
        words=sum(counts.values()),
        scores=tuple(anchors.tf_icf(counts, web, k, max_candidates, unseen=unseen)),
        counts=counts,
        web=web,
        competing=len(ranked) + (0 if is_dropped else len(unknown)),
        unseen=tuple(unknown) if is_dropped else (),
    )


def questions(records_dir: str) -> tuple[str, ...]:
    """The questions that anchors may be chosen from: TRAIN's, without those of dev.

    Raises:
      ValueError: if there are no records, or none has a question.
    """
    corpus = Corpus.of(records_dir)
    train = corpus.split_train(config.Data().dev_share, boxed_only=False).train
    entries = corpus.entries("train")
    texts = tuple(text for i in train if (text := entries[i].question))
    if not texts:
        raise ValueError(
            f"{records_dir}: no record of train has a question; name texts with --text"
        )
    return texts


def labels_of_records(records_dir: str) -> tuple[Label, ...]:
    """The labels of all boxes of all splits, most frequent first."""
    corpus, counts = Corpus.of(records_dir), collections.Counter()
    for split in corpus.split_names:
        for entry in corpus.entries(split):
            boxes = entry.boxes
            for kind, label, count in zip(*boxes[:3], strict=True):
                counts[kind, label] += count
    names = sorted(counts, key=lambda name: (-counts[name], name))
    return tuple(Label(label, kind, counts[kind, label]) for kind, label in names)


def vectors(
    labels: Sequence[Label], words: Sequence[str], source: str | None, out: pathlib.Path
) -> tuple[dict[str, np.ndarray] | None, str]:
    """The vectors of labels and anchors, and the file that holds them.

    Args:
      labels: of boxes.
      words: the anchors.
      source: an .npz file; None: MiniLM if it is installed.
      out: where MiniLM's vectors are written.

    Returns:
      Label or anchor -> vector, or None where nothing can make them; and the file.

    Raises:
      ValueError: if the source is missing, or `out` holds other vectors.
    """
    if source is not None:
        return anchors.load_embeddings(source), source
    if label_vectors.folder() is None:
        return None, ""
    names = {PERSON, *words, *(label.name for label in labels)}
    by_name = label_vectors.load().vectors(sorted(names))
    if out.exists():
        _check_alike(out, by_name)
        return by_name, str(out)
    buffer = io.BytesIO()
    np.savez(buffer, **by_name)
    atomic.write(out, buffer.getvalue())
    logging.info("%s holds the vectors of %d labels and anchors", out, len(by_name))
    return by_name, str(out)


def _check_alike(out: pathlib.Path, by_name: Mapping[str, np.ndarray]) -> None:
    """Whether a file holds these vectors, up to what another machine rounds."""
    kept = anchors.load_embeddings(str(out))
    is_alike = kept.keys() == by_name.keys() and all(
        np.shape(kept[name]) == vector.shape
        and np.allclose(kept[name], vector, atol=1e-4)
        for name, vector in by_name.items()
    )
    if not is_alike:
        raise ValueError(f"{out} holds other vectors; name a new file with --out")


def lines(
    choice: Choice,
    labels: Sequence[Label],
    embeddings: Mapping[str, np.ndarray] | None,
    file: str,
    reduce: str,
) -> list[str]:
    """All that the command prints.

    Raises:
      ValueError: if embeddings lack a label or an anchor.
    """
    text = [*table(choice), "", *_persons(choice.anchors), ""]
    words = ",".join(choice.anchors)
    if embeddings is None:
        return [
            *text,
            "What labels weigh is not known without vectors of words: name an .npz file"
            " with --embeddings, or",
            f"    {label_vectors.INSTALL}",
            f"--set masking.anchors={words}",
        ]
    text += _weights(labels, choice.anchors, embeddings, file, reduce)
    use = f"--set masking.anchors={words} --set masking.label_embeddings={file}"
    use += f" --set masking.similarity={reduce}" if reduce != "nearest" else ""
    return [*text, "", "To mask by them, add to pretrain:", use]


def table(choice: Choice) -> Iterable[str]:
    """The anchors with their counts, a line each."""
    yield (
        f"{choice.texts} texts, {choice.words} words in those that differ;"
        f" {choice.competing} frequent words of three or more characters compete"
    )
    if choice.unseen:
        shown = ", ".join(choice.unseen[:SHOWN])
        more = ", ..." if len(choice.unseen) > SHOWN else ""
        yield f"{len(choice.unseen)} without a web count drop out: {shown}{more}"
    yield f"{'place':>5}  {'word':<16} {'count':>6} {'web count':>14} {'TF-ICF':>10}"
    for place, (word, score) in enumerate(choice.scores, 1):
        count, web = choice.counts[word], choice.web.get(word, 0)
        yield f"{place:5}  {word:<16} {count:6} {web:14} {score:10.4g}"


def _persons(words: Sequence[str]) -> Iterable[str]:
    """Whether words for persons lead."""
    places = {word: place for place, word in enumerate(words, 1) if word in PERSONS}
    if not places:
        yield f"None of the {len(words)} is a word for persons (names are not known)."
        return
    shown = ", ".join(f"{word} ({place})" for word, place in places.items())
    verb = "lead" if min(places.values()) == 1 else "do not lead"
    yield f"Words for persons {verb}: {shown} (names are not known)."


def _weights(
    labels: Sequence[Label],
    words: Sequence[str],
    embeddings: Mapping[str, np.ndarray],
    file: str,
    reduce: str,
) -> Iterable[str]:
    """A line a label, the heaviest first."""
    boxes = types.SimpleNamespace(
        kind=[label.kind for label in labels], label=[label.name for label in labels]
    )
    names = anchors.labels_of(boxes, words, embeddings)
    weights = anchors.label_similarity(names, words, embeddings, reduce)
    each = np.stack(
        [anchors.label_similarity(names, [word], embeddings) for word in words]
    )
    yield f"Weights of {len(labels)} labels by the {reduce} of the anchors ({file}):"
    for i in sorted(range(len(labels)), key=lambda i: (-weights[i], i)):
        label = labels[i]
        text = f"{weights[i]:6.3f}  {label.name:<16}"
        if reduce == "nearest":
            text += f" {words[int(each[:, i].argmax())]:<16}"
        if label.kind:
            text += f" {label.boxes} boxes, {label.kind}"
            text += f", as {names[i]}" if names[i] != label.name else ""
        yield text.rstrip()
