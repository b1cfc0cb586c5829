"""Folds of the held-out clips: who is in which; no clip has a say in its own score."""

import dataclasses

import numpy as np
import pytest

from mmdiffmask import config, configure
from mmdiffmask.probe import choices, features, folded, folds, linear, ties
from mmdiffmask.probe import clips as clip_probe

L2 = (1e-3, 1e-1, 10.0)


def clips(n, seed=0, d=5, classes=3):
    rng = np.random.default_rng(seed)
    target = rng.integers(0, classes, n)
    x = rng.normal(size=(classes, d))[target] + 1.3 * rng.normal(size=(n, d))
    names = tuple("abc"[i] for i in target)
    return linear.Labelled(
        x.astype(np.float32), names, tuple(f"c{i}" for i in range(n))
    )


def some(part, taken):
    kept = np.flatnonzero(taken)
    return linear.Labelled(
        part.features[kept],
        tuple(part.labels[i] for i in kept),
        tuple(part.clip[i] for i in kept),
    )


def asked(n, seed=0):
    rng = np.random.default_rng(seed)
    right = rng.integers(0, 4, n)
    x = rng.normal(size=(n, 4, 2, 3)).astype(np.float32)
    x[np.arange(n), right] += 0.6
    return choices.Questions(x, right)


def test_groups_are_dealt_out_whole_and_evenly():
    groups = {f"clip{i}": f"episode{i // 3}" for i in range(60)}
    fold = folds.deal(groups, 5)
    for clip, group in groups.items():
        assert fold[clip] == fold[f"clip{3 * int(group[7:])}"]
    assert np.bincount(list(fold.values())).tolist() == [12] * 5
    turned = dict(reversed(groups.items()))
    assert folds.deal(turned, 5) == fold  # whatever their order
    by_name = [fold[f"clip{3 * i}"] for i in range(20)]
    assert by_name != sorted(by_name) and by_name != [i % 5 for i in range(20)]


def test_more_folds_than_groups_are_refused():
    groups = {f"clip{i}": f"episode{i // 3}" for i in range(12)}
    with pytest.raises(ValueError, match=r"probe.folds=5: .* 4 groups .*fewer folds"):
        folds.deal(groups, 5)


@pytest.mark.parametrize("count", [1, 2])
def test_two_folds_cannot_choose(count):
    with pytest.raises(ValueError, match="probe.folds=.: must be 0, .* at least 3"):
        configure.override(config.Experiment("x"), [f"probe.folds={count}"])


def test_a_label_by_folds_is_the_probe_one_fold_at_a_time():
    part = clips(90)
    fold = np.arange(90) % 4
    result = folded.labels(part, fold, L2, neighbours=5)
    for one in range(4):
        scored, others = fold == one, [i for i in range(4) if i != one]
        # The penalty by hand: each other fold scored by heads of the two that are left.
        losses = {}
        for penalty in L2:
            summed, count = 0.0, 0
            for inner in others:
                train = some(part, ~np.isin(fold, (one, inner)))
                dev = some(part, fold == inner)
                head = linear.probe(train, dev, dev, (penalty,), 5)
                summed -= head.log_probability.sum()
                count += len(dev.labels)
            losses[penalty] = summed / count
        best = min(losses, key=losses.get)
        assert result.l2[one] == best
        train, val = some(part, ~scored), some(part, scored)
        alone = linear.probe(train, val, val, (best,), 5)
        np.testing.assert_array_equal(result.is_right[scored], alone.is_right)
        np.testing.assert_array_equal(result.is_right_knn[scored], alone.is_right_knn)
        np.testing.assert_allclose(
            result.log_probability[scored], alone.log_probability, rtol=1e-5
        )
    assert result.gradient < 1e-6 and result.is_right.mean() > 0.5
    assert list(result.dev_loss) == sorted(L2)


