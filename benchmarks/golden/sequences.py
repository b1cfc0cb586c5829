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


def run(path: pathlib.Path, given: Arrays) -> Run:
    """The tracker over the detections of one file.

    Args:
      path: of the file; another one beside it may hold the appearance.
      given: the file's arrays.
    """
    config = json.loads(str(given["config"]))
    is_gated = config.pop("category_gate")
    source = config.pop("embedding_from", path.stem[4:])
    if "det_embedding" not in given:
        source = folder.read_arrays(path.with_name(f"seq_{source}.npz"))
        given = {**given, "det_embedding": source["det_embedding"]}
    machine = tracker.Tracker(tracker.Settings(**config))
    kept_costs = set(given["cost_frame"].tolist())
    found = collections.defaultdict(list)
    for frame, one in frames(given, is_gated):
        _add_reported(found, frame, machine.update(one))
        _add_matches(found, frame, machine.decision)
        _add_states(found, frame, machine)
        if frame in kept_costs:
            _add_costs(found, machine.decision)
    return Run(
        {name: _array(name, found[name]) for name in _names()},
        int(given["num_frames"]),
        len(given["det_frame"]),
    )


def frames(
    given: Arrays, is_gated: bool
) -> Iterator[tuple[int, detections.Detections]]:
    """(number, detections) of each frame that has any.

    Args:
      given: the arrays of a sequence.
      is_gated: whether the tracker is told the classes.

    Raises:
      ValueError: if there are not as many boxes as features, scores, ...
    """
    counts = {name: len(x) for name, x in given.items() if name.startswith("det_")}
    if len(set(counts.values())) > 1:
        raise ValueError(f"the lengths of what was detected differ: {counts}")
    for frame in np.unique(given["det_frame"]).tolist():
        index = np.flatnonzero(given["det_frame"] == frame)
        category = given["det_category"][index]
        yield (
            frame,
            detections.Detections(
                tlwh=given["det_tlwh"][index],
                score=given["det_score"][index],
                category=category if is_gated else np.full_like(category, -1),
                feature=given["det_embedding"][index],
            ),
        )


def _names() -> list[str]:
    parts = {
        "out": ("frame", "id", "tlwh", "score", "category"),
        "match": ("frame", "stage", "track", "det"),
        "state": (
            *("frame", "id", "state", "activated", "length", "start", "last", "clock"),
            *("tlwh", "mean", "cov_diag"),
        ),
        "cost": ("shape", "track_ids", "det_index", "appearance", "final"),
    }
    return [f"{part}_{name}" for part, names in parts.items() for name in names]


def _array(name: str, values: list) -> np.ndarray:
    shape, kind = KINDS.get(name, ((), int))
    return np.array(values, kind).reshape(-1, *shape)


def _add_reported(found: dict, frame: int, reported: tracker.Reported) -> None:
    found["out_frame"] += [frame] * len(reported.id)
    for name in ("id", "tlwh", "score", "category"):
        found[f"out_{name}"].extend(getattr(reported, name))


def _add_matches(found: dict, frame: int, decision: tracker.Decision) -> None:
    for stage, track, detection in decision.matches:
        found["match_frame"].append(frame)
        found["match_stage"].append(stage)
        found["match_track"].append(track)
        found["match_det"].append(detection)


def _add_states(found: dict, frame: int, machine: tracker.Tracker) -> None:
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
            found[f"state_{name}"].append(value)


def _add_costs(found: dict, decision: tracker.Decision) -> None:
    found["cost_shape"].append(decision.cost.shape)
    found["cost_track_ids"].extend(decision.track_id)
    found["cost_det_index"].extend(decision.detection)
    found["cost_appearance"].extend(decision.appearance.ravel())
    found["cost_final"].extend(decision.cost.ravel())


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
