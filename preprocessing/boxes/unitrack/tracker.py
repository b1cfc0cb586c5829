"""UniTrack's box association: detections and their looks in, tracks out.

boxes.md section 6; step numbers below are that section's.
"""

import dataclasses
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from preprocessing.boxes.unitrack import association, kalman, tracks
from preprocessing.boxes.unitrack.detections import Detections, Seen, look
from preprocessing.boxes.unitrack.tracks import Phase, Track

APPEARANCE_LIMIT, OVERLAP_LIMIT = 0.7, 0.5  # a pair must cost less

Match = tuple[int, int, int]  # stage, track id, detection


@dataclasses.dataclass(frozen=True)
class Settings:
    """Upstream's names and defaults.

    Attributes:
      conf_thres: detections with this score or less are not looked at.
      frame_rate: of the video, frames per second.
      track_buffer: updates that a lost track is remembered for, at 30 frames/s.
      use_kalman: whether tracks have a motion filter; without it tracks need no
        second detection, boxes are the detections' and overlap has no say.
      asso_with_motion: whether the filter has a say in the association.
      motion_lambda: share of appearance in the cost.
      motion_gated: whether detections far from the prediction are ruled out.
      confirm_iou_thres: 1 - IoU of a second detection with the first must be less.
      dup_iou_thres: a tracked and a lost track that are nearer than this are one.
    """

    conf_thres: float = 0.65
    frame_rate: float = 30
    track_buffer: float = 30
    use_kalman: bool = True
    asso_with_motion: bool = True
    motion_lambda: float = 0.98
    motion_gated: bool = True
    confirm_iou_thres: float = 0.7
    dup_iou_thres: float = 0.15

    def __post_init__(self):
        if not (self.frame_rate > 0 and self.track_buffer >= 0):
            raise ValueError(
                f"frame_rate {self.frame_rate} must be positive and track_buffer"
                f" {self.track_buffer} not negative"
            )

    @property
    def buffer(self) -> int:
        """Updates that a lost track outlives."""
        return int(self.frame_rate / 30 * self.track_buffer)


class Reported(NamedTuple):
    """The confirmed tracks of one frame, in upstream's order.

    `detection` is the position of the detection that a track took in this frame, -1
    if it took none.
    """

    id: Int[np.ndarray, " m"]
    tlwh: Float[np.ndarray, "m 4"]
    score: Float[np.ndarray, " m"]
    category: Int[np.ndarray, " m"]
    detection: Int[np.ndarray, " m"]


class Decision(NamedTuple):
    """How the last update came about.

    Stages of `matches`: 1 = appearance and motion, 2 and 3 = overlap with tracked and
    with unconfirmed tracks. The costs are those of stage 1, of appearance alone and in
    all; `track_id` and `detection` name their rows and columns.
    """

    matches: list[Match]
    track_id: Int[np.ndarray, " n"]
    detection: Int[np.ndarray, " m"]
    appearance: Float[np.ndarray, "n m"]
    cost: Float[np.ndarray, "n m"]


