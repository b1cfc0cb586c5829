"""A user's file of boxes to the boxes of any video at any time.

`read` takes JSON lines, COCO, TVQA+ and MOT files; `box_formats` says how each is
read. Frames count from 1 in every format: frame n of a video shows (n - 1) / fps.

What no box can be is left out and counted in `BoxFile.counts`, by reason: numbers that
are not finite, corners in the wrong order or no area, boxes wholly outside their
picture, crowds (COCO), specks and repetitions (TVQA+). A box that lies partly in its
picture is cut to it, and counted as "cut" too. A picture's size is known from the file
(COCO, TVQA+, JSON lines with width and height) or from whoever asks; what only the
latter knows is counted by `BoxFile.lost`.
"""

import collections
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from jaxtyping import Float

from mmdiffmask.types import Boxes
from preprocessing.boxes import box_formats, box_names, box_rows, box_words
from preprocessing.boxes.box_rows import Rows
from preprocessing.boxes.unitrack import coordinates
from preprocessing.names import spelled

Size = tuple[int, int]  # width, height in pixels


def read(
    path: str | os.PathLike,
    *,
    mot_pixels: box_formats.MotPixels = "source",
    mot_labels: Sequence[str] | None = None,
    unit: str = "pixel",
    person_labels: Sequence[str] = (),
) -> "BoxFile":
    """The boxes of a file or a folder, told by its form.

    Args:
      path: of a `.jsonl` file, a `.json` file (COCO or TVQA+), a MOT `.txt` file, or a
        folder with one `<video>.txt` for each video.
      mot_pixels: what MOT files count in: pixels of the video's frames ("source"), or
        of UniTrack's resized frame ("img0"), which needs `frame_wh` in every question.
      mot_labels: names of the classes in MOT files; boxes without a class are persons.
      unit: "pixel", or "share" of the picture's width and height.
      person_labels: of people, beside those that `box_words` knows.

    Raises:
      ValueError: if something in it cannot be read, or its boxes are in another unit;
        names file, place and way out.
    """
    path = pathlib.Path(path)
    rows = box_formats.read(path, mot_pixels, mot_labels)
    table = box_rows.in_unit(path, rows.table, unit)
    return BoxFile(rows._replace(table=table), path.name, person_labels)


def tell(counts: Mapping[str, int]) -> list[str]:
    """A sentence for each reason why boxes are left out or cut."""
    sentences = []
    for reason, count in sorted(counts.items()):
        boxes = "1 box is" if count == 1 else f"{count} boxes are"
        fate = "cut to the picture" if reason == "cut" else f"left out: {reason}"
        sentences.append(f"{boxes} {fate}")
    return sentences


