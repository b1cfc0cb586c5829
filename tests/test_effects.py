"""Settings without effect on the records are refused or told."""

import dataclasses
import logging
import types

import numpy as np
import pytest

from mmdiffmask import config, configure, effects
from mmdiffmask.data.records import index
from mmdiffmask.run_folder import RunFolder
from mmdiffmask.training import journal, optim, schedules
from mmdiffmask.types import Boxes

BASE = config.Experiment("x")


def clip(kinds=("body", "face"), labels=("person", "face"), covered=0.8):
    """The entry of a record with boxes, as far as looking at them goes."""
    m = len(kinds)
    share = np.zeros((m, 12), np.float32)
    share[:, 3] = covered
    boxes = Boxes(
        np.zeros(m, int),
        np.ones((m, 4)),
        tuple(kinds),
        tuple(labels),
        np.ones(m),
        np.zeros(m, int),
        ("d",) * m,
    )
    return types.SimpleNamespace(boxes=index.box_kinds(boxes, share))


def masked(min_overlap=0.0, boxed_only=True, **changes):
    return dataclasses.replace(
        BASE,
        data=config.Data(min_overlap=min_overlap, boxed_only=boxed_only),
        masking=config.Masking(**changes),
    )


CLIPS = [clip(), clip(("body",), ("person",)), clip((), ())]


@pytest.mark.parametrize(
    ("experiment", "words"),
    [
        (masked(anchors=("Person",)), ["'Person': no box", "person (2)", "'person'?"]),
        (masked(anchors=("[person]",)), ["'[person]'", "did you mean 'person'?"]),
        (masked(anchors=("cat",), strategy="difference-face"), ["'cat'", "person (1)"]),
        (masked(strategy="difference-object"), ["kind object", "body (2), face (1)"]),
        (masked(min_overlap=1.0), ["data.min_overlap=1.0", "0.80"]),
    ],
)
def test_cases_of_boxes_that_hide_nothing(experiment, words):
    with pytest.raises(ValueError, match="nothing but random fill in the 3") as error:
        effects.check_boxes(experiment, CLIPS, range(3))
    for word in words:
        assert word in str(error.value)
    start = configure.override(experiment, ["training.steps=0"])
    with pytest.raises(ValueError, match="nothing but random fill in the 3"):
        effects.check_boxes(start, CLIPS, range(3))
    for change in ("masking.strategy=random", "terms.patches=0"):
        plain = configure.override(experiment, [change])  # they need no boxes
        effects.check_boxes(plain, CLIPS, range(3))


def test_cases_of_records_without_boxes():
    empty = [clip((), ()), clip((), ())]
    with pytest.raises(ValueError, match="no box at all"):
        effects.check_boxes(masked(), empty, range(2))
    found = effects.kinds_without_boxes(masked(), empty, range(2))
    assert found == ["difference", "difference-face"]
    assert effects.kinds_without_boxes(masked(), CLIPS, range(3)) == []
    assert effects.kinds_without_boxes(masked(), CLIPS, [1, 2]) == ["difference-face"]
    unseen = masked(boxed_only=False)
    assert effects.kinds_without_boxes(unseen, empty, range(2)) == ["difference"]
    plain = configure.override(unseen, ["terms.patches=0"])
    assert effects.kinds_without_boxes(plain, empty, range(2)) == []


def test_cases_of_one_anchor_beside_a_good_one(caplog):
    with caplog.at_level(logging.WARNING):
        effects.check_boxes(masked(anchors=("person",)), CLIPS, range(3))
        assert not caplog.records
        effects.check_boxes(masked(anchors=("person", "dog")), CLIPS, range(3))
    assert "'dog'" in caplog.text and "person (2)" in caplog.text


def test_looking_stops_at_the_first_box_that_can_be_drawn():
    read = []

    class Source:
        def __getitem__(self, i):
            read.append(i)
            return CLIPS[i]

    effects.check_boxes(masked(), Source(), range(3))
    assert read == [0]


