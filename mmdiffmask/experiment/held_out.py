"""Scores on held-out masks as pages show them: shared columns, and each row's own."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from mmdiffmask.experiment.cells import Cell
from mmdiffmask.experiment.tables import ExperimentRow

OWN = ""  # in place of a strategy: that of the row


class Shown(NamedTuple):
    """The table of held-out scores.

    Attributes:
      columns: (strategy of the masks, metric): those that all rows were scored with,
        then `OWN` where some row has a strategy of its own.
      cells: row -> column by column its score at the first and the last evaluation;
        None where it has none.
      others: rows whose masks are chosen by other settings than those of the first row,
        so that they can be others under the same strategy.
    """

    columns: tuple[tuple[str, str], ...]
    cells: dict[str, tuple[tuple[Cell, Cell] | None, ...]]
    others: tuple[str, ...]

    @property
    def has_own(self) -> bool:
        """Whether the last columns are each row's own strategy's."""
        return any(masks == OWN for masks, _ in self.columns)


def shown(rows: Sequence[ExperimentRow], is_shown: Callable[[str], bool]) -> Shown:
    """What rows reach on held-out masks.

    Args:
      rows: of an experiment, in the page's order.
      is_shown: metric -> whether it has a column.
    """
    scored = [row for row in rows if row.held_out]
    keys = dict.fromkeys(key for row in scored for key in row.held_out)
    kept = [key for key in keys if is_shown(key[1])]
    everywhere = {
        masks
        for masks, _ in kept
        if all(any(masks == key[0] for key in row.held_out) for row in scored)
    }
    columns = [key for key in kept if key[0] in everywhere]
    if any(masks not in everywhere for masks, _ in kept):
        columns += [(OWN, name) for name in dict.fromkeys(name for _, name in kept)]
    cells = {
        row.name: tuple(
            row.held_out.get((row.strategy if masks == OWN else masks, name))
            for masks, name in columns
        )
        for row in rows
    }
    others = [row.name for row in rows if row.choice != rows[0].choice]
    return Shown(tuple(columns), cells, tuple(others))
