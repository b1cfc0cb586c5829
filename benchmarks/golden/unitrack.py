"""Compares the arrays of a folder of UniTrack's reference values.

The folder's README describes each array. Components are found by the names of their
inputs (`assign/<k>/cost`), sequences by their files (`seq_<name>.npz`).
"""

import fnmatch
import json
import pathlib
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from benchmarks.golden import compare, folder, sequences
from preprocessing.boxes.unitrack import association, coordinates, kalman, roi_align

Arrays = dict[str, np.ndarray]
Verdicts = Iterator[tuple[str, list[compare.Row]]]

# A tolerance, and whether it is of the magnitude where a value is above 1.
EXACT = 0.0, False
BOX = 1e-6, False  # pixels, as the README states
COST = 1e-5, True  # float32, as the README states; with motion costs are large
KALMAN = 1e-10, True  # float64 on both sides
PIXEL = 1e-4, False  # float32 coordinates of up to some hundred pixels
# The first pattern that fits an array has its tolerance; all others are exact.
TOLERANCES = {
    "seq_*_tlwh": BOX,
    "seq_*.txt/left_top_width_height": BOX,
    "seq_*/state_mean": BOX,
    "seq_*/state_cov_diag": BOX,
    "seq_*/cost_appearance": COST,
    "seq_*/cost_final": COST,
    "components/kalman*": KALMAN,
    "components/iou*": KALMAN,
    "components/appearance*": COST,
    "components/roi_align*": COST,
    "components/coords*_xyxy": PIXEL,
    "components/yolox*/decoded": PIXEL,
    "components/yolox*/detections": PIXEL,
    "components/yolox*/preproc_out": COST,
}
# Arrays that are given.
INPUTS = (
    "components/kalman*/measurement_xyah",
    "components/kalman*/probe_xyah",
    "components/kalman*/skipped_updates",
    "components/assign*/cost",
    "components/assign*/thresh",
    "components/iou*/tlbr_[ab]",
    "components/appearance*/tracks",
    "components/appearance*/detections",
    "components/roi_align*/features",
    "components/roi_align*/boxes",
    "components/coords*/video_wh",
    "components/coords*/obs",
    "components/yolox*/input_hw",
    "components/yolox*/raw",
    "components/yolox*/conf_nms",
    "components/yolox*/preproc_image_bgr",
    "seq_*/config",
    "seq_*/num_frames",
    "seq_*/det_*",
    "seq_*/cost_frame",
)


def rows(golden: pathlib.Path) -> Verdicts:
    """(file/array, verdict) of every output of the folder; none if nothing computes it.

    Raises:
      ValueError: if the folder is missing or not of the form.
    """
    if not golden.is_dir():
        raise ValueError(f"{golden}: no such folder")
    for path in sorted(golden.glob("*.npz")):
        if path.stem.startswith("seq_"):
            yield from sequence_rows(path)
        else:
            yield from component_rows(path)
    for path in sorted(golden.glob("*.txt")):
        if not path.with_suffix(".npz").is_file():
            yield path.name, []


def sequence_rows(path: pathlib.Path) -> Verdicts:
    """Of one sequence: its arrays, its text, its line of the summary.

    Raises:
      ValueError: if the file or what belongs to it is not of the form.
    """
    arrays = folder.read_arrays(path)
    text, summary = path.with_suffix(".txt"), path.with_name("summary.json")
    try:
        run = sequences.run(path, arrays)
        yield from _compared(path.stem, arrays, run.arrays)
        if text.is_file():
            theirs = sequences.columns(text.read_text())
            ours = sequences.columns(sequences.text(run))
            yield from _compared(text.name, theirs, ours)
        if summary.is_file():
            counts = json.loads(summary.read_text()).get(path.stem[4:], {})
            theirs = {name: np.array(value) for name, value in counts.items()}
            yield from _compared(f"summary/{path.stem}", theirs, sequences.counts(run))
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{path}: not of the reference's form: {error!r}") from error


def component_rows(path: pathlib.Path) -> Verdicts:
    """Of the parts of the tracker.

    Raises:
      ValueError: if a part lacks an input or has one of another form.
    """
    arrays = folder.read_arrays(path)
    ours = {}
    groups = {name.rpartition("/")[0] for name in arrays}
    for group in sorted(groups if path.stem == "components" else ()):
        compute = PARTS.get(group.partition("/")[0])
        if compute is None:
            continue
        inputs = {
            name.rpartition("/")[2]: array
            for name, array in arrays.items()
            if name.rpartition("/")[0] == group
        }
        try:
            results = compute(inputs)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise ValueError(
                f"{path}: {group} is not of the reference's form: {error!r}"
            ) from error
        ours |= {f"{group}/{name}": array for name, array in results.items()}
    yield from _compared(path.stem, arrays, ours)


