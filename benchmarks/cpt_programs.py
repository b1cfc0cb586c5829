"""The training steps that `benchmarks.cpt_step` compares, on made-up clips."""

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from benchmarks import released_step
from mmdiffmask import config, configure, examples
from mmdiffmask.grid import PatchGrid, cell_of_patch
from mmdiffmask.masking import budget
from mmdiffmask.models.reserve import model as reserve
from mmdiffmask.models.reserve import towers
from mmdiffmask.tokens import AUDIOSPAN, TOKENS_PER_SOUND
from mmdiffmask.training import mesh as meshes
from mmdiffmask.training import objective, optim, steps
from mmdiffmask.training.family import Held, Params
from mmdiffmask.training.terms import cells, flops, patches, shared
from mmdiffmask.types import VideoBatch

REFERENCE = pathlib.Path(__file__).parents[1] / "tpu_configs" / "reference.py"
# The row of its ladder whose loss is ours: with gradients of targets, and empty slots,
# there is one matrix of logits where blocks serve else.
ROW = "no padding"
DEFAULT, PRESET, RELEASED = "default", "reference", "released"
QUICK = config.Data(rows=4, cols=6, segments=2, sub_segments=1, text_length=32)
FIRST_WORD = 10  # below it are special tokens
Settings = dict[str, config.Experiment]


class Program(NamedTuple):
    """A training step, not compiled; `others` are its arguments behind the state.

    `flops` are those that the loss asks for (terms/flops.py).
    """

    name: str
    step: jax.stages.Wrapped
    first_state: Callable[[], steps.TrainState]
    others: tuple
    flops: int


def settings(model: str, clips: int, is_quick: bool = False) -> Settings:
    """The default and the preset, with the same model, data, batch and optimiser.

    Args:
      model: a name of config.MODELS.
      clips: of a batch.
      is_quick: data as small as they can be, and the optimiser that compiles fastest.
    """
    preset = configure.rows(configure.load(str(REFERENCE)))[ROW]
    training = dataclasses.replace(preset.training, batch_size=clips)
    if is_quick:
        training = dataclasses.replace(training, optimiser="adamw")
    preset = dataclasses.replace(
        preset,
        model=config.MODELS[model],
        data=QUICK if is_quick else preset.data,
        training=training,
    )
    usual = config.Training()
    training = dataclasses.replace(
        training, mask_site=usual.mask_site, target=usual.target
    )
    default = dataclasses.replace(
        preset, name=DEFAULT, masking=config.Masking(), training=training
    )
    return {DEFAULT: default, PRESET: preset}


def make_batch(data: config.Data, vocabulary: int, clips: int) -> VideoBatch:
    """Noise of the right shapes: all frames real, all sound heard, texts full."""
    rng = np.random.default_rng(0)
    grid = examples.patch_grid(data)
    lead, count = (clips, data.segments), grid.n_patches
    each = data.sub_segments * TOKENS_PER_SOUND
    room = max(0, data.text_length - data.segments * each)
    audio = np.full((clips, data.text_length), AUDIOSPAN, np.int32)
    audio[:, :room] = FIRST_WORD
    segment = np.repeat(np.arange(1, data.segments + 1), each)
    segment = np.concatenate([np.zeros(room, int), segment])[: data.text_length]
    segment = np.tile(segment.astype(np.int32), (clips, 1))
    text = rng.integers(FIRST_WORD, vocabulary, (clips, data.text_length), np.int32)
    tokens = clips, data.segments * count
    return VideoBatch(
        patches=rng.random((*lead, count, towers.PATCH_VALUES), np.float32),
        spectrogram=rng.random((*lead, data.sub_segments, 60, 65), np.float32),
        text_tokens=text,
        text_segment=segment,
        audio_tokens=audio,
        audio_segment=segment,
        is_frame_valid=np.ones(lead, bool),
        is_audio_valid=np.ones(lead, bool),
        is_patch_valid=np.ones((*lead, count), bool),
        unit_of_token=np.tile(np.arange(tokens[1], dtype=np.int32), (clips, 1)),
        unit_score=np.ones(tokens, np.float32),
        is_box_unit=np.zeros(tokens, bool),
        example_hash=np.arange(clips, dtype=np.uint32),
        clip_hash=np.arange(clips, dtype=np.uint32),
        is_real=np.ones(clips, bool),
    )


