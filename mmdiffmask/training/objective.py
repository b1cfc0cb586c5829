"""The masked and the clean pass: from a batch and its masks to the loss per stream."""

import dataclasses
from collections.abc import Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from mmdiffmask import config, grid
from mmdiffmask.masking import corrupt
from mmdiffmask.models import joining, reserve, towers
from mmdiffmask.training import grounding, losses
from mmdiffmask.types import Array, VideoBatch

Params = Any
SCALE_OF_STREAM = {"audio": 0, "text": 1}  # contrastive_scales, DESIGN section 5
REFERENCE_KEY = 123457  # of the released code's one vector (RELEASED_CODE.md section 2)


class Frozen(NamedTuple):
    """What a run holds fixed: its first weights and the noise made from them."""

    start: Params
    noise_mean: Float[Array, " d"]
    noise_sd: Float[Array, " d"]


@dataclasses.dataclass(frozen=True)
class Objective:
    """Everything but parameters and data that the loss depends on.

    Attributes:
      model: MERLOT-Reserve.
      grid: of the batches' patches.
      settings: mask site, target, streams.
      slots: predicted cells per clip at most (`losses.max_cells`).
      seed: of the run; keys of the noise.
      reserve: weights of the language terms.
      vocabulary: of the grounding terms, None where neither is used.
    """

    model: reserve.Reserve
    grid: grid.PatchGrid
    settings: config.Training
    slots: int
    seed: int
    reserve: config.Reserve = config.Reserve()
    vocabulary: grounding.Vocabulary | None = None


class Outcome(NamedTuple):
    """One forward pass: loss, what each stream's rows did, and the copy floor's."""

    loss: Float[Array, ""]
    streams: dict[str, losses.Contrast]
    copies: dict[str, losses.Contrast]
    cells: losses.Cells


def embedding_statistics(
    model: reserve.Reserve, params: Params, batches: Iterable[VideoBatch]
) -> tuple[Float[Array, " d"], Float[Array, " d"]]:
    """Per-channel mean and sd of the patch embeddings over all valid patches.

    Raises:
      ValueError: if no batch has a valid patch.
    """

    @jax.jit
    def add(moments, params, batch):
        embedded = model.apply(
            {"params": params}, batch.patches, method="embed_patches"
        )
        is_valid = valid_patches(batch).reshape(-1)
        flat = embedded.reshape(-1, embedded.shape[-1])
        return corrupt.add_moments(moments, flat, is_valid)

    moments = corrupt.no_moments(model.settings.hidden)
    for batch in batches:
        moments = add(moments, params, batch)
    if not moments.count > 0:
        raise ValueError("no training example has a valid frame: nothing to train on")
    return moments.mean, moments.sd


def valid_patches(batch: VideoBatch) -> Bool[Array, "b t n"]:
    """Patches that are picture of a real frame of a real row."""
    is_frame = jnp.asarray(batch.is_frame_valid) & jnp.asarray(batch.is_real)[:, None]
    return jnp.asarray(batch.is_patch_valid) & is_frame[:, :, None]


def forward(
    objective: Objective,
    params: Params,
    frozen: Frozen,
    batch: VideoBatch,
    is_masked: Bool[Array, "b t n"],
    clean: Float[Array, "b t c d"] | None = None,
) -> Outcome:
    """Predicts the clean features of masked cells from the masked clip.

    Paper: section 3.5. DESIGN section 5. Pure; `params` may be differentiated.
    `clean` are the pooled features of the unmasked clip, if they are known already.
    """
    is_valid = valid_patches(batch)
    cells = losses.choose_cells(
        is_masked,
        is_valid,
        grid.cell_of_patch(objective.grid),
        objective.grid.n_cells,
        objective.slots,
    )
    pooled = masked_cells(objective, params, frozen, batch, is_masked)
    if clean is None or objective.settings.target != "live":
        clean = clean_cells(objective, params, frozen, batch)
    clean = jax.lax.stop_gradient(clean)
    copies = losses.copy_queries(clean, _any_of_cell(objective.grid, is_valid))
    predicted = joint_cells(
        objective.model,
        objective.grid,
        params,
        batch,
        pooled,
        objective.settings.streams,
    )
    target = losses.take_cells(clean, cells.index)
    scales = objective.model.apply({"params": params}, method="scales")
    streams, floors = {}, {}
    for name, prediction in predicted.items():
        is_row = cells.is_row
        if name == "audio":
            is_row = is_row & has_sound(batch)[:, None]
        rest = (target, is_row, batch.clip_hash, scales[SCALE_OF_STREAM[name]])
        x = losses.take_cells(prediction, cells.index)
        streams[name] = losses.contrast(x, *rest)
        floors[name] = losses.contrast(losses.take_cells(copies, cells.index), *rest)
    loss = sum(contrast.loss for contrast in streams.values())
    return Outcome(loss, streams, floors, cells)


def has_sound(batch: VideoBatch) -> Bool[Array, " b"]:
    """Examples with at least one segment of real sound."""
    return jnp.any(jnp.asarray(batch.is_audio_valid), axis=1)


def clean_cells(
    objective: Objective, params: Params, frozen: Frozen, batch: VideoBatch
) -> Float[Array, "b t c d"]:
    """The targets: pooled features of the unmasked clip."""
    source = params if objective.settings.target == "live" else frozen.start
    return vision(objective, source, batch.patches).seq_attnpool


