"""The paper's premise (Eq. 1) on a labelled corpus, measured without training.

Masks by the anchors can help if the words most like them tell most about the label. A
linear classifier reads a bag of a quarter of each text's words: those most like the
anchors, those drawn by Eq. 4, a random quarter, those least like them; and all words.
"""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
import scipy.sparse
from jaxtyping import Float, Int

from mmdiffmask import statistics
from mmdiffmask.masking import word_counts
from mmdiffmask.masking.text_strategies import Similarity
from mmdiffmask.probe import bag_heads, linear
from mmdiffmask.text import bags
from mmdiffmask.text.counting import Row

# Each bag, measure and fold takes the one that is best in folds inside what it is
# fitted on; of equals the largest.
PENALTIES = (1e-2, 1e-3, 1e-4, 1e-5)
FOLDS, INSIDE, RESAMPLES, DRAWS = 5, 3, 1000, 3
MEASURES = "accuracy", "macro F1"

# What a bag's head gets right: (groups, 3 n), by measure.
Outcomes = dict[str, Float[np.ndarray, "g m"]]


@dataclasses.dataclass(frozen=True)
class Premise:
    """How well each bag of words tells the label.

    Attributes:
      accuracy: bag -> share of texts told rightly, with its interval over groups.
      f1: bag -> mean of the classes' F1, with its interval over groups.
      gains: (measure, a bag - the random quarter) with its interval, of TOP and DRAWN.
      penalties: (measure, bag) -> the penalty of each fold.
      texts: how many were judged.
      groups: of how many distinct texts; chance is drawn over these.
      classes: how many labels there are.
      is_folded: judged by folds of the same texts, else on other files.
    """

    accuracy: dict[str, statistics.Score]
    f1: dict[str, statistics.Score]
    gains: dict[tuple[str, str], statistics.Difference]
    penalties: dict[tuple[str, str], tuple[float, ...]]
    texts: int
    groups: int
    classes: int
    is_folded: bool


@dataclasses.dataclass(frozen=True)
class _Corpus:
    """The distinct texts (groups) of all rows.

    Attributes:
      words: of each, as places in the vocabulary.
      similarity: of the vocabulary.
      keys: of each.
      fitted: how many rows with each label are fitted on.
      judged: how many are judged.
      fold: of each; one fold judges what is fitted without it.
      folds: how many.
    """

    words: list[Int[np.ndarray, " _"]]
    similarity: Float[np.ndarray, " v"]
    keys: list[int]
    fitted: Float[np.ndarray, "g n"]
    judged: Float[np.ndarray, "g n"]
    fold: Int[np.ndarray, " g"]
    folds: int


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
    corpus = _corpus(rows, similarity, judged, seed)
    outcomes, penalties = {}, {}
    for bag in bags.NAMES:
        outcomes[bag], chosen = _outcomes(corpus, bag, seed)
        penalties |= {(name, bag): values for name, values in chosen.items()}
    summary = _summary(corpus, outcomes, seed)
    return Premise(**summary, penalties=penalties, is_folded=not judged)


def _corpus(
    rows: Sequence[Row], similarity: Similarity, judged: Sequence[Row], seed: int
) -> _Corpus:
    """The rows by their texts."""
    rows = [row for row in rows if row.label is not None]
    judged = [row for row in judged if row.label is not None]
    text_of = {row.key: row.text for row in (*rows, *judged)}
    keys = np.array(sorted(text_of), np.uint64)
    classes = sorted({row.label for row in (*rows, *judged)})
    if len(classes) < 2 or len(keys) < 2 * FOLDS:
        raise ValueError(
            f"{len(classes)} labels of {len(keys)} distinct texts: Eq. 1 needs two"
            f" labels and {2 * FOLDS} texts; name the labels' field with --label-field"
        )

    def counts(part: Sequence[Row]) -> np.ndarray:
        result = np.zeros((len(keys), len(classes)))
        group = np.searchsorted(keys, np.array([row.key for row in part], np.uint64))
        label = linear.class_index([row.label for row in part], classes)
        np.add.at(result, (group, label), 1)
        return result

    split = [word_counts.words(text_of[key]) for key in keys.tolist()]
    names = sorted({name for words in split for name in words})
    place = {name: i for i, name in enumerate(names)}
    fitted = counts(rows)
    fold = np.random.default_rng(seed).permutation(len(keys)) % FOLDS
    return _Corpus(
        words=[np.array([place[w] for w in words], np.int64) for words in split],
        similarity=similarity(names),
        keys=keys.tolist(),
        fitted=fitted,
        judged=counts(judged) if judged else fitted,
        fold=fold,
        folds=0 if judged else FOLDS,
    )


