"""What all terms of a MERLOT-Reserve share: its settings, and the passes of a batch."""

import dataclasses
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from mmdiffmask import config
from mmdiffmask import grid as grids
from mmdiffmask.models.reserve import model as reserve
from mmdiffmask.models.reserve import towers
from mmdiffmask.training.family import Params
from mmdiffmask.types import Array, Pixels, VideoBatch

Losses = dict[str, Float[Array, ""]]  # of terms, by name; not weighted


class Passes(NamedTuple):
    """What the towers give for the plain batch, as far as it is known; else None.

    A pass that several terms look at is made once: XLA merges equal forward passes, but
    not their backward passes.

    Attributes:
      frames: of all frames, nothing hidden, (b, t, ..).
      sound: of all sub-segments in time's order, (b, m, ..).
    """

    frames: towers.Tower | None = None
    sound: towers.Tower | None = None


UNKNOWN = Passes()


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """The closed vocabulary of the grounding terms.

    Attributes:
      spans: tokens of each entry's text.
      is_content: entries that the cells of a picture are asked for.
      word_class: number of each entry's class.
      classes: names of the classes.
    """

    spans: Int[Array, "v 15"]
    is_content: Bool[Array, " v"]
    word_class: Int[Array, " v"]
    classes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Objective:
    """Everything but parameters, data and seed that the loss depends on.

    Attributes:
      model: MERLOT-Reserve.
      grid: of the batches' patches.
      settings: mask site, target, streams.
      slots: predicted cells per clip at most (`patches.max_cells`).
      terms: weights.
      reserve: how Reserve's own sequences were made.
      vocabulary: of the grounding terms, None where neither is used.
      has_padding: whether padding and absent frames may be hidden and are looked at.
    """

    model: reserve.Reserve
    grid: grids.PatchGrid
    settings: config.Training
    slots: int
    terms: config.Terms
    reserve: config.Reserve = config.Reserve()
    vocabulary: Vocabulary | None = None
    has_padding: bool = False

    def call(self, params: Params, method: str, *args: Any) -> Any:
        """A method of the model."""
        return self.model.apply({"params": params}, *args, method=method)

    def vision(
        self,
        params: Params,
        patches: Pixels[Array, "b t n p"],
        is_masked: Bool[Array, "b t n"] | None = None,
        replacement: Float[Array, "b t n d"] | None = None,
    ) -> towers.Tower:
        """The vision tower on the grid; masked patches are replaced."""
        return self.call(params, "vision", patches, self.grid, is_masked, replacement)

    def vision_with_attention(
        self, params: Params, patches: Pixels[Array, "b t n p"]
    ) -> tuple[towers.Tower, Float[Array, "b t n"]]:
        """The clean tower, and each frame's CLS attention to its patches."""
        return self.call(params, "vision_with_attention", patches, self.grid)

    def sound(
        self, params: Params, spectrogram: Float[Array, "b t s _ _"]
    ) -> towers.Tower:
        """The audio tower on every sub-segment, (b, m, ..), m = t * s."""
        examples, segments, each, *shape = spectrogram.shape
        together = spectrogram.reshape(examples, segments * each, *shape)
        return self.call(params, "audio", together)


def valid_frames(batch: VideoBatch) -> Bool[Array, "b t"]:
    """Real frames of real examples."""
    return jnp.asarray(batch.is_frame_valid) & jnp.asarray(batch.is_real)[:, None]


def valid_patches(batch: VideoBatch) -> Bool[Array, "b t n"]:
    """Patches that are picture of a real frame of a real example."""
    return jnp.asarray(batch.is_patch_valid) & valid_frames(batch)[:, :, None]


def valid_cells(
    grid: grids.PatchGrid, is_patch_valid: Bool[Array, "b t n"]
) -> Bool[Array, "b t c"]:
    """Cells with at least one valid patch."""
    zeros = jnp.zeros((*is_patch_valid.shape[:2], grid.n_cells), bool)
    return zeros.at[:, :, grids.cell_of_patch(grid)].max(is_patch_valid)
