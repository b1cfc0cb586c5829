"""FLOP of an update against sums counted by hand, and products of the gradient."""

import dataclasses

import jax
import numpy as np
import pytest
from helpers import language_batch as language
from helpers import training_run as tiny
from jax.interpreters import partial_eval

from mmdiffmask import config
from mmdiffmask.grid import PatchGrid
from mmdiffmask.models.reserve import flops as parts_of
from mmdiffmask.models.reserve import model as reserve
from mmdiffmask.training import objective as objectives
from mmdiffmask.training import text_objective
from mmdiffmask.training.terms import flops, shared
from mmdiffmask.types import ReserveBatch, Sequences, VideoBatch

OF_VIDEO = [
    name
    for name in config.Terms.__dataclass_fields__
    if name not in text_objective.TERMS
]
RESERVE = config.Terms(imgs_to_audio=1.0, text_to_audio=1.0, stuff_to_span=1.0)


def _base(rows=12, cols=20, terms=None, **changes):
    """`base` as config.Experiment trains it."""
    return shared.Objective(
        model=reserve.Reserve(config.MODELS["base"]),
        grid=PatchGrid(rows, cols),
        settings=config.Training(**changes),
        slots=105,
        terms=terms or config.Terms(),
    )


def _clip(objective, clips=1):
    """Shapes of clips of 7 frames, 3 sounds each, 256 tokens."""
    shape = jax.ShapeDtypeStruct
    fields = dict.fromkeys(VideoBatch._fields[:-2])
    tokens = shape((clips, 256), np.int32)
    one = Sequences(*[shape((clips, 1, 256), np.int32)] * 3)
    fields |= {
        "patches": shape((clips, 7, objective.grid.n_patches, 768), np.float32),
        "spectrogram": shape((clips, 7, 3, 60, 65), np.float32),
        "text_tokens": tokens,
        "audio_tokens": tokens,
        "reserve": ReserveBatch(
            one, one, one, None, shape((clips, 14, 15), np.int32), None
        ),
    }
    return VideoBatch(**fields)


def _total(objective, clips=1):
    return sum(flops.update(objective, _clip(objective, clips)).values()) / 1e12


# T FLOPs of a clip, counted by hand without the contrasts. The terms of Reserve were
# counted with the audio tower's backward pass twice, 0.226 more than the loss asks for.
COUNTED = [
    ((12, 20), config.Terms(), 2.364),
    ((18, 32), config.Terms(), 5.136),
    ((12, 20), RESERVE, 4.174 - 0.226),
    ((18, 32), RESERVE, 8.758 - 0.226),
]


@pytest.mark.parametrize("sides, terms, expected", COUNTED)
def test_a_clip_costs_what_was_counted_by_hand(sides, terms, expected):
    assert _total(_base(*sides, terms)) == pytest.approx(expected, rel=0.01)


def test_sites_targets_and_streams_change_the_passes():
    frames, sound = 7 * 44.07e-3, 21 * 5.39e-3  # T FLOPs of a clip's towers
    whole, pools = _total(_base()), 7 * 0.71e-3
    late = _total(_base(mask_site="vit_output"))
    assert whole - late == pytest.approx(frames - pools, rel=0.01)
    initial = _total(_base(mask_site="vit_output", target="initial"))
    assert initial - late == pytest.approx(frames - pools, rel=0.01)
    assert _total(_base(target="initial")) == pytest.approx(whole)
    text = _total(_base(streams=("text",)))
    assert whole - text == pytest.approx(3 * (sound + 0.1317), rel=0.01)


def test_clips_add_up_but_for_the_contrasts():
    objective = _base()
    one, four = (flops.update(objective, _clip(objective, n)) for n in (1, 4))
    for part in ("vision", "audio", "joint"):
        assert four[part] == 4 * one[part]
    assert four["heads"] == 16 * one["heads"]


def test_without_hidden_patches_only_the_terms_count():
    alone = _base(terms=dataclasses.replace(RESERVE, patches=0.0))
    images = _base(terms=config.Terms(patches=0.0, imgs_to_audio=1.0))
    parts = flops.update(images, _clip(images))
    assert parts["span"] == 0 < flops.update(alone, _clip(alone))["span"]
    assert parts["joint"] == pytest.approx(3 * 45.9e9, rel=0.01)
    few = dataclasses.replace(alone, reserve=config.Reserve(clips=1))
    assert _total(few, clips=4) == pytest.approx(_total(alone))


