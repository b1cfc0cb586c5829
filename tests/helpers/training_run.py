"""A tiny run on synthetic rows, for the training tests and their killed processes.

As a program: `python training_run.py RUN_DIR [SAVE_MINUTES]` runs it on one device.
"""

import contextlib
import dataclasses
import functools
import sys

import jax
import numpy as np

from mmdiffmask import config, configure, grid
from mmdiffmask.data import loader
from mmdiffmask.inputs import Claim
from mmdiffmask.models.reserve import model as reserve
from mmdiffmask.run_folder import RunFolder
from mmdiffmask.tokens import AUDIOSPAN
from mmdiffmask.training import loop, objective
from mmdiffmask.training import mesh as meshes
from mmdiffmask.training.family import Family, Held
from mmdiffmask.training.job import Job
from mmdiffmask.training.terms import cells, patches, shared
from mmdiffmask.types import VideoBatch

GRID = grid.PatchGrid(6, 10)
FRAMES, LENGTH = 7, 24
MODEL = config.Model(
    hidden=64,
    vision_layers=1,
    audio_layers=1,
    span_layers=1,
    joint_layers=1,
    vocabulary=64,
    scale_init=3.0,
)
TRAINING = config.Training(
    steps=6,
    batch_size=8,
    lr=1e-3,
    warmup_steps=2,
    eval_every=3,
    save_every=2,
    early_stopping=False,
)
TERMS = config.Terms()
# Fields that no loss reads, only how updates follow each other.
OF_RUNS = ("steps", "warmup_steps", "eval_every", "save_every", "save_minutes")
OF_RUNS += ("lr", "b2", "eps")


