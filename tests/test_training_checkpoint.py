"""What is saved comes back; what does not belong is refused in one sentence."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmdiffmask import config, run_files
from mmdiffmask.inputs import Claim
from mmdiffmask.models.reserve import orbax_folder
from mmdiffmask.run_folder import RunFolder
from mmdiffmask.training import checkpoint, optim, saved, steps
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
    RunFolder(folder).claim(Claim(SETTINGS, 3))
    values = {"noise_mean": jnp.ones(2), "noise_sd": 2 * jnp.ones(2)}
    checkpoint.save_start(RunFolder(folder), PARAMS, values)
    with checkpoint.open_steps(RunFolder(folder)) as manager:
        for step, best, loss in ((0, 0, 9.0), (2, 2, 4.0), (4, 2, 4.0), (5, 2, 4.0)):
            progress = checkpoint.Progress(step, best, loss)
            checkpoint.save(manager, _state(mesh, step, step), progress)
    return folder


@pytest.mark.parametrize("which, add", [("start", 0), ("best", 2), ("last", 5)])
def test_weights_come_back_on_one_device(run_dir, which, add):
    found = checkpoint.load_params(RunFolder(run_dir), which)["layer"]["kernel"]
    np.testing.assert_array_equal(found, PARAMS["layer"]["kernel"] + add)
    assert len(found.devices()) == 1 and found.dtype == np.float32


@pytest.mark.parametrize("devices", [1, 8])
def test_state_comes_back_on_any_mesh(run_dir, devices):
    mesh = meshes.make(8, jax.devices()[:devices])
    like = _state(mesh)
    with checkpoint.open_steps(RunFolder(run_dir)) as manager:
        assert checkpoint.read_progress(manager) == checkpoint.Progress(5, 2, 4.0)
        found = checkpoint.restore(manager, like, mesh)
    wanted = _state(mesh, 5, 5)
    assert jax.tree.structure(found) == jax.tree.structure(wanted)
    for a, b in zip(*map(jax.tree.leaves, (found, wanted)), strict=True):
        np.testing.assert_array_equal(a, b)
        assert len(a.devices()) == devices


def test_latest_and_best_are_kept(run_dir):
    assert sorted(p.name for p in (run_dir / "steps").iterdir()) == ["2", "5"]


def test_the_best_step_keeps_weights_alone(run_dir):
    """And the notes say so: what is not there is not missed."""
    assert not (run_dir / "steps/2/optimizer").exists()
    assert (run_dir / "steps/5/optimizer").is_dir()
    parts = json.loads((run_dir / run_files.SAVED).read_text())["parts"]
    assert sorted(parts) == ["start", "steps/2", "steps/5"]
    assert not [name for name in parts["steps/2"] if name.startswith("optimizer")]
    assert [name for name in parts["steps/5"] if name.startswith("optimizer")]
    saved.check_all(RunFolder(run_dir))


def test_a_finished_run_drops_its_moments(run_dir):
    mesh = meshes.make(8)
    with checkpoint.open_steps(RunFolder(run_dir)) as manager:
        progress = checkpoint.Progress(6, 2, 4.0, finished="steps")
        checkpoint.save(manager, _state(mesh, 6, 6), progress)
        assert checkpoint.read_progress(manager) == progress
    assert not list(run_dir.glob("steps/*/optimizer"))
    for which, add in (("start", 0), ("best", 2), ("last", 6)):
        found = checkpoint.load_params(RunFolder(run_dir), which)["layer"]["kernel"]
        np.testing.assert_array_equal(found, PARAMS["layer"]["kernel"] + add)
    saved.check_all(RunFolder(run_dir))


def _as_before(run_dir):
    """Makes of a run's folder what versions before left: the best step is whole."""
    steps_dir = run_dir / "steps"
    shutil.copytree(steps_dir / "5" / "optimizer", steps_dir / "2" / "optimizer")
    for step, loss in ((2, 4.0), (5, None)):
        if loss is not None:
            (steps_dir / f"{step}" / "metrics").mkdir()
            (steps_dir / f"{step}/metrics/metrics").write_text('{"dev_loss": 4.0}')
    content = json.loads((run_dir / run_files.SAVED).read_text())
    del content["progress"]["is_scored"]
    content["parts"]["steps/2"] = saved._files(steps_dir / "2")
    (run_dir / run_files.SAVED).write_text(json.dumps(content))


