"""Every row of a comparison with every seed, in a fixed order, and parts of them."""

import dataclasses
import os
import re
from collections.abc import Sequence

from mmdiffmask import build, config, configure, seeds
from mmdiffmask.probe import texts
from mmdiffmask.run_folder import RunFolder


@dataclasses.dataclass(frozen=True)
class Planned:
    """A row with a seed: one run.

    Attributes:
      row: its name.
      seed: of the run.
      settings: the experiment's, with those of the row.
      folder: where the run lies.
    """

    row: str
    seed: int
    settings: config.Experiment
    folder: RunFolder

    def __str__(self) -> str:
        return f"row {self.row}, seed {self.seed}"


def plan(
    experiment: config.Experiment,
    workdir: str | os.PathLike,
    seed_list: Sequence[int] = (0,),
) -> tuple[Planned, ...]:
    """Every row with every seed, one seed after the other; touches nothing.

    Where `row_seeds` names rows, each has so many of the seeds, and others have one.

    Args:
      experiment: its `rows` are the comparison.
      workdir: seed 0 lies at `workdir`/ROW, another one at `workdir`/seed=SEED/ROW: so
        each of these folders is one page of the report, and a seed that is added later
        moves no run. No row has "=" in its name.
      seed_list: seeds of the runs.

    Raises:
      ValueError: for rows as `build.check` or `texts.check_folds`, a seed twice, or
        one out of range.
    """
    for seed in seed_list:
        seeds.check("seed", seed)
        if list(seed_list).count(seed) > 1:
            raise ValueError(f"seed {seed} stands twice in {list(seed_list)}")
    build.check(experiment)
    rows = configure.rows(experiment)
    for row, settings in rows.items():
        _check_folds(row, settings)
    counts = seeds_of(experiment)
    return tuple(
        Planned(row, seed, settings, RunFolder(seeds.folder(workdir, seed) / row))
        for seed in seed_list
        for row, settings in rows.items()
        if seed < counts.get(row, 1) or not counts
    )


def _check_folds(row: str, settings: config.Experiment) -> None:
    """As `texts.check_folds`, before any work; names the row."""
    if isinstance(settings.data, config.Texts):
        try:
            texts.check_folds(settings)
        except ValueError as error:
            raise ValueError(f"row {row}: {error}") from error


def seeds_of(experiment: config.Experiment) -> dict[str, int]:
    """Row -> how many seeds it has, counted from 0, as far as `row_seeds` names it.

    Raises:
      ValueError: naming an entry of another form, or of no row.
    """
    counts: dict[str, int] = {}
    rows = configure.rows(experiment)
    for entry in experiment.row_seeds:
        row, _, count = (part.strip() for part in entry.rpartition("="))
        if row not in rows or row in counts or not re.fullmatch(r"[1-9]\d*", count):
            raise ValueError(
                f"row_seeds: {entry!r}: write each row once, as 'row=count'; rows are"
                f" {', '.join(rows)}"
            )
        counts[row] = int(count)
    return counts


def shard(planned: Sequence[Planned], part: str) -> tuple[Planned, ...]:
    """A part of the runs, for one of several machines.

    Run k of the plan, from 0, is in part k % N + 1, so seeds that are added move none.

    Args:
      planned: of `plan`.
      part: "I/N": the Ith of N parts, from 1.

    Raises:
      ValueError: if it is no such part.
    """
    match = re.fullmatch(r"(\d+)/(\d+)", part)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise ValueError(f"--shard {part}: write it as I/N with I from 1 to N, as 1/2")
    return tuple(planned[int(match[1]) - 1 :: int(match[2])])
