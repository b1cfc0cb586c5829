"""A run that is killed twice, in its process, against an undisturbed one."""

import os
import signal
import subprocess
import sys
import time

import jax
import numpy as np

from mmdiffmask import run_files
from mmdiffmask.run_folder import RunFolder
from mmdiffmask.training import checkpoint

from . import quick

SAVES = (1, 3)  # steps that it has saved when it is killed
LIMIT_S = 900


def assert_same_bits(program, arguments, folder, files, env=None):
    """Trains in `folder`/plain and `folder`/killed, and compares them; returns both.

    Args:
      program: a file that takes `arguments`, the run's folder, and settings.
      arguments: [what comes before the run's folder, settings].
      folder: of both runs.
      files: of the run, that have the same bytes; absent while it is not finished.
      env: further variables of its process.
    """
    data, changes = arguments
    plain, killed = folder / "plain", folder / "killed"

    def begin(workdir):
        path = f"{program.parents[2]}:{program.parents[1]}"
        variables = {"PYTHONPATH": path, "TQDM_DISABLE": "1"}
        command = [sys.executable, str(program), str(data), str(workdir), *changes]
        merged = os.environ | variables | quick.ENVIRONMENT | (env or {})
        return subprocess.Popen(command, env=merged)

    assert begin(plain).wait(timeout=LIMIT_S) == 0
    for n_saves in SAVES:
        _kill_after(begin(killed), killed, n_saves)
    assert not (killed / run_files.DATA).exists()
    assert begin(killed).wait(timeout=LIMIT_S) == 0
    for name in files:
        assert (plain / name).read_bytes() == (killed / name).read_bytes()
    for which in ("start", "best", "last"):
        pair = (checkpoint.load_params(RunFolder(x), which) for x in (plain, killed))
        jax.tree.map(np.testing.assert_array_equal, *pair)
    return plain, killed


def _kill_after(process, workdir, n_saves):
    """Kills it once it has saved so many steps, or at its end."""
    seen = set()
    while process.poll() is None and len(seen) < n_saves:
        seen |= {path.name for path in (workdir / "steps").glob("[0-9]*")}
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
