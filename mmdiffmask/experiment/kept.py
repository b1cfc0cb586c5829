"""The folder of an experiment's results: a small file for each run that is done."""

import dataclasses
import functools
import pathlib
import re
from collections.abc import Iterable, Mapping, Sequence

from mmdiffmask import contrasts, pretrain
from mmdiffmask.experiment import result_file
from mmdiffmask.experiment.plan import Planned
from mmdiffmask.experiment.result_file import Result
from mmdiffmask.probe import contrasted
from mmdiffmask.training import saved


@dataclasses.dataclass(frozen=True)
class Kept:
    """What stays of runs.

    Attributes:
      folder: of their results; made with the first one.
      has_weights: whether their checkpoints and features stay where they were made.
    """

    folder: pathlib.Path
    has_weights: bool = False

    def path(self, planned: Planned) -> pathlib.Path:
        """Of the result of a run."""
        return result_file.path_of(self.folder, planned.row, planned.seed)

    def has(self, planned: Planned) -> bool:
        """Whether there is a result of a run."""
        return self.path(planned).is_file()

    def count_seeds(self, rows: Iterable[str]) -> int:
        """One more than the largest seed that a row has a result of; at least 1."""
        seeds = [
            int(match[1])
            for row in rows
            for path in (self.folder / row).glob("seed=*.json")
            if (match := re.fullmatch(r"seed=(\d+)\.json", path.name))
        ]
        return 1 + max(seeds, default=0)

    def check_apart(self, planned: Sequence[Planned]) -> None:
        """Checks that no run has its own folder where results are to lie.

        Raises:
          ValueError: naming a row of the same name.
        """
        for one in planned:
            if self.folder.resolve() == one.folder.path.resolve():
                raise ValueError(
                    f"{self.folder}: the results would lie in the folder of"
                    f" {one}: give the row another name, or name another --results"
                )

    def write(self, planned: Planned) -> None:
        """Writes the result of a run that is done, then removes its weights.

        Raises:
          ValueError: if a file of the run is damaged, or the result cannot be read
            back; then the weights stay.
        """
        result = result_file.of_folder(planned.row, planned.folder)
        result_file.write(self.path(planned), result)
        result_file.read(self.path(planned))
        if not self.has_weights:
            saved.remove(planned.folder)

    def finish_removal(self, planned: Planned) -> None:
        """Goes on with removing weights where that was interrupted."""
        if saved.is_removed(planned.folder) and saved.has_weights(planned.folder):
            saved.remove(planned.folder)


def read(
    planned: Sequence[Planned], kept: Kept, records_dir: str | None = None
) -> dict[Planned, Result]:
    """The results that there are, each of the run that is meant.

    Args:
      planned: the runs.
      kept: where their results lie.
      records_dir: what they are to have been trained on; None: it is not here, and all
        are to have been trained on the same.

    Raises:
      ValueError: naming a file that is damaged or of another run.
    """
    reads = functools.cache(lambda row: pretrain.claim(row, records_dir, seed=0))
    results: dict[Planned, Result] = {}
    first: tuple[pathlib.Path, str] | None = None
    for one in filter(kept.has, planned):
        path = kept.path(one)
        result = result_file.read(path)
        wanted = dataclasses.replace(reads(one.settings), seed=one.seed)
        result_file.check(path, result, one.row, wanted)
        first = first or (path, result.records)
        if result.records != first[1]:
            raise ValueError(
                f"{path}: is of a run on other records than {first[0]};"
                f" {result_file.REMEDY}"
            )
        results[one] = result
    return results


def by_row(results: Mapping[Planned, Result]) -> dict[str, dict[int, Result]]:
    """Row -> seed -> its result."""
    rows: dict[str, dict[int, Result]] = {}
    for one, result in results.items():
        rows.setdefault(one.row, {})[one.seed] = result
    return rows


def compare(results: Mapping[Planned, Result]) -> tuple[contrasted.Measured, ...]:
    """The contrasts that the config names, over all seeds; `contrasted.lines` as text.

    A row that trains nothing scores the same with every seed, so one run of it is
    compared with all seeds of the other rows.

    Raises:
      ValueError: if a contrast cannot be measured.
    """
    settings, rows = next(iter(results)).settings, by_row(results)
    scores = {
        row: {seed: result.probe for seed, result in of_row.items()}
        for row, of_row in rows.items()
    }
    seeds = sorted({seed for of_row in rows.values() for seed in of_row})
    for one in results:
        if one.settings.training.steps == 0 and len(scores[one.row]) == 1:
            scores[one.row] = dict.fromkeys(seeds, results[one].probe)
    names = tuple(row.partition(":")[0].strip() for row in settings.rows)
    named = contrasts.of_experiment(settings, names)
    return contrasted.measure(named, scores, settings.probe.bootstrap)
