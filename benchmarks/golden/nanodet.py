"""NanoDet's arrays of a golden folder against ours."""

import pathlib
from collections.abc import Iterator, Mapping

import jax
import numpy as np
import numpy.typing as npt

from benchmarks.golden.compare import Row
from preprocessing.boxes import nanodet, nanodet_boxes, nanodet_file

# What the README of the folder calls fair; maps agree to 1e-5.
SCORES, BINS, BOXES, MAPS = 1e-4, 1e-3, 0.01, 1e-4
LOW_SCORE, LOW_IOU = 0.27, 0.6  # of the arrays `low`
_INPUTS = ("picture", "frame", "cells")


def rows(
    golden: pathlib.Path, place: str | None = None
) -> Iterator[tuple[str, list[Row]]]:
    """The verdict on every array of the folder but its inputs; none if not compared.

    Args:
      golden: the folder.
      place: of the weight file, as `nanodet_file.read` takes it.

    Raises:
      ValueError: if the weight file or an array that is needed is missing.
      OSError: if the folder's file is.
    """
    params = nanodet.read_params(nanodet_file.read(place))
    compared = set()
    with np.load(golden / "nanodet_golden.npz") as arrays:
        cases = sorted({name.split("/")[0] for name in arrays.files if "/" in name})
        try:
            for case in cases:
                part = {
                    name.removeprefix(f"{case}/"): arrays[name]
                    for name in arrays.files
                    if name.startswith(f"{case}/")
                }
                for row in _case(part, case, params):
                    compared.add(row.name)
                    yield row.name, [row]
        except KeyError as error:
            raise ValueError(f"{golden}: {case} has no {error.args[0]}") from error
        every = {name for name in arrays.files if name.split("/")[-1] not in _INPUTS}
    yield from ((name, []) for name in sorted(every - compared))


def _case(
    arrays: Mapping[str, np.ndarray], case: str, params: nanodet.Params
) -> Iterator[Row]:
    """One picture: its maps, its outputs at stored cells and over all, its boxes."""
    picture = arrays["picture"]
    results = jax.device_get(jax.jit(nanodet.maps)(params, picture))
    for name in arrays:
        kind, _, layer = name.partition("/")
        if kind == "maps" and layer in results:
            ours = _corners(results[layer][0])
            yield _row(f"{case}/{name}", ours, arrays[name], MAPS)
    scores, bins = jax.device_get(jax.jit(nanodet.forward)(params, picture))
    cell = nanodet.cells(*picture.shape[:2])
    for stride in nanodet.STRIDES:
        is_of = cell[:, 2] == stride
        name, stored = f"stride{stride}", arrays[f"stride{stride}/cells"]
        for kind, ours, limit in (("scores", scores, SCORES), ("bins", bins, BINS)):
            ours, mean = ours[is_of], f"{name}/mean_{kind}"
            yield _row(
                f"{case}/{name}/{kind}", ours[stored], arrays[f"{name}/{kind}"], limit
            )
            ours = ours.mean(0, dtype=np.float64)
            yield _row(f"{case}/{mean}", ours, arrays[mean], limit)
    yield from _boxes(arrays, case, scores, bins)


def _boxes(
    arrays: Mapping[str, np.ndarray],
    case: str,
    scores: np.ndarray,
    bins: np.ndarray,
) -> Iterator[Row]:
    """Boxes of a plain rule in the picture, and those of the recipe in the frame."""
    shape = arrays["picture"].shape[:2]
    cell, picture_wh = nanodet.cells(*shape), (shape[1], shape[0])
    least = np.full(nanodet.LABELS, LOW_SCORE)
    xyxy, score, label = nanodet_boxes.likely(scores, bins, cell, least)
    xyxy = np.clip(xyxy, 0, np.tile(picture_wh, 2))
    kept = nanodet_boxes.in_labels(xyxy, score, label, LOW_IOU)
    yield from _found(arrays, case, "low", (xyxy[kept], score[kept], label[kept]))
    width, height, left, top, inner_width, inner_height = arrays["frame"].tolist()
    place = nanodet_boxes.Fit(left, top, inner_width, inner_height, picture_wh)
    xyxy, score, label = nanodet_boxes.likely(
        scores, bins, cell, nanodet_boxes.LEAST_SCORES
    )
    xyxy = nanodet_boxes.in_frame(xyxy, place, (width, height))
    kept = nanodet_boxes.choose(xyxy, score, label)
    yield from _found(arrays, case, "default", (xyxy[kept], score[kept], label[kept]))


def _found(
    arrays: Mapping[str, np.ndarray], case: str, rule: str, ours: nanodet_boxes.Found
) -> Iterator[Row]:
    limits = {"boxes": BOXES, "score": SCORES, "label": 0.0}
    for (part, limit), array in zip(limits.items(), ours, strict=True):
        name = f"{rule}/{part}"
        yield _row(f"{case}/{name}", array, arrays[name], limit)


def _corners(values: np.ndarray) -> np.ndarray:
    """(3, 2, 2, c): the first, middle and last two rows and columns of a map."""
    height, width = values.shape[:2]
    starts = [(0, 0), (height // 2 - 1, width // 2 - 1), (height - 2, width - 2)]
    return np.stack([values[i : i + 2, j : j + 2] for i, j in starts])


def _row(name: str, ours: npt.ArrayLike, theirs: np.ndarray, tolerance: float) -> Row:
    """Arrays of different shapes differ by infinity."""
    if np.shape(ours) != theirs.shape:
        return Row(name, float("inf"), tolerance)
    return Row(name, float(np.abs(ours - theirs).max(initial=0.0)), tolerance)