def test_embeddings_make_other_labels_similar(tmp_path):
    path = str(tmp_path / "vectors.npz")
    np.savez(path, person=np.array([1.0, 0]), cat=np.array([1.0, 1]), sky=-np.ones(2))
    effects.check_boxes(masked(anchors=("cat",), label_embeddings=path), CLIPS, [0])
    with pytest.raises(ValueError, match="no box has a label like it"):
        effects.check_boxes(masked(anchors=("sky",), label_embeddings=path), CLIPS, [0])


def test_cases_of_sound_that_is_cut_off():
    training = config.Training()
    data = config.Data(segments=7, sub_segments=1, text_length=8)
    effects.check_text_length(data, config.Training(streams=("text",)))
    with pytest.raises(ValueError, match="42 tokens, (\\d+) with") as error:
        effects.check_text_length(data, training)
    least = int(str(error.value).split(" tokens, ")[1].split()[0])
    assert least > 43
    for length, is_enough in ((least, True), (least - 1, False)):
        data = dataclasses.replace(data, text_length=length)
        if is_enough:
            effects.check_text_length(data, training)
        else:
            with pytest.raises(ValueError, match=f"text_length={least} or more"):
                effects.check_text_length(data, training)


def test_cases_of_sound_behind_a_long_question(caplog):
    asked = [
        types.SimpleNamespace(question=text, span_percent=(0, 100))
        for text in ("", "Who is the person that talks to the man with the red hat?")
    ]
    for length in (128, 48):
        data = config.Data(segments=7, sub_segments=1, text_length=length)
        with caplog.at_level(logging.WARNING):
            effects.tell_of_cut_sound(data, config.Training(), asked)
        assert bool(caplog.records) == (length == 48)
    assert "of 1 of 2 dev clips; none with data.text_length=" in caplog.text


def test_cases_of_a_batch_lowered_otherwise_when_resumed(tmp_path, monkeypatch):
    monkeypatch.setattr(effects.jax, "device_count", lambda: 1)
    size = effects.fit_batch(32, 13)
    journal.note_batch_size(RunFolder(tmp_path), size)
    journal.note_batch_size(RunFolder(tmp_path), size)
    monkeypatch.setattr(effects.jax, "device_count", lambda: 4)
    assert (size, effects.fit_batch(32, 13)) == (13, 12)
    with pytest.raises(ValueError, match="begun with 13 clips a batch.*with 12"):
        journal.note_batch_size(RunFolder(tmp_path), effects.fit_batch(32, 13))
    monkeypatch.setattr(effects.jax, "device_count", lambda: 16)
    with pytest.raises(ValueError, match="13 training clips are fewer than 16"):
        effects.fit_batch(32, 13)


@pytest.mark.parametrize(
    "changes, expected",
    [
        ({}, (10_000, 100, 100)),
        ({"epochs": 2.0}, (11, 100, 100)),
        ({"epochs": 2.0, "warmup_epochs": 0.5, "eval_every_epochs": 1.0}, (11, 3, 6)),
        ({"epochs": 0.01}, (1, 100, 100)),
        ({"eval_every_epochs": 0.25}, (10_000, 100, 2)),
        ({"steps": 0, "epochs": 2.0}, (0, 100, 100)),
        ({"steps": 7, "epochs": 20.0}, (110, 100, 100)),
    ],
)
def test_epochs_become_updates(changes, expected):
    training = dataclasses.replace(config.Training(), **changes)
    found = schedules.in_steps(training, n_examples=110, batch_size=20)
    assert (found.steps, found.warmup_steps, found.eval_every) == expected
    assert schedules.in_steps(found, n_examples=7, batch_size=3) == found
    if not changes:
        assert found is training or found == training


def test_an_epoch_that_divides_is_not_rounded_up():
    training = config.Training(epochs=0.1)
    assert schedules.in_steps(training, n_examples=30, batch_size=3).steps == 1


def test_warmup_must_end_before_the_epochs_do():
    changes = ["training.epochs=1", "training.warmup_epochs=1.5"]
    with pytest.raises(ValueError, match=r"warmup_epochs=1.5 must be below .*=1.0"):
        optim.check(configure.override(BASE, changes).training)
    # More warm-up than `steps`, which do not count here.
    optim.check(config.Training(steps=10, warmup_steps=100, epochs=20.0))
    with pytest.raises(ValueError, match=r"training.epochs=-1.0 is out of range"):
        configure.override(BASE, ["training.epochs=-1"])
