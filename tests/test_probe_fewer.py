"""Heads on fewer labels: draws by hash, nested, and what is refused."""

import dataclasses

import numpy as np
import pytest

from mmdiffmask import config, configure
from mmdiffmask.probe import clips as clip_probe
from mmdiffmask.probe import features, fewer, linear, results

NAMES = tuple(f"c{i}" for i in range(200))


def test_draws_are_nested_and_differ():
    small, large = (fewer.draw(NAMES, share, 1) for share in (0.1, 0.3))
    assert small.sum() == 20 and large.sum() == 60
    assert large[small].all()  # the smaller lies within the larger
    assert not np.array_equal(small, fewer.draw(NAMES, 0.1, 2))
    turned = fewer.draw(NAMES[::-1], 0.1, 1)
    np.testing.assert_array_equal(turned[::-1], small)  # whatever their order
    assert fewer.draw(NAMES, 0.001, 0).sum() == 1
    assert fewer.draw(NAMES[:7], 0.1, 0, least=10).all()
    assert fewer.draw(NAMES, 1.0, 0).all()


def features_of(names, seed=0):
    rng = np.random.default_rng(seed)
    x = np.array([[n == "a", n == "b"] for n in names], float)
    x = (x + 0.6 * rng.normal(size=(len(names), 2))).astype(np.float32)
    return features.Features(
        tuple(f"{seed}-{i}" for i in range(len(names))), {"joint": x}
    )


@pytest.fixture
def sets():
    names = {"train": ["a", "b"] * 60, "dev": ["a", "b"] * 20, "val": ["b", "a"] * 30}
    parts = {name: features_of(y, i) for i, (name, y) in enumerate(names.items())}
    labels = {
        clip: {"kind": value}
        for name, part in parts.items()
        for clip, value in zip(part.clip, names[name], strict=True)
    }
    return clip_probe.ClipSets(**parts, labels=labels)


def test_a_fraction_is_a_probe_of_the_clips_that_were_drawn(sets):
    settings = config.Probe(fractions=(0.5, 0.1), fraction_draws=2, l2=(0.01, 1.0))
    head = clip_probe.probe_label(settings, "kind", sets).heads["joint"]
    assert [(one.fraction, one.draw, one.labels) for one in head.few] == [
        (0.1, 0, 12), (0.1, 1, 12), (0.5, 0, 60), (0.5, 1, 60),
    ]  # fmt: skip
    of_clip = {clip: row["kind"] for clip, row in sets.labels.items()}
    train, dev, val = (linear.label_clips(p, "joint", of_clip) for p in sets[:3])
    drawn = linear.some(train, fewer.draw(train.clip, 0.1, 1))
    least = linear.some(dev, fewer.draw(dev.clip, 0.1, 1, least=10))
    assert len(drawn.clip) == 12 and len(least.clip) == 10
    expected = linear.probe(drawn, least, val, (0.01, 1.0), 10)
    assert head.few[1].accuracy == pytest.approx(expected.is_right.mean())
    mean = expected.log_probability.mean()
    assert head.few[1].log_probability == pytest.approx(mean)
    whole = dataclasses.replace(settings, fractions=(1.0,), fraction_draws=1)
    head = clip_probe.probe_label(whole, "kind", sets).heads["joint"]
    assert head.few[0].accuracy == pytest.approx(np.mean(head.is_right))


def test_with_folds_all_clips_are_scored_by_few(sets):
    settings = config.Probe(fractions=(0.3, 1.0), fraction_draws=1, folds=3)
    fold = {clip: i % 3 for i, clip in enumerate(sets.val.clip)}
    held_out = clip_probe.HeldOut(sets.val, sets.labels, fold)
    head = clip_probe.probe_folds(settings, "kind", held_out).heads["joint"]
    few, whole = head.few
    assert few.labels == 18 and whole.labels == 60
    assert whole.accuracy == pytest.approx(np.mean(head.is_right))
    assert few.log_probability != whole.log_probability


def test_a_class_without_a_clip_is_refused(sets):
    settings = config.Probe(fractions=(0.005,))
    words = r"probe.fractions=0.005: 1 clips .* leave 1 of 2 classes of kind"
    with pytest.raises(ValueError, match=words):
        clip_probe.probe_label(settings, "kind", sets)


@pytest.mark.parametrize("text", ["fractions=0", "fractions=1.5", "streams=sound"])
def test_what_is_no_fraction_or_stream_is_refused(text):
    with pytest.raises(ValueError, match="out of range|must be one of"):
        configure.override(config.Experiment("x"), [f"probe.{text}"])


def test_the_small_table():
    few = [
        results.Few(fraction=q, draw=d, labels=n, accuracy=a, log_probability=p)
        for q, d, n, a, p in ((0.01, 0, 15, 0.2, -2.0), (0.01, 1, 15, 0.3, -1.0))
    ]
    (line,) = fewer.lines({"action joint": few})
    assert "1 % of labels: 25.0 (draws 20.0, 30.0)  log-p -1.500  15 labels" in line
