"""Anchors from word counts, and labels' similarity to them (paper: 3.4, 3.5)."""

import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from mmdiffmask.masking import word_counts
from mmdiffmask.types import Boxes

UNSEEN = ("drop", "floor")  # what becomes of words without a web count


def count_words(texts: Iterable[str]) -> dict[str, int]:
    """How often each word occurs: lower-cased runs of letters and digits.

    Texts of the same words count once, so that a sentence that many questions share
    does not make its words frequent, whatever is marked in it (design.md section 4.1).

    >>> count_words(["The cell, the CELL", "the [[ cell ]], the cell"])
    {'the': 2, 'cell': 2}
    """
    counted = word_counts.WordCounts()
    counted.add_all(texts)
    return dict(counted.counts)


def competing(
    target_counts: Mapping[str, int],
    web_counts: Mapping[str, int],
    max_candidates: int | None = 200,
    min_length: int = 3,
) -> tuple[list[str], list[str]]:
    """The words that may be anchors, most frequent first, and those that drop out.

    Args:
      target_counts: word -> count in the target corpus.
      web_counts: word -> count in a general corpus.
      max_candidates: how many of the most frequent target words compete; None: all.
      min_length: shorter words are left out.

    Returns:
      Words with a web count, and words without one.
    """
    words = [word for word in target_counts if len(word) >= min_length]
    words = sorted(words, key=lambda word: (-target_counts[word], word))
    words = words[:max_candidates]
    known = [word for word in words if web_counts.get(word, 0) > 0]
    return known, [word for word in words if web_counts.get(word, 0) <= 0]


def tf_icf(
    target_counts: Mapping[str, int],
    web_counts: Mapping[str, int],
    k: int = 20,
    max_candidates: int | None = 200,
    min_length: int = 3,
    unseen: str = "drop",
) -> list[tuple[str, float]]:
    """The k words with the highest freq(w, X_T) / freq(w, X_PT), best first.

    Paper: Eq. 2. Departs: the exact ratio proposes words seen a few times, so only
    the `max_candidates` most frequent target words compete (None: all, Eq. 2 as
    written); words without a web count, whose ratio is infinite, are dropped, or with
    `unseen` "floor" count as the rarest that has one. Ties by word (design.md section
    4.1).

    Args:
      target_counts: as `competing`.
      web_counts: as `competing`.
      k: how many; fewer words are all of them.
      max_candidates: as `competing`.
      min_length: as `competing`.
      unseen: "drop" or "floor".

    Raises:
      ValueError: if no word is left, or for another `unseen`.
    """
    if unseen not in UNSEEN:
        raise ValueError(f"unseen {unseen}: must be {' or '.join(UNSEEN)}")
    n_target, n_web = sum(target_counts.values()), sum(web_counts.values())
    words, unknown = competing(target_counts, web_counts, max_candidates, min_length)
    if unseen == "floor":
        words = [*words, *unknown]
        least = min((n for n in web_counts.values() if n > 0), default=1)
        web_counts = {**web_counts, **dict.fromkeys(unknown, least)}
    if not words:
        raise ValueError(
            "no anchor: no frequent word of the corpus has a web count, which are of"
            " English; name texts or counts of its language with --background"
        )
    score = {w: target_counts[w] / n_target / (web_counts[w] / n_web) for w in words}
    return sorted(score.items(), key=lambda item: (-item[1], item[0]))[:k]


def similarity(
    vectors: Float[np.ndarray, "w d"],
    anchor_vectors: Float[np.ndarray, "k d"],
    reduce: str = "nearest",
) -> Float[np.ndarray, " w"]:
    """Cosine with the nearest anchor (or with the anchors' centroid), at least 0.

    Paper: Eq. 3 and the numerator of Eq. 4; `centroid` is Table 3's ablation: the
    cosine with the mean of the unit-length anchors. Departs: negative cosines, which
    cannot be probabilities, become 0.

    Raises:
      ValueError: for a vector of length 0 or another `reduce`.
    """
    if reduce not in ("nearest", "centroid"):
        raise ValueError(f"similarity {reduce}: must be nearest or centroid")
    words, ends = _unit_length(vectors), _unit_length(anchor_vectors)
    if reduce == "centroid":
        ends = _unit_length(ends.mean(0, keepdims=True))
    return np.clip((words @ ends.T).max(1), 0.0, 1.0)


