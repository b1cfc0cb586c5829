"""What comes out of an experiment: tables, or which results are still missing."""

import pathlib
from collections.abc import Mapping, Sequence

from mmdiffmask import atomic
from mmdiffmask.experiment import page, tables, tidy
from mmdiffmask.experiment.plan import Planned
from mmdiffmask.experiment.result_file import Result
from mmdiffmask.run_files import CSV, TABLES

LISTED = 4  # runs that a sentence names


def write(
    planned: Sequence[Planned],
    results: Mapping[Planned, Result],
    results_dir: pathlib.Path,
    workdir: pathlib.Path,
) -> list[str]:
    """Writes page and CSV into `workdir`; while results are missing, says which.

    Args:
      planned: all runs of the experiment.
      results: those that there are.
      results_dir: where they lie.
      workdir: of the experiment; made if it is absent.

    Returns:
      The tables as text, or the sentence.

    Raises:
      ValueError: if a contrast cannot be measured.
    """
    if missing := [one for one in planned if one not in results]:
        names = "; ".join(map(str, missing[:LISTED]))
        names += "; ..." * (len(missing) > LISTED)
        return [
            f"{results_dir}: {len(missing)} of {len(planned)} results are missing"
            f" ({names}), so there are no tables yet: run the other parts, or put"
            " their results there"
        ]
    shown = tables.make(planned, results)
    workdir.mkdir(parents=True, exist_ok=True)
    atomic.write(workdir / CSV, tidy.text(results))
    atomic.write(workdir / TABLES, page.html(shown))
    return [*page.lines(shown), "", str((workdir / TABLES).resolve())]
