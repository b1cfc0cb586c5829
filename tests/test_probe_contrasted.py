"""Contrasts over seeds on made-up scores: against scipy, and where there is none."""

import dataclasses

import numpy as np
import pytest
import scipy.stats
from helpers import fake_runs

from mmdiffmask import contrast_statistics, contrasts, statistics
from mmdiffmask.probe import contrasted, results

SEEDS, CLIPS = (0, 1, 2, 5), 80
ROWS, MEASURES = ("none", "a", "b"), ("action", "object", "match", "match/who")


def label(rate, rng, clips):
    right = (rng.random(len(clips)) < rate).astype(int).tolist()
    head = results.LabelHead(l2=1.0, is_right=right, is_right_knn=right)
    other = dataclasses.replace(head, is_right=[0] * len(clips))
    return results.Label(
        heads={"joint": head, "vit": other},
        floors=statistics.Floors(0.25, 0.3, 4),
        clips=clips,
    )


def scores(rate, rng):
    """A run's: action of all clips, object of half of them, two questions a clip."""
    clips = [f"clip{i:02}" for i in range(CLIPS)]
    asked = results.Questions(
        kinds=["who", ""] * CLIPS,
        clips=np.repeat(clips, 2).tolist(),
        ids=[f"q{i}" for i in range(2 * CLIPS)],
        chance=0.25,
        read_outs={
            "match": results.Scores(is_right=fake_runs.noisy(rate, 3, 2 * CLIPS))
        },
    )
    labels = {"action": label(rate, rng, clips), "object": label(0.5, rng, clips[::2])}
    return results.Probed(
        key=results.Key(probe={}), labels=labels, step=1, questions=asked
    )


@pytest.fixture
def runs():
    rng = np.random.default_rng(0)
    rates = {"none": 0.4, "a": 0.7, "b": 0.5}
    return {
        row: {seed: scores(rate, rng) for seed in SEEDS} for row, rate in rates.items()
    }


def measure(runs, *texts):
    return contrasted.measure(contrasts.parse(texts, ROWS, MEASURES), runs, 300)


def shares(runs, row, name):
    return np.array(
        [np.mean(runs[row][s].labels[name].heads["joint"].is_right) for s in SEEDS]
    )


def test_rows_over_seeds_are_scipy_s(runs):
    texts = ("a:action - b:action", "a:object - b:object", "b:action - none:action")
    measured = measure(runs, *texts)
    pairs = [("a", "b", "action"), ("a", "b", "object"), ("b", "none", "action")]
    expected = [
        scipy.stats.ttest_rel(shares(runs, a, name), shares(runs, b, name))
        for a, b, name in pairs
    ]
    assert [item.name for item in measured] == list(texts)
    adjusted = contrast_statistics.holm([float(test.pvalue) for test in expected])
    for item, test, p in zip(measured, expected, adjusted, strict=True):
        interval = test.confidence_interval(0.95)
        np.testing.assert_allclose(item.over_seeds.p, test.pvalue)
        np.testing.assert_allclose(
            (item.over_seeds.low, item.over_seeds.high), interval
        )
        assert item.adjusted_p == pytest.approx(p) and item.seeds == SEEDS
        assert item.is_seen == (p <= 0.05)
        effect = contrast_statistics.smallest_effect(item.over_seeds.sd, 4, 3)
        assert item.smallest == pytest.approx(effect)
        assert item.over_clips.value == pytest.approx(item.over_seeds.mean)
    assert [item.over_clips.n for item in measured] == [80, 40, 80]
    assert measure(runs, *texts) == measured


def test_log_probabilities_over_seeds_are_scipy_s(runs):
    rng = np.random.default_rng(5)
    logs = {(row, s): np.log(rng.random(CLIPS)) for row in "ab" for s in SEEDS}
    for (row, s), values in logs.items():
        old = runs[row][s].labels
        values = [None, *values.tolist()[1:]]  # a class that train lacks
        head = dataclasses.replace(old["action"].heads["joint"], log_probability=values)
        changed = dataclasses.replace(old["action"], heads={"joint": head})
        runs[row][s] = dataclasses.replace(
            runs[row][s], labels=old | {"action": changed}
        )
    name = "action/log-probability"
    contrast = contrasts.parse([f"a:{name} - b:{name}"], ROWS, [name, "object", "who"])
    (item,) = contrasted.measure(contrast, runs, 300)
    means = [[logs[row, s][1:].mean() for s in SEEDS] for row in "ab"]
    test = scipy.stats.ttest_rel(*means)
    assert item.over_seeds.p == pytest.approx(float(test.pvalue))
    assert item.over_seeds.mean == pytest.approx(np.mean(means[0]) - np.mean(means[1]))
    assert item.over_clips.value == pytest.approx(item.over_seeds.mean)
    assert item.over_clips.n == CLIPS - 1
    name = "object/log-probability"
    contrast = contrasts.parse([f"a:{name} - b:{name}"], ROWS, [name])
    with pytest.raises(ValueError, match="row a: a version before probed it"):
        contrasted.measure(contrast, runs, 300)


