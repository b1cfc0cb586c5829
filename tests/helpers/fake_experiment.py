"""An experiment whose runs are known: planned, finished in their folders, kept."""

import dataclasses
import pathlib

import numpy as np

from mmdiffmask import config, configure, run_files
from mmdiffmask.experiment import kept, plan, runs
from mmdiffmask.probe import results

from . import fake_runs

ROOT = pathlib.Path(__file__).resolve().parents[2]
RATES = {"none": 0.3, "replay": 0.4, "random": 0.5, "difference": 0.55}


def experiment(**changes) -> config.Experiment:
    """tpu_configs/tiny.py with four rows; `changes`: its other fields."""
    base = configure.load(ROOT / "tpu_configs" / "tiny.py")
    rows = tuple(f"{row}: {change}" for row, change in fake_runs.CHANGES.items())
    terms = config.Terms(imgs_to_audio=1.0)  # something for replay to train on
    return dataclasses.replace(base, rows=rows, terms=terms, **changes)


def finish(one: plan.Planned, records: str) -> None:
    """Leaves the folder of a run as training and probe leave it."""
    fake_runs.write_run(one.folder.path, one.settings, one.row, records, seed=one.seed)
    probed = results.read(one.folder)
    right = fake_runs.noisy(RATES[one.row], one.seed, 100)
    logs = np.random.default_rng(one.seed).normal(-1, 0.3, 100).round(5).tolist()
    old = probed.labels["action"]
    head = dataclasses.replace(old.heads["joint"], is_right=right, log_probability=logs)
    label = dataclasses.replace(old, heads=old.heads | {"joint": head})
    results.write(one.folder, dataclasses.replace(probed, labels={"action": label}))
    one.folder.write(run_files.CPU_SECONDS, {"training": 60.0, "probe": 30.0})
    one.folder.write(run_files.DONE, runs.PROBED)


def keep(
    base: config.Experiment, workdir: pathlib.Path, records: str, seeds=(0, 1)
) -> tuple[tuple[plan.Planned, ...], kept.Kept]:
    """All runs with their results at `workdir`/results."""
    planned = plan.plan(base, workdir, seeds)
    keeping = kept.Kept(workdir / run_files.RESULTS)
    for one in planned:
        finish(one, records)
        keeping.write(one)
    return planned, keeping
