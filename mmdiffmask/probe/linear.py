"""Heads on frozen features: softmax regression at its optimum, beside neighbours."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import scipy.special
from jaxtyping import Bool, Float, Int

from mmdiffmask import softmax
from mmdiffmask.probe import features as feature_cache
from mmdiffmask.probe import neighbours as neighbours_lib
from mmdiffmask.probe import ties

UNKNOWN = -1  # class of a label that train does not have: always wrong


@dataclasses.dataclass(frozen=True)
class Labelled:
    """Clips of one split: features and one label each, never empty strings."""

    features: Float[np.ndarray, "e d"]
    labels: tuple[str, ...]
    clip: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Result:
    """A read-out of one label: which validation clips came out right.

    Attributes:
      classes: train's labels, sorted.
      l2: the penalty chosen on dev.
      dev_loss: cross-entropy on dev for each penalty tried.
      is_right: validation clips that the linear head names rightly; a tie counts as
        its share (`ties.hits`).
      is_right_knn: the same for the nearest neighbours.
      log_probability: of each validation clip's class, by the linear head; NaN of a
        class that train lacks.
      clip: the validation clips' names, in the same order.
      gradient: largest entry of the gradient at the chosen optimum.
      predicted: the class that the linear head names, of equal ones the first.
    """

    classes: tuple[str, ...]
    l2: float
    dev_loss: dict[float, float]
    is_right: Float[np.ndarray, " e"] | Bool[np.ndarray, " e"]
    is_right_knn: Float[np.ndarray, " e"] | Bool[np.ndarray, " e"]
    log_probability: Float[np.ndarray, " e"]
    clip: tuple[str, ...]
    gradient: float
    predicted: tuple[str, ...] = ()


def label_clips(
    features: feature_cache.Features, read_out: str, label_of_clip: Mapping[str, str]
) -> Labelled:
    """The clips that have a label, with their features of one read-out."""
    kept = [i for i, clip in enumerate(features.clip) if label_of_clip.get(clip)]
    clips = tuple(features.clip[i] for i in kept)
    return Labelled(
        features=features.vectors[read_out][np.array(kept, int)],
        labels=tuple(label_of_clip[clip] for clip in clips),
        clip=clips,
    )


def some(part: Labelled, is_taken: Bool[np.ndarray, " e"]) -> Labelled:
    """Some of the clips."""
    kept = np.flatnonzero(is_taken)
    labels, clips = (tuple(x[i] for i in kept) for x in (part.labels, part.clip))
    return Labelled(part.features[kept], labels, clips)


def class_index(labels: Sequence[str], classes: Sequence[str]) -> Int[np.ndarray, " e"]:
    """Position of each label in `classes`; UNKNOWN where it is none of them."""
    position = {name: i for i, name in enumerate(classes)}
    return np.array([position.get(label, UNKNOWN) for label in labels], np.int64)


def cross_entropy(
    head: softmax.Head,
    features: Float[np.ndarray, "e d"],
    target: Int[np.ndarray, " e"],
) -> float:
    """Mean over the rows whose class is known; nan if there are none."""
    known = np.flatnonzero(target != UNKNOWN)
    if not len(known):
        return float("nan")
    scores = features[known] @ head.kernel + head.bias
    log_p = scipy.special.log_softmax(scores, axis=1)
    return float(-log_p[np.arange(len(known)), target[known]].mean())


def probe(
    train: Labelled,
    dev: Labelled,
    val: Labelled,
    l2: Sequence[float],
    neighbours: int,
) -> Result:
    """Fits on train, chooses the penalty on dev, scores val once. design.md section 7.

    The penalty is the one of least cross-entropy on dev (accuracy on few clips is too
    coarse to choose by); the larger of two equal ones.

    Raises:
      ValueError: if train has fewer than two classes, val is empty, or dev cannot
        decide between several penalties.
    """
    classes = tuple(sorted(set(train.labels)))
    if len(classes) < 2 or not val.labels:
        raise ValueError(
            f"a probe needs two classes in train and clips in val; found"
            f" {len(classes)} classes and {len(val.labels)} clips"
        )
    scale = softmax.standardiser(train.features)
    x_train, x_dev, x_val = (scale(split.features) for split in (train, dev, val))
    y_train, y_dev, y_val = (
        class_index(split.labels, classes) for split in (train, dev, val)
    )
    heads = softmax.fit_each(x_train, y_train, len(classes), l2)
    losses = {s: cross_entropy(head, x_dev, y_dev) for s, head in heads.items()}
    chosen = least(losses)
    near = neighbours_lib.votes(x_train, y_train, x_val, len(classes), neighbours)
    scores = x_val @ heads[chosen].kernel + heads[chosen].bias
    return Result(
        classes=classes,
        l2=chosen,
        dev_loss=losses,
        is_right=ties.hits(scores, y_val),
        is_right_knn=ties.hits(near, y_val),
        log_probability=ties.log_probability(scores, y_val),
        clip=val.clip,
        gradient=heads[chosen].gradient,
        predicted=tuple(classes[i] for i in scores.argmax(1)),
    )


def least(losses: Mapping[float, float]) -> float:
    """The penalty of least loss on dev; the larger of two equal ones.

    Raises:
      ValueError: if a loss is not finite, so dev cannot decide.
    """
    if len(losses) > 1 and not all(np.isfinite(loss) for loss in losses.values()):
        raise ValueError(
            "no dev clip has a label that train has: raise data.dev_share, add clips,"
            " or name one probe.l2"
        )
    return min(losses, key=lambda l2: (losses[l2], -l2))
