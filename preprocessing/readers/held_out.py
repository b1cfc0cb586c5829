"""Chooses the clips of loose videos that are `val`: a share by hash, or a list's."""

import hashlib
import os
from collections.abc import Sequence

from preprocessing import files
from preprocessing.items import Clip, Skip
from preprocessing.names import Names
from preprocessing.readers import plans


def by_hash(names: Sequence[str], share: float) -> set[str]:
    """The share of the names that a hash puts first: none of one, not all of several.

    At least one, unless the share is 0. It is not the hash alone that chooses dev among
    what is left (`mmdiffmask.data.records.splits`).
    """
    count = min(max(round(share * len(names)), 1), len(names) - 1) if share else 0
    order = sorted(names, key=lambda n: hashlib.sha256(f"val {n}".encode()).digest())
    return set(order[: max(count, 0)])


def listed(path: str, clips: Sequence[Clip]) -> tuple[set[str], list[Skip]]:
    """The names of the clips that a text file names, one a line; what names none.

    Raises:
      ValueError: if the file cannot be read, or names none of the clips.
    """
    by_file = {clip.footage: clip.name for clip in clips}
    name_of = Names(by_file | {clip.name: clip.name for clip in clips})
    text, _ = files.decode(plans.content(path))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    lost = [line for line in lines if line not in name_of]
    if len(lost) == len(lines):
        such = f", not {lost[0]!r}" if lost else "; it is empty"
        raise ValueError(
            f"{path}: names none of the {len(clips)} clips: call them as in --raw{such}"
        )
    reason = f"{len(lost)} of its lines name no clip, such as"
    rows = [
        Skip(file=os.path.basename(path), reason=f"{reason} {line!r}: not used")
        for line in lost[:1]
    ]
    return {name_of[line] for line in lines if line in name_of}, rows