def test_a_clip_s_own_label_changes_nothing_for_its_fold():
    part, fold = clips(60), np.arange(60) % 3
    before = folded.labels(part, fold, L2, 5)
    turned = list(part.labels)
    turned[7] = "b" if turned[7] != "b" else "c"
    after = folded.labels(dataclasses.replace(part, labels=tuple(turned)), fold, L2, 5)
    mine = fold == fold[7]
    mine[7] = False
    np.testing.assert_array_equal(
        before.log_probability[mine], after.log_probability[mine]
    )
    assert before.l2[fold[7]] == after.l2[fold[7]]
    assert before.log_probability[7] != after.log_probability[7]


def test_questions_by_folds_are_the_probe_one_fold_at_a_time():
    questions, fold = asked(80), np.arange(80) % 4
    result = folded.answers(questions, fold, L2, "softmax")

    def part(taken):
        return choices.Questions(questions.features[taken], questions.right[taken])

    for one in range(4):
        scored = fold == one
        losses = {}
        for penalty in L2:
            summed = 0.0
            for inner in set(range(4)) - {one}:
                head = choices.probe(
                    part(~np.isin(fold, (one, inner))),
                    *[part(fold == inner)] * 2,
                    (penalty,),
                    "softmax",
                )
                summed -= head.log_probability.sum()
            losses[penalty] = summed
        best = min(losses, key=losses.get)
        alone = choices.probe(part(~scored), *[part(scored)] * 2, (best,), "softmax")
        assert result.l2[one] == best
        np.testing.assert_array_equal(result.is_right[scored], alone.is_right)
        np.testing.assert_allclose(
            result.log_probability[scored], alone.log_probability, rtol=1e-5
        )
    assert result.is_right_knn is None and result.is_right.mean() > 0.3


def held_out(names, folds_of):
    rng = np.random.default_rng(1)
    clip = tuple(f"c{i}" for i in range(len(names)))
    vectors = {"joint": rng.normal(size=(len(names), 4)).astype(np.float32)}
    return clip_probe.HeldOut(
        features.Features(clip, vectors),
        {name: {"kind": value} for name, value in zip(clip, names, strict=True)},
        dict(zip(clip, folds_of, strict=True)),
    )


def test_labels_of_all_held_out_clips_and_their_floors():
    # Fold 2 alone has "rare"; a clip without a label is in no table.
    names = ["a", "b"] * 9 + ["", "rare", "rare"]
    of_fold = [0, 1, 2] * 6 + [0, 2, 2]
    settings = config.Probe(folds=3, l2=(0.1, np.inf))
    label = clip_probe.probe_folds(settings, "kind", held_out(names, of_fold))
    assert len(label.clips) == 20 and "c18" not in label.clips
    head = label.heads["joint"]
    assert len(head.is_right) == len(head.log_probability) == 20
    assert head.log_probability[-2:] == [None, None]
    assert label.unknown == {"rare": 2}
    assert head.l2 is None and len(head.l2_of_fold) == 3
    assert label.floors.n_classes == 3 and label.floors.chance == pytest.approx(1 / 3)
    right = 0
    named = [(n, f) for n, f in zip(names, of_fold, strict=True) if n]
    for one in range(3):
        others = [n for n, f in named if f != one]
        largest = max(sorted(set(others)), key=others.count)
        right += sum(n == largest for n, f in named if f == one)
    assert label.floors.largest_class == pytest.approx(right / 20)


def test_folds_without_two_classes_say_so():
    names = ["a"] * 8 + ["b"]
    settings = config.Probe(folds=3)
    with pytest.raises(
        ValueError, match="probe.labels: kind: probe.folds: .* of 1 class;"
    ):
        clip_probe.probe_folds(settings, "kind", held_out(names, [0, 1, 2] * 3))


def test_features_that_tell_nothing_score_chance():
    same = np.ones((60, 3), np.float32)
    part = linear.Labelled(same, tuple("ab" * 30), tuple(map(str, range(60))))
    result = folded.labels(part, np.arange(60) // 2 % 3, (np.inf,), 5)
    np.testing.assert_allclose(result.is_right, 0.5)
    np.testing.assert_allclose(result.log_probability, np.log(0.5))
    assert ties.logs_as_json(result.log_probability)[0] == -0.69315
