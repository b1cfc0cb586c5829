"""Another clip's record, whose boxes serve a clip that is to have none of its own."""

import bisect
import functools
import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from mmdiffmask.data.corpus import Corpus
from mmdiffmask.data.records import shards


class _Ring(NamedTuple):
    """Clips with boxes in the order of their hashes, and the first record of each."""

    digest: list[str]
    position: list[int]


def next_with_boxes(
    source: shards.Source,
    record: Any,
    kinds: Sequence[str],
    min_overlap: float,
) -> Any:
    """The first record with boxes of these kinds of the next clip that has some.

    Next by sha256 of the clip's name, after the last the first: no clip is its own
    next one. None where no other clip has any.

    Args:
      source: a whole split.
      record: one of it.
      kinds: of boxes.
      min_overlap: share of a patch that a box must pass to count.
    """
    ring = _ring(Corpus.of(str(source.folder)), source.split, tuple(kinds), min_overlap)
    clip = _digest(record.clip)
    others = len(ring.digest) - (clip in ring.digest)
    if not others:
        return None
    place = bisect.bisect_right(ring.digest, clip) % len(ring.digest)
    return source[ring.position[place]]


@functools.lru_cache(maxsize=8)
def _ring(
    corpus: Corpus, split: str, kinds: tuple[str, ...], min_overlap: float
) -> _Ring:
    first: dict[str, int] = {}
    for i, entry in enumerate(corpus.entries(split)):
        boxes = entry.boxes
        pairs = zip(boxes.kind, boxes.most_covered, strict=True)
        if any(kind in kinds and most > min_overlap for kind, most in pairs):
            first.setdefault(_digest(entry.clip), i)
    order = sorted(first)
    return _Ring(order, [first[digest] for digest in order])


def _digest(clip: str) -> str:
    return hashlib.sha256(clip.encode()).hexdigest()