def test_a_run_of_an_earlier_version_is_read_and_goes_on(run_dir):
    _as_before(run_dir)
    saved.check_all(RunFolder(run_dir))
    for which, add in (("best", 2), ("last", 5)):
        found = checkpoint.load_params(RunFolder(run_dir), which)["layer"]["kernel"]
        np.testing.assert_array_equal(found, PARAMS["layer"]["kernel"] + add)
    assert (run_dir / "steps/2/optimizer").is_dir()
    mesh = meshes.make(8)
    with checkpoint.open_steps(RunFolder(run_dir)) as manager:
        assert checkpoint.read_progress(manager) == checkpoint.Progress(5, 2, 4.0)
        checkpoint.restore(manager, _state(mesh), mesh)
        checkpoint.save(manager, _state(mesh, 6, 6), checkpoint.Progress(6, 2, 4.0))
    assert not (run_dir / "steps/2/optimizer").exists()
    saved.check_all(RunFolder(run_dir))


def test_a_step_that_is_scored_later_is_not_written_again(run_dir):
    """Its progress is noted; it may be the best now, or the last."""
    mesh, place = meshes.make(8), run_dir / "steps" / "7" / "params"
    with checkpoint.open_steps(RunFolder(run_dir)) as manager:
        unscored = checkpoint.Progress(7, 2, 4.0, is_scored=False)
        checkpoint.save(manager, _state(mesh, 7, 7), unscored)
    before = {path: path.stat().st_mtime_ns for path in place.rglob("*")}
    with checkpoint.open_steps(RunFolder(run_dir)) as manager:
        assert checkpoint.read_progress(manager) == unscored
        scored = checkpoint.Progress(7, 7, 3.0, finished="steps")
        checkpoint.save(manager, _state(mesh, 0, 7), scored)
    with checkpoint.open_steps(RunFolder(run_dir)) as manager:
        assert checkpoint.read_progress(manager) == scored
    assert before == {path: path.stat().st_mtime_ns for path in place.rglob("*")}
    assert [path.name for path in (run_dir / "steps").iterdir()] == ["7"]
    assert not (run_dir / "steps/7/optimizer").exists()
    saved.check_all(RunFolder(run_dir))


