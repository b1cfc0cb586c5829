"""The released behaviour, setting by setting, and the ladder from it to ours."""

import dataclasses
import json
import logging
import math
import pathlib
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import clip_records, config_file
from helpers import training_run as tiny

from benchmarks import released_step
from mmdiffmask import __main__ as command_line
from mmdiffmask import (
    build,
    config,
    configure,
    effects,
    examples,
    grid,
    label_leak,
    run_files,
)
from mmdiffmask.data import video
from mmdiffmask.masking import clips, strategies, units
from mmdiffmask.tokens import START
from mmdiffmask.training import objective as objectives
from mmdiffmask.training.terms import cells as cells_lib
from mmdiffmask.training.terms import patches, streams
from mmdiffmask.types import MaskInputs

pytestmark = pytest.mark.usefixtures("quick_compilation")

CONFIGS = pathlib.Path(__file__).resolve().parents[1] / "tpu_configs"
REFERENCE = configure.load(CONFIGS / "reference.py")
TINY = configure.load(CONFIGS / "tiny.py")


def released_objective():
    """The tiny model under the preset's loss: as many slots as a clip has cells."""
    made = tiny.make_objective(dataclasses.replace(REFERENCE.training, batch_size=2))
    slots = tiny.FRAMES * tiny.GRID.n_cells
    return dataclasses.replace(made, slots=slots, has_padding=True)


@pytest.mark.long
def test_the_preset_is_the_released_loss_with_its_gradients():
    """The second clip has padding and an absent frame, and of both something hidden."""
    batch, params = tiny.make_batch([4, 5]), tiny.start()
    assert not batch.is_patch_valid.all() and not batch.is_frame_valid.all()
    rng = np.random.default_rng(3)
    is_masked = np.zeros((2, tiny.FRAMES * tiny.GRID.n_patches), bool)
    for row in is_masked:
        row[rng.choice(len(row), 105, replace=False)] = True
    is_masked = is_masked.reshape(2, tiny.FRAMES, -1)
    ours = released_objective()
    hidden = released_step.hidden(is_masked, tiny.GRID)

    @jax.jit
    def run(params):
        held = tiny.make_held(params)
        mine = jax.value_and_grad(
            lambda p: patches.forward(ours, p, held, batch, is_masked).loss
        )
        theirs = jax.value_and_grad(
            lambda p: released_step.loss(ours.model, ours.grid, p, batch, hidden)
        )
        return mine(params), theirs(params)

    (mine, gradient), (theirs, expected) = run(params)
    np.testing.assert_allclose(mine, theirs, rtol=1e-5)
    for a, b in zip(*map(jax.tree.leaves, (gradient, expected)), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5 * max(1, np.abs(b).max()))


def loss_with_gradients(objective):
    """Of two clips, the second with padding."""
    batch, params = tiny.make_batch([4, 5]), tiny.start()
    is_masked = np.asarray(tiny.draw_cells(1, batch))
    held = tiny.make_held(params)

    def loss(p):
        return patches.forward(objective, p, held, batch, is_masked).loss

    return jax.jit(jax.value_and_grad(loss))(params)


@pytest.fixture(scope="module")
def released_loss():
    """The loss of the preset and its gradients."""
    return loss_with_gradients(released_objective())


@pytest.mark.long
@pytest.mark.parametrize(
    "change",
    [
        {"target_gradient": False},
        {"empty_slots": "left_out"},
        {"first_frame": 1},
    ],
    ids=lambda change: next(iter(change)),
)
def test_each_setting_of_the_loss_has_an_effect(released_loss, change):
    before = released_objective()
    settings = dataclasses.replace(before.settings, **change)
    after = loss_with_gradients(dataclasses.replace(before, settings=settings))
    (one, gradient), (other, other_gradient) = released_loss, after
    names = ("vision_encoder", "joint_transformer")
    leaves = [
        [jax.tree.leaves(g[n]) for n in names] for g in (gradient, other_gradient)
    ]
    change_of = [
        max(np.abs(a - b).max() for a, b in zip(x, y, strict=True))
        for x, y in zip(*leaves, strict=True)
    ]
    assert (one == other) == ("target_gradient" in change)
    assert change_of[0] > 1e-4


