"""A whole experiment, killed twice, against an undisturbed one."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest
from helpers import quick

from mmdiffmask import run_files

ROOT = pathlib.Path(__file__).resolve().parents[1]
CONFIG = ROOT / "tpu_configs" / "tiny_experiment.py"
RUNS = 12
OF_MACHINE = ("seconds", "versions", "sha256")


def start(records, workdir):
    words = [sys.executable, "-m", "mmdiffmask", "experiment", str(CONFIG)]
    words += ["--data", records, "--workdir", str(workdir)]
    return subprocess.Popen(
        [*words, "--seeds", "2", "--workers", "2"],
        cwd=ROOT,
        env=os.environ | quick.ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(records, workdir):
    run = start(records, workdir)
    out, err = run.communicate()
    assert run.returncode == 0 and out.startswith("Accuracy in %"), err
    return out


def runs_of(pid):
    """Processes of runs: without that which tracks resources."""
    paths = pathlib.Path(f"/proc/{pid}/task").glob("*/children")
    children = [int(word) for path in paths for word in path.read_text().split()]
    return [
        pid
        for pid in children
        if b"spawn_main" in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
    ]


def lines_of(workdir):
    """Lines of metrics that there are of all runs."""
    return sum(
        path.read_text().count("\n") for path in workdir.rglob(run_files.METRICS)
    )


def kept(workdir):
    """Path -> what a result says, but for what another call of the same may change."""
    folder = workdir / run_files.RESULTS
    results = {}
    for path in sorted(folder.rglob("*.json")):
        content = json.loads(path.read_text())
        for name in OF_MACHINE:
            content.pop(name)
        results[str(path.relative_to(folder))] = content
    return results


def files(folder):
    """Path -> (content, time of change)."""
    return {
        path: (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.slow
def test_an_experiment_that_is_killed_twice_equals_an_undisturbed_one(
    tmp_path, tiny_records
):
    calm, killed = tmp_path / "calm", tmp_path / "killed"
    said = finish(tiny_records, calm)
    assert "Holm's correction over" in said and "other clip" in said
    first = start(tiny_records, killed)
    while first.poll() is None and not lines_of(killed / "random"):
        time.sleep(0.05)
    for run in runs_of(first.pid):
        os.kill(run, signal.SIGKILL)
    out, err = first.communicate()
    assert (first.returncode, out) == (2, "") and "Traceback" not in err, err
    last = err.splitlines()[-1]  # and no warning of Python's after it
    assert "was killed, likely since memory ran out" in last, err
    second, before = start(tiny_records, killed), lines_of(killed)
    while second.poll() is None and lines_of(killed) <= before:
        time.sleep(0.05)
    os.killpg(second.pid, signal.SIGKILL)
    second.communicate()
    assert len(kept(killed)) < RUNS
    assert finish(tiny_records, killed).splitlines()[:-1] == said.splitlines()[:-1]
    assert kept(killed) == kept(calm) and len(kept(calm)) == RUNS
    for folder in (calm, killed):  # no weights
        assert not any(p.name in ("start", "steps") for p in folder.rglob("*"))
    names = (run_files.METRICS, run_files.PROBE)
    before = files(killed / run_files.RESULTS)
    finish(tiny_records, killed)
    assert files(killed / run_files.RESULTS) == before
    for path in calm.rglob(run_files.METRICS):
        for name in names:
            one, other = path.with_name(name), killed / path.relative_to(calm)
            assert one.read_bytes() == other.with_name(name).read_bytes()
