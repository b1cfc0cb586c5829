"""Masking methods as weights of units, from their scores; the paper's Table 1."""

import dataclasses
import difflib
from collections.abc import Callable
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from mmdiffmask.masking import ready_made, scorers, shapes, units
from mmdiffmask.types import MaskInputs

Weight = Callable[[MaskInputs], Float[Array, " u"]]


def uniform(inputs: MaskInputs) -> Float[Array, " u"]:
    """Every unit alike. Paper: Eq. 5."""
    return jnp.ones(inputs.unit_score.shape)


def by_score(inputs: MaskInputs) -> Float[Array, " u"]:
    """In proportion to the unit's score.

    Paper: Eq. 4 where the score is the similarity to anchors, Eq. 6 where it is the
    mean [CLS] attention of the unit's tokens.
    """
    return jnp.maximum(jnp.asarray(inputs.unit_score, jnp.float32), 0.0)


def by_inverse_score(inputs: MaskInputs) -> Float[Array, " u"]:
    """In proportion to 1 / score, which is taken as at least 1e-6.

    Paper: Eq. 7 where the score is attention.
    """
    return 1.0 / jnp.maximum(by_score(inputs), 1e-6)


@dataclasses.dataclass(frozen=True)
class Strategy:
    """One row of Table 1: all that a masking method is.

    Attributes:
      name: its name in settings; part of the key of its masks.
      label: what reports call it.
      units: what it hides as a whole.
      score: fills the units' scores, of boxes or of patches as the units are; None: 0.
      weight: weight of each unit.
      patch_score: of single patches instead, once their units are known: a unit's score
        is its patches' mean; None: `score` counts.
      hint: share of a clip's tokens (patches, cells) that always stay visible: those of
        greatest weight. For units that are drawn each for itself, no boxes.
      select: "sample" units by weight, or take those of "top" weight; the setting
        masking.select may name the other.
      file: the setting of masking that names the file it reads (`tables.NAMES`), if
        any.
      origin: where the method is from.
    """

    name: str
    label: str
    units: units.Units
    score: units.Score | None
    weight: Weight
    select: Literal["sample", "top"] = "sample"
    patch_score: units.PatchScore | None = None
    hint: float = 0.0
    file: str | None = None
    origin: str = ""

    @property
    def is_anchored(self) -> bool:
        """Whether boxes count by their labels' similarity to the anchors."""
        return self.score is scorers.by_anchors

    @property
    def is_uniform(self) -> bool:
        """Whether it prefers nothing: what others are to beat."""
        return self.weight is uniform

    @property
    def is_by_attention(self) -> bool:
        """Whether its scores are a model's attention, which records do not hold."""
        return self.patch_score is scorers.by_attention

    def unscored(self) -> "Strategy":
        """The same units, with score 0 where a model's attention would stand."""
        if not self.is_by_attention:
            return self
        return dataclasses.replace(self, patch_score=None)

    def clip_units(
        self,
        record: Any,
        is_patch_valid: Bool[np.ndarray, "t n"],
        settings: units.Settings,
    ) -> units.ClipUnits:
        """The units of one record, with their scores.

        With `masking.padding=counted` patches without picture are units like others.
        """
        if settings.masking.padding == "counted":
            is_patch_valid = np.ones_like(is_patch_valid)
        clip = self.units.make(record, is_patch_valid, self.score, settings)
        if self.patch_score is None:
            return clip
        value = self.patch_score(record, is_patch_valid, settings)
        return units.with_means(clip, value)


