"""Scores by which methods weigh units: of boxes by labels, of patches by attention."""

from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from mmdiffmask.masking import anchors, units
from mmdiffmask.types import Array, Boxes


def by_anchors(boxes: Boxes, settings: units.Settings) -> Float[np.ndarray, " m"]:
    """Similarity of each box's label with the anchors. Paper: Eq. 3."""
    masking = settings.masking
    return anchors.box_similarity(
        boxes, masking.anchors, settings.embeddings, masking.similarity
    )


def by_attention(
    record: Any, is_patch_valid: Bool[np.ndarray, "t n"], settings: units.Settings
) -> Float[np.ndarray, "t n"]:
    """Share of its frame's [CLS] attention that each patch has.

    Paper: g_att of Eq. 6 and 7, which leave layer and weights open: here the vision
    tower's last layer, mean over heads, as AttMask (Kakogeorgiou et al., 2022).

    Raises:
      ValueError: if the attention is not known.
    """
    if settings.attention is None:
        raise ValueError(
            "masks by attention need the weights that a run starts from; draw them with"
            " a run's own settings"
        )
    return attention_shares(settings.attention(record), is_patch_valid)


def attention_shares(
    attention: Float[Array, "*b n"], is_patch_valid: Bool[Array, "*b n"]
) -> Float[Array, "*b n"]:
    """Attention to each valid patch, so that each frame's sum to 1; others 0.

    What [CLS] takes of itself and of padding is left out, so frames of a clip weigh
    alike. design.md section 4.5.
    """
    attention = attention * is_patch_valid
    total = attention.sum(axis=-1, keepdims=True)
    return attention / (total + (total == 0))