class Tracker:
    """Tracks the things of one video; ids count from 1.

    Attributes:
      settings: as given.
      clock: updates so far.
      tracked: tracks with a detection in the last update, unconfirmed ones too.
      lost: tracks that may come back. One that was just removed stays for one more
        update, as upstream has it, and may come back in that.
      decision: of the last update; None before the first.
    """

    def __init__(self, settings: Settings = Settings()):
        self.settings = settings
        self.clock = 0
        self.tracked: list[Track] = []
        self.lost: list[Track] = []
        self.decision: Decision | None = None
        self._started = 0
        self._removed: set[int] = set()  # ids, of earlier updates
        self._form: tuple[int, ...] | None = None  # (s, c) of an appearance

    def update(self, detections: Detections) -> Reported:
        """One frame on; `track` says which frames are to be left out.

        Raises:
          ValueError: if the arrays do not belong together, a number is not finite, a
            box has no area or the features differ in form from those before.
        """
        seen = self._look(detections)
        self.clock += 1
        unconfirmed = [one for one in self.tracked if not one.is_activated]
        pool = [one for one in self.tracked if one.is_activated] + self.lost
        appearance, cost = self._costs(pool, seen)
        ids = np.array([one.id for one in pool], int)
        self.decision = Decision(
            matches=[],
            track_id=ids,
            detection=seen.index,
            appearance=appearance,
            cost=cost,
        )

        left, free = self._match(1, pool, seen, cost, APPEARANCE_LIMIT)
        missed = [one for one in left if one.phase == Phase.TRACKED]
        if self.settings.use_kalman:
            cost = _overlap_cost(missed, free)
            missed, free = self._match(2, missed, free, cost, OVERLAP_LIMIT)
            cost = _overlap_cost(unconfirmed, free)
            limit = self.settings.confirm_iou_thres
            unconfirmed, free = self._match(3, unconfirmed, free, cost, limit)
        self._turn_over(missed, unconfirmed, self._begin(free))
        return _report([one for one in self.tracked if one.is_activated], self.clock)

    def _look(self, detections: Detections) -> Seen:
        seen = look(detections, self.settings.conf_thres)
        form = seen.cells.shape[1:]
        if self._form not in (None, form):
            raise ValueError(
                f"features have {form[0]} positions of {form[1]} channels, those of"
                f" earlier frames {self._form[0]} of {self._form[1]}"
            )
        self._form = form
        return seen

    def _costs(self, pool: list[Track], seen: Seen) -> tuple[np.ndarray, np.ndarray]:
        """Of appearance alone, and in all (steps 2 to 4); moves the filters on."""
        settings = self.settings
        looks = np.array([one.cells for one in pool], np.float32)
        appearance = cost = association.appearance_cost(looks, seen.cells)
        if settings.use_kalman:
            tracks.predict(pool)
            if settings.asso_with_motion:
                measured = tracks.to_xyah(seen.tlwh)
                distance = kalman.squared_mahalanobis(tracks.states(pool), measured)
                share, is_gated = settings.motion_lambda, settings.motion_gated
                cost = association.with_motion(cost, distance, share, is_gated)
        category = np.array([one.category for one in pool], int)
        return appearance, association.with_category(cost, category, seen.category)

    def _match(
        self,
        stage: int,
        candidates: list[Track],
        seen: Seen,
        cost: Float[np.ndarray, "n m"],
        limit: float,
    ) -> tuple[list[Track], Seen]:
        """Gives tracks their detections; what is left of both (steps 5 to 7)."""
        row, col = association.assign(cost, limit).T
        matched = [candidates[i] for i in row]
        is_filtered = self.settings.use_kalman
        tracks.follow(matched, seen.take(col), self.clock, is_filtered)
        self.decision.matches.extend((stage, one.id, one.detection) for one in matched)
        left = [one for one in candidates if one.last < self.clock]
        return left, seen.take(np.setdiff1d(np.arange(len(seen)), col))

    def _begin(self, seen: Seen) -> list[Track]:
        """New tracks of the detections that nobody took (step 9)."""
        # What is there when the video begins needs no second detection.
        is_activated = self.clock == 1 or not self.settings.use_kalman
        first = self._started + 1
        self._started += len(seen)
        return tracks.begin(first, seen, self.clock, is_activated)

    def _turn_over(
        self, missed: list[Track], refused: list[Track], started: list[Track]
    ) -> None:
        """Who is tracked and who is lost from now on (steps 7, 8, 10, 11)."""
        for one in missed:
            one.phase = Phase.LOST
        for one in refused:
            one.phase = Phase.REMOVED
        expired = [
            one for one in self.lost if self.clock - one.last > self.settings.buffer
        ]
        for one in expired:
            one.phase = Phase.REMOVED
        refound = [one for one in self.lost if one.phase == Phase.TRACKED]
        stayed = [one for one in self.tracked if one.phase == Phase.TRACKED]
        lost = [one for one in self.lost if one.phase != Phase.TRACKED] + missed
        # Only ids removed in earlier updates leave the list: upstream's order of doing.
        lost = [one for one in lost if one.id not in self._removed]
        self._removed.update(one.id for one in expired)
        limit = self.settings.dup_iou_thres
        self.tracked, self.lost = _distinct(stayed + started + refound, lost, limit)


def _overlap_cost(candidates: list[Track], seen: Seen) -> Float[np.ndarray, "n m"]:
    """1 - IoU of the tracks' boxes and the detections."""
    return association.iou_cost(
        tracks.to_tlbr(tracks.boxes(candidates)), tracks.to_tlbr(seen.tlwh)
    )


def _distinct(
    tracked: list[Track], lost: list[Track], limit: float
) -> tuple[list[Track], list[Track]]:
    """Both lists without the younger of each pair that is one thing (step 11)."""
    before, after = (tracks.to_tlbr(tracks.boxes(some)) for some in (tracked, lost))
    dropped = set()
    for i, j in np.argwhere(association.iou_cost(before, after) < limit):
        is_older = tracked[i].age > lost[j].age
        dropped.add(lost[j].id if is_older else tracked[i].id)
    kept = [[one for one in some if one.id not in dropped] for some in (tracked, lost)]
    return kept[0], kept[1]


def _report(confirmed: list[Track], clock: int) -> Reported:
    took = [one.detection if one.last == clock else -1 for one in confirmed]
    return Reported(
        id=np.array([one.id for one in confirmed], int),
        tlwh=tracks.boxes(confirmed),
        score=np.array([one.score for one in confirmed], float),
        category=np.array([one.category for one in confirmed], int),
        detection=np.array(took, int),
    )
