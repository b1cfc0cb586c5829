"""What an experiment's command says in the end: tables, or what is missing."""

import pathlib
from collections.abc import Mapping, Sequence

from mmdiffmask.experiment import kept
from mmdiffmask.experiment.plan import Planned
from mmdiffmask.experiment.result_file import Result
from mmdiffmask.probe import contrasted

LISTED = 4  # runs that a sentence names


def lines(
    planned: Sequence[Planned], results: Mapping[Planned, Result], folder: pathlib.Path
) -> list[str]:
    """Tables as text; while results are missing, which.

    Args:
      planned: all runs of the experiment.
      results: those that there are.
      folder: where they lie.
    """
    text = [f"{row}: {len(x)} finished" for row, x in kept.by_row(results).items()]
    if missing := [one for one in planned if one not in results]:
        names = "; ".join(map(str, missing[:LISTED]))
        names += "; ..." * (len(missing) > LISTED)
        return [
            *text,
            f"{folder}: {len(missing)} of {len(planned)} results are missing ({names}),"
            " so there are no tables yet: run the other parts, or put their results"
            " there",
        ]
    if planned[0].settings.contrasts:
        text += contrasted.lines(kept.compare(results))
    return text
