"""Masking methods as weights of units, from their scores; the paper's Table 1."""

import dataclasses
import difflib
from collections.abc import Callable, Iterable
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from mmdiffmask import config
from mmdiffmask.masking import scorers, units
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
        greatest weight. For units that are no boxes.
      select: "sample" units by weight, or take those of "top" weight; the setting
        masking.select may name the other.
    """

    name: str
    label: str
    units: units.Units
    score: units.Score | None
    weight: Weight
    select: Literal["sample", "top"] = "sample"
    patch_score: units.PatchScore | None = None
    hint: float = 0.0

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
        """The units of one record, with their scores."""
        clip = self.units.make(record, is_patch_valid, self.score, settings)
        if self.patch_score is None:
            return clip
        value = self.patch_score(record, is_patch_valid, settings)
        return units.with_means(clip, value)


_ROWS = (
    Strategy(
        "random",
        "random masking",
        units=units.PATCHES,
        score=None,
        weight=uniform,
    ),
    Strategy(
        "attnmask",
        "AttnMask",
        units=units.PATCHES,
        score=None,
        patch_score=scorers.by_attention,
        weight=by_score,
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
    ),
    Strategy(
        "mst",
        "MST",
        units=units.PATCHES,
        score=None,
        patch_score=scorers.by_attention,
        weight=by_inverse_score,
    ),
    # A control of the Difference-Masking of bodies: the same boxes, other weights.
    Strategy(
        "attention-body",
        "bodies by attention",
        units=units.BODIES,
        score=None,
        patch_score=scorers.by_attention,
        weight=by_score,
    ),
    Strategy(
        "difference",
        "Difference-Masking (bodies)",
        units=units.BODIES,
        score=scorers.by_anchors,
        weight=by_score,
    ),
    Strategy(
        "difference-face",
        "Difference-Masking (faces)",
        units=units.FACES,
        score=scorers.by_anchors,
        weight=by_score,
    ),
    Strategy(
        "difference-object",
        "Difference-Masking (objects)",
        units=units.OBJECTS,
        score=scorers.by_anchors,
        weight=by_score,
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


def held_out(masking: config.Masking) -> tuple[str, ...]:
    """The strategies whose held-out masks a run is scored on; its own is among them.

    Raises:
      ValueError: for an unknown name.
    """
    for name in masking.held_out:
        find(name, "masking.held_out")
    trained = find(masking.strategy).name
    return tuple(dict.fromkeys((*masking.held_out, trained)))


def is_live(masking: config.Masking) -> bool:
    """Whether masks are drawn in the update, from the attention of its weights."""
    return masking.attention == "live" and find(masking.strategy).is_by_attention


def check_live(maskings: Iterable[config.Masking]) -> None:
    """Checks that one of these rows follows the attention that some ask for.

    Raises:
      ValueError: if `masking.attention` has no effect on any of them.
    """
    maskings = tuple(maskings)
    if any(map(is_live, maskings)):
        return
    for masking in maskings:
        if masking.attention == "live":
            names = [row.name for row in REGISTRY.values() if row.is_by_attention]
            raise ValueError(
                f"masking.attention=live: masking.strategy={masking.strategy} does not"
                f" go by attention; leave it out, or use {', '.join(names)}"
            )


def with_boxes(name: str, masking: config.Masking) -> str:
    """The strategy whose boxes the masks of `name` are held against.

    Its own if it has boxes, else those of the first of masking.held_out that has some.
    """
    names = (name, *masking.held_out)
    return next((one for one in names if find(one).units.is_box), name)