def _compared(file: str, theirs: Arrays, ours: Arrays) -> Verdicts:
    for array, values in theirs.items():
        name = f"{file}/{array}"
        if not any(fnmatch.fnmatchcase(name, pattern) for pattern in INPUTS):
            yield name, [_row(name, ours[array], values)] if array in ours else []


def _row(name: str, ours: npt.ArrayLike, theirs: np.ndarray) -> compare.Row:
    ours = np.asarray(ours)
    tolerance, is_scaled = tolerance_of(name)
    if ours.shape != theirs.shape:
        shapes = f"shape {ours.shape}, not {theirs.shape}"
        return compare.Row(name, np.inf, tolerance, measure=shapes)
    if not is_scaled:
        return compare.Row(name, compare.largest(ours, theirs), tolerance)
    scale = np.maximum(1.0, np.where(np.isfinite(theirs), np.abs(theirs), 1.0))
    difference = compare.largest(ours / scale, theirs / scale)
    return compare.Row(name, difference, tolerance, measure="relative above 1")


def tolerance_of(name: str) -> tuple[float, bool]:
    """By the first pattern that the name fits."""
    for pattern, tolerance in TOLERANCES.items():
        if fnmatch.fnmatchcase(name, pattern):
            return tolerance
    return EXACT


def _kalman(inputs: Arrays) -> Arrays:
    """The filter over a few boxes, with steps that see nothing."""
    measured = inputs["measurement_xyah"]
    skipped = set(inputs["skipped_updates"].tolist())
    after, predicted = [kalman.initiate(measured[:, 0])], []
    distance = []
    for step in range(1, measured.shape[1]):
        state = kalman.predict(after[-1])
        predicted.append(state)
        probes = inputs["probe_xyah"][:, step - 1]
        distance.append(kalman.squared_mahalanobis(state, probes))
        if step not in skipped:
            state = kalman.update(state, measured[:, step])
        after.append(state)
    mean, covariance = (np.stack(part, axis=1) for part in zip(*after, strict=True))
    ahead = [np.stack(part, axis=1) for part in zip(*predicted, strict=True)]
    projected = kalman.project(kalman.State(mean[0, :3], covariance[0, :3]))
    return {
        "mean": mean,
        "covariance": covariance,
        "predicted_mean": ahead[0],
        "predicted_covariance": ahead[1],
        "probe_squared_mahalanobis": np.stack(distance, axis=1),
        "projected_mean": projected[0],
        "projected_covariance": projected[1],
    }


def _assign(inputs: Arrays) -> Arrays:
    pairs = association.assign(inputs["cost"], float(inputs["thresh"]))
    left = [
        np.setdiff1d(np.arange(count), taken)
        for count, taken in zip(inputs["cost"].shape, pairs.T, strict=True)
    ]
    return {"matches": pairs, "unmatched_rows": left[0], "unmatched_cols": left[1]}


def _iou(inputs: Arrays) -> Arrays:
    return {"cost": association.iou_cost(inputs["tlbr_a"], inputs["tlbr_b"])}


def _appearance(inputs: Arrays) -> Arrays:
    tracks = association.unit_cells(inputs["tracks"])
    detected = association.unit_cells(inputs["detections"])
    return {"cost": association.appearance_cost(tracks, detected)}


def _roi_align(inputs: Arrays) -> Arrays:
    (features,) = inputs["features"]  # one picture
    return {"out": roi_align.roi_align(features, inputs["boxes"])}


def _coords(inputs: Arrays) -> Arrays:
    resized = coordinates.resized_wh(tuple(inputs["video_wh"].tolist()))
    boxes = coordinates.in_letterbox(inputs["obs"])
    return {
        "resized_wh": resized,
        "letterbox_xyxy": boxes,
        "frame_xyxy": coordinates.in_resized(boxes, resized),
    }


def _yolox(inputs: Arrays) -> Arrays:
    from preprocessing.boxes import yolox

    size = tuple(inputs["input_hw"].tolist())
    (raw,) = inputs["raw"]  # one picture
    decoded = yolox.decode(raw, size)
    least, most = inputs["conf_nms"].tolist()
    prepared, ratio = yolox.prepare(inputs["preproc_image_bgr"], size)
    return {
        "decoded": decoded[None],
        "detections": yolox.detections(decoded, least, most),
        "preproc_out": prepared,
        "preproc_ratio": ratio,
    }


# First part of a component's name -> what computes its outputs from its inputs.
PARTS: dict[str, Callable[[Arrays], Arrays]] = {
    "kalman": _kalman,
    "assign": _assign,
    "iou": _iou,
    "appearance": _appearance,
    "roi_align": _roi_align,
    "coords": _coords,
    "yolox": _yolox,
}
