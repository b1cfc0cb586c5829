"""Eight simulated devices against one: losses, resuming, traces, hidden copies."""

import contextlib
import dataclasses
import os
import signal

import jax
import numpy as np
import pytest
from helpers import training_run as tiny

from mmdiffmask.data import loader
from mmdiffmask.run_folder import RunFolder
from mmdiffmask.training import journal, loop
from mmdiffmask.training import mesh as meshes

pytestmark = pytest.mark.usefixtures("quick_compilation")

STEPS = 50
# On a CPU nothing is copied from the device to the host, so that way is not guarded.
WAYS = ("host_to_device", "device_to_device")
RUN = {"steps": STEPS, "eval_every": 25, "save_every": 25}


def on_devices(job, before=lambda step: None):
    """The job with batches that lie on its devices, as the loader leaves them.

    `before` is called with each update's number, from 1, before it is made.
    """
    cut = meshes.by_example(job.mesh)

    @contextlib.contextmanager
    def train_batches(first):
        with job.train_batches(first) as batches:
            yield put(batches, first)

    def put(batches, first):
        for step, (batch, epoch) in enumerate(batches, first + 1):
            batch = loader.to_devices(batch, cut)
            before(step)
            yield batch, epoch

    @contextlib.contextmanager
    def dev_batches():
        with job.dev_batches() as batches:
            yield [loader.to_devices(batch, cut) for batch in batches]

    return dataclasses.replace(
        job, train_batches=train_batches, dev_batches=dev_batches
    )


def counted(job, counts):
    """The job; how often its loss and its scores are traced is counted."""

    def count(name):
        function = getattr(job.family, name)

        def traced(*arguments):
            counts[name] = counts.get(name, 0) + 1
            return function(*arguments)

        return traced

    changes = {name: count(name) for name in ("terms", "scores")}
    return dataclasses.replace(job, family=dataclasses.replace(job.family, **changes))


def updates(folder):
    lines = journal.read_metrics(RunFolder(folder))
    return [line for line in lines if line["kind"] == journal.TRAIN]


def check_close(folder, wanted):
    """The same masks at every update, and the same losses but for rounding."""
    pairs = list(zip(updates(folder), wanted, strict=True))
    assert [line["step"] for line, _ in pairs] == list(range(1, STEPS + 1))
    for line, other in pairs:
        assert (line["rows"], line["epoch"]) == (other["rows"], other["epoch"])
    losses = np.array([(line["loss"], other["loss"]) for line, other in pairs])
    np.testing.assert_allclose(losses[:3, 0], losses[:3, 1], rtol=1e-4)
    np.testing.assert_allclose(losses[:, 0], losses[:, 1], rtol=2e-2)
    assert losses[-5:].mean() < 0.9 * losses[:5].mean()  # it learns meanwhile


@pytest.mark.long
def test_fifty_steps_on_eight_devices_are_those_on_one(tmp_path):
    """Also where a run begins on eight and goes on with one, or the other way."""
    counts = {}
    for devices in (1, 8):
        job = counted(on_devices(tiny.make_job(devices, **RUN)), counts)
        loop.train(job, RunFolder(tmp_path / str(devices)))
        assert counts.pop("terms") == 1 and counts.pop("scores") == 1
    wanted = updates(tmp_path / "1")
    check_close(tmp_path / "8", wanted)

    def stop(step):
        if step == 31:
            os.kill(os.getpid(), signal.SIGTERM)

    for begun, ended in ((8, 1), (1, 8)):
        folder = RunFolder(tmp_path / f"{begun} to {ended}")
        with pytest.raises(KeyboardInterrupt, match="Step 31 is saved"):
            loop.train(on_devices(tiny.make_job(begun, **RUN), stop), folder)
        progress = loop.train(on_devices(tiny.make_job(ended, **RUN)), folder)
        assert progress.step == STEPS
        check_close(folder.path, wanted)


@pytest.mark.parametrize(
    "devices",
    [
        pytest.param(8, marks=pytest.mark.slow),
        pytest.param(1, marks=pytest.mark.long),
    ],
)
def test_no_hidden_copy_is_made_between_updates(tmp_path, devices):
    """Batches come by copies that the loader asks for; nothing else moves."""
    guards = [f"jax_transfer_guard_{way}" for way in WAYS]

    def guard(step):
        for name in guards:  # of all threads; the first update still compiles
            jax.config.update(name, "allow" if step in (1, 6) else "disallow")

    def draw(key, batch, epoch):  # needs all of them
        return tiny.draw_own(key, batch, epoch) & (epoch < 9)

    job = on_devices(tiny.make_job(devices, eval_every=6, save_every=6), guard)
    job = dataclasses.replace(job, draw_masks=draw)
    try:
        loop.train(job, RunFolder(tmp_path / "run"))
    finally:
        for name in guards:
            jax.config.update(name, "allow")
    assert len(updates(tmp_path / "run")) == 6