@pytest.mark.parametrize("weight", OF_VIDEO)
def test_every_term_costs_what_its_gradient_multiplies(weight):
    terms = config.Terms(**{"patches": 0.0, weight: 1.0})
    objective, batch = language.make_objective(terms), language.make_batch([0, 1])
    params, is_masked = tiny.start(), tiny.draw_cells(1, batch)
    held = tiny.make_held(params)

    def loss(params):
        losses, _ = objectives.losses(objective, params, held, batch, is_masked)
        return losses[weight]

    jaxpr = jax.make_jaxpr(jax.grad(loss))(params).jaxpr
    used, _ = partial_eval.dce_jaxpr(jaxpr, [True] * len(jaxpr.outvars))
    parts = flops.update(objective, batch)
    # Towers count whole, but pixels and sound need no gradient.
    is_seen = weight not in ("closed_span", "pooled_cells")
    frames, sounds = (14, 14) if is_seen else (2, 0)
    spare = (frames * 60 * 768 + sounds * 30 * 130) * 2 * tiny.MODEL.hidden
    if weight == "imgs_to_audio":  # reads the frames' CLS alone
        spare += 3 * frames * parts_of.cell_pool(tiny.MODEL, 60)
    assert sum(parts.values()) - spare == pytest.approx(_products(used), rel=2e-3)


@pytest.mark.parametrize("site", ["patch_embedding", "vit_output"])
def test_targets_that_learn_cost_their_backward_pass(site):
    settings = dataclasses.replace(tiny.TRAINING, mask_site=site, target_gradient=True)
    objective, batch = tiny.make_objective(settings), tiny.make_batch([0, 1])
    params, is_masked = tiny.start(), tiny.draw_cells(1, batch)
    held = tiny.make_held(params)

    def loss(params):
        losses, _ = objectives.losses(objective, params, held, batch, is_masked)
        return losses["patches"]

    jaxpr = jax.make_jaxpr(jax.grad(loss))(params).jaxpr
    used, _ = partial_eval.dce_jaxpr(jaxpr, [True] * len(jaxpr.outvars))
    passes = 1 if site == "vit_output" else 2
    pixels = (passes * 14 * 60 * 768 + 14 * 30 * 130) * 2 * tiny.MODEL.hidden
    counted = sum(flops.update(objective, batch).values()) - pixels
    assert counted == pytest.approx(_products(used), rel=2e-3)
    usual = dataclasses.replace(
        objective, settings=dataclasses.replace(settings, target_gradient=False)
    )
    assert sum(flops.update(usual, batch).values()) < counted + pixels


def test_terms_together_pass_each_tower_once():
    terms = config.Terms(text_to_audio=1.0, patches=1.0)
    objective, batch = language.make_objective(terms), language.make_batch([0, 1])
    params, is_masked = tiny.start(), tiny.draw_cells(1, batch)
    held = tiny.make_held(params)

    def loss(params):
        losses, _ = objectives.losses(objective, params, held, batch, is_masked)
        return sum(losses.values())

    jaxpr = jax.make_jaxpr(jax.grad(loss))(params).jaxpr
    used, _ = partial_eval.dce_jaxpr(jaxpr, [True] * len(jaxpr.outvars))
    parts = flops.update(objective, batch)
    pixels = (2 * 14 * 60 * 768 + 14 * 30 * 130) * 2 * tiny.MODEL.hidden
    counted, audio = sum(parts.values()) - pixels, parts["audio"]
    assert abs(counted - _products(used)) < 2e-3 * counted < 0.1 * audio


def _products(jaxpr):
    """FLOP of the matrix products of a jaxpr; nothing in it may be a loop."""
    total = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            left = equation.invars[0].aval.shape
            inside = np.prod([left[axis] for axis in contracted], initial=1)
            total += 2 * inside * np.prod(equation.outvars[0].aval.shape)
        inner = [equation.params.get(name) for name in ("jaxpr", "call_jaxpr")]
        inner += list(equation.params.get("branches", ()))[:1]
        for one in filter(None, inner):
            total += _products(getattr(one, "jaxpr", one))
    return total
