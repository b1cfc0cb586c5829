"""The paper's premise (Eq. 1) on a labelled corpus, measured without training.

Masks by the anchors can help if the words most like them tell most about the label. A
linear classifier reads a bag of a quarter of each text's words: those most like the
anchors, those drawn by Eq. 4, a random quarter, those least like them; and all words.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
import scipy.sparse
import scipy.special
from jaxtyping import Float, Int

from mmdiffmask import statistics
from mmdiffmask.masking import word_counts
from mmdiffmask.masking.text_strategies import Similarity
from mmdiffmask.probe import linear, solver
from mmdiffmask.text.counting import Row

SHARE = 0.25
PENALTY = 1e-3  # one for all bags, so that none is chosen for a bag
FOLDS, RESAMPLES, DRAWS = 5, 1000, 3
TOP, DRAWN, CHANCE, LEAST, ALL = BAGS = (
    "most like the anchors",
    "drawn by Eq. 4",
    "drawn at random",
    "least like the anchors",
    "all words",
)


@dataclasses.dataclass(frozen=True)
class Premise:
    """How well each bag of words tells the label.

    Attributes:
      accuracy: bag -> share of texts told rightly, with its interval over groups.
      f1: bag -> mean of the classes' F1, with its interval over groups.
      gains: (measure, a bag - the random quarter) with its interval, of TOP and DRAWN.
      texts: how many were judged.
      groups: of how many distinct texts; chance is drawn over these.
      classes: how many labels there are.
      is_folded: judged by folds of the same texts, else on other files.
    """

    accuracy: dict[str, statistics.Score]
    f1: dict[str, statistics.Score]
    gains: dict[tuple[str, str], statistics.Difference]
    texts: int
    groups: int
    classes: int
    is_folded: bool


def measure(
    rows: Sequence[Row],
    similarity: Similarity,
    judged: Sequence[Row] = (),
    seed: int = 0,
) -> Premise:
    """Fits on the rows and judges other rows, or in folds that keep groups together.

    Args:
      rows: labelled texts.
      similarity: of words to the anchors.
      judged: labelled texts that are judged; (): `rows`, in five folds.
      seed: of draws, folds and resamples.

    Raises:
      ValueError: if there are fewer than two labels or too few texts.
    """
    every = [row for row in (*rows, *judged) if row.label is not None]
    classes = sorted({row.label for row in every})
    groups, group = np.unique([row.key for row in every], return_inverse=True)
    n_fit = len([row for row in rows if row.label is not None])
    if len(classes) < 2 or len(groups) < 2 * FOLDS:
        raise ValueError(
            f"{len(classes)} labels of {len(groups)} distinct texts: Eq. 1 needs two"
            f" labels and {2 * FOLDS} texts; name the labels' field with --label-field"
        )
    target = linear.class_index([row.label for row in every], classes)
    fold = np.random.default_rng(seed).permutation(len(groups))[group] % FOLDS
    if judged:
        fold = np.where(np.arange(len(every)) < n_fit, 1, 0)
    folds = [0] if judged else range(FOLDS)
    is_judged = np.isin(fold, list(folds))
    split = [word_counts.words(row.text) for row in every]
    keys = [row.key for row in every]
    n = len(classes)
    counts = {}
    for bag in BAGS:
        draws = DRAWS if bag in (DRAWN, CHANCE) else 1
        total = np.zeros((int(is_judged.sum()), 3 * n))
        for draw in range(draws):
            features = _bags(split, keys, similarity, bag, (seed, draw))
            predicted = _predict(features, target, fold, folds, n)[is_judged]
            total += _counts(predicted, target[is_judged], n) / draws
        counts[bag] = total
    _, clip = np.unique(group[is_judged], return_inverse=True)
    return _summary(counts, clip, seed, n, not judged)


def _pick(
    values: Float[np.ndarray, " w"], bag: str, key: int, seed: tuple[int, int]
) -> Int[np.ndarray, " k"]:
    """Which of a text's words are in the bag; ties at random."""
    if bag == ALL or not len(values):
        return np.arange(len(values))
    rng = np.random.default_rng([*seed, key])
    lot = rng.gumbel(size=len(values))
    if bag == DRAWN:
        with np.errstate(divide="ignore"):
            score = np.log(values) + lot
        score = np.where(values > 0, score, -1e9 + lot)
    else:
        score = {TOP: values, LEAST: -values, CHANCE: lot}[bag]
    k = max(1, round(SHARE * len(values)))
    return np.lexsort((-lot, -score))[:k]


