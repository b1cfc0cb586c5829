"""BERT and RoBERTa: against recorded values, formulas, and their own settings."""

import dataclasses
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util
from helpers.model_tools import fast_jit, fill, normal

from benchmarks.golden import bert as golden_bert
from mmdiffmask.models import blocks, dropout
from mmdiffmask.models.bert import checkpoints, losses, model, names, states
from mmdiffmask.models.bert.settings import BertSettings

GOLDEN = pathlib.Path(__file__).resolve().parents[2] / "shared/golden/bert"
TINY = BertSettings(
    family="bert",
    vocabulary=23,
    hidden=12,
    layers=2,
    heads=3,
    intermediate=20,
    positions=10,
    labels=4,
)
ROBERTA = dataclasses.replace(TINY, family="roberta", kinds=1, pad=1)
ALL = ("pooler", "mlm", "classifier")


def filled(settings, spread=0.3, parts=ALL):
    """Parameters of which every one counts."""
    shapes = names.shapes(settings, (*names.BODY, *parts))
    leaves = {
        path: normal(*shape, seed=seed, spread=spread) + path.endswith("scale")
        for seed, (path, shape) in enumerate(shapes.items())
    }
    return traverse_util.unflatten_dict(leaves, sep="/")


def texts(settings, rows=2, length=7):
    rng = np.random.default_rng(3)
    ids = rng.integers(2, settings.vocabulary, (rows, length))
    is_valid = np.arange(length)[None] < np.array([[length], [length - 3]])
    kind = rng.integers(0, settings.kinds, ids.shape)
    return model.Pieces(np.where(is_valid, ids, settings.pad), is_valid, kind)


def run(settings, params, pieces, **kwargs):
    return model.Bert(settings).apply({"params": params}, pieces, **kwargs)


@pytest.mark.parametrize("name", ["bert_tiny", "roberta_tiny"])
def test_equals_the_reference(shared, name):
    rows = dict(golden_bert.rows(GOLDEN / name))
    assert len(rows) > 30
    assert all(rows.values()), [row for row in rows if not rows[row]]
    assert not [row for verdicts in rows.values() for row in verdicts if row.is_over]


def norm(x, params, epsilon):
    mean = x.mean(-1, keepdims=True)
    variance = ((x - mean) ** 2).mean(-1, keepdims=True)
    unit = (x - mean) / jnp.sqrt(variance + epsilon)
    return unit * params["scale"][None, None] + params["bias"][None, None]


def dense(x, params):
    out = jnp.tensordot(x, params["kernel"], 1)
    return out + params["bias"][None, None] if "bias" in params else out


def split_heads(x, heads):
    return x.reshape(*x.shape[:2], heads, -1).transpose(0, 2, 1, 3)


ACTIVATIONS = {
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
    "gelu_new": lambda x: jax.nn.gelu(x, approximate=True),
    "relu": jax.nn.relu,
}


def block(size, params, x, bias, keys, head_mask):
    """The formula of a block, to be differentiated automatically."""

    def drop(key, x):
        rate = size.hidden_dropout
        return jnp.where(dropout.draw(key, rate, x.shape), x / (1 - rate), 0.0)

    def attend(x):
        query, key, value = (
            split_heads(dense(x, params[name]), size.heads)
            for name in ("query", "key", "value")
        )
        logits = query @ key.transpose(0, 1, 3, 2) / np.sqrt(query.shape[-1])
        weights = jax.nn.softmax(logits + bias)
        rate = size.attention_dropout
        is_kept = dropout.draw(keys["weights"], rate, weights.shape)
        mixed = jnp.where(is_kept, weights / (1 - rate), 0.0) @ value
        mixed = mixed * head_mask[None, :, None, None]
        mixed = mixed.transpose(0, 2, 1, 3).reshape(x.shape)
        return dense(mixed, params["attention_output"])

    def widen(x):
        wide = ACTIVATIONS[size.activation](dense(x, params["intermediate"]))
        return dense(wide, params["output"])

    norms = [params[f"{name}_norm"] for name in ("attention", "output")]
    first, second = (lambda x, p=p: norm(x, p, size.epsilon) for p in norms)
    if size.norm_first:
        x = x + drop(keys["attended"], attend(first(x)))
        return x + drop(keys["mapped"], widen(second(x)))
    x = first(x + drop(keys["attended"], attend(x)))
    return second(x + drop(keys["mapped"], widen(x)))


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_block_and_its_gradients_are_those_of_the_formula(norm_first, activation):
    size = blocks.BlockSizes(
        hidden=12,
        heads=3,
        intermediate=20,
        activation=activation,
        epsilon=1e-3,
        hidden_dropout=0.2,
        attention_dropout=0.3,
        norm_first=norm_first,
        without_bias=("key", "output"),
    )
    module, x, key = blocks.Block(size), normal(2, 5, 12), jax.random.key(3)
    bias = blocks.key_bias(jnp.arange(5)[None] < jnp.array([[5], [3]]))
    params = fill(module, x, bias, spread=0.4)["params"]
    assert "bias" not in params["key"] and "bias" in params["query"]
    head_mask, toward = jnp.array([1.0, 0.3, 0.0]), normal(2, 5, 12, seed=8)

    def ours(params, x, head_mask):
        out, _ = module.apply({"params": params}, x, bias, head_mask, key)
        return (out * toward).sum(), out

    def plain(params, x, head_mask):
        keys = dropout.split(key, "weights", "attended", "mapped")
        out = block(size, params, x, bias, keys, head_mask)
        return (out * toward).sum(), out

    got, expected = (
        fast_jit(jax.value_and_grad(loss, (0, 1, 2), has_aux=True))(
            params, x, head_mask
        )
        for loss in (ours, plain)
    )
    assert jax.tree.structure(got) == jax.tree.structure(expected)
    pairs = zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True)
    for one, other in pairs:
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=2e-5)