def make_masks(experiment: config.Experiment, clips: int) -> np.ndarray:
    """Patches (b, t, n) or whole cells hidden at random, as many as the budget is."""
    rng = np.random.default_rng(1)
    data, grid = experiment.data, examples.patch_grid(experiment.data)
    is_cell = experiment.masking.mask_unit == "cell"
    units = data.segments * (grid.n_cells if is_cell else grid.n_patches)
    count = budget.most_tokens(experiment.masking.ratio, units)
    is_hidden = np.zeros((clips, units), bool)
    for row in is_hidden:
        row[rng.choice(units, count, replace=False)] = True
    is_hidden = is_hidden.reshape(clips, data.segments, -1)
    return is_hidden[:, :, cell_of_patch(grid)] if is_cell else is_hidden


def make_params(experiment: config.Experiment) -> Params:
    """Random first weights."""
    data, model = experiment.data, experiment.model
    return reserve.init(
        jax.random.key(0),
        model,
        examples.patch_grid(data),
        data.segments,
        data.sub_segments,
        data.text_length,
        model.initialiser,
    )


def make_held(params: Any, hidden: int) -> Held:
    """What a run holds fixed: its start, and noise of mean 0 and sd 1."""
    noise = {
        patches.NOISE_MEAN: np.zeros(hidden, np.float32),
        patches.NOISE_SD: np.ones(hidden, np.float32),
    }
    return Held(params, noise, jax.random.key(0))


def programs(of_name: Settings) -> list[Program]:
    """Ours in the default and in the preset, and the released one restated.

    On the first device.

    Args:
      of_name: `settings`.
    """
    preset = of_name[PRESET]
    clips = preset.training.batch_size
    mesh = meshes.make(clips, jax.devices()[:1])
    batch = make_batch(preset.data, preset.model.vocabulary, clips)
    params = make_params(preset)
    held = make_held(params, preset.model.hidden)
    held = jax.device_put(held, meshes.replicated(mesh))
    batch = jax.device_put(batch, meshes.by_example(mesh))
    tx = optim.make(preset.training)

    def first_state() -> steps.TrainState:
        return steps.first_state(tx, params, mesh)

    ready = []
    for name, experiment in of_name.items():
        step = train_step(experiment, mesh)
        masks = make_masks(experiment, clips)
        masks = jax.device_put(masks, meshes.by_example(mesh))
        count = work(experiment, batch)
        ready.append(Program(name, step, first_state, (held, batch, masks), count))
    return [*ready, _released(preset, mesh, ready[-1])]


def make_objective(experiment: config.Experiment) -> shared.Objective:
    """Model and loss of the settings."""
    data, masking = experiment.data, experiment.masking
    grid = examples.patch_grid(data)
    n_cells, n_patches = data.segments * grid.n_cells, data.segments * grid.n_patches
    return shared.Objective(
        model=reserve.Reserve(experiment.model),
        grid=grid,
        settings=experiment.training,
        slots=cells.max_cells(masking.ratio, masking.mask_unit, n_patches, n_cells),
        terms=experiment.terms,
    )


def train_step(experiment: config.Experiment, mesh: Mesh) -> meshes.Placed:
    """Ours, as a run would have it."""
    family = objective.family(make_objective(experiment))
    return steps.make_train_step(family, experiment.training, mesh)


def work(experiment: config.Experiment, batch: VideoBatch) -> int:
    """FLOP of an update."""
    return sum(flops.update(make_objective(experiment), batch).values())


def _released(preset: config.Experiment, mesh: Mesh, ours: Program) -> Program:
    """The restated step, on what the preset's step is given."""
    grid: PatchGrid = examples.patch_grid(preset.data)
    held, batch, masks = ours.others
    hidden = released_step.hidden(np.asarray(masks), grid)
    hidden = jax.device_put(hidden, meshes.by_example(mesh))
    step = released_step.make_train_step(
        reserve.Reserve(preset.model), grid, preset.training, mesh
    )
    # One more pool passes gradients on: under 1 % of the work.
    return ours._replace(name=RELEASED, step=step, others=(held, batch, hidden))
