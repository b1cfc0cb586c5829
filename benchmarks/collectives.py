"""What a compiled program sends between devices, and how long that takes in a ring.

Reads the text of a program that was compiled for simulated devices, where collectives
are not split into a start and an end.
"""

import collections
import math
import re
from collections.abc import Iterable
from typing import NamedTuple

BYTES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s32": 4, "u32": 4}
BYTES |= {"f32": 4, "s64": 8, "u64": 8, "f64": 8}
KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all")
KINDS += ("collective-permute",)
ENTRY = "\nENTRY "  # the computation that runs once; those before it may be loops
LINE = re.compile(rf" = (?P<shape>\(.*?\)|\S+) (?P<kind>{'|'.join(KINDS)})\(")
ARRAY = re.compile(r"(?P<dtype>[a-z]\w*)\[(?P<shape>[\d,]*)\]")


class Collective(NamedTuple):
    """An operation, the bytes of its result on each device, and how often it stands."""

    kind: str
    size: int
    count: int


def read(text: str) -> list[Collective]:
    """The collectives of a compiled program, largest first.

    Raises:
      ValueError: for a number format whose size is not known; for a collective in a
        loop, which is sent more often than it stands.
    """
    before, _, entry = text.rpartition(ENTRY)
    if entry and (inside := LINE.search(before)):
        raise ValueError(f"{inside[0].strip()}...: stands in a loop; count its turns")
    seen: collections.Counter = collections.Counter()
    for match in LINE.finditer(text):
        seen[match["kind"], _size(match["shape"])] += 1
    largest_first = sorted(seen.items(), key=lambda item: -item[0][1])
    return [Collective(kind, size, count) for (kind, size), count in largest_first]


def _size(shape: str) -> int:
    total = 0
    for array in ARRAY.finditer(shape):
        if array["dtype"] not in BYTES:
            raise ValueError(f"{array[0]}: the size of {array['dtype']} is not known")
        sides = [int(side) for side in array["shape"].split(",") if side]
        total += BYTES[array["dtype"]] * math.prod(sides)
    return total


def total(collectives: Iterable[Collective]) -> dict[str, int]:
    """Kind -> bytes of all its results."""
    of_kind: dict[str, int] = {}
    for kind, size, count in collectives:
        of_kind[kind] = of_kind.get(kind, 0) + size * count
    return of_kind


def sent(collectives: Iterable[Collective], devices: int) -> float:
    """Bytes that each device sends, in a ring of all of them.

    All-reduce: every part but its own goes round twice, once to be added up and once
    to be handed on. All-gather: every part but one passes each device.
    """
    share = (devices - 1) / devices
    each = {
        "all-reduce": 2 * share,
        "all-gather": share,
        "reduce-scatter": float(devices - 1),
        "all-to-all": share,
        "collective-permute": 1.0,
    }
    return sum(each[kind] * size for kind, size in total(collectives).items())