def _bags(
    split: Sequence[list[str]],
    keys: Sequence[int],
    similarity: Similarity,
    bag: str,
    seed: tuple[int, int],
) -> scipy.sparse.csr_matrix:
    """(texts, words) 1 where a word is in the text's bag."""
    column: dict[str, int] = {}
    row_of, column_of = [], []
    for i, (names, key) in enumerate(zip(split, keys, strict=True)):
        places = _pick(similarity(names), bag, key, seed)
        for name in sorted({names[j] for j in places}):
            row_of.append(i)
            column_of.append(column.setdefault(name, len(column)))
    shape = len(split), max(len(column), 1)
    ones = np.ones(len(row_of))
    return scipy.sparse.csr_matrix((ones, (row_of, column_of)), shape=shape)


def _predict(
    features: scipy.sparse.csr_matrix,
    target: Int[np.ndarray, " e"],
    fold: Int[np.ndarray, " e"],
    folds: Sequence[int],
    n_classes: int,
) -> Int[np.ndarray, " e"]:
    """The class of each text, told by a head that was fitted without its fold."""
    predicted = np.zeros(len(target), np.int64)
    for one in folds:
        is_out = fold == one
        kernel, bias = _fit(features[~is_out], target[~is_out], n_classes)
        predicted[is_out] = np.argmax(features[is_out] @ kernel + bias, 1)
    return predicted


def _fit(
    features: scipy.sparse.csr_matrix, target: Int[np.ndarray, " e"], n_classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Softmax regression of sparse features at its optimum (`solver.minimise`)."""
    n, d = features.shape
    turned, rows, size = features.T.tocsr(), np.arange(n), d * n_classes

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        kernel, bias = flat[:size].reshape(d, n_classes), flat[size:]
        log_p = scipy.special.log_softmax(features @ kernel + bias, axis=1)
        value = -log_p[rows, target].mean() + 0.5 * PENALTY * (kernel**2).sum()
        error = np.exp(log_p)
        error[rows, target] -= 1.0
        error /= n
        slope = turned @ error + PENALTY * kernel
        return float(value), np.concatenate([slope.ravel(), error.sum(0)])

    flat, _ = solver.minimise(loss, size + n_classes)
    return flat[:size].reshape(d, n_classes), flat[size:]


def _counts(
    predicted: Int[np.ndarray, " e"], target: Int[np.ndarray, " e"], n: int
) -> Float[np.ndarray, "e m"]:
    """Of each text: right in class c, told c, is c; 3 n columns."""
    classes = np.arange(n)
    is_told, is_true = predicted[:, None] == classes, target[:, None] == classes
    parts = [is_told & is_true, is_told, is_true]
    return np.concatenate(parts, 1).astype(np.float64)


def _measures(sums: Float[np.ndarray, "r m"], n: int) -> dict[str, np.ndarray]:
    """Accuracy and macro F1 of sums of `_counts`; absent classes do not count."""
    right, named, true = sums[:, :n], sums[:, n : 2 * n], sums[:, 2 * n :]
    f1 = 2 * right / np.maximum(named + true, 1e-12)
    there = true > 0
    mean = (f1 * there).sum(1) / np.maximum(there.sum(1), 1)
    return {"accuracy": right.sum(1) / true.sum(1), "macro F1": mean}


def _summary(
    counts: dict[str, np.ndarray],
    group: Int[np.ndarray, " e"],
    seed: int,
    n: int,
    is_folded: bool,
) -> Premise:
    """Values with intervals; all bags share the resamples of groups."""
    n_groups = int(group.max()) + 1
    value, drawn = {}, {}
    for bag, of_text in counts.items():
        sums = np.zeros((n_groups, 3 * n))
        np.add.at(sums, group, of_text)
        value[bag] = _measures(sums.sum(0, keepdims=True), n)
        drawn[bag] = _measures(statistics.resampled(sums, seed, RESAMPLES), n)

    def score(bag: str, measure: str) -> statistics.Score:
        low, high = np.quantile(drawn[bag][measure], [0.025, 0.975])
        point = float(value[bag][measure][0])
        return statistics.Score(point, float(low), float(high), n_groups)

    def gain(bag: str, measure: str) -> statistics.Difference:
        point = float(value[bag][measure][0] - value[CHANCE][measure][0])
        spread = drawn[bag][measure] - drawn[CHANCE][measure]
        return statistics.with_interval(point, spread, n_groups)

    return Premise(
        accuracy={bag: score(bag, "accuracy") for bag in counts},
        f1={bag: score(bag, "macro F1") for bag in counts},
        gains={
            (measure, bag): gain(bag, measure)
            for measure in ("accuracy", "macro F1")
            for bag in (TOP, DRAWN)
        },
        texts=len(group),
        groups=n_groups,
        classes=n,
        is_folded=is_folded,
    )
