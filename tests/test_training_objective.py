"""The weighted terms: which there are, what they share, what they may not see."""

import dataclasses

import jax
import numpy as np
import pytest
from helpers import language_batch as language
from helpers import training_run as tiny

from mmdiffmask import config
from mmdiffmask.training import evaluate, objective, optim, steps
from mmdiffmask.training import mesh as meshes
from mmdiffmask.training.terms import grounding, patches

pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture(scope="module")
def params():
    return tiny.start()


@pytest.fixture(scope="module")
def batch():
    return language.make_batch(range(4))


@pytest.fixture(scope="module")
def held(params):
    return tiny.make_held(params)


def test_weights_choose_the_terms():
    assert objective.weights_of(config.Terms()) == {"patches": 1.0}
    found = objective.weights_of(dataclasses.replace(language.TERMS, patches=0.5))
    assert found.pop("patches") == 0.5
    assert list(found) == [
        "imgs_to_audio",
        "text_to_audio",
        "stuff_to_span",
        "closed_span",
        "pooled_cells",
    ]
    few = dataclasses.replace(language.TERMS, closed_span=0.0, patches=0.0)
    assert not {"closed_span", "patches"} & set(objective.weights_of(few))
    made = objective.family(language.make_objective(few))
    assert made.masked is None and made.others is not None
    alone = objective.family(tiny.make_objective())
    assert alone.masked == "patches" and alone.others is None


@pytest.mark.slow
def test_the_step_minimises_the_weighted_sum(params, held, batch):
    terms = dataclasses.replace(language.TERMS, text_to_audio=2.0, patches=3.0)
    made = language.make_objective(terms, steps=2, warmup_steps=1)
    is_masked = tiny.draw_cells(1, batch)

    @jax.jit
    def run(params):
        alone = patches.forward(made, params, held, batch, is_masked)
        return alone.loss, objective.unmasked(made, params, batch)

    alone, others = run(params)
    mesh = meshes.make(4, jax.devices()[:1])
    step = steps.make_train_step(objective.family(made), made.settings, mesh)
    state = steps.first_state(optim.make(made.settings), params, mesh)
    _, metrics = step(state, held, batch, is_masked)
    first = "loss_"
    found = {
        name.removeprefix(first): value
        for name, value in metrics.items()
        if name.startswith(first)
    }
    assert set(found) == {*others, "patches"} and len(others) == 5
    np.testing.assert_allclose(found["patches"], alone, rtol=1e-5)
    for name, value in others.items():
        assert value > 0
        np.testing.assert_allclose(found[name], value, rtol=1e-5)
    whole = sum(getattr(terms, name) * value for name, value in found.items())
    np.testing.assert_allclose(metrics["loss"], whole, rtol=1e-5)


def test_without_masks_nothing_is_hidden_and_fewer_clips_serve(params, held, batch):
    terms = dataclasses.replace(language.TERMS, patches=0.0)
    few = dataclasses.replace(language.RESERVE, clips=2)

    @jax.jit
    def run(params, batch):
        made = language.make_objective(terms, few)
        return objective.losses(made, params, held, batch, None)

    found, metrics = run(params, batch)
    assert "patches" not in found and not metrics
    other = language.make_batch([0, 1, 10, 11])  # other clips behind the first two
    again, _ = run(params, other)
    for name in ("imgs_to_audio", "text_to_audio", "stuff_to_span"):
        np.testing.assert_allclose(found[name], again[name], rtol=1e-5)
    assert abs(found["closed_span"] - again["closed_span"]) > 1e-4


@pytest.mark.slow
def test_rows_that_fill_up_count_nowhere(params, batch):
    from mmdiffmask.data import loader

    rows = [jax.tree.map(lambda x, i=i: x[i], batch) for i in range(2)]
    two = loader.stack(rows)
    four = loader.stack([*rows, loader.blank(rows[0]), loader.blank(rows[0])])
    run = jax.jit(lambda p, b: objective.unmasked(language.make_objective(), p, b))
    for name, value in run(params, two).items():
        np.testing.assert_allclose(run(params, four)[name], value, rtol=1e-4)


def test_grounding_is_the_formula(params, batch):
    made = language.make_objective()

    @jax.jit
    def run(params):
        shown = grounding.show(made, params, batch)
        words = grounding.span_vectors(made, params)
        named = grounding.name_words(made, params, batch, shown, words)
        head = made.call(params, "project", shown.cells)
        pooled = grounding.pooled_cells(made, params, batch, shown, words)
        return named, grounding.closed_span(named), pooled, head, words

    named, closed, pooled, head, words = map(jax.device_get, run(params))
    rows = named.is_row
    assert rows.sum() == 4 and not rows[:, 1].any()
    log_p = jax.nn.log_softmax(named.logits[:, 0])
    right = log_p[np.arange(4), batch.cloze.target[:, 0]]
    np.testing.assert_allclose(closed, -right.mean(), rtol=1e-5)
    unit = head / np.sqrt((head**2).sum(-1, keepdims=True) + 1e-5)
    cosine = np.exp(3.0) * np.einsum("bfkd,vd->bfkv", unit, words)
    score = np.log(np.exp(cosine).sum((1, 2)))  # (b, v)
    content, lost = np.asarray(made.vocabulary.is_content), []
    kind = np.asarray(made.vocabulary.word_class)
    for i, narrated in enumerate(batch.cloze.is_narrated):
        for v in np.flatnonzero(narrated & content):
            is_other = ~narrated & content & (kind == kind[v])
            others = np.exp(score[i, is_other]).sum()
            lost.append(np.log(np.exp(score[i, v]) + others) - score[i, v])
    np.testing.assert_allclose(pooled, np.mean(lost), rtol=1e-4)


def test_words_are_named_with_the_right_and_with_another_video(params, held, batch):
    made = language.make_objective()
    family = objective.family(made)
    run = steps.make_others_step(family, meshes.make(4, jax.devices()[:1]))
    found = evaluate.unmasked(run, params, held, [batch, batch], 7, 0)
    names = {row.metric for row in found if row.masks == "terms"}
    assert names == {f"loss_{name}" for name in family.weights if name != "patches"}
    of_words = [row for row in found if row.masks == "words"]
    assert {row.metric for row in of_words} == {"right_video", "wrong_video"}
    everything = {row.metric: row for row in of_words if row.stream == "all"}
    parts = [r for r in of_words if r.metric == "right_video" and r.stream != "all"]
    assert everything["right_video"].count == sum(row.count for row in parts) == 8


@pytest.mark.long
def test_hidden_words_are_learned_from_the_pictures():
    """Colours of the frames decide the word: one batch is learned by heart."""
    terms = dataclasses.replace(language.TERMS, patches=0.0)
    made = language.make_objective(terms, steps=60, warmup_steps=5)
    mesh, held = meshes.make(8, jax.devices()[:1]), tiny.make_held(tiny.start())
    step = steps.make_train_step(objective.family(made), made.settings, mesh)
    state = steps.first_state(optim.make(made.settings), held.start, mesh)
    batch, found = language.make_batch(range(8)), []
    for _ in range(60):
        state, metrics = step(state, held, batch, None)
        found.append(jax.device_get(metrics))
    for name in ("closed_span", "pooled_cells", "stuff_to_span"):
        first, last = found[0][f"loss_{name}"], found[-1][f"loss_{name}"]
        assert last < 0.5 * first, name
