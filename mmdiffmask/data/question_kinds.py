"""Kinds of questions that the tables tell apart, by regular expressions."""

import re
from collections.abc import Sequence

from mmdiffmask import probe_settings


def parse(entries: Sequence[str]) -> list[tuple[str, re.Pattern]]:
    """Names and expressions of `probe.kinds`.

    Raises:
      ValueError: for an entry that is not "name=regular expression".
    """
    kinds = []
    for entry in probe_settings.kinds(entries):
        name, sign, pattern = entry.partition("=")
        try:
            if not sign or not name:
                presets = ", ".join(probe_settings.KINDS)
                raise ValueError(
                    f"write it as name=regular expression, or name one of {presets}"
                )
            kinds.append((name, re.compile(pattern, re.IGNORECASE)))
        except (ValueError, re.error) as error:
            raise ValueError(f"probe.kinds: {entry!r}: {error}") from error
    return kinds


def of_text(text: str, kinds: Sequence[tuple[str, re.Pattern]]) -> str:
    """The first kind whose expression is found in the question; "" if none is."""
    return next((name for name, pattern in kinds if pattern.search(text)), "")
