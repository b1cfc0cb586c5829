"""What is saved comes back; what does not belong is refused in one sentence."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmdiffmask import config
from mmdiffmask.training import checkpoint, optim, steps
from mmdiffmask.training import mesh as meshes

SETTINGS = {"training.lr": 0.1, "training.streams": ("text", "audio")}
PARAMS = {"layer": {"kernel": np.arange(6.0, dtype=np.float32).reshape(3, 2)}}


def _state(mesh, add=0.0, step=0):
    params = jax.tree.map(lambda x: x + np.float32(add), PARAMS)
    state = steps.first_state(optim.make(config.Training()), params, mesh)
    return state._replace(step=jnp.int32(step))


@pytest.fixture
def run_dir(tmp_path):
    """A run whose best step is 2 and whose last is 5, saved from 8 devices."""
    folder, mesh = tmp_path / "run", meshes.make(8)
    checkpoint.claim(folder, SETTINGS, 3)
    values = {"noise_mean": jnp.ones(2), "noise_sd": 2 * jnp.ones(2)}
    checkpoint.save_start(folder, PARAMS, values)
    with checkpoint.open_steps(folder) as manager:
        for step, best, loss in ((0, 0, 9.0), (2, 2, 4.0), (4, 2, 4.0), (5, 2, 4.0)):
            progress = checkpoint.Progress(step, best, loss)
            checkpoint.save(manager, _state(mesh, step, step), progress)
    return folder


@pytest.mark.parametrize("which, add", [("start", 0), ("best", 2), ("last", 5)])
def test_weights_come_back_on_one_device(run_dir, which, add):
    found = checkpoint.load_params(run_dir, which)["layer"]["kernel"]
    np.testing.assert_array_equal(found, PARAMS["layer"]["kernel"] + add)
    assert len(found.devices()) == 1 and found.dtype == np.float32


@pytest.mark.parametrize("devices", [1, 8])
def test_state_comes_back_on_any_mesh(run_dir, devices):
    mesh = meshes.make(8, jax.devices()[:devices])
    like = _state(mesh)
    with checkpoint.open_steps(run_dir) as manager:
        assert checkpoint.read_progress(manager) == checkpoint.Progress(5, 2, 4.0)
        found = checkpoint.restore(manager, like, mesh)
    wanted = _state(mesh, 5, 5)
    assert jax.tree.structure(found) == jax.tree.structure(wanted)
    for a, b in zip(*map(jax.tree.leaves, (found, wanted)), strict=True):
        np.testing.assert_array_equal(a, b)
        assert len(a.devices()) == devices


def test_latest_and_best_are_kept(run_dir):
    assert sorted(p.name for p in (run_dir / "steps").iterdir()) == ["2", "5"]


def test_what_a_run_holds_fixed_comes_back(run_dir):
    mesh = meshes.make(8)
    start, values = checkpoint.restore_start(run_dir, PARAMS, mesh)
    assert values["noise_sd"].tolist() == [2.0, 2.0]
    np.testing.assert_array_equal(start["layer"]["kernel"], PARAMS["layer"]["kernel"])
    assert checkpoint.restore_start(run_dir.parent, PARAMS, mesh) is None


def test_another_size_or_type_is_one_sentence(run_dir):
    mesh = meshes.make(8)
    for change, named in (
        (lambda x: x[:, :1], r"kernel is float32\[3, 2\], the model's float32\[3, 1\]"),
        (lambda x: x.astype(jnp.bfloat16), r"the model's bfloat16\[3, 2\]"),
    ):
        other = jax.tree.map(change, _state(mesh).params)
        with pytest.raises(ValueError, match=named):
            checkpoint.restore_start(run_dir, other, mesh)
        with checkpoint.open_steps(run_dir) as manager:
            with pytest.raises(ValueError, match=named):
                checkpoint.restore(manager, _state(mesh)._replace(params=other), mesh)
    more = {"layer": PARAMS["layer"], "head": np.zeros(2, np.float32)}
    with pytest.raises(ValueError, match="head is absent, the model's float32"):
        checkpoint.restore_start(run_dir, more, mesh)


def test_a_folder_belongs_to_one_run(run_dir):
    before = (run_dir / "config.json").read_bytes()
    checkpoint.claim(run_dir, SETTINGS, 3)
    assert (run_dir / "config.json").read_bytes() == before
    assert "jax" in json.loads((run_dir / "versions.json").read_text())
    with pytest.raises(ValueError, match=r"a run with --seed=3, not 4; go on with"):
        checkpoint.claim(run_dir, SETTINGS, 4)
    with pytest.raises(ValueError, match=r"training.lr=0.1, not 0.2"):
        checkpoint.claim(run_dir, SETTINGS | {"training.lr": 0.2}, 3)
    with pytest.raises(ValueError, match=r"training.new=None, not 1"):
        checkpoint.claim(run_dir, SETTINGS | {"training.new": 1}, 3)


def test_foreign_or_damaged_folders_are_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match="holds no run but is not empty"):
        checkpoint.claim(tmp_path, SETTINGS, 0)
    with pytest.raises(ValueError, match="is a file; --workdir must be a folder"):
        checkpoint.claim(tmp_path / "thesis.txt", SETTINGS, 0)
    with pytest.raises(ValueError, match="no run here; start one with"):
        checkpoint.load_params(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.json.tmp").write_text('{"se')  # killed while claiming
    checkpoint.claim(folder, SETTINGS, 0)
    with pytest.raises(ValueError, match="no checkpoint yet"):
        checkpoint.load_params(folder)
    (folder / "config.json").write_text('{"seed": 0, "sett')
    with pytest.raises(ValueError, match="config.json: damaged"):
        checkpoint.claim(folder, SETTINGS, 0)
