"""Scores by which methods weigh units: of boxes by label, of patches by what they show.

Scores of boxes take the boxes, those of patches the record (`units.Score`); those by
attention the valid patches as well (`units.PatchScore`).
"""

from typing import Any

import numpy as np
import scipy.ndimage
from jaxtyping import Bool, Float

from mmdiffmask.masking import anchors, shapes, units
from mmdiffmask.types import Array, Boxes, Pixels

BAND = (0.75, 1.5)  # standard deviations of the two blurs, in tokens


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


def by_motion(record: Any, settings: units.Settings) -> Float[np.ndarray, "t n"]:
    """How much a patch differs from itself in the frames before and after.

    The mean absolute difference of its values in [0, 1], over the neighbours that there
    are. Frames lie a segment apart, so this is change more than speed.
    """
    patches = settings.pictures(record)
    score = np.zeros(patches.shape[:2])
    frames = np.flatnonzero(record.is_frame_valid)
    count = np.zeros(len(patches))
    for one, other in zip(frames[:-1], frames[1:], strict=True):
        change = _difference(patches[one], patches[other])
        for frame in (one, other):
            score[frame] += change
            count[frame] += 1
    return score / np.maximum(count, 1)[:, None]


def _difference(
    one: Pixels[np.ndarray, "n p"], other: Pixels[np.ndarray, "n p"]
) -> Float[np.ndarray, " n"]:
    """Mean absolute difference of values in [0, 1]; bytes are subtracted as bytes."""
    if one.dtype != np.uint8:
        return np.abs(one - other).mean(-1)
    return (np.maximum(one, other) - np.minimum(one, other)).mean(-1) / 255


def by_band_noise(record: Any, settings: units.Settings) -> Float[np.ndarray, "t n"]:
    """Rank of random noise between two frequencies: blobs of a like size, no content.

    arXiv 2407.13036 (ColorMAE, green noise): white noise blurred a little less noise
    blurred more; the highest values of a clip are hidden. Departs: noise is filtered at
    the size of the frame, bent round at its borders, in place of crops of a large
    picture.
    """
    rng = shapes.generator(settings, record.example_id, "band noise")
    rows, cols = shapes.token_grid(settings)
    noise = rng.standard_normal((len(record.frames), rows, cols))
    fine, coarse = (
        scipy.ndimage.gaussian_filter(noise, (0, width, width), mode="wrap")
        for width in BAND
    )
    group = units.group_of_patch(settings.grid, settings.masking.mask_unit)
    values = (fine - coarse).reshape(-1)
    rank = np.empty(len(values))
    rank[np.argsort(values, kind="stable")] = np.arange(1, len(values) + 1)
    return rank.reshape(len(noise), -1)[:, group] / len(values)


def by_file(record: Any, settings: units.Settings) -> Float[np.ndarray, "t n"]:
    """The scores of masking.scores for this example.

    With `masking.select=top` any numbers serve, as similarities of CLIP, and are mapped
    to [0, 1] in their order; drawing in proportion to them needs them at least 0.

    Raises:
      ValueError: if the file has no such example, or a score to draw by is negative.
    """
    table = settings.tables["scores"]
    score = np.asarray(table.of(record.example_id), np.float64)
    if settings.masking.select == "top":
        return (score - score.min()) / max(np.ptp(score), np.finfo(np.float64).tiny)
    if score.min() < 0:
        raise ValueError(
            f"{table.where}: {record.example_id} has the score {score.min():g}; units"
            " are drawn in proportion to scores, which must be at least 0; add a"
            " number, or set masking.select=top"
        )
    return score
