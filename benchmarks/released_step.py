"""The released code's training step, restated from what is known of it.

reserve.md section 10.1 has the facts; no line of it is copied. It serves to be compared
with (`benchmarks.cpt_step`), never to train. The model's own functions compute towers
and transformer; what is restated is how patches are hidden and what the loss is:

- the vision tower runs once, on the plain frames; behind it one constant vector takes
  the place of each hidden patch, by one scatter after another in an unrolled loop;
- cells with a hidden patch are packed to the front of as many slots as a clip has
  cells, by a product with a one-hot matrix; empty slots stay, as zeros;
- targets are pooled from the plain features and pass gradients on;
- each stream's contrast is over all slots of the batch, both ways alike, and added up;
- frames have the segments 0, 1, ..., and all of them are looked at;
- gradients that are not a number become 0.

Where the facts leave more than one reading, the cheaper one stands here: the vector is
drawn once and not at every patch, a scatter serves all clips of a batch (the released
code is right for one clip a device alone), nothing is gathered from other devices, and
pictures of masks, which it sends along unused, are left out.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Int

from mmdiffmask import config
from mmdiffmask.grid import PatchGrid, cell_of_patch
from mmdiffmask.models.reserve import joining, towers
from mmdiffmask.models.reserve import model as reserve
from mmdiffmask.tokens import TOKENS_PER_SOUND
from mmdiffmask.training import contrast, optim, steps
from mmdiffmask.training import mesh as meshes
from mmdiffmask.training.family import Held, Params
from mmdiffmask.types import VideoBatch

KEY = 123457  # of the vector that stands in place of hidden patches
SCALES = (0, 1)  # of contrastive_scales: the audio stream, the text stream


class Hidden(NamedTuple):
    """What is hidden of each clip.

    `patch` counts patches of the clip cell by cell: 4 * cell + position in its block;
    `is_touched` marks cells with at least one of them.
    """

    patch: Int[Array, "b k"]
    is_touched: Bool[Array, "b c"]


def hidden(is_masked: Bool[np.ndarray, "b t n"], grid: PatchGrid) -> Hidden:
    """Masks in this form; every clip must hide as many patches."""
    clips = len(is_masked)
    order = np.argsort(cell_of_patch(grid), kind="stable")
    by_cell = is_masked[:, :, order].reshape(clips, -1)
    patch = np.stack([np.flatnonzero(row) for row in by_cell]).astype(np.int32)
    is_touched = by_cell.reshape(clips, -1, towers.POOL**2).any(axis=2)
    return Hidden(patch, is_touched)


def hide(
    features: Float[Array, "q d"], patch: Int[Array, " k"], vector: Float[Array, " d"]
) -> Float[Array, "q d"]:
    """The features of one clip with the vector at each of these patches."""
    for place in range(len(patch)):
        features = features.at[patch[place]].set(vector)
    return features


def cells(
    model: reserve.Reserve,
    grid: PatchGrid,
    params: Params,
    batch: VideoBatch,
    patch: Int[Array, "b k"],
) -> tuple[Float[Array, "b t c d"], Float[Array, "b t c d"]]:
    """Pooled features, with hidden patches replaced and without."""

    def pool(model: reserve.Reserve, x: Float[Array, "f c g d"]) -> Array:
        return model.vision_encoder.seq_attnpool(x)

    variables = {"params": params}
    plain = model.apply(variables, batch.patches, grid, method="vision")
    clips, frames, count, width = plain.seq.shape
    blocks = towers.cells_of(plain.seq.reshape(-1, count, width), grid)
    vector = jax.random.normal(jax.random.key(KEY), (width,)).astype(blocks.dtype)
    flat = blocks.reshape(clips, frames * count, width)
    replaced = jax.vmap(hide, in_axes=(0, 0, None))(flat, patch, vector)
    pooled = model.apply(variables, replaced.reshape(blocks.shape), method=pool)
    return pooled.reshape(plain.seq_attnpool.shape), plain.seq_attnpool


def joint_cells(
    model: reserve.Reserve,
    grid: PatchGrid,
    params: Params,
    batch: VideoBatch,
    pooled: Float[Array, "b t c d"],
) -> list[Float[Array, "b q d"]]:
    """The joint output at all cells of each clip: audio stream, text stream."""
    variables = {"params": params}
    clips, segments, each = batch.spectrogram.shape[:3]
    sounds = segments * each
    spectrogram = batch.spectrogram.reshape(clips, sounds, 60, 65)
    heard = model.apply(variables, spectrogram, method="audio").seq_attnpool
    silent = jnp.zeros((clips, sounds, TOKENS_PER_SOUND, heard.shape[-1]), heard.dtype)
    text = joining.TextPart(
        tokens=jnp.concatenate([batch.audio_tokens, batch.text_tokens]),
        segment=jnp.concatenate([batch.audio_segment, batch.text_segment]),
        audio_spans=jnp.concatenate([heard, silent]),
    )
    vision = joining.VisionPart(jnp.concatenate([pooled, pooled]))
    joint = model.apply(variables, text, vision, grid, method="joint").vision
    return [joint[:clips], joint[clips:]]


def pack(
    cells: Float[Array, "b q d"], is_touched: Bool[Array, "b q"]
) -> Float[Array, "b q d"]:
    """Touched cells in front, zeros behind them."""
    slot = jnp.where(is_touched, jnp.cumsum(is_touched, axis=1) - 1, -1)
    at = jax.nn.one_hot(slot, cells.shape[1], dtype=cells.dtype)  # (b, q, slots)
    return jnp.einsum("bqk,bqd->bkd", at, cells)


def contrast_of(
    x: Float[Array, "b q d"], y: Float[Array, "b q d"], log_scale: Float[Array, ""]
) -> Float[Array, ""]:
    """Mean over all slots of the batch, empty ones too, both ways alike."""
    x, y = (contrast.scaled(v, log_scale).reshape(-1, v.shape[-1]) for v in (x, y))
    logits = x @ y.T
    right = jnp.diagonal(logits)
    forth = jax.nn.logsumexp(logits, axis=1) - right
    back = jax.nn.logsumexp(logits, axis=0) - right
    return (jnp.mean(forth) + jnp.mean(back)) / 2


def loss(
    model: reserve.Reserve,
    grid: PatchGrid,
    params: Params,
    batch: VideoBatch,
    hidden: Hidden,
) -> Float[Array, ""]:
    """The loss that is trained on: the sum of both streams' contrasts."""
    pooled, clean = cells(model, grid, params, batch, hidden.patch)
    streams = joint_cells(model, grid, params, batch, pooled)
    target = pack(clean.reshape(streams[0].shape), hidden.is_touched)
    scales = model.apply({"params": params}, method="scales")
    total = jnp.zeros(())
    for scale, stream in zip(SCALES, streams, strict=True):
        x = pack(stream, hidden.is_touched)
        total = total + contrast_of(x, target, scales[scale])
    return total


def make_train_step(
    model: reserve.Reserve, grid: PatchGrid, settings: config.Training, mesh: Mesh
) -> jax.stages.Wrapped:
    """(state, held, batch, hidden) -> (state, metrics); the state is donated."""
    tx = optim.make(settings)

    def step(
        state: steps.TrainState, held: Held, batch: VideoBatch, hidden: Hidden
    ) -> tuple[steps.TrainState, dict[str, Array]]:
        value, grads = jax.value_and_grad(
            lambda params: loss(model, grid, params, batch, hidden)
        )(state.params)
        grads = jax.tree.map(lambda g: jnp.where(jnp.isnan(g), 0.0, g), grads)
        updates, opt_state = tx.update(
            grads, state.opt_state, state.params, start=held.start
        )
        params = optax.apply_updates(state.params, updates)
        return steps.TrainState(params, opt_state, state.step + 1), {"loss": value}

    same, cut = meshes.replicated(mesh), meshes.by_example(mesh)
    return jax.jit(
        step,
        in_shardings=(same, same, cut, cut),
        out_shardings=same,
        donate_argnums=0,
    )