def test_a_difference_of_differences(runs):
    text = "(a:action - b:action) - (a:object - b:object)"
    (item,) = measure(runs, text)
    one, other = (
        shares(runs, "a", name) - shares(runs, "b", name)
        for name in ("action", "object")
    )
    expected = scipy.stats.ttest_rel(one, other)
    assert item.over_seeds.p == pytest.approx(float(expected.pvalue))
    assert item.over_seeds.mean == pytest.approx(float(np.mean(one - other)))
    assert item.adjusted_p == item.over_seeds.p and item.over_clips.n == 80
    assert item.over_clips.low < item.over_seeds.mean < item.over_clips.high


def test_the_mean_of_measures_is_half_their_sum(runs):
    mean, total = measure(
        runs,
        "a:mean(action, object) - b:mean(action, object)",
        "a:action + a:object - b:action - b:object",
    )
    one, other = (
        (shares(runs, row, "action") + shares(runs, row, "object")) / 2 for row in "ab"
    )
    expected = scipy.stats.ttest_rel(one, other)
    assert mean.over_seeds.mean == pytest.approx(np.mean(one - other))
    assert mean.over_seeds.p == pytest.approx(float(expected.pvalue))
    ends = (mean.over_seeds.low, mean.over_seeds.high)
    np.testing.assert_allclose(ends, expected.confidence_interval(0.95))
    assert total.over_seeds.mean == pytest.approx(2 * mean.over_seeds.mean)
    assert mean.over_clips.value == pytest.approx(mean.over_seeds.mean)
    assert mean.over_clips.low == pytest.approx(total.over_clips.low / 2)


def test_where_there_is_no_comparison(runs):
    (same,) = measure(runs, "a:match - b:match")  # no seed changes the answers
    assert same.reason.startswith("no spread over seeds") and not same.is_seen
    _, other = measure(runs, "a:match - b:match", "a:action - b:action")
    assert other.adjusted_p == pytest.approx(2 * other.over_seeds.p)  # both count
    runs["b"] = {5: runs["b"][5]}
    first, second = measure(runs, "a:action - b:action", "a:action - none:action")
    assert "one seed" in first.reason and first.seeds == (5,)
    assert first.over_seeds is first.over_clips is first.adjusted_p is None
    assert second.adjusted_p == second.over_seeds.p  # alone in its family
    runs["b"] = {}
    assert "no seed" in measure(runs, "a:action - b:action")[0].reason


def test_questions_of_a_kind(runs):
    for i, seed in enumerate(SEEDS):
        old = runs["a"][seed]
        right = [int(j < 100 + i) for j in range(2 * CLIPS)]
        read_outs = {"match": results.Scores(is_right=right)}
        asked = dataclasses.replace(old.questions, read_outs=read_outs)
        runs["a"][seed] = dataclasses.replace(old, questions=asked)
    (item,) = measure(runs, "a:match/who - none:match/who")
    first = np.mean(runs["none"][0].questions.read_outs["match"].is_right[::2])
    expected = np.mean([50, 51, 51, 52]) / CLIPS - first
    assert item.over_seeds.mean == pytest.approx(expected)


def test_labels_that_tell_nothing_apart_and_other_clips(runs):
    why = "train has one class of it"
    old = runs["a"][1]
    without = {"object": old.labels["object"]}
    runs["a"][1] = dataclasses.replace(old, labels=without, left_out={"action": why})
    (item,) = measure(runs, "a:action - b:action")
    assert item.reason == f"action: {why}"
    turned = dataclasses.replace(
        old.labels["action"], clips=old.labels["action"].clips[::-1]
    )
    runs["a"][1] = dataclasses.replace(old, labels={"action": turned})
    with pytest.raises(ValueError, match="scored on other clips or questions"):
        measure(runs, "a:action - b:action")
    runs["a"][1] = dataclasses.replace(old, labels={})
    with pytest.raises(ValueError, match="row a has no score of action"):
        measure(runs, "a:action - b:action")
    with pytest.raises(ValueError, match="no question of val is of the kind why"):
        contrast = contrasts.parse(["a:match/why - b:match/why"], ROWS, ["match/why"])
        contrasted.measure(contrast, runs, 300)


def test_the_table_as_text(runs):
    runs["none"] = {0: runs["none"][0]}
    measured = measure(runs, "a:action - b:action", "a:action - none:action")
    text = contrasted.lines(measured)
    assert len(text) == 4 and "Holm's correction over 1" in text[0]
    test = measured[0].over_seeds
    assert text[2].split()[:3] == [
        "4",
        f"{100 * test.mean:+.2f}",
        f"{100 * test.sd:.2f}",
    ]
    assert text[2].endswith("  a:action - b:action")
    assert "not compared (one seed" in text[3]
