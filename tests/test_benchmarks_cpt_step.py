"""The released step restated, the programs compared, and the command's lines."""

import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import training_run as tiny

from benchmarks import (
    collectives,
    cpt_communication,
    cpt_programs,
    cpt_step,
    released_step,
    reserve_speed,
)
from benchmarks.reserve_speed import Cost
from mmdiffmask import config, configure
from mmdiffmask.models.reserve import official_file
from mmdiffmask.training.terms import patches

pytestmark = pytest.mark.usefixtures("quick_compilation")


def _masks(clips, count=40):
    rng = np.random.default_rng(3)
    is_masked = np.zeros((clips, tiny.FRAMES * tiny.GRID.n_patches), bool)
    for row in is_masked:
        row[rng.choice(is_masked.shape[1], count, replace=False)] = True
    return is_masked.reshape(clips, tiny.FRAMES, -1)


def test_patches_are_counted_cell_by_cell():
    """A grid of 6 x 10: the second cell holds patches 2, 3, 12, 13."""
    is_masked = np.zeros((1, 2, 60), bool)
    is_masked[0, 0, [0, 13]] = is_masked[0, 1, 20] = True
    hidden = released_step.hidden(is_masked, tiny.GRID)
    assert hidden.patch.tolist() == [[0, 7, 60 + 4 * 5]]
    assert np.flatnonzero(hidden.is_touched[0]).tolist() == [0, 1, 15 + 5]


def test_each_patch_is_a_scatter_of_its_own():
    features, vector = jnp.zeros((12, 2)), jnp.ones(2)
    patch = np.array([3, 5, 7])
    hidden = released_step.hide(features, patch, vector)
    assert np.flatnonzero(hidden[:, 0]).tolist() == [3, 5, 7]
    jaxpr = jax.make_jaxpr(released_step.hide)(features, patch, vector)
    names = [equation.primitive.name for equation in jaxpr.eqns]
    assert names.count("scatter") == 3


def test_what_is_hidden_is_what_the_preset_hides():
    """The same features in both, and the same hidden ones."""
    batch, params = tiny.make_batch([0, 1]), tiny.start()
    is_masked = _masks(2)
    ours = tiny.make_objective(config.Training(mask_site="vit_output"))
    patch = released_step.hidden(is_masked, tiny.GRID).patch

    @jax.jit
    def run(params):
        held = tiny.make_held(params)
        theirs = released_step.cells(ours.model, ours.grid, params, batch, patch)
        masked = patches.masked_cells(ours, params, held, batch, is_masked)
        return theirs, (masked, patches.clean_cells(ours, params, held, batch))

    theirs, expected = run(params)
    for a, b in zip(theirs, expected, strict=True):
        np.testing.assert_allclose(a, b, atol=2e-6)
    assert np.abs(theirs[0] - theirs[1]).max() > 0.1


def test_touched_cells_are_packed_to_the_front():
    cells = jnp.arange(8.0).reshape(1, 4, 2) + 1
    packed = released_step.pack(cells, np.array([[False, True, False, True]]))
    assert packed[0].tolist() == [[3, 4], [7, 8], [0, 0], [0, 0]]


def test_the_contrast_keeps_empty_slots():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 1, 5, 3)).astype(np.float32)
    x[0, 3:] = y[0, 3:] = 0
    value = released_step.contrast_of(x, y, jnp.float32(1.5))
    a, b = (v[0] / np.sqrt((v[0] ** 2).sum(-1, keepdims=True) + 1e-5) for v in (x, y))
    logits = a @ b.T * np.exp(1.5)
    log_sum = [np.log(np.exp(logits).sum(axis)) for axis in (0, 1)]
    rows = (log_sum[0] + log_sum[1]) / 2 - np.diagonal(logits)
    np.testing.assert_allclose(rows[3:], math.log(5))
    np.testing.assert_allclose(value, rows.mean(), rtol=1e-5)


def test_targets_pass_gradients_on():
    x, y = jnp.eye(3)[None], jnp.arange(9.0).reshape(1, 3, 3)
    grad = jax.grad(released_step.contrast_of, argnums=1)(x, y, jnp.float32(1.0))
    assert jnp.abs(grad).max() > 0.01


def test_programs_differ_in_what_is_compared_alone():
    ours = cpt_programs.settings("small", clips=8)
    preset, default = ours[cpt_programs.PRESET], ours[cpt_programs.DEFAULT]
    a, b = configure.settings(preset), configure.settings(default)
    assert {name for name in a if a[name] != b[name]} == {
        "name",
        "masking.mask_unit",
        "masking.selection",
        "masking.box_share",
        "masking.masks",
        "training.mask_site",
    }
    assert b["masking.mask_unit"] == config.Masking().mask_unit
    assert (preset.data.rows, preset.data.cols) == (12, 24)
    for experiment in (preset, default):
        masks = cpt_programs.make_masks(experiment, clips=2)
        assert masks.shape == (2, 7, 288)
        assert masks.sum((1, 2)).tolist() == [504, 504]
    hidden = released_step.hidden(masks, cpt_programs.make_objective(preset).grid)
    assert hidden.is_touched.sum(1).tolist() == [126, 126]  # whole cells


