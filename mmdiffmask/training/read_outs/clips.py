"""Features of clips, seen without text and sound; what pages call every read-out."""

from collections.abc import Iterable
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Bool, Float

from mmdiffmask.models.reserve import joining
from mmdiffmask.training.family import Params
from mmdiffmask.training.terms.shared import Objective, valid_cells, valid_patches
from mmdiffmask.types import Array, VideoBatch

JOINT, VISION = "joint", "vit"
MEAN, CLS = "mean", "cls"  # of texts


class Words(NamedTuple):
    """How a page names a read-out: beside a number, and in a sentence after "from"."""

    short: str
    whole: str


# In the order of a page: rows are compared by the first that they have.
WORDS = {
    JOINT: Words("network", "the whole network's output"),
    VISION: Words("vision", "the vision part alone"),
    MEAN: Words("pieces", "the mean of a text's pieces"),
    CLS: Words("[CLS]", "the first piece, [CLS]"),
}


def ordered(names: Iterable[str]) -> list[str]:
    """The read-outs as WORDS has them, then others by name."""
    names = set(names)
    return [*(name for name in WORDS if name in names), *sorted(names - set(WORDS))]


def words(name: str) -> Words:
    """How a page names it; by its name where WORDS has none."""
    return WORDS.get(name, Words(name, f"the features “{name}”"))


def encode(
    objective: Objective, params: Params, batch: VideoBatch
) -> dict[str, Float[Array, "b d"]]:
    """`Family.encode`: means over a clip's valid cells.

    JOINT is the joint transformer's output, VISION the vision tower's own. Neither
    text nor sound goes in: subtitles narrate what a label asks for, so a read-out that
    saw them would measure reading. design.md section 7, read-out `clip`.
    """
    cells = objective.vision(params, batch.patches).seq_attnpool
    clips, frames = batch.is_frame_valid.shape
    segment = jnp.broadcast_to(jnp.arange(1, frames + 1)[None], (clips, frames))
    vision = joining.VisionPart(cells, segment, batch.is_frame_valid)
    joint = objective.call(params, "joint", None, vision, objective.grid).vision
    is_valid = valid_cells(objective.grid, valid_patches(batch))
    return {
        JOINT: mean_over_cells(joint.reshape(cells.shape), is_valid),
        VISION: mean_over_cells(cells, is_valid),
    }


def mean_over_cells(
    cells: Float[Array, "b t c d"], is_valid: Bool[Array, "b t c"]
) -> Float[Array, "b d"]:
    """Mean over a clip's valid cells, in float32; 0 for a clip without any."""
    weight = is_valid.astype(jnp.float32)[..., None]
    kept = jnp.where(is_valid[..., None], cells.astype(jnp.float32), 0.0)
    return kept.sum((1, 2)) / jnp.maximum(weight.sum((1, 2)), 1.0)
