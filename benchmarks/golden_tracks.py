"""Scores how well identities last on the detections of a tracker's golden folder.

    python -m benchmarks.golden_tracks GOLDEN_DIR MEDIA_DIR [--appearance FILE]

In its drawn sequences the recorded looks tell the objects apart (clusters of unit
vectors, far from each other), so switches are exact: changes of id along an object's
detections, and tracks that took detections of several objects ("mixed"). An object
whose looks change counts as two. The real sequence goes through the counts of
`benchmarks.tracks`.
"""

import argparse
import json
import pathlib
import sys
from collections.abc import Iterator, Sequence

import numpy as np
import scipy.cluster.hierarchy

from benchmarks import boxes, tracks
from preprocessing.boxes import appearance
from preprocessing.boxes.unitrack import tracker

GOLDEN_VIDEO = {"pedestrians_hog": "pedestrians_a.mp4"}
FAR = 0.6  # cosine distance: looks of one object are within 0.4, others beyond 0.8


def lines(
    golden: pathlib.Path, media: pathlib.Path, looks: dict[str, appearance.Describe]
) -> Iterator[str]:
    """Drawn sequences with recorded looks and none; the real one also with ours."""
    paths = sorted(golden.glob("seq_*.npz"))
    if not paths:
        raise ValueError(f"{golden}: holds no seq_<name>.npz")
    for path in paths:
        with np.load(path) as arrays:
            sequence = dict(arrays)
        if "det_embedding" not in sequence:  # another sequence's input once more
            continue
        name = path.stem.removeprefix("seq_")
        config = json.loads(str(sequence["config"]))
        del config["category_gate"], config["embedding_from"]
        settings = tracker.Settings(**config)
        if name in GOLDEN_VIDEO:
            video = media / "videos" / GOLDEN_VIDEO[name]
            yield from _real_lines(
                name, tracks.read_video(video)[0], sequence, settings, looks
            )
        else:
            yield from drawn_lines(name, sequence, settings)


def drawn_lines(
    name: str, sequence: dict[str, np.ndarray], settings: tracker.Settings
) -> Iterator[str]:
    """Exact switches, where looks tell the objects apart."""
    objects = objects_of(sequence["det_embedding"], sequence["det_frame"])
    if objects is None:
        yield f"{name:22} looks do not tell its objects apart"
        return
    frames = list(frames_of(sequence))
    plain = [frame._replace(feature=np.ones_like(frame.feature)) for frame in frames]
    for kind, some in {"none": plain, "recorded": frames}.items():
        ids = np.concatenate(tracks.follow(some, settings))
        switches, pairs, mixed = against_objects(ids, objects)
        count = len(np.unique(ids[ids >= 0]))
        rate = boxes.share(switches, pairs)
        yield (
            f"{name:22} {kind:9} {objects.max() + 1} objects, {count} ids, {mixed}"
            f" mixed, switches {switches}/{pairs} {rate}"
        )


def _real_lines(
    name: str,
    frames: Sequence[np.ndarray],
    sequence: dict[str, np.ndarray],
    settings: tracker.Settings,
    looks: dict[str, appearance.Describe],
) -> Iterator[str]:
    """The recorded looks go through the same counts as ours."""
    recorded = list(frames_of(sequence))
    detected = [(frame.xyxy, frame.score) for frame in recorded]
    features = iter(frame.feature for frame in recorded)
    both = {**looks, "recorded": lambda frame, xyxy: next(features)}
    yield from tracks.clip_lines(name, frames, detected, settings, both)


def frames_of(sequence: dict[str, np.ndarray]) -> Iterator[tracks.Frame]:
    """The detections of each frame of a recorded sequence."""
    xyxy = sequence["det_tlwh"].astype(np.float64)
    xyxy[:, 2:] += xyxy[:, :2]
    is_gated = json.loads(str(sequence["config"]))["category_gate"]
    category = sequence["det_category"] if is_gated else np.full(len(xyxy), -1)
    feature = sequence["det_embedding"].astype(np.float32)
    for number in range(1, int(sequence["num_frames"]) + 1):
        index = np.flatnonzero(sequence["det_frame"] == number)
        yield tracks.Frame(
            xyxy[index], sequence["det_score"][index], category[index], feature[index]
        )


def objects_of(embedding: np.ndarray, frame: np.ndarray) -> np.ndarray | None:
    """The object of each detection by its looks; None if they do not tell it."""
    flat = embedding.astype(np.float32).reshape(len(embedding), -1)
    tree = scipy.cluster.hierarchy.linkage(flat, "single", "cosine")
    objects = scipy.cluster.hierarchy.fcluster(tree, FAR, "distance") - 1
    seen = np.stack([frame, objects], axis=1)
    is_apart = len(np.unique(seen, axis=0)) == len(seen)
    return objects if is_apart else None


def against_objects(ids: np.ndarray, objects: np.ndarray) -> tuple[int, int, int]:
    """Changes of id along objects, steps at which one could be, and mixed tracks."""
    switches = steps = 0
    for one in np.unique(objects):
        ids_of_one = ids[objects == one]
        ids_of_one = ids_of_one[ids_of_one >= 0]
        steps += max(len(ids_of_one) - 1, 0)
        switches += int((ids_of_one[1:] != ids_of_one[:-1]).sum())
    pairs = np.unique(np.stack([ids, objects])[:, ids >= 0], axis=1)
    mixed = int((np.unique(pairs[0], return_counts=True)[1] > 1).sum())
    return switches, steps, mixed


def main(arguments: list[str] | None = None) -> int:
    """Prints the lines; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.golden_tracks")
    parser.add_argument("golden", type=pathlib.Path, metavar="GOLDEN_DIR")
    parser.add_argument("media", type=pathlib.Path, metavar="MEDIA_DIR")
    parser.add_argument("--appearance", type=pathlib.Path, metavar="FILE")
    options = parser.parse_args(arguments)

    def scored() -> Iterator[str]:
        looks = tracks.looks_of(options.appearance)
        return lines(options.golden, options.media, looks)

    return tracks.tell(parser.prog, scored)


if __name__ == "__main__":
    sys.exit(main())