def make_row(index: int) -> VideoBatch:
    """Patches of one colour each, most of them still; every third has no sound."""
    rng = np.random.default_rng([7, index])
    n, q = GRID.n_patches, GRID.n_patches * FRAMES
    still = rng.normal(size=(1, n, 1, 3))  # around 0: small models learn it sooner
    moving = 0.5 * rng.normal(size=(FRAMES, n, 1, 3))
    patches = np.broadcast_to(still + moving, (FRAMES, n, 256, 3))
    is_patch_valid = np.ones((FRAMES, n), bool)
    is_patch_valid[:, -10:] = index % 2 == 0  # the last patch row is padding
    is_frame_valid = np.arange(FRAMES) < FRAMES - index % 2
    is_valid = (is_patch_valid & is_frame_valid[:, None]).reshape(q)
    audio = np.zeros(LENGTH, np.int32)
    audio[:3], audio[3:21] = 12, AUDIOSPAN
    segment = np.zeros(LENGTH, np.int32)
    segment[3:21] = np.repeat([1, 2, 3], 6)
    return VideoBatch(
        patches=patches.reshape(FRAMES, n, -1).astype(np.float32),
        spectrogram=rng.uniform(size=(FRAMES, 1, 60, 65)).astype(np.float32),
        text_tokens=rng.integers(10, 64, LENGTH).astype(np.int32),
        text_segment=np.sort(rng.integers(0, FRAMES + 1, LENGTH)).astype(np.int32),
        audio_tokens=audio,
        audio_segment=segment,
        is_frame_valid=is_frame_valid,
        is_audio_valid=np.full(FRAMES, index % 3 > 0),
        is_patch_valid=is_patch_valid,
        unit_of_token=np.where(is_valid, np.arange(q), -1).astype(np.int32),
        unit_score=np.ones(q, np.float32),
        is_box_unit=np.zeros(q, bool),
        example_hash=np.uint32(1000 + index),
        clip_hash=np.uint32(index // 2 if index < 4 else 100 + index),
        is_real=np.bool_(True),
    )


def make_batch(indices) -> VideoBatch:
    """Rows as a batch."""
    return loader.stack([make_row(index) for index in indices])


def draw_cells(salt: int, batch: VideoBatch) -> jax.Array:
    """Hides 26 cells of each clip, drawn from (salt, example)."""
    cell = jax.numpy.asarray(grid.cell_of_patch(GRID))

    def one(example_hash):
        key = jax.random.fold_in(jax.random.key(salt), example_hash)
        lottery = jax.random.permutation(key, FRAMES * GRID.n_cells)
        return (lottery < 26).reshape(FRAMES, -1)[:, cell]

    return jax.vmap(one)(batch.example_hash) & shared.valid_patches(batch)


def draw_own(run_key: jax.Array, batch: VideoBatch, epoch) -> jax.Array:
    """The run's masks: the same for every seed and epoch."""
    return draw_cells(1, batch)


EVAL_MASKS = {
    "own": functools.partial(draw_cells, 1),
    "other": functools.partial(draw_cells, 2),
}


def make_objective(settings=TRAINING, terms=TERMS) -> shared.Objective:
    """The loss of the tiny model."""
    slots = cells.max_cells(0.25, "cell", 7 * GRID.n_patches, 7 * GRID.n_cells)
    return shared.Objective(reserve.Reserve(MODEL), GRID, settings, slots, terms)


@functools.cache
def _family(settings: config.Training) -> Family:
    """The same for jobs that differ only in `OF_RUNS`: they share what is compiled."""
    alike = {name: getattr(TRAINING, name) for name in OF_RUNS}
    return objective.family(make_objective(dataclasses.replace(settings, **alike)))


def make_held(params, seed: int = 0, **values) -> Held:
    """What a run holds fixed: standard noise, if no other values are given."""
    noise = {
        patches.NOISE_MEAN: np.zeros(MODEL.hidden, np.float32),
        patches.NOISE_SD: np.ones(MODEL.hidden, np.float32),
    }
    return Held(params, values or noise, jax.random.key(seed))


def start(seed: int = 0):
    """Random first weights; numpy draws them, as compiling `init` takes longer."""
    size = (GRID, FRAMES, 1, LENGTH)
    shapes = jax.eval_shape(
        lambda: reserve.init(jax.random.key(0), MODEL, *size, initialiser="lecun")
    )
    rng = np.random.default_rng(seed)

    def draw(path, leaf):
        name = path[-1].key
        if name in ("bias", "scale", "contrastive_scales"):
            value = {"bias": 0.0, "scale": 1.0}.get(name, MODEL.scale_init)
            return np.full(leaf.shape, value, np.float32)
        fan_in = leaf.shape[0] if leaf.ndim > 1 else 2500
        values = rng.normal(size=leaf.shape) / np.sqrt(fan_in)
        return values.astype(np.float32)

    return jax.tree_util.tree_map_with_path(draw, shapes)


def make_job(devices: int = 1, seed: int = 0, **changes) -> Job:
    """The tiny run; `changes` are fields of config.Training."""
    settings = dataclasses.replace(TRAINING, **changes)

    @contextlib.contextmanager
    def train_batches(first):
        size = settings.batch_size
        yield (
            (make_batch([(s * size + i) % 20 for i in range(size)]), s * size // 20)
            for s in range(first, settings.steps)
        )

    @contextlib.contextmanager
    def dev_batches():
        yield [make_batch(range(20, 28))]

    experiment = config.Experiment("test", training=settings)
    return Job(
        family=_family(settings),
        owner=Claim(configure.settings(experiment), seed),
        settings=settings,
        shapes=jax.eval_shape(functools.partial(start, seed)),
        batch_size=settings.batch_size,
        mesh=meshes.make(settings.batch_size, jax.devices()[:devices]),
        start=functools.partial(start, seed),
        check_clips=lambda: None,
        hold_batches=lambda: [make_batch(range(8))],
        train_batches=train_batches,
        example_ids=lambda step: [
            f"clip {((step - 1) * settings.batch_size + i) % 20}"
            for i in range(settings.batch_size)
        ],
        dev_batches=dev_batches,
        draw_masks=draw_own,
        eval_masks=EVAL_MASKS,
        own_masks="own",
    )


if __name__ == "__main__":
    minutes = float((*sys.argv[2:], 0)[0])
    loop.train(make_job(steps=12, save_minutes=minutes), RunFolder(sys.argv[1]))
