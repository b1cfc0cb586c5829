"""Held-out scores from counts."""

from typing import NamedTuple

import jax
import numpy as np
import pytest

from mmdiffmask.training import evaluate
from mmdiffmask.training.family import Held

NAMES = {"retrieval_touched": "rows", "retrieval_hidden": "hidden_rows"}


def _counts(**fields):
    """Scores of one stream; what is not given is 0."""
    zeros = np.zeros(len(next(iter(fields.values()))))
    fields = {k: np.array(v, float) for k, v in fields.items()}

    def of(metric, count):
        return fields.get(metric, zeros), fields.get(count, zeros)

    losses = {name: of(name, "rows") for name in evaluate.SUMMED}
    return losses | {name: of(name, count) for name, count in NAMES.items()}


def _rows(streams, clips, step=0, kind="x"):
    weights = evaluate.resamples(clips, 0)
    found = evaluate._rows(streams, step, kind, weights)
    return found + evaluate._pooled(streams, step, kind, weights)


TEXT = _counts(
    rows=[4, 2], retrieval_touched=[3, 0], loss=[8, 4], log_candidates=[4, 2]
)
AUDIO = _counts(
    rows=[4, 0], retrieval_touched=[1, 0], loss=[2, 0], log_candidates=[4, 0]
)
CLIPS = np.array([1, 2], np.uint32)


def _row(rows, stream, metric):
    return next(r for r in rows if (r.stream, r.metric) == (stream, metric))


def test_losses_add_over_streams_and_shares_pool():
    rows = _rows({"text": TEXT, "audio": AUDIO}, CLIPS, 7, "random")
    assert {(r.step, r.masks) for r in rows} == {(7, "random")}
    assert _row(rows, "text", "retrieval_touched").value == 0.5
    assert _row(rows, "audio", "retrieval_touched").value == 0.25
    assert _row(rows, "all", "retrieval_touched").value == 0.4
    assert _row(rows, "all", "retrieval_touched").count == 10
    assert _row(rows, "all", "loss").value == 2.5
    assert _row(rows, "all", "log_candidates").value == 2.0
    assert _row(rows, "all", "retrieval_hidden").value is None
    assert evaluate.value_of(rows, "random", "loss") == 2.5
    with pytest.raises(ValueError, match="no retrieval_hidden on random"):
        evaluate.value_of(rows, "random", "retrieval_hidden")


def test_a_stream_without_rows_adds_nothing():
    silent = _counts(rows=[0, 0])
    rows = _rows({"text": TEXT, "audio": silent}, CLIPS, 0, "random")
    assert _row(rows, "audio", "loss").value is None
    assert _row(rows, "all", "loss").value == 2.0


def test_interval_is_over_clips():
    rng = np.random.default_rng(0)
    hits = rng.integers(0, 2, 200) * 10.0  # a clip's ten cells share their fate
    counts = _counts(rows=np.full(200, 10.0), retrieval_touched=hits)
    clips = np.arange(200, dtype=np.uint32)
    row = _row(_rows({"text": counts}, clips), *SHARE)
    share = hits.sum() / 2000
    half = 1.96 * np.sqrt(share * (1 - share) / 200)
    assert row.low == pytest.approx(share - half, abs=0.015)
    assert row.high == pytest.approx(share + half, abs=0.015)
    again = _row(_rows({"text": counts}, clips), *SHARE)
    assert (again.low, again.high) == (row.low, row.high)
    pairs = np.repeat(np.arange(100, dtype=np.uint32), 2)  # two windows a clip
    doubled = _counts(
        rows=np.full(200, 10.0), retrieval_touched=np.repeat(hits[:100], 2)
    )
    wide = _row(_rows({"text": doubled}, pairs), *SHARE)
    assert wide.high - wide.low > 1.25 * (row.high - row.low)


SHARE = ("text", "retrieval_touched")


HELD = Held(None, {}, jax.random.key(0))


class _Batch(NamedTuple):
    clip_hash: np.ndarray
    is_real: np.ndarray


def _batch(is_real):
    return _Batch(np.arange(len(is_real), dtype=np.uint32), np.array(is_real))


def test_rows_that_fill_up_a_batch_count_nowhere():
    def step(params, held, batch, is_masked):
        assert is_masked == "drawn"
        return {"text": TEXT}, 0

    draws = {"x": lambda batch: "drawn"}
    batches = [_batch([True, False])]
    rows = evaluate.masked(step, draws, None, HELD, batches, 3, 0)
    assert _row(rows, *SHARE).value == 0.75 and _row(rows, *SHARE).step == 3
    with pytest.raises(ValueError, match="no held-out clip"):
        evaluate.masked(step, draws, None, HELD, [], 3, 0)


def test_numbers_of_whole_batches_are_averaged_and_empty_ones_left_out():
    losses = iter(np.array([1.0, 4.0]))
    hits = (np.array([1.0, 5.0]), np.array([2.0, 5.0]))
    nothing = (np.zeros(2), np.zeros(2))

    def step(params, held, batch):
        words = {"a": {"right": hits}, "b": {"right": nothing}}
        return {
            "terms": {"all": {"loss": (np.asarray(next(losses)), None)}},
            "words": words,
        }

    batches = [_batch([True, False]), _batch([True, True])]
    rows = evaluate.unmasked(step, None, HELD, batches, 3, 0)
    (loss,) = (row for row in rows if row.masks == "terms")
    assert (loss.value, loss.low, loss.count) == (2.5, None, 2)
    (right,) = (row for row in rows if row.masks == "words")
    assert (right.stream, right.value, right.count) == ("a", 7 / 9, 9)


def test_too_few_slots_are_refused():
    evaluate.check_slots(0, "random")
    with pytest.raises(ValueError, match="masks of kind random touch 3 more cells"):
        evaluate.check_slots(3, "random")
