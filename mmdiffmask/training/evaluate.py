"""Scores on held-out clips: every checkpoint on the same masks of every kind."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, UInt32

from mmdiffmask import statistics, types
from mmdiffmask.training.family import (
    Batch,
    Held,
    OthersStep,
    Params,
    Scores,
    ScoreStep,
)

RESAMPLES = 1000
ALL = "all"
OTHERS = "terms"  # kind of scores: losses of the terms that need no masks
SUMMED = ("loss", "log_candidates")  # over streams; other numbers pool their counts
AVERAGED = ("f1",)  # over the streams, here labels, that something was counted for


@dataclasses.dataclass(frozen=True)
class Row:
    """One number about one checkpoint, as metrics.jsonl and the report take it.

    Attributes:
      step: updates before it.
      masks: the strategy of the held-out masks, or the kind of scores that need none.
      stream: of the family's `Scores`, such as "text"; "all": losses summed, shares
        pooled over streams.
      metric: its name among the family's `Scores`, such as "loss".
      value: None where there was nothing to count.
      low: lower end of the 95% interval over clips; None where there is none.
      high: upper end.
      count: what was counted for the number: predicted cells, words, batches.
    """

    step: int
    masks: str
    stream: str
    metric: str
    value: float | None
    low: float | None = None
    high: float | None = None
    count: int = 0


def masked(
    score_step: ScoreStep,
    draws: Mapping[str, Callable[[Batch], Any]],
    params: Params,
    held: Held,
    batches: Iterable[Batch],
    step: int,
    seed: int,
) -> list[Row]:
    """The numbers of one checkpoint under masks of every kind.

    Args:
      score_step: `steps.make_score_step`.
      draws: strategy -> batch -> what is hidden; static masks, so that every
        checkpoint and row of a comparison meets the same.
      params: the checkpoint.
      held: of its run.
      batches: the held-out clips, in a fixed order (candidates are the batch's).
      step: of the checkpoint.
      seed: of the resamples.

    Raises:
      ValueError: if there is no clip, or a mask touches more cells than have slots.
    """
    parts: dict[str, list[Scores]] = {kind: [] for kind in draws}
    clips = []
    for batch in batches:
        clips.append(_real(batch.clip_hash, batch))
        for kind, draw in draws.items():
            scores, dropped = score_step(params, held, batch, draw(batch))
            check_slots(int(dropped), kind)
            parts[kind].append(_real_scores(scores, batch))
    if not clips:
        raise ValueError("no held-out clip to evaluate on: raise data.dev_share")
    weights = resamples(np.concatenate(clips), seed)
    rows = []
    for kind, of_batches in parts.items():
        scores = _join(of_batches)
        rows += _rows(scores, step, kind, weights) + _pooled(
            scores, step, kind, weights
        )
    return rows


def unmasked(
    others_step: OthersStep,
    params: Params,
    held: Held,
    batches: Iterable[Batch],
    step: int,
    seed: int,
) -> list[Row]:
    """The numbers of one checkpoint that need no masks; arguments as in `masked`.

    A number of whole batches is their mean, without an interval. One that nothing was
    counted for is left out.
    """
    parts: list[dict[str, Scores]] = []
    clips = []
    for batch in batches:
        scores = others_step(params, held, batch)
        clips.append(_real(batch.clip_hash, batch))
        parts.append({kind: _real_scores(x, batch) for kind, x in scores.items()})
    weights = resamples(np.concatenate(clips), seed)
    rows = []
    for kind in parts[0]:
        joined = _join([part[kind] for part in parts])
        rows += [row for row in _rows(joined, step, kind, weights) if row.count]
    return rows


def _real(values: Any, batch: Batch) -> np.ndarray:
    """Without the rows that only fill up the last batch."""
    return np.asarray(values)[np.asarray(batch.is_real)]


def _real_scores(scores: Scores, batch: Batch) -> Scores:
    def real(
        pair: tuple[types.Array, types.Array | None],
    ) -> tuple[np.ndarray, np.ndarray | None]:
        total, count = pair
        if count is None:
            return np.asarray(total)[None], None
        return _real(total, batch), _real(count, batch)

    return {
        stream: {metric: real(pair) for metric, pair in metrics.items()}
        for stream, metrics in scores.items()
    }


def _join(parts: list[Scores]) -> Scores:
    """The scores of all batches, one behind the other."""

    def join(stream: str, metric: str) -> tuple[np.ndarray, np.ndarray | None]:
        totals, counts = zip(*(part[stream][metric] for part in parts), strict=True)
        is_counted = counts[0] is not None
        return np.concatenate(totals), np.concatenate(counts) if is_counted else None

    return {
        stream: {metric: join(stream, metric) for metric in metrics}
        for stream, metrics in parts[0].items()
    }


def _rows(
    scores: Scores, step: int, kind: str, weights: Float[np.ndarray, "r e"]
) -> list[Row]:
    """A row for each stream and metric.

    Intervals are percentiles of a bootstrap over clips: cells of a clip, and examples
    that share one, depend on each other.
    """
    rows = []
    for stream, metrics in scores.items():
        for metric, (total, count) in metrics.items():
            if count is None:
                value = float(np.mean(total.astype(float)))
                row = Row(step, kind, stream, metric, value, count=len(total))
                rows.append(row)
            else:
                pair = [(total, count)]
                rows.append(row_of(step, kind, stream, metric, pair, weights))
    return rows


def _pooled(
    scores: Scores, step: int, kind: str, weights: Float[np.ndarray, "r e"]
) -> list[Row]:
    """A row for each metric, over all streams."""
    streams = list(scores.values())
    rows = []
    for metric in streams[0]:
        pairs = [stream[metric] for stream in streams]
        if metric in AVERAGED:
            n_counted = sum(np.sum(n) > 0 for _, n in pairs)
            pairs = [(x / max(n_counted, 1), n) for x, n in pairs]
        elif metric not in SUMMED:
            pairs = [(sum(x for x, _ in pairs), sum(n for _, n in pairs))]
        rows.append(row_of(step, kind, ALL, metric, pairs, weights))
    return rows


def check_slots(dropped: int, kind: str) -> None:
    """Refuses masks that the objective could not predict in full.

    Raises:
      ValueError: if any touched cell found no slot.
    """
    if dropped:
        raise ValueError(
            f"masks of kind {kind} touch {dropped} more cells than masking.ratio allows"
            " for; give the objective more slots"
        )


def row_of(
    step: int,
    kind: str,
    stream: str,
    metric: str,
    pairs: list[tuple[np.ndarray, np.ndarray]],
    weights: Float[np.ndarray, "r e"],
) -> Row:
    """The sum of the pairs' ratios; a pair without any count adds nothing.

    Args:
      step: as the row has it, like the next three.
      kind: of masks.
      stream: or word class.
      metric: its name.
      pairs: (sums, counts) per example.
      weights: `resamples`.
    """
    pairs = [(np.asarray(x, float), np.asarray(n, float)) for x, n in pairs]
    pairs = [(x, n) for x, n in pairs if n.sum() > 0]
    if not pairs:
        return Row(step, kind, stream, metric, value=None)
    value = sum(x.sum() / n.sum() for x, n in pairs)
    drawn = sum((weights @ x) / np.maximum(weights @ n, 1e-9) for x, n in pairs)
    is_some = np.all([weights @ n > 0 for _, n in pairs], axis=0)
    count = int(sum(n.sum() for _, n in pairs))
    if not is_some.any():  # many labels of one row each
        return Row(step, kind, stream, metric, value=float(value), count=count)
    low, high = np.percentile(drawn[is_some], [2.5, 97.5])
    return Row(
        step,
        kind,
        stream,
        metric,
        value=float(value),
        low=float(low),
        high=float(high),
        count=count,
    )


def resamples(
    clip_hash: UInt32[np.ndarray, " e"], seed: int
) -> Float[np.ndarray, "r e"]:
    """How often each example stands in each resample of a bootstrap over clips."""
    clips, clip_of = np.unique(clip_hash, return_inverse=True)
    drawn = np.concatenate([*statistics.draws(len(clips), seed, RESAMPLES)])
    return drawn[:, clip_of].astype(float)


def value_of(rows: list[Row], masks: str, metric: str, stream: str = "all") -> float:
    """One number out of the rows.

    Raises:
      ValueError: if it is not there or nothing was counted for it.
    """
    for row in rows:
        if (row.masks, row.stream, row.metric) == (masks, stream, metric):
            if row.value is not None:
                return row.value
    raise ValueError(
        f"the held-out clips have no {metric} on {masks} masks: none has a valid frame"
    )
