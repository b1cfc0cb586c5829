"""The weighted terms: which there are, what they share, what they may not see."""

import dataclasses

import jax
import jax.numpy as jnp
import language_batch as language
import numpy as np
import pytest
import training_run as tiny

from mmdiffmask.training import evaluate_language, grounding, objective, steps, total


@pytest.fixture(scope="module", autouse=True)
def _quick_compilation():
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(scope="module")
def params():
    return tiny.start()


@pytest.fixture(scope="module")
def batch():
    return language.make_batch(range(4))


@pytest.fixture(scope="module")
def frozen(params):
    return objective.Frozen(params, *np.array([[0.0], [1.0]], np.float32).repeat(64, 1))


def test_which_terms_a_run_has():
    def weights(name, **changes):
        settings = dataclasses.replace(tiny.TRAINING, objective=name)
        return total.language_weights(
            settings, dataclasses.replace(language.TERMS, **changes)
        )

    assert weights("patches") == {}
    assert list(weights("reserve")) == [
        "imgs_to_audio",
        "text_to_audio",
        "stuff_to_span",
        "closed_span",
        "pooled_cells",
    ]
    assert "closed_span" not in weights("reserve", closed_span=0.0)
    settings = {"reserve": 0.0, "patches": 1.0, "reserve+patches": 0.5}
    for name, weight in settings.items():
        training = dataclasses.replace(tiny.TRAINING, objective=name)
        reserve = dataclasses.replace(language.TERMS, patches=0.5)
        assert total.patch_weight(training, reserve) == weight


def test_the_sum_is_that_of_its_parts(params, frozen, batch):
    reserve = dataclasses.replace(language.TERMS, text_to_audio=2.0, patches=3.0)
    made = language.make_objective(reserve)
    is_masked = tiny.draw_cells(1, batch, 0)

    @jax.jit
    def run(params):
        found = total.forward(made, params, frozen, batch, is_masked)
        alone = objective.forward(made, params, frozen, batch, is_masked)
        return found, alone.loss, total.language(made, params, batch)

    found, alone, terms = run(params)
    assert set(found.terms) == {*terms, "patches"} and len(terms) == 5
    np.testing.assert_allclose(found.terms["patches"], alone, rtol=1e-5)
    for name, value in terms.items():
        assert value > 0
        np.testing.assert_allclose(found.terms[name], value, rtol=1e-5)
    weights = total.language_weights(made.settings, reserve) | {"patches": 3.0}
    whole = sum(weights[name] * found.terms[name] for name in weights)
    np.testing.assert_allclose(found.loss, whole, rtol=1e-5)


def test_replay_hides_nothing_and_fewer_clips_serve(params, frozen, batch):
    few = dataclasses.replace(language.TERMS, clips=2)

    @jax.jit
    def run(params, batch):
        return total.forward(language.make_objective(few), params, frozen, batch, None)

    found = run(params, batch)
    assert found.patches is None and "patches" not in found.terms
    other = language.make_batch([0, 1, 10, 11])  # other clips behind the first two
    again = run(params, other)
    for name in ("imgs_to_audio", "text_to_audio", "stuff_to_span"):
        np.testing.assert_allclose(found.terms[name], again.terms[name], rtol=1e-5)
    assert abs(found.terms["closed_span"] - again.terms["closed_span"]) > 1e-4


def test_rows_that_fill_up_count_nowhere(params, batch):
    from mmdiffmask.data import loader

    rows = [jax.tree.map(lambda x, i=i: x[i], batch) for i in range(2)]
    two = loader.stack(rows)
    four = loader.stack([*rows, loader.blank(rows[0]), loader.blank(rows[0])])
    run = jax.jit(lambda p, b: total.language(language.make_objective(), p, b))
    for name, value in run(params, two).items():
        np.testing.assert_allclose(run(params, four)[name], value, rtol=1e-4)


def test_grounding_is_the_formula(params, batch):
    made = language.make_objective()

    @jax.jit
    def run(params):
        cells, is_valid = total.cloze_cells(made, params, batch)
        words = grounding.span_vectors(made.model, params, made.vocabulary)
        named = total.name_words(made, params, batch, cells, is_valid, words)
        head = made.model.apply({"params": params}, cells, method="project")
        narrated = (jnp.asarray(batch.cloze.is_narrated), words, made.vocabulary)
        pooled = grounding.pooled_cells(made.model, params, cells, is_valid, *narrated)
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


def test_words_are_named_with_the_right_and_with_another_video(params, batch):
    made = language.make_objective()
    run = evaluate_language.make_step(made, steps.make_mesh(4, jax.devices()[:1]))
    classes = ("a",) * 5 + ("b",) * 5
    found = evaluate_language.rows(run, params, [batch, batch], classes, 7, 0)
    names = {row.metric for row in found if row.masks == "reserve"}
    weights = total.language_weights(made.settings, made.reserve)
    assert names == {f"loss_{name}" for name in weights}
    of_words = [row for row in found if row.masks == "words"]
    assert {row.metric for row in of_words} == {"right_video", "wrong_video"}
    everything = {row.metric: row for row in of_words if row.stream == "all"}
    parts = [r for r in of_words if r.metric == "right_video" and r.stream != "all"]
    assert everything["right_video"].count == sum(row.count for row in parts) == 8
    whole = evaluate_language.total_loss(found, weights)
    by_hand = [row.value for row in found if row.masks == "reserve"]
    np.testing.assert_allclose(whole, sum(by_hand), rtol=1e-6)


@pytest.mark.slow
def test_hidden_words_are_learned_from_the_pictures():
    """Colours of the frames decide the word: one batch is learned by heart."""
    from mmdiffmask.training import optim

    made = language.make_objective(optimiser="adamw", steps=60, warmup_steps=5)
    tx = optim.make(made.settings)
    mesh = steps.make_mesh(8, jax.devices()[:1])
    frozen = objective.Frozen(
        tiny.start(), *np.array([[0.0], [1.0]], np.float32).repeat(64, 1)
    )
    step = steps.make_train_step(made, tx, None, mesh)
    state, batch = (
        steps.first_state(tx, frozen.start, mesh),
        language.make_batch(range(8)),
    )
    found = []
    for _ in range(60):
        state, metrics = step(state, frozen, batch, np.int32(0))
        found.append(jax.device_get(metrics))
    for name in ("closed_span", "pooled_cells", "stuff_to_span"):
        first, last = found[0][f"loss_{name}"], found[-1][f"loss_{name}"]
        assert last < 0.5 * first, name
