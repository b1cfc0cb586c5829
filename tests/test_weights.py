"""`mmdiffmask weights`, and checkpoints of every kind through one call."""

import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.checkpoints import SETTINGS, STEP, assert_same, finetuned, params
from test_main import complaint

from mmdiffmask import __main__ as command_line
from mmdiffmask import config, configure, weights
from mmdiffmask.inputs import Claim
from mmdiffmask.models.reserve import checkpoints, official_writer, sizes
from mmdiffmask.run_folder import RunFolder
from mmdiffmask.training import checkpoint, steps


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    """A run whose weights are those of `params`: seed 0 at first, 2 best, 5 last."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    RunFolder(folder).claim(Claim(configure.settings(config.Experiment("x")), 0))
    noise = {"noise_mean": jnp.ones(2), "noise_sd": jnp.ones(2)}
    checkpoint.save_start(RunFolder(folder), params(), noise)
    with checkpoint.open_steps(RunFolder(folder)) as manager:
        for step in (2, 5):
            arrays = jax.tree.map(jnp.asarray, params(seed=step))
            state = steps.TrainState(arrays, {"count": jnp.int32(0)}, jnp.int32(step))
            checkpoint.save(manager, state, checkpoint.Progress(step, 2, 4.0))
    return folder


@pytest.fixture
def official(tmp_path):
    official_writer.write(tmp_path / "made", params(), STEP)
    return tmp_path / "made"


def halves(tree):
    return jax.tree.map(lambda x: np.asarray(x).astype(np.float16), tree)


def run(capsys, *arguments) -> str:
    assert command_line.main(["weights", *map(str, arguments)]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("which, seed", [("start", 0), ("best", 2), ("last", 5)])
def test_a_run_is_exported_and_loads(capsys, tmp_path, run_dir, which, seed):
    out = tmp_path / "out"
    run(capsys, "export", run_dir, out, "--which", which)
    stored = weights.read(out)
    assert stored.step == seed
    assert_same(stored.params, halves(params(seed=seed)))
    assert_same(weights.load(run_dir, SETTINGS, which=which), params(seed=seed))
    assert "exists already" in complaint(capsys, "weights", "export", run_dir, out)


def test_cases_of_the_same_weights_in_any_form_are_one_start(
    capsys, tmp_path, run_dir, official
):
    run(capsys, "convert", official, tmp_path / "[ours]")
    shutil.copy(official, tmp_path / "copy")
    same = [official, tmp_path / "copy", tmp_path / "[ours]"]
    assert len({weights.fingerprint_of(str(path)) for path in same}) == 1
    shutil.copytree(run_dir, tmp_path / "run")
    of_run = {weights.fingerprint_of(str(p)) for p in (run_dir, tmp_path / "run")}
    assert of_run == {weights.fingerprint(params(seed=2))}  # the best step
    assert weights.fingerprint_of(str(run_dir / "steps" / "5")) not in of_run
    official_writer.write(tmp_path / "other", params(seed=1), STEP)
    assert weights.fingerprint_of(str(tmp_path / "other")) != weights.fingerprint_of(
        str(official)
    )
    assert weights.fingerprint_of(str(tmp_path / "nothing")) is None


def test_parts_of_a_run_load_alone(run_dir):
    assert_same(weights.load(run_dir / "start", SETTINGS), params())
    assert_same(weights.load(run_dir / "steps" / "5", SETTINGS), params(seed=5))
    assert weights.read(run_dir / "steps" / "5").step == 5


def test_there_and_back_gives_the_same_bytes(capsys, tmp_path, official):
    told = run(capsys, "convert", official, tmp_path / "ours")
    assert f"--set model.checkpoint={tmp_path / 'ours'}" in told
    run(capsys, "export", tmp_path / "ours", tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == official.read_bytes()
    told = complaint(capsys, "weights", "convert", official, tmp_path / "ours")
    assert "exists already" in told


def test_the_references_file_there_and_back(capsys, tmp_path, shared):
    golden = shared / "golden/reserve/tiny"
    told = run(capsys, "inspect", golden)
    assert "11,400,212 bytes, as the format gives" in told
    assert "step 750000; optimizer state: none" in told and "float16" in told
    assert "5,698,179 in 109 arrays" in told
    assert "sizes: small, but with vocabulary 32768 instead of 2048" in told
    run(capsys, "convert", golden, tmp_path / "ours")
    run(capsys, "export", tmp_path / "ours", tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == golden.read_bytes()
    told = run(capsys, "inspect", golden.with_name("toy_with_optimizer"))
    assert "816 bytes, as" in told and "Adam's" in told and "not a MERLOT" in told


def test_parts_of_finetuned_files(capsys, tmp_path):
    official_writer.write(tmp_path / "tuned", finetuned(), 3)
    tuned, out = tmp_path / "tuned", tmp_path / "out"
    assert "without head, span_encoder" in run(capsys, "inspect", tuned)
    told = complaint(capsys, "weights", "convert", tuned, out)
    assert "finetuned for questions" in told and not out.exists()
    told = run(capsys, "convert", tuned, out, "--parts", "body")
    assert "left out: proj" in told
    assert_same(
        weights.read(out).params, halves({k: params()[k] for k in checkpoints.BODY})
    )
    run(capsys, "convert", tuned, tmp_path / "all", "--parts", "finetuned")
    assert_same(weights.read(tmp_path / "all").params, finetuned())


def test_the_size_of_an_official_file_is_told(capsys, tmp_path, monkeypatch):
    monkeypatch.setitem(config.MODELS, "made", SETTINGS)
    monkeypatch.setattr(sizes, "OFFICIAL", ("made",))
    for step, verdict in ((sizes.OFFICIAL_STEP, "has the"), (3, "has not the")):
        official_writer.write(tmp_path / "file", params(), step)
        told = run(capsys, "inspect", tmp_path / "file").splitlines()
        assert told[-2] == "sizes: made (hidden 32)"
        size = sizes.official_bytes(SETTINGS)
        assert told[-1].startswith(
            f"{verdict} size of an official made file: {size:,} bytes"
        )
        assert "as the format gives for its names" in told[1]


def test_inspect_a_run(capsys, run_dir):
    told = run(capsys, "inspect", run_dir)
    assert "a run of mmdiffmask, its best step\nstep 2;" in told and "float32" in told
    assert "an Orbax folder" in run(capsys, "inspect", run_dir / "start")


def test_mistakes_are_one_sentence(capsys, tmp_path, official):
    def told(*arguments):
        return complaint(capsys, "weights", *arguments)

    assert "did you mean base" in told("inspect", official, "--size", "bas")
    assert "expected tiny (hidden 64)" in told("inspect", official, "--size", "tiny")
    assert "no such checkpoint" in told("inspect", tmp_path / "none")
    assert "something else" in told("export", tmp_path, tmp_path / "x")
    assert "ACTION" in told()
    official_writer.write(tmp_path / "other", {"a": np.ones(3, np.float32)})
    for action in ("convert", "export"):
        text = told(action, tmp_path / "other", tmp_path / "x")
        assert "no MERLOT-Reserve model" in text
    data = official.read_bytes()
    official.write_bytes(data[: len(data) // 2])
    text = told("convert", official, tmp_path / "x")
    assert "breaks off in params/" in text and "fetch the file again" in text
    assert not (tmp_path / "x").exists()
    (tmp_path / "config.json").write_text("{}")  # a run before its first step
    assert "no checkpoint yet" in told("export", tmp_path, tmp_path / "x")