_KINDS = {"": "body", "-face": "face", "-object": "object"}
_PLURAL = {"body": "bodies", "face": "faces", "object": "objects"}
_UNITS = {"body": units.BODIES, "face": units.FACES, "object": units.OBJECTS}
_ROWS = (
    Strategy(
        "random",
        "random masking",
        units=units.PATCHES,
        score=None,
        weight=uniform,
        origin="paper, Eq. 5",
    ),
    Strategy(
        "attnmask",
        "AttnMask",
        units=units.PATCHES,
        score=None,
        patch_score=scorers.by_attention,
        weight=by_score,
        origin="paper, Eq. 6",
    ),
    # Kakogeorgiou et al. (2022) hide the most attended and show some tokens, drawn at
    # random, of the tenth that is attended most. Departs: all of that tenth is shown.
    Strategy(
        "attnmask-hint",
        "AttnMask with hints",
        units=units.PATCHES,
        score=None,
        patch_score=scorers.by_attention,
        weight=by_score,
        hint=0.1,
        origin="AttMask's variant with hints",
    ),
    Strategy(
        "mst",
        "MST",
        units=units.PATCHES,
        score=None,
        patch_score=scorers.by_attention,
        weight=by_inverse_score,
        origin="paper, Eq. 7",
    ),
    # A control of the Difference-Masking of bodies: the same boxes, other weights.
    Strategy(
        "attention-body",
        "bodies by attention",
        units=units.BODIES,
        score=None,
        patch_score=scorers.by_attention,
        weight=by_score,
        origin="control for weights",
    ),
    Strategy(
        "random-tube",
        "random tubes",
        units=shapes.TUBES,
        score=None,
        weight=uniform,
        origin="VideoMAE, arXiv 2203.12602",
    ),
    Strategy(
        "whole-frames",
        "whole frames",
        units=shapes.FRAMES,
        score=None,
        weight=uniform,
        origin="control for shape",
    ),
    Strategy(
        "multi-block",
        "blocks through all frames",
        units=shapes.BLOCKS,
        score=None,
        weight=by_score,
        select="top",
        origin="V-JEPA's multi-block, arXiv 2404.08471",
    ),
    Strategy(
        "band-noise",
        "band-filtered noise",
        units=units.PATCHES,
        score=scorers.by_band_noise,
        weight=by_score,
        select="top",
        origin="ColorMAE, arXiv 2407.13036",
    ),
    Strategy(
        "motion",
        "motion (difference of frames)",
        units=units.PATCHES,
        score=scorers.by_motion,
        weight=by_score,
        origin="baseline",
    ),
    Strategy(
        "file-scores",
        "scores from a file",
        units=units.PATCHES,
        score=scorers.by_file,
        weight=by_score,
        file="scores",
        origin="the user; CLIP's patch scores come in this way",
    ),
    Strategy(
        "file-masks",
        "masks from a file",
        units=ready_made.FROM_FILE,
        score=None,
        weight=by_score,
        file="masks",
        origin="the user",
    ),
    Strategy(
        "any-box",
        "boxes of all labels alike",
        units=units.THINGS,
        score=None,
        weight=uniform,
        origin="control for labels",
    ),
    *(
        Strategy(
            f"difference{suffix}",
            f"Difference-Masking ({_PLURAL[kind]})",
            units=_UNITS[kind],
            score=scorers.by_anchors,
            weight=by_score,
            origin="paper, Eq. 3 and 4",
        )
        for suffix, kind in _KINDS.items()
    ),
    *(
        Strategy(
            f"moved{suffix}",
            f"boxes elsewhere in their frame ({_PLURAL[kind]})",
            units=shapes.moved_boxes(kind),
            score=None,
            weight=uniform,
            origin="control for place",
        )
        for suffix, kind in _KINDS.items()
    ),
    *(
        Strategy(
            f"other-clip{suffix}",
            f"another clip's boxes ({_PLURAL[kind]})",
            units=shapes.another_s_boxes(kind),
            score=None,
            weight=uniform,
            origin="control for shape and place",
        )
        for suffix, kind in _KINDS.items()
    ),
    *(
        Strategy(
            f"background{suffix}",
            f"background (outside {_PLURAL[kind]})",
            units=shapes.outside_boxes(kind),
            score=None,
            weight=by_score,
            origin="the reverse of the paper's",
        )
        for suffix, kind in _KINDS.items()
    ),
)
REGISTRY = {row.name: row for row in _ROWS}


def find(name: str, setting: str = "masking.strategy") -> Strategy:
    """The row of that name.

    Raises:
      ValueError: for an unknown name in `setting`, with the nearest known one.
    """
    if name not in REGISTRY:
        nearest = difflib.get_close_matches(name, REGISTRY, n=1, cutoff=0.0)[0]
        raise ValueError(
            f"{setting}={name}: must be one of {', '.join(REGISTRY)};"
            f" did you mean {nearest}?"
        )
    return REGISTRY[name]


def label(name: str) -> str:
    """What reports call a strategy; a name of another version stands for itself."""
    return REGISTRY[name].label if name in REGISTRY else name
