"""Labels of clips by name, however blanks and Unicode forms are written."""

import difflib
import unicodedata
from collections.abc import Mapping, Sequence


def plain(text: str) -> str:
    """The text without blanks around it, in Unicode's composed form."""
    return unicodedata.normalize("NFC", text).strip()


def find(name: str, known: Sequence[str], setting: str = "probe.labels") -> str:
    """The name as the records have it.

    One that is written just so goes before one that differs in blanks around it.

    Args:
      name: as a user writes it.
      known: names of the records.
      setting: where it was written, for messages.

    Raises:
      ValueError: if there is none, or several that differ in blanks.
    """
    if name in known:
        return name
    alike = [other for other in known if plain(other) == plain(name)]
    if len(alike) == 1:
        return alike[0]
    names = ", ".join(repr(other) for other in sorted(known)) or "none at all"
    if alike:
        raise ValueError(
            f"{setting}: {name!r} may be {' or '.join(map(repr, alike))}; write it"
            " as a JSON list with its blanks"
        )
    near = difflib.get_close_matches(name, known, 1, 0.6)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ValueError(
        f"{setting}: the records have no label {name!r}; they have {names}{hint}"
    )


def of_clips(
    rows: Mapping[str, Mapping[str, str]], label: str, setting: str = "probe.labels"
) -> dict[str, str]:
    """Clip -> its label of that name; "" where it has none, or only blanks.

    Args:
      rows: clip -> name -> label.
      label: the name.
      setting: as of `find`.

    Raises:
      ValueError: as `find`, or if no clip has one.
    """
    known = {name: None for row in rows.values() for name in row}
    name = find(label, list(known), setting)
    values = {clip: plain(row.get(name, "")) for clip, row in rows.items()}
    if not any(values.values()):
        raise ValueError(f"{setting}: every clip's label {name!r} is empty")
    return values
