"""Settings that are numbers within limits, which `configure` checks."""

import dataclasses
from typing import Any

Number = int | float


def number(
    default: Number | tuple[Number, ...] | None,
    low: Number,
    high: Number | None = None,
    **metadata: Any,
) -> Any:
    """A dataclass field whose number, or each of whose numbers, lies in [low, high].

    Args:
      default: its value; None, where the annotation allows that.
      low: the least that it may be.
      high: the most; None: there is no limit.
      **metadata: what else `configure.check` goes by.
    """
    limits = {"low": low, "high": high} | metadata
    return dataclasses.field(default=default, metadata=limits)
