"""Detections of a clip's frames, one after another, to tracks: UniTrack's tracker."""

import dataclasses
from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from preprocessing.boxes.detectors import Detected
from preprocessing.boxes.finders import TRACKED_FPS
from preprocessing.boxes.unitrack import tracker

Describe = Callable[[np.ndarray, np.ndarray], Float[np.ndarray, "m c 4 10"]]


class Follower:
    """One clip's tracker; frames come in order of time, three a second.

    Attributes:
      confirmed: numbers of the tracks that were seen at least twice (those of the
        first frame at once, as in UniTrack).
    """

    def __init__(self, describe: Describe):
        # The detectors have their own least score, so all that they give counts.
        settings = tracker.Settings(conf_thres=-1.0, frame_rate=TRACKED_FPS)
        self._tracker = tracker.Tracker(settings)
        self._describe = describe
        self._category: dict[str, int] = {}
        self.confirmed: set[int] = set()

    def update(
        self, image: np.ndarray, detected: Detected
    ) -> tuple[Detected, Detected]:
        """The frame's detections with track numbers, and the tracker's own boxes.

        The tracker itself reports nothing before its second sighting. Here a first
        sighting has the number that its track will have if it is confirmed: see
        `confirmed` once the clip is over.

        Args:
          image: RGB.
          detected: what is detected there.
        """
        if not len(detected):  # the tracker's clock stands still, as in UniTrack
            return detected, detected
        tlwh = detected.xyxy_px.astype(np.float64)
        tlwh[:, 2:] -= tlwh[:, :2]
        feature = self._describe(image, detected.xyxy_px)
        known = self._category
        category = np.array(
            [known.setdefault(name, len(known)) for name in detected.label]
        )
        reported = self._tracker.update(
            tracker.Detections(tlwh, detected.score, category, feature)
        )
        track = np.full(len(detected), -1, np.int32)
        for one in self._tracker.tracked:
            track[one.detection] = one.id
            if one.is_activated:
                self.confirmed.add(one.id)
        assert (reported.detection >= 0).all()  # tracked = it took one just now
        tracked = detected.take(reported.detection)
        left_top, size = np.split(reported.tlwh, 2, axis=1)
        tracked = dataclasses.replace(
            tracked,
            xyxy_px=np.hstack([left_top, left_top + size]).astype(np.float32),
            track=reported.id.astype(np.int32),
        )
        return dataclasses.replace(detected, track=track), tracked

    def settle(self, detected: Detected) -> Detected:
        """Without the numbers of tracks that were never confirmed."""
        is_real = np.isin(detected.track, list(self.confirmed))
        return dataclasses.replace(
            detected, track=np.where(is_real, detected.track, -1).astype(np.int32)
        )
