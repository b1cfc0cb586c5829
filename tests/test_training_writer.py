"""States are written while training goes on: copies, errors, kills."""

import os
import pathlib
import random
import signal
import subprocess
import sys
import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmdiffmask import config
from mmdiffmask.inputs import Claim
from mmdiffmask.run_folder import RunFolder
from mmdiffmask.training import checkpoint, optim, saved, steps, trees, writer
from mmdiffmask.training import mesh as meshes

ROOT = pathlib.Path(__file__).resolve().parents[1]
SHAPE = (400, 1000)


def _state(mesh, value):
    params = {"layer": {"kernel": np.full(SHAPE, value, np.float32)}}
    state = steps.first_state(optim.make(config.Training()), params, mesh)
    return state._replace(step=jnp.int32(value))


def _kernel(run_dir, which="last"):
    return checkpoint.load_params(RunFolder(run_dir), which)["layer"]["kernel"]


def _slow(monkeypatch):
    """Saving waits until it may go on."""
    gate, save = threading.Event(), checkpoint.save

    def wait(*arguments):
        assert gate.wait(60)
        save(*arguments)

    monkeypatch.setattr(checkpoint, "save", wait)
    return gate


@pytest.mark.parametrize("devices", [1, 8])
def test_saving_goes_on_beside_and_donated_arrays_are_copied(
    tmp_path, monkeypatch, devices
):
    mesh = meshes.make(8, jax.devices()[:devices])
    gate, folder = _slow(monkeypatch), RunFolder(tmp_path)
    change = jax.jit(lambda s: jax.tree.map(lambda x: x * 0 - 1, s), donate_argnums=0)
    state = _state(mesh, 3)
    with checkpoint.open_steps(folder) as manager, writer.Writer(manager) as out:
        out.save(state, checkpoint.Progress(3))
        for _ in range(3):  # updates take the saved state's memory
            state = change(state)
        jax.block_until_ready(state)
        assert not list((tmp_path / "steps").glob("3"))
        gate.set()
        out.wait()
        assert manager.latest_step() == 3
        found = checkpoint.restore(manager, _state(mesh, 0), mesh)
    np.testing.assert_array_equal(found.params["layer"]["kernel"], np.full(SHAPE, 3.0))


def test_numpy_is_not_asked_for_what_a_device_may_reuse():
    value = jnp.arange(4.0)
    copied = trees.to_host({"a": value})["a"]
    assert not np.shares_memory(copied, np.asarray(value))


def test_a_save_waits_for_the_one_before_and_the_end_for_all(tmp_path):
    mesh, folder = meshes.make(8), RunFolder(tmp_path)
    folder.claim(Claim({}, 0))
    with checkpoint.open_steps(folder) as manager, writer.Writer(manager) as out:
        for step in range(4):
            out.save(_state(mesh, step), checkpoint.Progress(step, 1 if step else 0))
    assert sorted(p.name for p in (tmp_path / "steps").iterdir()) == ["1", "3"]
    assert _kernel(tmp_path)[0, 0] == 3 and _kernel(tmp_path, "best")[0, 0] == 1
    saved.check_all(folder)


def _full(*_):
    raise OSError(28, "No space left on device")


def test_cases_of_a_save_that_fails(tmp_path, monkeypatch, caplog):
    mesh, folder = meshes.make(8), RunFolder(tmp_path)
    told = r"step 2 could not be saved \(.*No space left.*\); the step .* stands"
    with checkpoint.open_steps(folder) as manager:
        with writer.Writer(manager) as out:
            out.save(_state(mesh, 1), checkpoint.Progress(1, 1))
        monkeypatch.setattr(checkpoint, "save", _full)
        with writer.Writer(manager) as out:
            out.save(_state(mesh, 2), checkpoint.Progress(2))
            with pytest.raises(ValueError, match=told):
                out.save(_state(mesh, 3), checkpoint.Progress(3))
        with pytest.raises(ValueError, match=told):
            with writer.Writer(manager) as out:
                out.save(_state(mesh, 2), checkpoint.Progress(2))
        with pytest.raises(ValueError, match=told):  # it is not saved as it would say
            with writer.Writer(manager) as out:
                out.save(_state(mesh, 2), checkpoint.Progress(2))
                raise KeyboardInterrupt("Step 2 is saved.")
        with pytest.raises(ValueError, match="the loss"):
            with writer.Writer(manager) as out:
                out.save(_state(mesh, 2), checkpoint.Progress(2))
                raise ValueError("the loss at step 3 is nan")
        assert "step 2 could not be saved" in caplog.text
        assert checkpoint.read_progress(manager).step == 1


@pytest.mark.slow
def test_a_kill_while_it_writes_leaves_a_whole_step(tmp_path):
    code = """if True:
        import itertools, sys
        sys.path.insert(0, "tests")
        import test_training_writer as tests
        from mmdiffmask.run_folder import RunFolder
        from mmdiffmask.training import checkpoint, mesh, writer
        folder, mesh = RunFolder(sys.argv[1]), mesh.make(1)
        with checkpoint.open_steps(folder) as manager, writer.Writer(manager) as out:
            progress = checkpoint.read_progress(manager)
            print("begins", flush=True)
            for step in itertools.count(0 if progress is None else progress.step + 1):
                best = step // 5 * 5
                out.save(tests._state(mesh, step), checkpoint.Progress(step, best))
    """
    RunFolder(tmp_path / "run").claim(Claim({}, 0))
    environment = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
    rng, last = random.Random(0), -1
    for _ in range(5):
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path / "run")],
            env=environment | {"PYTHONPATH": os.pathsep.join(sys.path)},
            cwd=ROOT,
            stdout=subprocess.PIPE,
        )
        assert process.stdout.readline() == b"begins\n"
        time.sleep(rng.uniform(0.5, 3.0))
        process.send_signal(signal.SIGKILL)
        process.wait()
        with checkpoint.open_steps(RunFolder(tmp_path / "run")) as manager:
            progress = checkpoint.read_progress(manager)
        assert progress is not None and progress.step >= last
        last = progress.step
        for which, step in (("last", last), ("best", last // 5 * 5)):
            assert (np.asarray(_kernel(tmp_path / "run", which)) == step).all()
        saved.check_all(RunFolder(tmp_path / "run"))
    assert last > 0
