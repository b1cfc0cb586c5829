"""Runs and probes that are stopped at random moments end with the same bits.

`make test-long` stops twenty; what passed is kept, so that a second call goes on with
the others until the code changes.
"""

import hashlib
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from helpers import quick, stopped_command

from mmdiffmask import run_files, weights
from mmdiffmask.run_folder import RunFolder
from mmdiffmask.training import checkpoint, saved

ROOT = pathlib.Path(__file__).resolve().parents[1]
TINY = str(ROOT / "tpu_configs" / "tiny.py")
PROGRAM = stopped_command.__file__
FULL, NONE = stopped_command.FULL, stopped_command.NONE
# Of each stop: command, how, stage, how many times the stage is entered at least, and
# the latest moment: in seconds, of a full disk in bytes.
STOPS = [
    ("pretrain", "KILL", "save", 7, 0.3),
    ("pretrain", FULL, "save", 7, 40_000),
    ("probe", FULL, "part", 4, 2_000),
    ("pretrain", "KILL", "evaluation", 4, 0.5),
    ("probe", "KILL", "extraction", 4, 0.5),
    ("pretrain", "TERM", "evaluation", 4, 0.5),
    ("pretrain", "TERM", "save", 7, 0.3),
    ("probe", "TERM", "extraction", 4, 0.5),
    ("pretrain", "KILL", "start", 1, 0.1),
    ("probe", "KILL", "part", 4, 0.02),
    ("pretrain", FULL, "start", 1, 40_000),
    ("pretrain", "KILL", "note", 8, 0.05),
    ("pretrain", FULL, "note", 8, 3_000),
    ("pretrain", "KILL", "save", 7, 0.1),
    ("pretrain", FULL, "save", 7, 400_000),
    ("pretrain", "TERM", "note", 8, 0.3),
    ("pretrain", "KILL", "evaluation", 4, 1.0),
    ("probe", FULL, "extraction", 4, 2_000),
    ("pretrain", FULL, "evaluation", 4, 3_000),
    ("probe", "KILL", "extraction", 4, 1.0),
]
SOON = 3  # of them are in the slow tests


def run(records, folder, command, how=NONE, stage="save", call=0, moment=0.0):
    """Runs a command on one device, to its end or the stop; its status and stderr."""
    words = [sys.executable, PROGRAM, how, stage, str(call), str(moment)]
    words += [command, TINY, "--workdir", str(folder), "--data", records]
    words += ["--set", "probe.read_outs=clip,answer", "--set", "probe.floors=false"]
    if command == "pretrain":
        words += ["--set", "training.steps=12", "--set", "training.save_every=2"]
    environment = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
    environment |= {"PYTHONPATH": str(ROOT), "TQDM_DISABLE": "1"} | quick.ENVIRONMENT
    environment |= {"MMDIFFMASK_CACHE": str(folder.parent / "cache")}
    done = subprocess.run(words, env=environment, capture_output=True, text=True)
    return done.returncode, done.stderr


@pytest.fixture(scope="module")
def calm(tmp_path_factory, tiny_records):
    """An undisturbed run, and a copy of it from before its probe."""
    folder = tmp_path_factory.mktemp("calm")
    for command in ("pretrain", "probe"):
        status, told = run(tiny_records, folder / "run", command)
        assert status == 0, told
        if command == "pretrain":
            shutil.copytree(folder / "run", folder / "trained")
    return folder


def code():
    """A name of the code that the stops test."""
    paths = [*(ROOT / "mmdiffmask").rglob("*.py"), pathlib.Path(__file__)]
    content = b"".join(path.read_bytes() for path in sorted([*paths, TINY_PATH]))
    return hashlib.sha256(content + pathlib.Path(PROGRAM).read_bytes()).hexdigest()


TINY_PATH = pathlib.Path(TINY)


def check_stopped(how, status, told):
    """A signal ends it at once or with its state saved; a full disk in a sentence."""
    assert "Traceback" not in told, told
    if how == FULL:
        last = told.strip().splitlines()[-1]
        assert status == 2, told
        assert last.startswith("mmdiffmask p") and "too large" in last, told
    elif how == "TERM":
        assert status in (75, -signal.SIGTERM), told
    else:
        assert status == -signal.SIGKILL, told


def check_whole(folder):
    """Whatever stands under its own name is whole."""
    for part in saved.parts(RunFolder(folder)) if folder.exists() else ():
        saved.check(RunFolder(folder), part)
    for path in folder.glob(f"{run_files.FEATURES}/**/*.npz"):
        with np.load(path) as stored:
            assert all(len(stored[name]) for name in stored.files)


def features(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted((folder / run_files.FEATURES).rglob("*"))
        if path.is_file()
    }


def check_same(calm, stopped, command):
    """Weights, metrics, features and scores are those of the undisturbed run."""
    for which in ("start", "best", "last"):
        one, other = (
            weights.fingerprint(checkpoint.load_params(RunFolder(path), which))
            for path in (calm, stopped)
        )
        assert one == other
    names = [run_files.METRICS]
    if command == "probe":
        names.append(run_files.PROBE)
        wanted = features(calm)
        assert len(wanted) > 8 and features(stopped) == wanted
    for name in names:
        assert (stopped / name).read_bytes() == (calm / name).read_bytes()
    saved.check_all(RunFolder(stopped))


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(i, marks=pytest.mark.slow if i < SOON else pytest.mark.long)
        for i in range(len(STOPS))
    ],
)
def test_a_stopped_command_ends_with_the_same_bits(
    request, tmp_path, tiny_records, number
):
    kept = f"kills/{code()[:16]}/{number}"
    if number >= SOON and request.config.cache.get(kept, False):
        pytest.skip("passed before, with this very code")
    calm = request.getfixturevalue("calm")
    command, how, stage, calls, latest = STOPS[number]
    rng, folder = random.Random(number), tmp_path / "run"
    call, moment = rng.randrange(calls), rng.uniform(0, latest)
    if command == "probe":
        shutil.copytree(calm / "trained", folder)
    stopped = run(tiny_records, folder, command, how, stage, call, moment)
    check_stopped(how, *stopped)
    check_whole(folder)
    status, told = run(tiny_records, folder, command)
    assert status == 0 and "Traceback" not in told, told
    check_same(calm / "run", folder, command)
    request.config.cache.set(kept, True)