class BoxFile:
    """All boxes of a file. A question costs the same however many videos there are.

    Attributes:
      counts: how many boxes were left out or cut, by reason.
      videos: the names of the videos, in Unicode's form NFC; also of those that it has
        no boxes of.
    """

    def __init__(self, rows: Rows, source: str, person_labels: Sequence[str] = ()):
        self.counts: collections.Counter[str] = collections.Counter(rows.counts)
        self._source = source
        self._labels = np.array(rows.labels, object)
        kinds = [box_words.kind_of(label, person_labels) for label in rows.labels]
        self._kinds = np.array(kinds, object)
        self._table = self._usable(rows.table)
        self.videos = rows.videos
        self._video_of = box_names.aliases(rows.videos)
        self._tracked = set(self._table["video"][self._table["track"] >= 0].tolist())
        self._index: dict[float, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}

    def __len__(self) -> int:
        return len(self._table)

    def __contains__(self, video: str) -> bool:
        return spelled(video) in self._video_of

    @property
    def objects(self) -> dict[str, int]:
        """How many boxes each label has that is neither of a person nor of a face."""
        count = np.bincount(self._table["label"], minlength=len(self._labels))
        is_object = (self._kinds == "object") & (count > 0)
        pairs = zip(self._labels[is_object], count[is_object].tolist(), strict=True)
        return dict(pairs)

    def has_tracks(self, video: str) -> bool:
        """Whether any of its boxes belongs to a track."""
        return self._video_of.get(spelled(video)) in self._tracked

    def boxes_at(
        self,
        video: str,
        time_s: float,
        fps: float,
        frame_wh: Size | None = None,
        within_s: float = 0.0,
    ) -> Boxes:
        """The boxes of the frame that is nearest to a time, in the file's order.

        Args:
          video: its name as in the file; its path's last part or the name without a
            video's ending will do where only one video has it.
          time_s: from the start of the video.
          fps: frames a second that the file's frame numbers count.
          frame_wh: width and height of the frame; boxes of a picture of another size
            are scaled to it, and all are cut to it. None = pixels of the file.
          within_s: if that frame has no boxes, those of the nearest one that has some
            and is at most so far from it; the earlier of two.

        Raises:
          ValueError: if the file's pixels need a size and none is given.
        """
        table = self._rows(video, frame_number(time_s, fps), fps, within_s * fps)
        xyxy = self._scaled(table, frame_wh)
        if frame_wh is not None:
            xyxy, is_inside, _ = _cut(xyxy, np.array(frame_wh, float))
            table, xyxy = table[is_inside], xyxy[is_inside]
        label = tuple(self._labels[table["label"]])
        return Boxes(
            frame=np.zeros(len(table), np.int64),
            xyxy_px=xyxy.astype(np.float32),
            kind=tuple(self._kinds[table["label"]]),
            label=label,
            score=table["score"].astype(np.float32),
            track=table["track"].astype(np.int64),
            source=(self._source,) * len(table),
        )

    def frames_of(self, video: str, fps: float) -> list[int]:
        """The numbers of the frames that have boxes, ascending."""
        at = self._video_of.get(spelled(video))
        if at is None:
            return []
        starts, frames, _ = self._ordered(fps)
        return np.unique(frames[starts[at] : starts[at + 1]]).tolist()

    def lost(
        self, video: str, duration_s: float, fps: float, frame_wh: Size
    ) -> dict[str, int]:
        """How many boxes of a video its frames cannot show or cut, by reason.

        Those that `counts` has are not among them. Arguments as those of `boxes_at`.
        """
        at = self._video_of.get(spelled(video))
        if at is None:
            return {}
        starts, frames, order = self._ordered(fps)
        span = slice(starts[at], starts[at + 1])
        is_late = frames[span] > frame_number(duration_s, fps)
        table = self._table[order[span]][~is_late]
        is_known = table["wh"].min(1, initial=np.inf) > 0  # cut when they were read
        xyxy = self._scaled(table[~is_known], frame_wh)
        _, is_inside, is_cut = _cut(xyxy, np.array(frame_wh, float))
        wide, high = frame_wh
        counts = {
            f"after the end at {duration_s:.1f} s": is_late,
            f"outside the picture of {wide}x{high}": ~is_inside,
            "cut": is_cut,
        }
        return {why: int(which.sum()) for why, which in counts.items() if which.any()}

    def strangers(self, clips: Iterable[str]) -> tuple[tuple[str, ...], int]:
        """The videos that are none of these clips, and how many boxes they have."""
        places = (self._video_of.get(spelled(clip)) for clip in clips)
        known = {at for at in places if at is not None}
        is_strange = ~np.isin(self._table["video"], list(known))
        names = np.unique(self._table["video"][is_strange])
        return tuple(self.videos[at] for at in names), int(is_strange.sum())

    def _rows(self, video: str, frame: int, fps: float, most: float) -> np.ndarray:
        """Rows of the frame, or of one with boxes at most `most` frames away."""
        at = self._video_of.get(spelled(video))
        if at is None:
            return self._table[:0]
        starts, frames, order = self._ordered(fps)
        boxed = frames[starts[at] : starts[at + 1]]
        place = np.searchsorted(boxed, frame)
        around = boxed[max(place - 1, 0) : place + 1]
        away = np.abs(around - frame)
        if len(away) and away.min() <= most:
            frame = around[away.argmin()]
        low, high = np.searchsorted(boxed, [frame, frame + 1]) + starts[at]
        return self._table[order[low:high]]

    def _ordered(self, fps: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Where each video starts, frame numbers and rows in order; made once."""
        if fps not in self._index:
            table = self._table
            frames = table["frame"].copy()
            is_timed = np.isfinite(table["second"])
            frames[is_timed] = frame_number(table["second"][is_timed], fps)
            order = np.lexsort((frames, table["video"]))  # stable
            places = np.arange(len(self.videos) + 1)
            starts = np.searchsorted(table["video"][order], places)
            self._index[fps] = starts, frames[order], order
        return self._index[fps]

    def _usable(self, table: np.ndarray) -> np.ndarray:
        """The rows that are boxes, those of pictures of known size cut to these."""
        xyxy = table["xyxy"]
        is_finite = np.isfinite(xyxy).all(1)
        self._count("not finite", ~is_finite)
        table = table[is_finite]
        xyxy = table["xyxy"]
        has_area = (xyxy[:, 2:] > xyxy[:, :2]).all(1)
        self._count("no area", ~has_area)
        table = table[has_area].copy()
        known = table["wh"].min(1, initial=np.inf) > 0
        keep = np.ones(len(table), bool)
        table["xyxy"][known], keep[known], is_cut = _cut(
            table["xyxy"][known], table["wh"][known]
        )
        self._count("outside", ~keep)
        self._count("cut", is_cut)
        return table[keep]

    def _count(self, reason: str, which: np.ndarray) -> None:
        if which.any():
            self.counts[reason] += int(which.sum())

    def _scaled(self, table: np.ndarray, frame_wh: Size | None) -> np.ndarray:
        xyxy, wh = table["xyxy"].copy(), table["wh"].copy()
        is_img0 = (wh == box_formats.IMG0_WH).all(1)
        if is_img0.any():
            if frame_wh is None:
                raise ValueError(
                    f"{self._source}: boxes in pixels of UniTrack's resized frame need"
                    " the size of the frame: give frame_wh"
                )
            wh[is_img0] = coordinates.resized_wh(frame_wh)
        if frame_wh is not None:
            known = wh.min(1, initial=np.inf) > 0
            factor = np.array(frame_wh, float) / wh[known]
            xyxy[known] *= np.concatenate([factor, factor], axis=1)
        return xyxy


def _cut(
    xyxy: Float[np.ndarray, "m 4"], wh: Float[np.ndarray, "... 2"]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes cut to their pictures, which have any area in them, which were cut."""
    cut = np.clip(xyxy, 0, np.concatenate([wh, wh], axis=-1))
    is_inside = (cut[:, 2:] > cut[:, :2]).all(1)
    return cut, is_inside, is_inside & (cut != xyxy).any(1)


def frame_number(time_s: float | np.ndarray, fps: float) -> int | np.ndarray:
    """The frame nearest to a time; 1 is the first."""
    number = np.floor(np.asarray(time_s) * fps + 0.5).astype(np.int64) + 1
    return int(number) if number.ndim == 0 else number