def test_dropout_is_decided_by_its_key():
    params, pieces = filled(TINY), texts(TINY)
    encode = fast_jit(lambda key: run(TINY, params, pieces, key=key).seq)
    one, again, other = (encode(jax.random.key(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - other).max() > 0.1
    off = dataclasses.replace(TINY, hidden_dropout=0.0, attention_dropout=0.0)
    plain = run(TINY, params, pieces).seq
    np.testing.assert_array_equal(
        run(off, params, pieces, key=jax.random.key(1)).seq, plain
    )
    assert np.abs(one - plain).max() > 0.1
    layers = run(TINY, params, pieces, key=jax.random.key(1), every_layer=True)
    np.testing.assert_allclose(layers.attentions[0].sum(-1), 1.0, rtol=1e-5)


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_so_many_values_are_kept(rate):
    key = jax.random.key(0)
    is_kept = dropout.draw(key, rate, (301, 77))
    assert abs(is_kept.mean() - (1 - rate)) < 4 * np.sqrt(rate * (1 - rate) / 23177)
    x = dropout.drop(key, jnp.ones((301, 77)), rate)
    np.testing.assert_allclose(x[is_kept], 1 / (1 - rate), rtol=1e-6)
    assert not x[~is_kept].any()


def test_a_masked_head_is_as_if_its_output_were_not_read():
    params, pieces = filled(TINY), texts(TINY)
    mask = jnp.ones((2, 3)).at[1, 2].set(0.0)
    masked = run(TINY, params, pieces, head_mask=mask, every_layer=True)
    kernel = params["encoder"]["layer_01"]["attention_output"]["kernel"]
    cut = jax.tree.map(lambda x: x, params)
    cut["encoder"]["layer_01"]["attention_output"]["kernel"] = kernel.at[8:].set(0.0)
    np.testing.assert_allclose(masked.seq, run(TINY, cut, pieces).seq, atol=1e-5)
    assert not masked.attentions[1][:, 2].any()
    assert masked.attentions[0][:, :, :, :4].all()

    def loss(mask):
        return jnp.square(run(TINY, params, pieces, head_mask=mask).seq[..., 0]).sum()

    assert (jnp.abs(fast_jit(jax.grad(loss))(mask)) > 1e-4).all()


def test_positions_of_each_family():
    ids = jnp.array([[5, 6, 1, 1], [1, 1, 7, 8]])
    expected = [[2, 3, 1, 1], [1, 1, 2, 3]]
    assert model.positions(ids, ROBERTA).tolist() == expected
    assert model.positions(ids, TINY).tolist() == [[0, 1, 2, 3]] * 2
    assert (TINY.longest, ROBERTA.longest) == (10, 8)
    params, pieces = filled(ROBERTA), texts(ROBERTA, length=9)
    with pytest.raises(ValueError, match="9 word pieces: at most 8 can be read"):
        run(ROBERTA, params, pieces)
    at = jnp.broadcast_to(jnp.arange(7)[None] + 2, (2, 7))
    pieces = texts(ROBERTA)
    whole = run(ROBERTA, params, pieces)
    real = run(ROBERTA, params, pieces._replace(position=at))
    np.testing.assert_allclose(whole.seq[0], real.seq[0], atol=1e-6)


def test_padding_changes_nothing_and_its_row_learns_nothing():
    params, pieces = filled(TINY), texts(TINY)
    short = model.Pieces(*(x[1:, :4] for x in pieces[:3]))
    whole = run(TINY, params, pieces).seq
    np.testing.assert_allclose(whole[1, :4], run(TINY, params, short).seq[0], atol=1e-5)

    def loss(params):
        return jnp.square(run(TINY, params, pieces).seq[..., 0]).sum()

    grads = fast_jit(jax.grad(loss))(params)["embeddings"]
    assert not grads["word"][TINY.pad].any() and grads["word"].any()


def test_heads_of_both_families():
    for settings in (TINY, ROBERTA):
        params, pieces = filled(settings), texts(settings)
        call = model.Bert(settings).apply
        seq, key = run(settings, params, pieces).seq, jax.random.key(0)
        place = jnp.array([[1, 3], [0, 2]])
        some = call({"params": params}, model.take(seq, place), method="predict")
        every = call({"params": params}, seq, method="predict")
        np.testing.assert_allclose(some[1], every[1, [0, 2]], rtol=1e-5, atol=1e-5)
        logits = call({"params": params}, seq, method="classify")
        dropped = call({"params": params}, seq, key, method="classify")
        assert logits.shape == (2, 4) and np.abs(logits - dropped).max() > 1e-3
        never = dataclasses.replace(settings, classifier_dropout=0.0)
        again = model.Bert(never).apply({"params": params}, seq, key, method="classify")
        np.testing.assert_array_equal(logits, again)


def test_an_untied_decoder_is_read_instead_of_the_table():
    untied = dataclasses.replace(TINY, is_tied=False)
    params, seq = filled(untied), normal(2, 3, 12)
    predict = model.Bert(untied).apply({"params": params}, seq, method="predict")
    table = params["mlm"].pop("decoder")
    tied = {**params, "embeddings": {**params["embeddings"], "word": table}}
    expected = model.Bert(TINY).apply({"params": tied}, seq, method="predict")
    np.testing.assert_allclose(predict, expected, atol=1e-5)


def test_bfloat16_and_remat():
    params, pieces = filled(TINY), texts(TINY)
    half = dataclasses.replace(TINY, dtype="bfloat16")
    seq = run(half, params, pieces).seq
    assert seq.dtype == jnp.bfloat16
    whole = run(TINY, params, pieces).seq
    np.testing.assert_allclose(seq, whole, atol=0.1)

    def grad(settings):
        def loss(params):
            seq = run(settings, params, pieces, key=jax.random.key(0)).seq
            return jnp.square(seq[..., 0]).sum()

        return fast_jit(jax.grad(loss))(params)

    pairs = [grad(x) for x in (TINY, dataclasses.replace(TINY, remat=True))]
    for one, other in zip(*map(jax.tree.leaves, pairs), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_cross_entropy_and_its_gradient():
    logits, labels = normal(2, 4, 7, spread=2.0), jnp.array([[0, -100, 6, 2]] * 2)

    def plain(logits):
        shares = jax.nn.log_softmax(logits)
        chosen = jnp.take_along_axis(shares, labels.clip(0)[..., None], -1)[..., 0]
        return -(chosen * (labels >= 0)).sum() / 6

    ours = jax.value_and_grad(lambda x: losses.cross_entropy(x, labels))(logits)
    expected = jax.value_and_grad(plain)(logits)
    for one, other in zip(ours, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    none = losses.cross_entropy(logits, jnp.full((2, 4), losses.IGNORED))
    assert none == 0.0


def test_texts_of_any_length_alone_are_as_in_a_batch():
    start = checkpoints.start(jax.random.key(0), TINY)
    ids = [np.arange(2, 2 + n) for n in (3, 9, 1, 10)]
    result = states.encode(start, ids)
    assert [x.shape for x in result] == [(n, 12) for n in (3, 9, 1, 10)]
    alone = model.Pieces(ids[1][None], np.ones((1, 9), bool))
    expected = run(TINY, start.params, alone).seq[0]
    np.testing.assert_allclose(result[1], expected, atol=1e-5)
    among = [np.arange(2, 2 + n) for n in (7, 2, 9, *range(1, 9), *range(1, 11)) * 2]
    again = states.encode(start, [*among, *ids])[-4:]
    for one, other in zip(result, again, strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(ValueError, match="11 word pieces: at most 10 can be read"):
        states.encode(start, [np.arange(11)])
    assert states.encode(start, []) == []
