"""Which records of TRAIN train and which are dev, by the hash of their group."""

import dataclasses
import hashlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mmdiffmask.data import video


@dataclasses.dataclass(frozen=True)
class Split:
    """Which examples of the train split serve what, as positions in it.

    Attributes:
      train: questions of the clips that are not dev.
      dev: questions of the clips whose group the hash chose.
      clip: name of the clip of every position of the split.
      group: what the split goes by (a clip, an episode), of every position.
    """

    train: tuple[int, ...]
    dev: tuple[int, ...]
    clip: tuple[str, ...]
    group: tuple[str, ...] = ()

    def first_of_clips(self, positions: Sequence[int]) -> list[int]:
        """One of the positions per clip: the first."""
        return first_of_clips(self.clip, positions)


def first_of_clips(clips: Sequence[str], positions: Sequence[int]) -> list[int]:
    """One of the positions per clip: the first.

    Several questions may share a clip, but its frames give the same features.

    Args:
      clips: the clip of every position of a split.
      positions: in the split.
    """
    first: dict[str, int] = {}
    for i in positions:
        first.setdefault(clips[i], i)
    return list(first.values())


def split_train(entries: Iterable[Any], dev_share: float, boxed_only: bool) -> Split:
    """Train's examples without dev's, and dev's. design.md section 8 (splits).

    At least one group is dev, so that a handful of videos can be used too: the one
    that the hash puts first.

    Args:
      entries: of the train split, each with its group, its clip and `is_boxed`.
      dev_share: share of the groups that is dev, in expectation.
      boxed_only: leaves out clips in which no detector looked for boxes.

    Raises:
      ValueError: if there is nothing to train on or nothing for dev.
    """
    index = [(entry.group, entry.clip, entry.is_boxed) for entry in entries]
    kept = [i for i, row in enumerate(index) if row[2] or not boxed_only]
    groups = {index[i][0] for i in kept}
    dev_groups = {group for group in groups if video.is_dev(group, dev_share)}
    if not dev_groups and len(groups) > 1:
        dev_groups = {min(groups, key=lambda g: hashlib.sha256(g.encode()).digest())}
    train = tuple(i for i in kept if index[i][0] not in dev_groups)
    dev = tuple(i for i in kept if index[i][0] in dev_groups)
    if not train or not dev:
        raise ValueError(
            f"{len(kept)} usable training records of {len(groups)} clips with"
            f" data.dev_share={dev_share} leave {len(train)} to train on and {len(dev)}"
            " for dev; add clips (detectors must have run on them)"
        )
    clips, names = (tuple(row[i] for row in index) for i in (1, 0))
    return Split(train, dev, clips, names)


def check_apart(split: Split, scored: Mapping[str, str]) -> int:
    """Checks that no clip that is scored stands in train, and tells of shared groups.

    A data set's own splits may share groups (episodes) but never clips.

    Args:
      split: of train.
      scored: clip -> its group, of val.

    Returns:
      How many of the scored clips are of a group that train has too.

    Raises:
      ValueError: if a clip stands in both.
    """
    known = set(split.clip)
    both = [clip for clip in scored if clip in known]
    if both:
        raise ValueError(
            f"{len(both)} of {len(scored)} clips of val stand in both train and val,"
            f" for one {both[0]}: their scores would flatter; make the records again"
            " with each clip in one split"
        )
    groups = set(split.group)
    shared = [clip for clip, group in scored.items() if group in groups]
    if shared:
        logging.warning(
            "%d of %d clips of val are of a group (an episode, a video) that train has"
            " too, for one %s of %s: scores may flatter",
            len(shared),
            len(scored),
            shared[0],
            scored[shared[0]],
        )
    return len(shared)
