"""The masked-patch term: clean cells predicted from the masked clip, per stream."""

import functools
from collections.abc import Iterable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, UInt32

from mmdiffmask import grid as grids
from mmdiffmask.masking import corrupt
from mmdiffmask.models.reserve import model as reserve
from mmdiffmask.models.reserve import towers
from mmdiffmask.training.family import Held, Params, Scores
from mmdiffmask.training.terms import cells as cells_lib
from mmdiffmask.training.terms import streams as streams_lib
from mmdiffmask.training.terms.shared import (
    UNKNOWN,
    Objective,
    Passes,
    valid_cells,
    valid_patches,
)
from mmdiffmask.types import Array, VideoBatch

NAME = "patches"
SCALE_OF_STREAM = {"audio": 0, "text": 1}  # contrastive_scales, design.md section 5
REFERENCE_KEY = 123457  # of the released code's one vector (reserve.md section 10.1)
NOISE_MEAN, NOISE_SD = "noise_mean", "noise_sd"  # held fixed by a run


class Outcome(NamedTuple):
    """One forward pass: the loss, and what each stream and the copy floor predict."""

    loss: Float[Array, ""]
    streams: dict[str, cells_lib.Compared]
    copies: dict[str, cells_lib.Compared]
    cells: cells_lib.Cells

    @property
    def metrics(self) -> dict[str, Array]:
        """Chance loss, retrieval@1 over all streams' rows, and cells without a slot."""
        streams = list(self.streams.values())
        rows = sum(jnp.sum(s.is_row) for s in streams)
        hits = sum(jnp.sum(s.is_hit) for s in streams)
        chance = sum(
            jnp.sum(s.row_log_candidates) / jnp.maximum(jnp.sum(s.is_counted), 1)
            for s in streams
        )
        return {
            "log_candidates": chance,
            "retrieval": hits / jnp.maximum(rows, 1),
            "rows": rows,
            "dropped": self.dropped,
        }

    @property
    def dropped(self) -> Array:
        """How many touched cells found no slot."""
        return jnp.sum(self.cells.dropped)

    @property
    def scores(self) -> Scores:
        """What each example adds to the loss and to retrieval@1, per stream."""
        return {
            name: cells_lib.scores(self.streams[name], self.copies[name], self.cells)
            for name in self.streams
        }


def hold(
    objective: Objective, params: Params, batches: Iterable[VideoBatch]
) -> dict[str, Float[Array, " d"]]:
    """Mean and sd of each channel of the patch embeddings, over all valid patches.

    Raises:
      ValueError: if no batch has a valid patch.
    """

    @jax.jit
    def add(
        moments: corrupt.Moments, params: Params, batch: VideoBatch
    ) -> corrupt.Moments:
        embedded = objective.call(params, "embed_patches", batch.patches)
        is_valid = valid_patches(batch).reshape(-1)
        flat = embedded.reshape(-1, embedded.shape[-1])
        return corrupt.add_moments(moments, flat, is_valid)

    moments = corrupt.no_moments(objective.model.settings.hidden)
    for batch in batches:
        moments = add(moments, params, batch)
    if not moments.count > 0:
        raise ValueError("no training example has a valid frame: nothing to train on")
    return {NOISE_MEAN: moments.mean, NOISE_SD: moments.sd}


def forward(
    objective: Objective,
    params: Params,
    held: Held,
    batch: VideoBatch,
    is_masked: Bool[Array, "b t n"],
    passes: Passes = UNKNOWN,
) -> Outcome:
    """Predicts the clean features of masked cells from the masked clip.

    Paper: section 3.5. design.md section 5. Pure; `params` may be differentiated.

    Args:
      objective: everything but weights and data.
      params: the weights.
      held: start and noise of the run.
      batch: plain clips.
      is_masked: hidden patches.
      passes: of the towers on the plain batch, as far as they are known.
    """
    settings, is_valid = objective.settings, valid_patches(batch)
    cells = cells_lib.choose_cells(
        is_masked,
        is_valid=_hideable(objective, batch),
        cell_of_patch=grids.cell_of_patch(objective.grid),
        cells=objective.grid.n_cells,
        slots=objective.slots,
    )
    frames = passes.frames
    if frames is None and settings.mask_site == "vit_output":
        frames = objective.vision(params, batch.patches)
    pooled = masked_cells(objective, params, held, batch, is_masked, frames)
    clean = clean_cells(objective, params, held, batch, frames)
    fixed = jax.lax.stop_gradient(clean)
    copies = cells_lib.copy_queries(fixed, valid_cells(objective.grid, is_valid))
    predicted = streams_lib.joint_cells(objective, params, batch, pooled, passes.sound)
    is_learned = settings.target_gradient
    target = cells_lib.take_cells(clean if is_learned else fixed, cells.index)
    scales = objective.call(params, "scales")
    streams, floors = {}, {}
    for name, prediction in predicted.items():
        is_row = cells.is_row
        if name == "audio":
            is_row = is_row & has_sound(batch)[:, None]
        compare = functools.partial(
            cells_lib.compare,
            target=target,
            is_row=is_row,
            clip_hash=batch.clip_hash,
            log_scale=scales[SCALE_OF_STREAM[name]],
            is_counted=_counted(objective, batch),
            learns_target=is_learned,
        )
        streams[name] = compare(cells_lib.take_cells(prediction, cells.index))
        floors[name] = compare(cells_lib.take_cells(copies, cells.index))
    loss = sum(contrast.loss for contrast in streams.values())
    return Outcome(loss, streams, floors, cells)


