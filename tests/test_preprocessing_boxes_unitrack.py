"""Laws of the tracker, on boxes that the tests make."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies

from preprocessing.boxes.unitrack import detections, tracker, tracks


def follow(frames, settings=None):
    """What is reported of each frame; one without detections stops the clock."""
    machine = tracker.Tracker(settings or tracker.Settings())
    nothing = tracker._report([], 0)
    return [machine.update(one) if len(one.score) else nothing for one in frames]


few = hypothesis.settings(max_examples=12, deadline=None)


def video(seed, things=4, frames=10, miss=0.2):
    """Things that wander, each with its look, sometimes missed, in shuffled order."""
    rng = np.random.default_rng(seed)
    place = rng.uniform(50, 400, (things, 2))
    speed = rng.uniform(-4, 4, (things, 2))
    size = rng.uniform(30, 80, (things, 2))
    look = rng.normal(size=(things, 8, 4, 10))
    for _ in range(frames):
        place = place + speed
        seen = rng.permutation(things)[rng.random(things) > miss]
        noise = rng.normal(size=(len(seen), 8, 4, 10))
        yield detections.Detections(
            tlwh=np.hstack([place, size])[seen] + rng.normal(size=(len(seen), 4)),
            score=rng.uniform(0.6, 1.0, len(seen)),
            category=np.zeros(len(seen), int),
            feature=look[seen] + 0.2 * noise,
        )


def equal(some, others, **moved):
    for one, other in zip(some, others, strict=True):
        for name in one._fields:
            a = getattr(one, name)
            b = getattr(other, name) + moved.get(name, 0)
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-6 if moved else 0)


SETTINGS = strategies.builds(
    tracker.Settings,
    frame_rate=strategies.sampled_from([2, 10]),
    use_kalman=strategies.booleans(),
    asso_with_motion=strategies.booleans(),
    motion_gated=strategies.booleans(),
)


@hypothesis.given(strategies.integers(0, 10**6), SETTINGS)
@few
def test_identities_are_unique_and_runs_are_alike(seed, settings):
    given = list(video(seed))
    reported = follow(given, settings)
    equal(reported, follow(given, settings))
    for one, frame in zip(reported, given, strict=True):
        assert len(set(one.id)) == len(one.id)
        assert len(set(one.detection)) == len(one.detection)
        assert (one.id >= 1).all()
        # A track that is reported took a detection in this very frame.
        assert (frame.score[one.detection] > settings.conf_thres).all()
    machine = tracker.Tracker(settings)
    for frame in given:
        if len(frame.score):
            machine.update(frame)
            ids = [one.id for one in machine.tracked + machine.lost]
            assert len(set(ids)) == len(ids)
            assert all(one.last == machine.clock for one in machine.tracked)


@hypothesis.given(strategies.integers(0, 10**6), SETTINGS)
@few
def test_moving_all_boxes_moves_the_tracks(seed, settings):
    given = list(video(seed))
    shift = np.array([64.0, -32.0, 0.0, 0.0])
    moved = [one._replace(tlwh=one.tlwh + shift) for one in given]
    found = follow(moved, settings)
    equal(found, follow(given, settings), tlwh=shift)


def test_things_keep_their_identity():
    given = list(video(3, things=5, frames=40, miss=0.0))
    given = [one._replace(score=np.full(5, 0.9)) for one in given]
    reported = follow(given)
    assert [sorted(one.id) for one in reported] == [[1, 2, 3, 4, 5]] * 40
    look = {}
    for one, frame in zip(reported, given, strict=True):
        for track, detection in zip(one.id, one.detection, strict=True):
            feature = frame.feature[detection].ravel()
            before = look.setdefault(track, feature)
            assert np.corrcoef(before, feature)[0, 1] > 0.9


def box(left, score=0.9, category=0, look=0):
    feature = np.random.default_rng(look).normal(size=(1, 8, 4, 10))
    return detections.Detections(
        np.array([[left, 50.0, 30.0, 60.0]]),
        np.array([score]),
        np.array([category]),
        feature,
    )


def both(one, other):
    parts = zip(one, other, strict=True)
    return detections.Detections(*(np.concatenate(pair) for pair in parts))


NOTHING = detections.Detections(*(part[:0] for part in box(0)))


def test_later_tracks_need_a_second_detection():
    first, other = box(100), box(300, look=1)
    frames = [first, both(first, other), both(first, other), first]
    reported = follow(frames)
    assert [one.id.tolist() for one in reported] == [[1], [1], [1, 2], [1]]
    frames[2] = first  # never seen again: the number is spent all the same
    reported = follow([*frames[:3], both(first, other), both(first, other)])
    assert reported[-1].id.tolist() == [1, 3]


def test_lost_tracks_come_back_within_the_buffer():
    weak = box(100, score=0.5)
    settings = tracker.Settings(frame_rate=3)  # three updates
    for gap, expected in ((1, [1]), (3, [1])):
        found = follow([box(100), *[weak] * gap, box(100)], settings)
        assert [one.id.tolist() for one in found] == [[1], *[[]] * gap, expected]
    found = follow([box(100), *[weak] * 5, box(100), box(100)], settings)
    assert found[-2].id.tolist() == []
    assert found[-1].id.tolist() == [2]
    # Frames without detections do not count.
    found = follow([box(100), *[NOTHING] * 9, box(100)], settings)
    assert found[-1].id.tolist() == [1]
    assert found[5].tlwh.shape == (0, 4)


def test_found_again_a_track_keeps_its_old_score():
    machine = tracker.Tracker()
    machine.update(box(100, score=0.8))
    machine.update(box(100, score=0.1))
    assert machine.update(box(100, score=0.9)).score.tolist() == [0.8]
    assert machine.update(box(100, score=0.95)).score.tolist() == [0.95]


def test_classes_part_looks_but_not_overlap():
    machine = tracker.Tracker()
    machine.update(box(100, category=3))
    found = machine.update(box(100, category=5))
    assert [match[:2] for match in machine.decision.matches] == [(2, 1)]
    assert found.category.tolist() == [5]
    machine.update(box(102, category=5))
    assert [match[0] for match in machine.decision.matches] == [1]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"tlwh": np.zeros((1, 3))}, "shapes"),
        ({"score": np.zeros(2)}, "shapes"),
        ({"feature": np.zeros((1, 8, 40))}, "shapes"),
        ({"tlwh": np.array([[0.0, 0.0, np.nan, 1.0]])}, "tlwh holds NaN"),
        ({"feature": np.full((1, 8, 4, 10), np.inf)}, "feature holds NaN or inf"),
        ({"tlwh": np.array([[0.0, 0.0, 5.0, 0.0]])}, "detection 0 has width and"),
        ({"feature": np.ones((1, 7, 4, 10))}, "40 positions of 7 channels"),
    ],
)
def test_wrong_detections_are_named_and_change_nothing(changes, said):
    machine = tracker.Tracker()
    machine.update(box(100))
    with pytest.raises(ValueError, match=said):
        machine.update(box(100)._replace(**changes))
    assert machine.clock == 1
    assert machine.update(box(100)).id.tolist() == [1]


def test_wrong_settings_are_named():
    with pytest.raises(ValueError, match="frame_rate 0 must be positive"):
        tracker.Settings(frame_rate=0)
    assert tracker.Settings(frame_rate=25).buffer == 25
    assert tracker.Settings(frame_rate=3, track_buffer=60).buffer == 6


def test_boxes_and_what_the_filter_measures():
    tlwh = np.array([[10.0, 20.0, 30.0, 60.0]])
    assert tracks.to_tlbr(tlwh).tolist() == [[10, 20, 40, 80]]
    np.testing.assert_allclose(tracks.to_xyah(tlwh), [[25, 50, 0.5, 60]], atol=1e-7)