def masked_cells(
    objective: Objective,
    params: Params,
    frozen: Frozen,
    batch: VideoBatch,
    is_masked: Bool[Array, "b t n"],
) -> Float[Array, "b t c d"]:
    """Pooled features of the masked clip.

    With `mask_site = patch_embedding` the noise stands before the first layer, so no
    visible patch has seen what is hidden. `vit_output` is the released code's reading:
    one constant vector after the last layer (RELEASED_CODE.md section 2).
    """
    if objective.settings.mask_site == "patch_embedding":
        noise = _noise(objective.seed, frozen, batch)
        return vision(objective, params, batch.patches, is_masked, noise).seq_attnpool
    seq = vision(objective, params, batch.patches).seq
    vector = jax.random.normal(jax.random.key(REFERENCE_KEY), seq.shape[-1:])
    vector = jnp.broadcast_to(vector.astype(seq.dtype)[None, None, None], seq.shape)
    seq = jnp.where(is_masked[..., None], vector, seq)
    return _pool(objective, params, seq)


def vision(objective: Objective, params: Params, patches, *mask) -> towers.Tower:
    """The vision tower on the objective's grid."""
    size = (objective.grid.rows, objective.grid.cols)
    return objective.model.apply(
        {"params": params}, patches, *size, *mask, method="vision"
    )


def _pool(
    objective: Objective, params: Params, seq: Float[Array, "b t n d"]
) -> Float[Array, "b t c d"]:
    """The vision tower's attention pool alone."""
    rows, cols = objective.grid.rows, objective.grid.cols
    batch, frames, n, width = seq.shape

    def pool(model, x):
        return model.vision_encoder.seq_attnpool(towers.cells_of(x, rows, cols))

    pooled = objective.model.apply(
        {"params": params}, seq.reshape(-1, n, width), method=pool
    )
    return pooled.reshape(batch, frames, -1, width)


def _noise(seed: int, frozen: Frozen, batch: VideoBatch) -> Float[Array, "b t n d"]:
    """Noise for every patch, from (seed, example) alone."""
    rows, frames, n, _ = batch.patches.shape

    def one(example_hash):
        key = corrupt.noise_key(seed, example_hash)
        return corrupt.noise(key, frozen.noise_mean, frozen.noise_sd, frames * n)

    drawn = jax.vmap(one)(jnp.asarray(batch.example_hash))
    return drawn.reshape(rows, frames, n, -1)


def _any_of_cell(
    patch_grid: grid.PatchGrid, is_valid: Bool[Array, "b t n"]
) -> Bool[Array, "b t c"]:
    zeros = jnp.zeros((*is_valid.shape[:2], patch_grid.n_cells), bool)
    return zeros.at[:, :, grid.cell_of_patch(patch_grid)].max(is_valid)


def joint_cells(
    model: reserve.Reserve,
    patch_grid: grid.PatchGrid,
    params: Params,
    batch: VideoBatch,
    pooled: Float[Array, "b t c d"],
    streams: tuple[str, ...],
) -> dict[str, Float[Array, "b t c d"]]:
    """The joint output at every visual cell, per stream, as one batch of sequences.

    Streams lie beside each other within an example, so that the batch axis is cut
    over devices between examples. Frames have segments 1..t, as text and sound have.
    """
    parts = [_text_part(model, params, batch, name) for name in streams]
    text = jax.tree.map(lambda *x: _interleave(x), *parts)
    rows, frames = batch.is_frame_valid.shape
    segment = jnp.broadcast_to(jnp.arange(1, frames + 1)[None], (rows, frames))
    count = len(streams)
    vision = joining.VisionPart(
        cells=_interleave([pooled] * count),
        segment=_interleave([segment] * count),
        is_frame_valid=_interleave([jnp.asarray(batch.is_frame_valid)] * count),
    )
    size = (patch_grid.rows, patch_grid.cols)
    joined = model.apply({"params": params}, text, vision, *size, method="joint").vision
    joined = joined.reshape(rows, count, *pooled.shape[1:])
    return {name: joined[:, i] for i, name in enumerate(streams)}


def _interleave(arrays) -> Array:
    stacked = jnp.stack(arrays, axis=1)
    return stacked.reshape(-1, *stacked.shape[2:])


def _text_part(
    model: reserve.Reserve, params: Params, batch: VideoBatch, stream: str
) -> joining.TextPart:
    """One stream's tokens. Sound that is not there becomes padding, seen by nobody."""
    rows, frames, clips = batch.spectrogram.shape[:3]
    if stream == "text":
        tokens, segment = jnp.asarray(batch.text_tokens), batch.text_segment
        spans = jnp.zeros(
            (rows, frames * clips, towers.AUDIO_TOKENS, model.settings.hidden),
            jnp.dtype(model.settings.dtype),
        )
        pointer = jnp.full(tokens.shape, -1, jnp.int32)
        return joining.TextPart(tokens, jnp.asarray(segment), spans, pointer)
    tokens, segment = jnp.asarray(batch.audio_tokens), jnp.asarray(batch.audio_segment)
    pointer = joining.count_pointers(tokens, frames * clips)
    is_heard = jnp.take_along_axis(
        jnp.asarray(batch.is_audio_valid), jnp.clip(segment - 1, 0, frames - 1), 1
    )
    is_silent = (tokens == joining.AUDIOSPAN) & ~is_heard
    spectrogram = batch.spectrogram.reshape(rows, frames * clips, 60, 65)
    heard = model.apply({"params": params}, spectrogram, method="audio").seq_attnpool
    tokens = jnp.where(is_silent, joining.PADDING, tokens)
    return joining.TextPart(tokens, segment, heard, pointer)
