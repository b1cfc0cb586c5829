"""DGA: importance of heads, gradients that spare them, the contrastive term."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmdiffmask.models.bert import checkpoints, model
from mmdiffmask.models.bert.settings import BertSettings
from mmdiffmask.training import text_objective
from mmdiffmask.training.family import Held
from mmdiffmask.training.terms import dga, mlm
from mmdiffmask.types import HiddenPieces, TextBatch

pytestmark = pytest.mark.usefixtures("quick_compilation")

TINY = BertSettings(
    "bert",
    vocabulary=20,
    hidden=8,
    layers=2,
    heads=2,
    intermediate=16,
    positions=12,
    initial_spread=0.5,
)
KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def params():
    return checkpoints.start(KEY, TINY).params


@pytest.fixture(scope="module")
def pieces():
    rng = np.random.default_rng(0)
    is_valid = np.arange(6)[None] < np.array([[6], [4], [5]])
    ids = np.where(is_valid, rng.integers(1, 20, (3, 6)), 0).astype(np.int32)
    return model.Pieces(jnp.array(ids), jnp.array(is_valid))


@functools.partial(jax.jit, static_argnums=0)
def divergence(*arguments):
    return dga.divergence(*arguments)


def test_sensitivity_is_the_sum_of_gradients_of_single_texts(params, pieces):
    value = np.asarray(dga.sensitivity(TINY, params, pieces, KEY))
    expected = np.zeros((2, 2))
    step = 1e-2
    for row, key in enumerate(jax.random.split(KEY, 3)):
        text = jax.tree.map(lambda x, row=row: x[row : row + 1], pieces)
        for at in np.ndindex(2, 2):
            ends = []
            for sign in (step, -step):
                mask = np.ones((2, 2), np.float32)
                mask[at] += sign
                ends.append(float(divergence(TINY, params, mask, text, key)))
            expected[at] += abs(ends[0] - ends[1]) / (2 * step)
    np.testing.assert_allclose(value, expected, rtol=0.02, atol=2e-4)
    assert (value > 1e-3).any()


def test_rows_that_pad_the_batch_do_not_count(params, pieces):
    blank = model.Pieces(jnp.zeros((1, 6), jnp.int32), jnp.zeros((1, 6), bool))
    more = jax.tree.map(lambda a, b: jnp.concatenate([a[:2], b]), pieces, blank)
    singles = [
        divergence(TINY, params, np.ones((2, 2), np.float32), text, KEY)
        for text in (blank, more)
    ]
    assert float(singles[0]) == 0 and np.isfinite(singles[1])
    assert np.isfinite(dga.sensitivity(TINY, params, more, KEY)).all()


def test_importance_by_hand():
    value = np.asarray(dga.importance(jnp.array([[1.0, 3.0], [2.0, 2.0]])))
    np.testing.assert_allclose(value, [[np.tanh(1)] * 2, [0, 0]], rtol=1e-6)


OBJECTIVE = mlm.TextObjective(TINY, (("mlm", 1.0), ("dga", 1.0)), slots=2)


def batch_of(pieces):
    n, length = pieces.ids.shape
    nothing = np.full((n, length), -1)
    return TextBatch(
        input_ids=pieces.ids,
        attention_mask=pieces.is_valid,
        unit_of_token=jnp.array(nothing, jnp.int32),
        unit_score=jnp.zeros((n, length)),
        is_box_unit=jnp.ones((n, length), bool),
        word_class=jnp.array(nothing, jnp.int8),
        is_hidden=jnp.zeros((n, length), bool),
        shown_ids=pieces.ids,
        example_hash=jnp.arange(n, dtype=jnp.uint32),
        clip_hash=jnp.arange(n, dtype=jnp.uint32),
        is_real=jnp.ones(n, bool),
    )


@jax.jit
def terms_and_gradients(params, importance, pieces, key):
    held = Held({}, {dga.HELD: importance}, KEY)
    is_masked = jnp.arange(6)[None] == jnp.full((len(pieces.ids), 1), 2)
    hidden = HiddenPieces(is_masked, jnp.where(is_masked, 3, pieces.ids))
    batch = batch_of(pieces)

    def loss(params):
        terms, _ = text_objective.losses(OBJECTIVE, params, held, batch, hidden, key)
        return sum(terms.values()), terms

    grads, terms = jax.grad(loss, has_aux=True)(params)
    return terms, grads


def terms(params, importance, pieces, key=KEY):
    return jax.device_get(terms_and_gradients(params, importance, pieces, key)[0])


def test_a_head_of_importance_1_takes_no_gradient(params, pieces):
    importance = jnp.array([[0.0, 1.0], [0.25, 0.0]])
    layers = terms_and_gradients(params, importance, pieces, KEY)[1]["encoder"]
    for name in ("query", "key", "value"):
        kernel = np.asarray(layers["layer_00"][name]["kernel"])
        bias = np.asarray(layers["layer_00"][name]["bias"])
        assert not kernel[:, 4:].any() and kernel[:, :4].any(), name
        assert not bias[4:].any(), name
    output = np.asarray(layers["layer_00"]["attention_output"]["kernel"])
    assert not output[4:].any() and output[:4].any()
    assert np.asarray(layers["layer_00"]["attention_output"]["bias"]).any()


def test_gradients_are_scaled_and_values_are_not(params, pieces):
    importance = jnp.array([[0.0, 0.5], [0.25, 1.0]])
    spared = dga.spare(params, importance)
    jax.tree.map(np.testing.assert_array_equal, spared, params)

    def total(params):
        return sum(jnp.sum(x * x) for x in jax.tree.leaves(params))

    plain = jax.jit(jax.grad(total))(params)
    spare = jax.grad(lambda p: total(dga.spare(p, importance)))
    scaled = jax.jit(spare)(params)
    share = np.repeat(1 - np.asarray(importance), 4, axis=1)
    for layer in (0, 1):
        a, b = (g["encoder"][f"layer_{layer:02d}"] for g in (plain, scaled))
        for name in ("query", "key", "value"):
            kernel = a[name]["kernel"] * share[layer][None]
            np.testing.assert_allclose(b[name]["kernel"], kernel, rtol=1e-6)
        kernel = a["attention_output"]["kernel"] * share[layer][:, None]
        np.testing.assert_allclose(b["attention_output"]["kernel"], kernel, rtol=1e-6)
        same = ("intermediate", "output", "attention_norm")
        jax.tree.map(
            np.testing.assert_array_equal,
            {name: a[name] for name in same},
            {name: b[name] for name in same},
        )
    np.testing.assert_array_equal(
        plain["embeddings"]["word"], scaled["embeddings"]["word"]
    )


def test_the_contrast_against_its_formula():
    rng = np.random.default_rng(1)
    full, again, general = rng.normal(size=(3, 4, 5)).astype(np.float32)
    is_real = np.array([True, True, True, False])
    value = float(dga.contrast_of(full, again, general, is_real))

    def unit(x):
        return x / np.linalg.norm(x, axis=1, keepdims=True)

    candidates = np.concatenate([unit(again)[:3], unit(general)[:3]])
    logits = unit(full)[:3] @ candidates.T / 0.05
    share = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    expected = -np.log(np.diagonal(share)).mean()
    assert value == pytest.approx(expected, rel=1e-4)


def test_terms_depend_on_the_key_and_nothing_else(params, pieces):
    importance = jnp.full((2, 2), 0.3)
    first = terms(params, importance, pieces)
    assert set(first) == {"mlm", "dga"} and all(float(x) > 0 for x in first.values())
    assert terms(params, importance, pieces) == first
    other = terms(params, importance, pieces, jax.random.key(1))
    assert all(other[name] != first[name] for name in first)


def test_a_run_holds_the_importance_of_its_start(params, pieces):
    batch = batch_of(pieces)
    held = text_objective.hold(OBJECTIVE, params, [batch, batch])
    keys = [jax.random.fold_in(jax.random.key(0), i) for i in range(2)]
    total = sum(dga.sensitivity(TINY, params, pieces, key) for key in keys)
    np.testing.assert_allclose(held[dga.HELD], dga.importance(total), rtol=1e-5)
    plain = mlm.TextObjective(TINY, (("mlm", 1.0),), slots=2)
    assert text_objective.hold(plain, params, [batch]) == {}
