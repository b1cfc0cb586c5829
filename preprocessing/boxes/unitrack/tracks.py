"""Changes of a track's state: started, confirmed, updated, lost, found, removed."""

import dataclasses
import enum
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from preprocessing.boxes.unitrack import kalman
from preprocessing.boxes.unitrack.detections import Seen


class Phase(enum.IntEnum):
    """Where in its life a track is."""

    TRACKED = 1
    LOST = 2
    REMOVED = 3


@dataclasses.dataclass(eq=False)
class Track:
    """One thing over time; changed in place.

    Attributes:
      id: counted from 1.
      phase: tracked, lost or removed.
      is_activated: whether it was confirmed by a second detection.
      box: left, top, width, height of the last detection.
      score: of the last update; finding a lost track again leaves it as it was.
      category: likewise.
      cells: appearance of the last detection.
      start: the tracker's clock when it was started.
      last: the clock when a detection was last taken.
      length: updates since it was started or found again.
      detection: which of its frame's detections it took last.
      mean: of the motion filter, (8,); None once a second detection was taken and
        filters are not used.
      covariance: likewise, (8, 8).
    """

    id: int
    phase: Phase
    is_activated: bool
    box: Float[np.ndarray, " 4"]
    score: float
    category: int
    cells: Float[np.ndarray, "s c"]
    start: int
    last: int
    length: int = 0
    detection: int = -1
    mean: Float[np.ndarray, " 8"] | None = None
    covariance: Float[np.ndarray, "8 8"] | None = None

    @property
    def tlwh(self) -> Float[np.ndarray, " 4"]:
        """The filter's box, or the last detection's where there is no filter."""
        if self.mean is None:
            return self.box
        x, y, aspect, height = self.mean[:4]
        width = aspect * height
        return np.array([x - width / 2, y - height / 2, width, height])

    @property
    def age(self) -> int:
        """From its start to its last detection."""
        return self.last - self.start


def begin(first_id: int, seen: Seen, clock: int, is_activated: bool) -> list[Track]:
    """A new track for each detection, with ids that count on from `first_id`."""
    tracks = [
        Track(
            id=first_id + i,
            phase=Phase.TRACKED,
            is_activated=is_activated,
            box=seen.tlwh[i],
            score=float(seen.score[i]),
            category=int(seen.category[i]),
            cells=seen.cells[i],
            start=clock,
            last=clock,
            detection=int(seen.index[i]),
        )
        for i in range(len(seen))
    ]
    _put(tracks, kalman.initiate(to_xyah(seen.tlwh)))
    return tracks


def predict(tracks: Sequence[Track]) -> None:
    """Moves the filters one step on; who is not tracked keeps its height."""
    state = states(tracks)
    is_held = [track.phase != Phase.TRACKED for track in tracks]
    state.mean[is_held, 7] = 0
    _put(tracks, kalman.predict(state))


def follow(tracks: Sequence[Track], seen: Seen, clock: int, is_filtered: bool) -> None:
    """Each track takes its own detection: tracked ones go on, others are found again.

    Found again, a track keeps its old score and class and its length starts anew.
    """
    if is_filtered:
        _put(tracks, kalman.update(states(tracks), to_xyah(seen.tlwh)))
    for i, track in enumerate(tracks):
        if track.phase == Phase.TRACKED:
            track.length += 1
            track.score = float(seen.score[i])
            track.category = int(seen.category[i])
        else:
            track.length = 0
        if not is_filtered:
            track.mean = track.covariance = None
        track.phase, track.is_activated = Phase.TRACKED, True
        track.box, track.cells = seen.tlwh[i], seen.cells[i]
        track.last, track.detection = clock, int(seen.index[i])


def states(tracks: Sequence[Track]) -> kalman.State:
    """The filters of many tracks in one, copied."""
    mean = np.array([track.mean for track in tracks]).reshape(-1, 8)
    covariance = np.array([track.covariance for track in tracks])
    return kalman.State(mean, covariance.reshape(-1, 8, 8))


def _put(tracks: Sequence[Track], state: kalman.State) -> None:
    for track, mean, covariance in zip(tracks, *state, strict=True):
        track.mean, track.covariance = mean, covariance


def boxes(tracks: Sequence[Track]) -> Float[np.ndarray, "n 4"]:
    """Left, top, width, height of each."""
    return np.array([track.tlwh for track in tracks], np.float64).reshape(-1, 4)


def to_tlbr(tlwh: Float[np.ndarray, "n 4"]) -> Float[np.ndarray, "n 4"]:
    """Left, top, right, bottom."""
    return np.hstack([tlwh[:, :2], tlwh[:, :2] + tlwh[:, 2:]])


def to_xyah(tlwh: Float[np.ndarray, "n 4"]) -> Float[np.ndarray, "n 4"]:
    """What the filter measures: centre, width / height, height."""
    centre = tlwh[:, :2] + tlwh[:, 2:] / 2
    height = tlwh[:, 3:]
    # Upstream keeps the division finite; its boxes are this much narrower.
    return np.hstack([centre, tlwh[:, 2:3] / (height + 1e-6), height])
