"""Held-out scores from counts."""

import numpy as np
import pytest

from mmdiffmask.training import evaluate, steps


def _counts(**fields):
    size = len(next(iter(fields.values())))
    empty = dict.fromkeys(steps.Counts._fields, np.zeros(size))
    return steps.Counts(**empty | {k: np.array(v, float) for k, v in fields.items()})


TEXT = _counts(rows=[4, 2], hits_touched=[3, 0], loss=[8, 4], log_candidates=[4, 2])
AUDIO = _counts(rows=[4, 0], hits_touched=[1, 0], loss=[2, 0], log_candidates=[4, 0])
CLIPS = np.array([1, 2], np.uint32)


def _row(rows, stream, metric):
    return next(r for r in rows if (r.stream, r.metric) == (stream, metric))


def test_losses_add_over_streams_and_shares_pool():
    rows = evaluate.summarise({"text": TEXT, "audio": AUDIO}, CLIPS, 7, "random", 0)
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
    rows = evaluate.summarise({"text": TEXT, "audio": silent}, CLIPS, 0, "random", 0)
    assert _row(rows, "audio", "loss").value is None
    assert _row(rows, "all", "loss").value == 2.0


def test_interval_is_over_clips():
    rng = np.random.default_rng(0)
    hits = rng.integers(0, 2, 200) * 10.0  # a clip's ten cells share their fate
    counts = _counts(rows=np.full(200, 10.0), hits_touched=hits)
    clips = np.arange(200, dtype=np.uint32)
    row = _row(evaluate.summarise({"text": counts}, clips, 0, "x", 0), *SHARE)
    share = hits.sum() / 2000
    half = 1.96 * np.sqrt(share * (1 - share) / 200)
    assert row.low == pytest.approx(share - half, abs=0.015)
    assert row.high == pytest.approx(share + half, abs=0.015)
    again = _row(evaluate.summarise({"text": counts}, clips, 0, "x", 0), *SHARE)
    assert (again.low, again.high) == (row.low, row.high)
    pairs = np.repeat(np.arange(100, dtype=np.uint32), 2)  # two windows a clip
    doubled = counts._replace(hits_touched=np.repeat(hits[:100], 2))
    wide = _row(evaluate.summarise({"text": doubled}, pairs, 0, "x", 0), *SHARE)
    assert wide.high - wide.low > 1.25 * (row.high - row.low)


SHARE = ("text", "retrieval_touched")


def test_rows_only_fill_when_real():
    clips = np.array([1, 0], np.uint32)
    kept = evaluate._real(TEXT, np.array([True, False]))
    rows = evaluate.summarise({"text": kept}, clips[:1], 0, "x", 0)
    assert _row(rows, *SHARE).value == 0.75


def test_too_few_slots_are_refused():
    evaluate.check_slots(0, "random")
    with pytest.raises(ValueError, match="masks of kind random touch 3 more cells"):
        evaluate.check_slots(3, "random")
