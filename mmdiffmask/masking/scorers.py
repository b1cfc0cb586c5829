"""Scores of boxes, by which methods weigh units, from their labels and anchors."""

import numpy as np
from jaxtyping import Float

from mmdiffmask.masking import anchors, units
from mmdiffmask.types import Boxes


def by_anchors(boxes: Boxes, settings: units.Settings) -> Float[np.ndarray, " m"]:
    """Similarity of each box's label with the anchors. Paper: Eq. 3."""
    masking = settings.masking
    return anchors.box_similarity(
        boxes, masking.anchors, settings.embeddings, masking.similarity
    )