def test_empty_slots_cost_what_they_are_and_nothing_is_hit_by_them():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 2, 5, 3)).astype(np.float32)
    is_row = np.arange(5)[None] < np.array([[3], [2]])
    is_real = np.ones((2, 5), bool)
    clips_of = np.array([1, 2], np.uint32)
    scale = jnp.float32(1.5)
    kept = cells_lib.compare(x, y, is_row, clips_of, scale, is_counted=is_real)
    unit = [np.where(is_row[..., None], v, 0).reshape(10, 3) for v in (x, y)]
    a, b = (v / np.sqrt((v**2).sum(-1, keepdims=True) + 1e-5) for v in unit)
    logits = a @ b.T * np.exp(1.5)
    sums = [np.log(np.exp(logits).sum(axis)) for axis in (0, 1)]
    rows = (sums[0] + sums[1]) / 2 - np.diagonal(logits)
    np.testing.assert_allclose(kept.row_loss, rows, rtol=1e-5)
    np.testing.assert_allclose(kept.loss, rows.mean(), rtol=1e-5)
    np.testing.assert_allclose(kept.row_loss[~is_row.reshape(-1)], math.log(10))
    np.testing.assert_allclose(kept.row_log_candidates, math.log(10), rtol=1e-6)
    assert not np.any(np.asarray(kept.is_hit)[~is_row.reshape(-1)])
    assert kept.is_row.tolist() == is_row.reshape(-1).tolist()
    cells = cells_lib.Cells(np.zeros((2, 5), int), is_row, is_row, np.zeros(2, int))
    sums = cells_lib.scores(kept, kept, cells)
    np.testing.assert_allclose(sums["loss"][0].sum() / 10, kept.loss, rtol=1e-6)
    assert sums["loss"][1].tolist() == [5, 5]
    assert sums["retrieval_touched"][1].tolist() == [3, 2]
    left_out = cells_lib.compare(x, y, is_row, clips_of, scale)
    assert abs(left_out.loss - kept.loss) > 0.1


def test_targets_learn_only_where_they_may():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(2, 2, 3, 4)).astype(np.float32)
    is_row, clips_of = np.ones((2, 3), bool), np.array([1, 2], np.uint32)

    def loss(y, learns):
        scale = jnp.float32(1.0)
        return cells_lib.compare(
            x, y, is_row, clips_of, scale, learns_target=learns
        ).loss

    assert loss(y, True) == loss(y, False)
    assert not np.any(jax.grad(loss)(jnp.asarray(y), False))
    gradient = np.asarray(jax.grad(loss)(jnp.asarray(y), True))
    step = 1e-2 * gradient
    expected = (gradient * step).sum()
    change = (loss(y + step / 2, True) - loss(y - step / 2, True)).item()
    assert expected > 1e-6 and abs(change - expected) < 0.05 * expected


def test_a_target_that_never_changes_cannot_learn():
    wrong = configure.override(
        TINY, ["training.target_gradient=true", "training.target=initial"]
    )
    with pytest.raises(ValueError, match="target_gradient=true: targets of"):
        build.check(wrong)


PATCHES = grid.PatchGrid(6, 10)


def drawn(name, masking, records, valid):
    """Hidden patches of some records (b, t, n)."""
    settings = units.Settings(PATCHES, masking, 0.25)
    row, layout = strategies.find(name), clips.layout_of(PATCHES, 3, masking.mask_unit)
    made = [row.clip_units(r, v, settings) for r, v in zip(records, valid, strict=True)]

    def one(key, unit, score, is_box):
        inputs = MaskInputs(unit, score)
        return clips.mask_clip(key, inputs, is_box, layout, row, masking).is_masked

    keys = jax.random.split(jax.random.key(0), len(records))
    columns = map(np.stack, zip(*made, strict=True))
    is_masked = jax.jit(jax.vmap(one))(keys, *columns)
    return np.asarray(is_masked).reshape(len(records), 3, -1)