def test_the_gate_compares_processor_seconds_and_all_memory():
    cheap = cpt_step.Measured(
        "reference", 10, *[Cost(2.0, 1.0)] * 3, 3, 4, memory=7, instructions=5
    )
    dear = cheap._replace(running=Cost(2.0, 1.5), compiling=Cost(9.0, 7.0), memory=14)
    times = cpt_step.gate(cheap, dear)
    assert times == {"time": 1.5, "memory": 2.0, "compiling": 4.0}


@pytest.mark.long
def test_quick_prints_every_figure_of_every_program(capsys, monkeypatch):
    monkeypatch.setattr(jax, "clear_caches", lambda: None)
    for module in (cpt_step, reserve_speed):  # 60 products are run
        monkeypatch.setattr(module, "PRODUCT", (8, 8, 8))
    monkeypatch.setattr(cpt_communication, "lines", lambda *_: ["what is sent"])
    words = ["--quick", "--model", "tiny", "--clips", "2", "--repeat", "1"]
    status = cpt_step.main(words)
    text = capsys.readouterr().out
    assert status == (0 if "gate met: " in text else 1)
    assert "default   reference    released" in text and "what is sent" in text
    lines = [line for line in text.splitlines() if line[34:].strip()]
    rows = {line[:34].strip(): line[34:].split() for line in lines}
    for figure in (
        *("GFLOP that the loss asks for", "a step, processor s", "both, processor s"),
        *("x of the product, by wall", "temporaries, MiB", "arguments, MiB"),
        "instructions",
    ):
        values = [float(value.replace(",", "")) for value in rows[figure]]
        assert len(values) == 3 and min(values) > 0, figure


def test_a_kept_program_is_no_measure_of_compiling(capsys):
    assert jax.config.jax_compilation_cache_dir  # conftest.py
    assert cpt_step.main(["--only", "steps"]) == 2
    assert "unset it" in capsys.readouterr().err


TEXT = """
  %all-reduce = (f32[3,4]{1,0}, bf16[]) all-reduce(%a, %b), channel_id=1
  ROOT %all-gather.1 = f32[8,2]{0,1} all-gather(%c), dimensions={0}
  %all-gather.2 = f32[8,2]{0,1} all-gather(%d), dimensions={0}
  %fusion = f32[8]{0} fusion(%all-gather.2), calls=%all-reduce
"""


def test_collectives_are_read_with_their_bytes():
    seen = collectives.read(TEXT)
    assert seen == [("all-gather", 64, 2), ("all-reduce", 50, 1)]
    assert collectives.total(seen) == {"all-gather": 128, "all-reduce": 50}
    # Of 4 devices: an all-reduce sends 2 * 3/4 of its bytes, an all-gather 3/4.
    assert collectives.sent(seen, 4) == 1.5 * 50 + 0.75 * 128
    with pytest.raises(ValueError, match="f8e4m3"):
        collectives.read("%x = f8e4m3[2]{0} all-reduce(%y)")
    with pytest.raises(ValueError, match="stands in a loop"):
        collectives.read(f"%body {{{TEXT}}}\nENTRY %main {{\n}}")
    assert collectives.read(f"%body {{}}\n\nENTRY %main {{{TEXT}}}") == seen


def test_sending_and_computing_are_told_in_time():
    seen = [collectives.Collective("all-reduce", 31_000_000, 1)]
    lines = cpt_communication.communication(seen, 22.5e12 * 0.4 * 7e-3, devices=8)
    assert "29.56 MiB all-reduce in 1 operations; a core sends 51.74 MiB" in lines[0]
    assert "1.75 ms to send, 7.00 ms to compute" in lines[1] and "25% more" in lines[1]


@pytest.mark.long
def test_a_step_sends_its_gradients_once(capsys):
    cpt_communication.main(["--quick", "--model", "tiny", "--devices", "8"])
    answer = json.loads(capsys.readouterr().out)
    seen = [collectives.Collective(**one) for one in answer["collectives"]]
    experiment = cpt_programs.settings("tiny", 8, is_quick=True)["default"]
    params = jax.eval_shape(lambda: cpt_programs.make_params(experiment))
    unused = ("head/", "span_encoder/", "/cls_proj/")
    size = 4 * sum(
        leaf.size
        for path, leaf in official_file.flatten(params).items()
        if not any(name in f"/{path}" for name in unused)
    )
    assert size <= collectives.total(seen)["all-reduce"] < 1.01 * size
    assert answer["flops"] > 0