def test_a_state_is_restored_into_shapes(run_dir):
    """Nothing is put on a device beside what comes back."""
    mesh, tx = meshes.make(8), optim.make(config.Training())
    shapes = steps.state_shapes(tx, jax.eval_shape(lambda: PARAMS))
    assert all(isinstance(x, jax.ShapeDtypeStruct) for x in jax.tree.leaves(shapes))
    wanted = _state(mesh, 5, 5)
    with checkpoint.open_steps(RunFolder(run_dir)) as manager:
        found = checkpoint.restore(manager, shapes, mesh)
    assert jax.tree.structure(found) == jax.tree.structure(wanted)
    for a, b in zip(*map(jax.tree.leaves, (found, wanted)), strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.dtype == b.dtype
        assert a.sharding.is_fully_replicated and len(a.devices()) == 8


def test_what_a_run_holds_fixed_comes_back(run_dir):
    mesh = meshes.make(8)
    start, values = checkpoint.restore_start(RunFolder(run_dir), PARAMS, mesh)
    assert values["noise_sd"].tolist() == [2.0, 2.0]
    np.testing.assert_array_equal(start["layer"]["kernel"], PARAMS["layer"]["kernel"])
    assert checkpoint.restore_start(RunFolder(run_dir.parent), PARAMS, mesh) is None


@pytest.mark.parametrize("before, after", [(8, 1), (1, 8), (8, 4)])
def test_what_is_cut_comes_back_on_another_number_of_devices(tmp_path, before, after):
    """Moments and start lie in parts on the devices, and whole in the folder."""
    kernel = np.arange(2.0**17, dtype=np.float32).reshape(2, 256, 256)
    params, tx = {"kernel": kernel}, optim.make(config.Training())
    mesh, other = (meshes.make(8, jax.devices()[:n]) for n in (before, after))
    run, one = RunFolder(tmp_path), meshes.make(8, jax.devices()[:1])
    state = steps.first_state(tx, params, mesh)
    moments = jax.tree.map(lambda x: x + 3 if x.ndim else x, state.opt_state)
    state = state._replace(opt_state=moments, step=jnp.int32(4))
    checkpoint.save_start(run, params, {"noise_mean": np.ones(2, np.float32)})
    with checkpoint.open_steps(run) as manager:
        checkpoint.save(manager, state, checkpoint.Progress(4))
        shapes = steps.state_shapes(tx, params)
        again, whole = (checkpoint.restore(manager, shapes, m) for m in (other, one))
    start, _ = checkpoint.restore_start(run, params, other)
    for array in (again.opt_state[0].mu["kernel"], start["kernel"]):
        assert array.sharding.shard_shape(array.shape) == (2, 256 // after, 256)
        assert len(array.devices()) == after
    assert again.params["kernel"].sharding.is_fully_replicated
    np.testing.assert_array_equal(start["kernel"], kernel)
    for a, b, c in zip(*map(jax.tree.leaves, (again, whole, state)), strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, c)


def test_another_size_or_type_is_one_sentence(run_dir):
    mesh = meshes.make(8)
    for change, named in (
        (lambda x: x[:, :1], r"kernel is float32\[3, 2\], the model's float32\[3, 1\]"),
        (lambda x: x.astype(jnp.bfloat16), r"the model's bfloat16\[3, 2\]"),
    ):
        other = jax.tree.map(change, _state(mesh).params)
        with pytest.raises(ValueError, match=named):
            checkpoint.restore_start(RunFolder(run_dir), other, mesh)
        with checkpoint.open_steps(RunFolder(run_dir)) as manager:
            with pytest.raises(ValueError, match=named):
                checkpoint.restore(manager, _state(mesh)._replace(params=other), mesh)
    more = {"layer": PARAMS["layer"], "head": np.zeros(2, np.float32)}
    with pytest.raises(ValueError, match="head is absent, the model's float32"):
        checkpoint.restore_start(RunFolder(run_dir), more, mesh)


def _names(run_dir, error):
    """A sentence that names the folder and says what to do."""
    text = str(error.value)
    assert text.startswith(f"{run_dir}: ") and "train again in another" in text, text
    assert "\n" not in text
    return text


@pytest.mark.parametrize("lost, which", [("5", "last"), ("5", "best"), ("2", "best")])
def test_cases_of_a_lost_step_are_not_replaced_by_another(run_dir, lost, which):
    shutil.rmtree(run_dir / "steps" / lost)
    with pytest.raises(ValueError) as error:
        checkpoint.load_params(RunFolder(run_dir), which)
    assert f"steps/{lost} is lost" in _names(run_dir, error)
    with pytest.raises(ValueError, match=f"steps/{lost} is lost"):
        with checkpoint.open_steps(RunFolder(run_dir)) as manager:
            checkpoint.read_progress(manager)
    with pytest.raises(ValueError, match=f"steps/{lost} is lost"):
        saved.check_all(RunFolder(run_dir))


def test_cases_of_all_steps_or_the_start_lost(run_dir):
    shutil.rmtree(run_dir / "steps")
    with pytest.raises(ValueError, match="steps/5 is lost"):
        checkpoint.load_params(RunFolder(run_dir), "last")
    assert checkpoint.load_params(RunFolder(run_dir), "start")
    shutil.rmtree(run_dir / "start")
    with pytest.raises(ValueError, match="start is lost"):
        checkpoint.load_params(RunFolder(run_dir), "start")
    with pytest.raises(ValueError, match="start is lost"):
        checkpoint.restore_start(RunFolder(run_dir), PARAMS, meshes.make(8))


@pytest.mark.parametrize("part", ["params", "params/ocdbt.process_0", "progress"])
def test_cases_of_a_lost_file_are_named(run_dir, part):
    shutil.rmtree(run_dir / "steps" / "5" / part)
    with pytest.raises(ValueError) as error:
        checkpoint.load_params(RunFolder(run_dir), "last")
    assert f"steps/5/{part}/" in _names(run_dir, error)
    assert "is lost" in str(error.value)


def test_cases_of_every_damaged_file_are_named(run_dir):
    place = run_dir / "steps" / "5"
    mesh = meshes.make(8)
    for path in sorted(p for p in place.rglob("*") if p.is_file()):
        data = path.read_bytes()
        damaged = bytearray(data)
        damaged[len(data) // 2] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(ValueError) as error:
            checkpoint.load_params(RunFolder(run_dir), "last")
        told = f"{path.relative_to(run_dir)} is damaged"
        assert told in _names(run_dir, error)
        with pytest.raises(ValueError, match=told):
            with checkpoint.open_steps(RunFolder(run_dir)) as manager:
                checkpoint.read_progress(manager)
                checkpoint.restore(manager, _state(mesh), mesh)
        path.write_bytes(data)
    assert checkpoint.load_params(RunFolder(run_dir), "last")


def test_a_save_that_was_not_noted_is_noted_later(run_dir):
    told = json.loads((run_dir / run_files.SAVED).read_text())
    before = {k: v for k, v in told["parts"].items() if k != "steps/5"}
    progress = told["progress"] | {"step": 4}
    (run_dir / run_files.SAVED).write_text(
        json.dumps({"progress": progress, "parts": before})
    )
    with checkpoint.open_steps(RunFolder(run_dir)) as manager:
        assert checkpoint.read_progress(manager).step == 5
    assert json.loads((run_dir / run_files.SAVED).read_text()) == told


def test_cases_of_weights_that_are_not_finite_are_not_loaded(tmp_path):
    mesh = meshes.make(8)
    RunFolder(tmp_path / "run").claim(Claim(SETTINGS, 0))
    with checkpoint.open_steps(RunFolder(tmp_path / "run")) as manager:
        state = _state(mesh, np.nan)
        checkpoint.save(manager, state, checkpoint.Progress(0, 0, 1.0))
    with pytest.raises(ValueError, match="steps/0/params are not finite"):
        checkpoint.load_params(RunFolder(tmp_path / "run"), "last")


@pytest.mark.parametrize("name", ["[a] b/\u00fc", "a*b?", "x%20 y#", "link", "tail/"])
def test_cases_of_folder_names(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    if name == "link":
        (tmp_path / "real").mkdir()
        (tmp_path / "link").symlink_to("real")
    mesh, folder = meshes.make(8), name  # relative, as typed
    RunFolder(folder).claim(Claim(SETTINGS, 3))
    values = {"noise_mean": jnp.ones(2), "noise_sd": 2 * jnp.ones(2)}
    checkpoint.save_start(RunFolder(folder), PARAMS, values)
    with checkpoint.open_steps(RunFolder(folder)) as manager:
        for step in (0, 2):
            progress = checkpoint.Progress(step, 0, 9.0)
            checkpoint.save(manager, _state(mesh, step, step), progress)
    for which, add in (("start", 0), ("best", 0), ("last", 2)):
        found = checkpoint.load_params(RunFolder(folder), which)["layer"]["kernel"]
        np.testing.assert_array_equal(found, PARAMS["layer"]["kernel"] + add)
    with checkpoint.open_steps(RunFolder(folder)) as manager:
        assert checkpoint.read_progress(manager).step == 2
        checkpoint.restore(manager, _state(mesh), mesh)
    stored = orbax_folder.read(f"{folder}/steps/2")
    assert stored.step == 2
    orbax_folder.write(f"{folder}/[w]", stored.params, 7)
    assert orbax_folder.read(f"{folder}/[w]").step == 7