@pytest.mark.parametrize("mask_unit, total", [("patch", 180), ("cell", 45)])
@pytest.mark.parametrize("name", ["random", "difference"])
def test_padding_is_of_the_budget_and_hidden_where_it_counts(name, mask_unit, total):
    pairs = [clip_records.make(PATCHES, i) for i in range(8)]
    records, valid = [record for record, _ in pairs], np.stack([v for _, v in pairs])
    masking = config.Masking(mask_unit=mask_unit, padding="counted")
    hidden = drawn(name, masking, records, valid)
    per_cell = 1 if mask_unit == "patch" else 4
    assert (hidden.sum((1, 2)) == per_cell * round(0.25 * total)).all()
    assert (hidden & ~valid).any() and (~valid).any()
    usual = drawn(
        name, dataclasses.replace(masking, padding="left_out"), records, valid
    )
    assert not (usual & ~valid).any()


def test_without_padding_the_setting_changes_nothing():
    records = [clip_records.make(PATCHES, i)[0] for i in range(3)]
    valid = np.ones((3, 3, 60), bool)
    one, other = (
        drawn("difference", config.Masking(padding=padding), records, valid)
        for padding in ("left_out", "counted")
    )
    np.testing.assert_array_equal(one, other)


def test_cells_of_padding_are_predicted_and_seen():
    batch, params = tiny.make_batch([4, 5]), tiny.start()
    is_masked = np.zeros(batch.is_patch_valid.shape, bool)
    is_masked[1, 6] = True  # the absent frame
    held, made = tiny.make_held(params), released_objective()
    rows = {}
    for has_padding in (False, True):
        objective = dataclasses.replace(made, has_padding=has_padding)
        outcome = jax.jit(
            lambda p, o=objective: patches.forward(o, p, held, batch, is_masked)
        )(params)
        rows[has_padding] = np.asarray(outcome.cells.is_row).sum(1).tolist()
        assert np.isfinite(outcome.loss)
    assert rows == {False: [0, 0], True: [0, tiny.GRID.n_cells]}
    pooled = np.random.default_rng(0).normal(size=(2, 7, 15, 64)).astype(np.float32)
    other = pooled.copy()
    other[1, 6] *= -1
    joint = jax.jit(
        lambda x, o: streams.joint_cells(o, params, batch, x)["text"],
        static_argnums=1,
    )
    for has_padding in (False, True):
        objective = dataclasses.replace(made, has_padding=has_padding)
        change = np.abs(joint(other, objective) - joint(pooled, objective))
        assert (change[1, :6].max() > 1e-4) == has_padding


RECORD = types.SimpleNamespace(
    span_percent=(10, 55),
    question="who sings",
    answers=("nobody", "the old man"),
    answer_index=1,
)


def encode(text):
    """A number for each word."""
    return [10 + sum(map(ord, word)) for word in text.split()]


def test_the_right_answer_stands_behind_the_question_and_only_where_it_is_known():
    plain = video.option(RECORD, encode)
    gold = video.option(RECORD, encode, has_answer=True)
    assert gold == plain + encode("answer: ") + encode("the old man")
    assert plain[3] == START and plain[4:] == encode("who sings")
    unknown = types.SimpleNamespace(**vars(RECORD) | {"answer_index": -1})
    assert video.option(unknown, encode, has_answer=True) == plain


def test_rows_of_a_run_hold_the_answer_only_by_the_setting(tiny_records):
    from mmdiffmask.data import tokenizers
    from mmdiffmask.data.corpus import Corpus

    source = Corpus.of(tiny_records).source("train")
    experiment = build.adopt(TINY, tiny_records)
    leaking = configure.override(experiment, ["training.gold_answer=true"])
    assert examples.language(experiment, 0) is None
    encode_plain = tokenizers.load(TINY.data.tokenizer).encode_plain
    answers = 0
    for position in range(4):
        record = source[position]
        gold = list(encode_plain(record.answers[record.answer_index]))
        rows = [
            examples.make_row(one.data, one.masking, source, add)(position)
            for one, add in (
                (experiment, None),
                (leaking, examples.language(leaking, 0)),
            )
        ]
        for name in ("text", "audio"):
            heads = [
                getattr(row, f"{name}_tokens")[getattr(row, f"{name}_segment") == 0]
                for row in rows
            ]
            heads = [head[head > 0].tolist() for head in heads]
            assert heads[1][: len(heads[0])] == heads[0]
            assert heads[1][-len(gold) :] == gold and heads[0][-len(gold) :] != gold
            answers += 1
        np.testing.assert_array_equal(rows[0].unit_of_token, rows[1].unit_of_token)
    assert answers == 8