def _counted(objective: Objective, batch: VideoBatch) -> Bool[Array, "b k"] | None:
    """Slots in the loss where empty ones count: all of real examples; else None."""
    if objective.settings.empty_slots != "kept":
        return None
    is_real = jnp.asarray(batch.is_real)[:, None]
    return jnp.broadcast_to(is_real, (len(is_real), objective.slots))


def _hideable(objective: Objective, batch: VideoBatch) -> Bool[Array, "b t n"]:
    """Patches that masks may hide: those with picture, or all of real examples."""
    if not objective.has_padding:
        return valid_patches(batch)
    is_real = jnp.asarray(batch.is_real)[:, None, None]
    return jnp.broadcast_to(is_real, batch.is_patch_valid.shape)


def has_sound(batch: VideoBatch) -> Bool[Array, " b"]:
    """Examples with at least one segment of real sound."""
    return jnp.any(jnp.asarray(batch.is_audio_valid), axis=1)


def start_parts(objective: Objective) -> tuple[str, ...]:
    """Parts of the first weights that the targets are made with."""
    if objective.settings.target == "live":
        return ()
    return ("vision_encoder", "contrastive_scales")  # the model has the scales at hand


def clean_cells(
    objective: Objective,
    params: Params,
    held: Held,
    batch: VideoBatch,
    frames: towers.Tower | None = None,
) -> Float[Array, "b t c d"]:
    """The targets: pooled features of the unmasked clip.

    `frames` is the vision tower's output of that clip with `params`, if it is known.
    """
    if objective.settings.target != "live":
        return objective.vision(held.start, batch.patches).seq_attnpool
    if frames is None:
        frames = objective.vision(params, batch.patches)
    return frames.seq_attnpool


def masked_cells(
    objective: Objective,
    params: Params,
    held: Held,
    batch: VideoBatch,
    is_masked: Bool[Array, "b t n"],
    frames: towers.Tower | None = None,
) -> Float[Array, "b t c d"]:
    """Pooled features of the masked clip.

    With `mask_site = patch_embedding` the noise stands before the first layer, so no
    visible patch has seen what is hidden. `vit_output` is the released code's reading:
    one constant vector after the last layer (reserve.md section 10.1); `frames` is the
    tower's output of the plain clip, if it is known.
    """
    if objective.settings.mask_site == "patch_embedding":
        noise = _noise(held, batch)
        return objective.vision(params, batch.patches, is_masked, noise).seq_attnpool
    if frames is None:
        frames = objective.vision(params, batch.patches)
    seq = frames.seq
    vector = jax.random.normal(jax.random.key(REFERENCE_KEY), seq.shape[-1:])
    vector = jnp.broadcast_to(vector.astype(seq.dtype)[None, None, None], seq.shape)
    seq = jnp.where(is_masked[..., None], vector, seq)
    return _pool(objective, params, seq)


def _pool(
    objective: Objective, params: Params, seq: Float[Array, "b t n d"]
) -> Float[Array, "b t c d"]:
    """The vision tower's attention pool alone."""
    batch, frames, n, width = seq.shape

    def pool(model: reserve.Reserve, x: Float[Array, "f n d"]) -> Float[Array, "f c d"]:
        return model.vision_encoder.seq_attnpool(towers.cells_of(x, objective.grid))

    pooled = objective.model.apply(
        {"params": params}, seq.reshape(-1, n, width), method=pool
    )
    return pooled.reshape(batch, frames, -1, width)


def _noise(held: Held, batch: VideoBatch) -> Float[Array, "b t n d"]:
    """Noise for every patch, from (the run's key, example) alone."""
    examples, frames, n, _ = batch.patches.shape
    mean, sd = held.values[NOISE_MEAN], held.values[NOISE_SD]

    def one(example_hash: UInt32[Array, ""]) -> Float[Array, "n d"]:
        key = corrupt.noise_key(held.key, example_hash)
        return corrupt.noise(key, mean, sd, frames * n)

    drawn = jax.vmap(one)(jnp.asarray(batch.example_hash))
    return drawn.reshape(examples, frames, n, -1)
