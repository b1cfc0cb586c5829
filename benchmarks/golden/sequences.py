"""Runs the tracker over a sequence of UniTrack's reference values."""

import collections
import json
import pathlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from benchmarks.golden import folder
from preprocessing.boxes.unitrack import detections, mot, tracker

Arrays = dict[str, np.ndarray]

# Column of MOT text -> where it stands.
COLUMNS = {
    "frame": slice(0, 1),
    "id": slice(1, 2),
    "left_top_width_height": slice(2, 6),
    "rest": slice(6, None),
}
# Array -> its shape beyond the first axis and its kind, for sequences without any.
KINDS = {
    "out_tlwh": ((4,), float),
    "out_score": ((), float),
    "state_tlwh": ((4,), float),
    "state_mean": ((8,), float),
    "state_cov_diag": ((8,), float),
    "state_activated": ((), bool),
    "cost_shape": ((2,), int),
    "cost_appearance": ((), float),
    "cost_final": ((), float),
}


class Run(NamedTuple):
    """What the tracker made of a sequence, under the names of the folder's arrays."""

    arrays: Arrays
    num_frames: int
    num_detections: int


def run(path: pathlib.Path, arrays: Arrays) -> Run:
    """The tracker over the detections of one file.

    Args:
      path: of the file; another one beside it may hold the appearance.
      arrays: the file's arrays.
    """
    config = json.loads(str(arrays["config"]))
    is_gated = config.pop("category_gate")
    source = config.pop("embedding_from", path.stem[4:])
    if "det_embedding" not in arrays:
        source = folder.read_arrays(path.with_name(f"seq_{source}.npz"))
        arrays = {**arrays, "det_embedding": source["det_embedding"]}
    machine = tracker.Tracker(tracker.Settings(**config))
    kept_costs = set(arrays["cost_frame"].tolist())
    columns = collections.defaultdict(list)
    for frame, one in frames(arrays, is_gated):
        _add_reported(columns, frame, machine.update(one))
        _add_matches(columns, frame, machine.decision)
        _add_states(columns, frame, machine)
        if frame in kept_costs:
            _add_costs(columns, machine.decision)
    return Run(
        {name: _array(name, columns[name]) for name in _names()},
        int(arrays["num_frames"]),
        len(arrays["det_frame"]),
    )


def frames(
    arrays: Arrays, is_gated: bool
) -> Iterator[tuple[int, detections.Detections]]:
    """(number, detections) of each frame that has any.

    Args:
      arrays: the arrays of a sequence.
      is_gated: whether the tracker is told the classes.

    Raises:
      ValueError: if there are not as many boxes as features, scores, ...
    """
    counts = {name: len(x) for name, x in arrays.items() if name.startswith("det_")}
    if len(set(counts.values())) > 1:
        raise ValueError(f"the lengths of what was detected differ: {counts}")
    for frame in np.unique(arrays["det_frame"]).tolist():
        index = np.flatnonzero(arrays["det_frame"] == frame)
        category = arrays["det_category"][index]
        yield (
            frame,
            detections.Detections(
                tlwh=arrays["det_tlwh"][index],
                score=arrays["det_score"][index],
                category=category if is_gated else np.full_like(category, -1),
                feature=arrays["det_embedding"][index],
            ),
        )


def _names() -> list[str]:
    life = ("frame", "id", "state", "activated", "length", "start", "last", "clock")
    parts = {
        "out": ("frame", "id", "tlwh", "score", "category"),
        "match": ("frame", "stage", "track", "det"),
        "state": (*life, "tlwh", "mean", "cov_diag"),
        "cost": ("shape", "track_ids", "det_index", "appearance", "final"),
    }
    return [f"{part}_{name}" for part, names in parts.items() for name in names]


def _array(name: str, values: list) -> np.ndarray:
    shape, kind = KINDS.get(name, ((), int))
    return np.array(values, kind).reshape(-1, *shape)


def _add_reported(columns: dict, frame: int, reported: tracker.Reported) -> None:
    columns["out_frame"] += [frame] * len(reported.id)
    for name in ("id", "tlwh", "score", "category"):
        columns[f"out_{name}"].extend(getattr(reported, name))


def _add_matches(columns: dict, frame: int, decision: tracker.Decision) -> None:
    for stage, track, detection in decision.matches:
        columns["match_frame"].append(frame)
        columns["match_stage"].append(stage)
        columns["match_track"].append(track)
        columns["match_det"].append(detection)


def _add_states(columns: dict, frame: int, machine: tracker.Tracker) -> None:
    nothing = np.full(8, np.nan)
    for one in machine.tracked + machine.lost:
        is_filtered = one.mean is not None
        values = {
            "frame": frame,
            "id": one.id,
            "state": one.phase,
            "activated": one.is_activated,
            "length": one.length,
            "start": one.start,
            "last": one.last,
            "clock": machine.clock,
            "tlwh": one.tlwh,
            "mean": one.mean if is_filtered else nothing,
            "cov_diag": one.covariance.diagonal() if is_filtered else nothing,
        }
        for name, value in values.items():
            columns[f"state_{name}"].append(value)


def _add_costs(columns: dict, decision: tracker.Decision) -> None:
    columns["cost_shape"].append(decision.cost.shape)
    columns["cost_track_ids"].extend(decision.track_id)
    columns["cost_det_index"].extend(decision.detection)
    columns["cost_appearance"].extend(decision.appearance.ravel())
    columns["cost_final"].extend(decision.cost.ravel())


def text(run: Run) -> str:
    """The run as UniTrack writes it: without confidence and class."""
    out = run.arrays
    count = len(out["out_id"])
    rows = mot.Rows(
        frame=out["out_frame"],
        id=out["out_id"],
        tlwh=out["out_tlwh"],
        score=np.ones(count),
        category=np.full(count, -1),
    )
    return "".join(mot.lines(rows))


def columns(text: str) -> Arrays:
    """Columns of MOT text; ValueError if it has no ten of numbers."""
    values = [line.split(",") for line in text.splitlines()]
    values = np.array(values, float).reshape(-1, 10)
    return {name: values[:, part] for name, part in COLUMNS.items()}


def counts(run: Run) -> Arrays:
    """What the folder's summary says of a sequence."""
    arrays = run.arrays
    return {
        "frames": run.num_frames,
        "dets": run.num_detections,
        "out": len(arrays["out_id"]),
        "ids": len(np.unique(arrays["out_id"])),
        "stage_matches": [int((arrays["match_stage"] == k).sum()) for k in (1, 2, 3)],
    }