def _unit_length(vectors: np.ndarray) -> np.ndarray:
    vectors = np.asarray(vectors, np.float64)
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not np.all(length > 0) or not np.all(np.isfinite(length)):
        raise ValueError("an embedding has length 0 or is not finite: no cosine")
    return vectors / length


def label_similarity(
    labels: Sequence[str],
    anchors: Sequence[str],
    embeddings: Mapping[str, np.ndarray] | None = None,
    reduce: str = "nearest",
) -> Float[np.ndarray, " w"]:
    """Similarity of each label with the anchors (`similarity`), in [0, 1].

    The nearest anchor of a label that is an anchor is itself: it has 1 and needs no
    vector. Without embeddings nothing is known of any other label, so it has 0. One
    anchor is its own centroid; that of several needs embeddings.

    Raises:
      ValueError: if embeddings are given and lack a label or an anchor that is needed,
        or are not given and the centroid of several anchors is.
    """
    check_vectors(anchors, embeddings is not None, reduce)
    is_centroid = reduce == "centroid" and len(set(anchors)) > 1
    equal = () if is_centroid else anchors
    result = np.array([float(label in equal) for label in labels])
    others = [i for i, label in enumerate(labels) if label not in equal]
    if embeddings is None or not others:
        return result
    lacking = {labels[i] for i in others}.union(anchors).difference(embeddings)
    if lacking:
        raise ValueError(
            f"label embeddings: no vector for {', '.join(sorted(lacking))}; add it to"
            " the file of masking.label_embeddings, or set that to none"
        )
    vectors = np.stack([embeddings[labels[i]] for i in others])
    ends = np.stack([embeddings[anchor] for anchor in anchors])
    result[others] = similarity(vectors, ends, reduce)
    return result


def check_vectors(anchors: Sequence[str], has_vectors: bool, reduce: str) -> None:
    """Raises ValueError for the centroid of several anchors without vectors."""
    if reduce == "centroid" and len(set(anchors)) > 1 and not has_vectors:
        raise ValueError(
            "masking.similarity=centroid of several anchors needs their vectors: name"
            " a file in masking.label_embeddings, or set masking.similarity=nearest"
        )


def box_similarity(
    boxes: Boxes,
    anchors: Sequence[str],
    embeddings: Mapping[str, np.ndarray] | None = None,
    reduce: str = "nearest",
) -> Float[np.ndarray, " m"]:
    """Similarity of each box's label with the anchors.

    Departs: a face box counts as the person that it is part of, unless its own label
    is an anchor. The paper masks faces under the one anchor "person" (appendix B,
    Table 5), which needs faces to have weight. So does a body that is called otherwise
    ("child", "pedestrian"), unless it has a vector of its own.
    """
    labels = labels_of(boxes, anchors, embeddings)
    return label_similarity(labels, anchors, embeddings, reduce)


def labels_of(
    boxes: Any,
    anchors: Sequence[str],
    embeddings: Mapping[str, np.ndarray] | None = None,
) -> list[str]:
    """What each box counts as: its label, or "person" (`box_similarity`).

    Args:
      boxes: anything with the `kind` and `label` of each.
      anchors: the labels of weight 1.
      embeddings: label -> vector.
    """
    known = set(embeddings or ())

    def counts_as(kind: str, label: str) -> str:
        is_person = kind == "face" or (kind == "body" and label not in known)
        return "person" if is_person and label not in anchors else label

    return list(map(counts_as, boxes.kind, boxes.label))


def load_embeddings(path: str | pathlib.Path) -> dict[str, np.ndarray]:
    """Label -> vector of an .npz file whose arrays are named by the labels.

    Raises:
      ValueError: if the file is missing, is no .npz, or its vectors differ in size.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: no such file (masking.label_embeddings)")
    try:
        with np.load(path, allow_pickle=False) as stored:
            vectors = {label: np.asarray(stored[label]) for label in stored.files}
    except Exception as error:
        raise ValueError(f"{path}: not an .npz file of vectors: {error}") from error
    shapes = {vector.shape for vector in vectors.values()}
    if len(shapes) != 1 or len(next(iter(shapes))) != 1:
        raise ValueError(
            f"{path}: needs one vector per label, all of the same size; found shapes"
            f" {sorted(shapes)}"
        )
    return vectors