def _outcomes(
    corpus: _Corpus, bag: str, seed: int
) -> tuple[Outcomes, dict[str, tuple[float, ...]]]:
    """What the heads of a bag get right, and the penalties, by measure."""
    n = corpus.judged.shape[1]
    draws = DRAWS if bag in bags.IS_DRAWN else 1
    total = {name: np.zeros((len(corpus.keys), 3 * n)) for name in MEASURES}
    chosen: list[dict[str, float]] = []  # of each fold, by its first draw
    for draw in range(draws):
        seeds = [(seed, draw, key) for key in corpus.keys]
        features = bags.matrix(corpus.words, corpus.similarity, bag, seeds)
        for fold, (is_fitted, is_judged) in enumerate(_splits(corpus)):
            x, counts = features[is_fitted], corpus.fitted[is_fitted]
            if not draw:
                chosen.append(_choose(x, counts, seed))
            heads: dict[float, bag_heads.BagHead] = {}
            for name, penalty in chosen[fold].items():
                if penalty not in heads:
                    heads[penalty] = bag_heads.fit(x, counts, penalty)
                right = _counts(
                    heads[penalty], features[is_judged], corpus.judged[is_judged]
                )
                total[name][is_judged] += right / draws
    return total, {name: tuple(one[name] for one in chosen) for name in MEASURES}


def _splits(corpus: _Corpus) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Which groups are fitted on, and which are judged by that."""
    is_fitted, is_judged = corpus.fitted.any(1), corpus.judged.any(1)
    if not corpus.folds:
        yield is_fitted, is_judged
    for fold in range(corpus.folds):
        is_out = corpus.fold == fold
        yield is_fitted & ~is_out, is_judged & is_out


def _choose(
    features: scipy.sparse.csr_matrix, counts: Float[np.ndarray, "g n"], seed: int
) -> dict[str, float]:
    """For each measure the penalty that is best in folds of these groups."""
    fold = np.random.default_rng(seed).permutation(len(counts)) % INSIDE
    sums = np.zeros((len(PENALTIES), 3 * counts.shape[1]))
    for inside in range(INSIDE):
        x, y = features[fold != inside], counts[fold != inside]
        head = None
        for i, penalty in enumerate(PENALTIES):
            head = bag_heads.fit(x, y, penalty, head, is_rough=True)
            out = fold == inside
            sums[i] += _counts(head, features[out], counts[out]).sum(0)
    values = _measures(sums, counts.shape[1])
    return {name: PENALTIES[int(np.argmax(values[name]))] for name in MEASURES}


def _counts(
    head: bag_heads.BagHead,
    features: scipy.sparse.csr_matrix,
    labels: Float[np.ndarray, "g n"],
) -> Float[np.ndarray, "g m"]:
    """What a head gets right of the texts of each group (`statistics.group_counts`)."""
    return statistics.group_counts(np.argmax(head.scores(features), 1), labels)


def _measures(sums: Float[np.ndarray, "r m"], n: int) -> dict[str, np.ndarray]:
    """Accuracy and macro F1 of sums of `_counts`; absent classes do not count."""
    accuracy = sums[:, :n].sum(1) / sums[:, 2 * n :].sum(1)
    return dict(zip(MEASURES, (accuracy, statistics.macro_f1(sums)), strict=True))


def _summary(corpus: _Corpus, outcomes: dict[str, Outcomes], seed: int) -> dict:
    """Values with intervals; all bags and measures share the resamples of groups."""
    is_judged, n = corpus.judged.any(1), corpus.judged.shape[1]
    n_groups = int(is_judged.sum())
    value, drawn = {}, {}
    for bag, by_measure in outcomes.items():
        for name, of_group in by_measure.items():
            sums = of_group[is_judged]
            whole = sums.sum(0, keepdims=True)
            value[name, bag] = float(_measures(whole, n)[name][0])
            resampled = statistics.resampled(sums, seed, RESAMPLES)
            drawn[name, bag] = _measures(resampled, n)[name]

    def score(name: str, bag: str) -> statistics.Score:
        low, high = np.quantile(drawn[name, bag], [0.025, 0.975])
        return statistics.Score(value[name, bag], float(low), float(high), n_groups)

    def gain(name: str, bag: str) -> statistics.Difference:
        point = value[name, bag] - value[name, bags.CHANCE]
        spread = drawn[name, bag] - drawn[name, bags.CHANCE]
        return statistics.with_interval(point, spread, n_groups)

    return {
        "accuracy": {bag: score("accuracy", bag) for bag in outcomes},
        "f1": {bag: score("macro F1", bag) for bag in outcomes},
        "gains": {
            (name, bag): gain(name, bag)
            for name in MEASURES
            for bag in (bags.TOP, bags.DRAWN)
        },
        "texts": int(corpus.judged.sum()),
        "groups": n_groups,
        "classes": n,
    }
