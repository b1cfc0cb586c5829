"""Scores on held-out clips: every checkpoint on the same masks of every kind."""

import dataclasses
from collections.abc import Callable, Iterable

import numpy as np
from jaxtyping import Float, UInt32

from mmdiffmask.training import objective as objectives
from mmdiffmask.training import steps
from mmdiffmask.types import VideoBatch

RESAMPLES = 1000
# Name of a share -> (its hits, its rows) among the fields of `steps.Counts`.
SHARES = {
    "retrieval_touched": ("hits_touched", "rows"),
    "retrieval_hidden": ("hits_hidden", "hidden_rows"),
    "retrieval_in_clip": ("hits_in_clip", "rows"),
    "copy_touched": ("copies_touched", "rows"),
    "copy_hidden": ("copies_hidden", "hidden_rows"),
    "copy_in_clip": ("copies_in_clip", "rows"),
    "chance": ("chance", "rows"),
    "chance_in_clip": ("clips", "rows"),
}
MEANS = {"loss": ("loss", "rows"), "log_candidates": ("log_candidates", "rows")}


@dataclasses.dataclass(frozen=True)
class Row:
    """One number about one checkpoint, as metrics.jsonl and the report take it.

    Attributes:
      step: updates before it.
      masks: the strategy of the held-out masks.
      stream: "text", "audio", or "all": losses summed, shares pooled over streams.
      metric: "loss", "log_candidates" (the loss of guessing), or a name of `SHARES`:
        retrieval@1 or its copy floor on touched cells, wholly hidden cells, or touched
        cells among the clip's own; "chance" and "chance_in_clip" of guessing.
      value: None where there was nothing to count.
      low: lower end of the 95% interval over clips.
      high: upper end.
      count: predicted cells behind the number.
    """

    step: int
    masks: str
    stream: str
    metric: str
    value: float | None
    low: float | None
    high: float | None
    count: int


def evaluate(
    eval_step: Callable,
    draws: dict[str, Callable],
    params: objectives.Params,
    frozen: objectives.Frozen,
    batches: Iterable[VideoBatch],
    step: int,
    seed: int,
) -> list[Row]:
    """All rows of one checkpoint.

    Args:
      eval_step: `steps.make_eval_step`.
      draws: strategy -> `steps.make_draw`; static masks, so that every checkpoint
        and strategy meets the same.
      params: the checkpoint.
      frozen: of its run.
      batches: the held-out clips, in a fixed order (candidates are the batch's).
      step: of the checkpoint.
      seed: of the resamples.

    Raises:
      ValueError: if a mask touches more cells than the objective has slots for.
    """
    found: dict[str, list] = {kind: [] for kind in draws}
    clips = []
    for batch in batches:
        is_real = np.asarray(batch.is_real)
        clips.append(np.asarray(batch.clip_hash)[is_real])
        for kind, draw in draws.items():
            counts, dropped = eval_step(params, frozen, batch, draw(batch))
            check_slots(int(dropped), kind)
            found[kind].append(
                {name: _real(stream, is_real) for name, stream in counts.items()}
            )
    if not clips:
        raise ValueError("no held-out clip to evaluate on: raise data.dev_share")
    rows = []
    for kind, parts in found.items():
        streams = {name: _join([part[name] for part in parts]) for name in parts[0]}
        rows += summarise(streams, np.concatenate(clips), step, kind, seed)
    return rows


def _real(counts: steps.Counts, is_real: np.ndarray) -> steps.Counts:
    """Without the rows that only fill up the last batch."""
    return steps.Counts(*(np.asarray(field)[is_real] for field in counts))


def _join(parts: list[steps.Counts]) -> steps.Counts:
    return steps.Counts(*(np.concatenate(f) for f in zip(*parts, strict=True)))


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


def summarise(
    streams: dict[str, steps.Counts],
    clip_hash: UInt32[np.ndarray, " e"],
    step: int,
    kind: str,
    seed: int,
) -> list[Row]:
    """The rows of one strategy's held-out masks, from counts per example.

    Intervals are percentiles of a bootstrap over clips: cells of a clip, and examples
    that share one, depend on each other.
    """
    weights = resamples(clip_hash, seed)
    rows = []
    for name, counts in streams.items():
        for metric, (total, count) in (MEANS | SHARES).items():
            pair = [(getattr(counts, total), getattr(counts, count))]
            rows.append(row_of(step, kind, name, metric, pair, weights))
    everything = list(streams.values())
    for metric, (total, count) in MEANS.items():
        pairs = [(getattr(c, total), getattr(c, count)) for c in everything]
        rows.append(row_of(step, kind, "all", metric, pairs, weights))
    for metric, (total, count) in SHARES.items():
        hits = sum(getattr(c, total) for c in everything)
        of = sum(getattr(c, count) for c in everything)
        rows.append(row_of(step, kind, "all", metric, [(hits, of)], weights))
    return rows


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
        return Row(step, kind, stream, metric, None, None, None, 0)
    value = sum(x.sum() / n.sum() for x, n in pairs)
    drawn = sum((weights @ x) / np.maximum(weights @ n, 1e-9) for x, n in pairs)
    is_some = np.all([weights @ n > 0 for _, n in pairs], axis=0)
    low, high = np.percentile(drawn[is_some], [2.5, 97.5])
    count = int(sum(n.sum() for _, n in pairs))
    return Row(step, kind, stream, metric, float(value), float(low), float(high), count)


def resamples(
    clip_hash: UInt32[np.ndarray, " e"], seed: int
) -> Float[np.ndarray, "r e"]:
    """How often each example stands in each resample of a bootstrap over clips."""
    clips, clip_of = np.unique(clip_hash, return_inverse=True)
    generator = np.random.default_rng(seed)
    share = np.full(len(clips), 1.0 / len(clips))
    return generator.multinomial(len(clips), share, RESAMPLES)[:, clip_of].astype(float)


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