def test_the_answer_is_told_in_one_sentence(caplog, tiny_records):
    from mmdiffmask.data.corpus import Corpus

    leaking = configure.override(TINY, ["training.gold_answer=true"])
    entries = Corpus.of(tiny_records).entries("train")
    places = range(len(entries))
    with caplog.at_level(logging.WARNING):
        effects.check_clips(TINY, entries, places, [])
        assert "leak" not in caplog.text
        effects.check_clips(leaking, entries, places, [])
    assert caplog.text.count(label_leak.SENTENCE) == 1
    assert "label leakage" in label_leak.SENTENCE and "\n" not in label_leak.SENTENCE
    unknown = [dataclasses.replace(entry, answer_index=-1) for entry in entries]
    with pytest.raises(ValueError, match="no training record has a right answer"):
        effects.check_clips(leaking, unknown, places, [])
    plain = configure.override(leaking, ["training.steps=0"])
    label_leak.check(plain, unknown)  # reads no text


def test_the_ladder_goes_from_the_released_behaviour_to_ours_one_by_one():
    rows = list(configure.rows(REFERENCE).values())
    data = dataclasses.replace(REFERENCE.data, tokenizer="toy")
    build.check(dataclasses.replace(REFERENCE, data=data))
    settings = [configure.settings(row) for row in rows]
    assert rows[0] == REFERENCE
    for before, after in zip(settings[:-1], settings[1:], strict=True):
        assert sum(before[name] != after[name] for name in before) == 1
    assert rows[-1].masking == config.Masking()
    ours = dataclasses.asdict(config.Training())
    last = dataclasses.asdict(rows[-1].training)
    length = {"steps", "batch_size", "warmup_steps", "eval_every", "patience"}
    assert {name for name in ours if ours[name] != last[name]} <= length


def test_defaults_are_left_as_they_were():
    """Runs of earlier versions have the settings in effect that they had."""
    usual = configure.settings(config.Experiment("x"))
    for name in (
        "masking.padding",
        "training.target_gradient",
        "training.empty_slots",
        "training.first_frame",
        "training.gold_answer",
    ):
        assert config.ADDED[name] == usual[name] != configure.settings(REFERENCE)[name]
    assert not tiny.make_objective().has_padding
    assert objectives.weights_of(REFERENCE.terms) == {patches.NAME: 1.0}


def small_ladder():
    """The preset's masking, loss and rows on the tiny model, data and updates."""
    training = dataclasses.replace(
        REFERENCE.training,
        steps=2,
        warmup_steps=1,
        eval_every=2,
        eval_clips=4,
        lr=1e-3,
        early_stopping=False,
    )
    return dataclasses.replace(
        TINY,
        masking=REFERENCE.masking,
        training=training,
        rows=REFERENCE.rows,
    )


@pytest.mark.long
def test_the_ladder_runs(tmp_path, tiny_records):
    experiment, runs = small_ladder(), tmp_path / "runs"
    path = config_file.write(tmp_path / "ladder.py", experiment)
    words = ["experiment", path, "--data", tiny_records, "--workdir", str(runs)]
    assert command_line.main([*words, "--workers", "2"]) == 0
    losses = {}
    for row in configure.rows(experiment):
        lines = (runs / row / run_files.METRICS).read_text().splitlines()
        first = next(line for line in map(json.loads, lines) if line["kind"] == "train")
        losses[row] = first["loss"]
    # No frame of the toy set has padding, and none is absent; the first update's loss
    # does not know of gradients, of the epoch (its first masks are others), or adamw.
    same = {"no gradient of targets", "no padding", "adamw"}
    pairs = zip(list(losses)[:-1], list(losses)[1:], strict=True)
    for before, after in pairs:
        assert (losses[before] == losses[after]) == (after in same), after
    assert command_line.main(["report", str(runs)]) == 0
    page = (runs / run_files.REPORT).read_text()
    assert "label leakage" in page
