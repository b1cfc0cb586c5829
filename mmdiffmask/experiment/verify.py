"""Some runs computed anew, against the results that they left."""

import contextlib
import dataclasses
import hashlib
import os
import pathlib
import shutil
from collections.abc import Mapping, Sequence

from mmdiffmask import devices
from mmdiffmask.experiment import result_file, runs, scores
from mmdiffmask.experiment.kept import Kept
from mmdiffmask.experiment.plan import Planned
from mmdiffmask.experiment.result_file import Result
from mmdiffmask.run_folder import RunFolder

FOLDER = ".verify"  # in WORKDIR; no row has such a name
LOSS, ACCURACY = 1e-3, 0.01  # differences that are still the same


def choose(planned: Sequence[Planned], count: int) -> tuple[Planned, ...]:
    """So many runs, by the hash of row and seed: nobody picks them.

    Raises:
      ValueError: if there are not so many.
    """
    if not 1 <= count <= len(planned):
        raise ValueError(
            f"--verify {count}: there are {len(planned)} results; name from 1 to"
            " as many"
        )
    names = {one: f"{one.row}, {one.seed}".encode() for one in planned}
    by_hash = sorted(planned, key=lambda one: hashlib.sha256(names[one]).digest())
    return tuple(by_hash[:count])


def compute(
    chosen: Sequence[Planned],
    workdir: pathlib.Path,
    records_dir: str,
    *,
    workers: int,
    compiled: str | os.PathLike | None = None,
    device: devices.Kind | None = None,
) -> dict[Planned, Result]:
    """Results of the runs, made anew in a folder of `workdir` that is removed again.

    Arguments and errors as of `runs.run`.
    """
    folder = workdir / FOLDER
    shutil.rmtree(folder, ignore_errors=True)  # of a call that was killed
    kept = Kept(folder / "results")
    again = {
        one: dataclasses.replace(
            one, folder=RunFolder(folder / f"{i}" / one.folder.path.name)
        )
        for i, one in enumerate(chosen)
    }
    try:
        runs.run(
            tuple(again.values()),
            records_dir,
            workers=workers,
            compiled=compiled,
            device=device,
            kept=kept,
        )
        return {one: result_file.read(kept.path(new)) for one, new in again.items()}
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):  # one that is not empty stays
            workdir.rmdir()


def differences(before: Result, now: Result) -> list[str]:
    """In what two results of one run differ by more than `LOSS` and `ACCURACY`."""
    said = []
    if len(before.losses) != len(now.losses):
        said.append(f"losses of {len(before.losses)} updates, now {len(now.losses)}")
    pairs = zip(before.losses, now.losses, strict=False)
    for step, (old, new) in enumerate(pairs, 1):
        if not abs(old - new) <= LOSS:
            said.append(f"loss of update {step}: {old:.5f}, now {new:.5f}")
            break  # those after it follow from it
    there, here = _accuracies(before), _accuracies(now)
    if gone := there.keys() - here.keys():  # a version before kept fewer
        said.append(f"no such score now: {', '.join(sorted(gone))}")
    for name in there.keys() & here.keys():
        # What rounding adds to a difference of just a point counts as none.
        if not abs(there[name] - here[name]) <= ACCURACY + 1e-9:
            old, new = 100 * there[name], 100 * here[name]
            said.append(f"accuracy of {name}: {old:.1f} %, now {new:.1f} %")
    return said


def _accuracies(result: Result) -> dict[str, float]:
    return {
        " ".join(filter(None, (x.measure, x.read_out, x.rule))): x.accuracy.value
        for x in scores.of_result(result)
    }


def lines(
    results: Mapping[Planned, Result], again: Mapping[Planned, Result]
) -> list[str]:
    """A line for each run that was computed anew.

    Raises:
      ValueError: naming the runs that came out otherwise.
    """
    said = {one: differences(results[one], new) for one, new in again.items()}
    off = [f"{one}: {'; '.join(text)}" for one, text in said.items() if text]
    if off:
        raise ValueError(
            f"{len(off)} of {len(said)} results came out otherwise when computed anew"
            f" ({'. '.join(off)}); on another machine, or with other packages, make all"
            " of them anew"
        )
    return [
        f"{one}: as before (losses of {len(results[one].losses)} updates within"
        f" {LOSS}, accuracies within {100 * ACCURACY:.0f} point)"
        for one in said
    ]
