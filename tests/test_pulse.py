"""The whole path on tiny.py: records, training, probe, report; killed and resumed."""

import dataclasses
import hashlib
import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
from helpers import quick

from mmdiffmask import __main__ as command_line
from mmdiffmask import configure, inputs, run_files, weights
from mmdiffmask.data import tokenizers
from mmdiffmask.data.records import manifest
from mmdiffmask.data.records import shards as data
from mmdiffmask.run_folder import RunFolder
from mmdiffmask.training import checkpoint

ROOT = pathlib.Path(__file__).resolve().parents[1]
TINY = str(ROOT / "tpu_configs" / "tiny.py")


def tree_digest(folder: pathlib.Path) -> dict[str, tuple[str, int]]:
    """Path -> (hash, time of change) of every file."""
    return {
        str(p): (hashlib.sha256(p.read_bytes()).hexdigest(), p.stat().st_mtime_ns)
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


@pytest.fixture(scope="module")
def workdir(tmp_path_factory, tiny_records):
    """A folder with the rows `none` and `difference`, probed."""
    folder = tmp_path_factory.mktemp("runs")
    for row, steps in (("none", 0), ("difference", 6)):
        arguments = ["--workdir", str(folder / row), "--data", tiny_records]
        arguments += ["--set", f"training.steps={steps}"]
        assert command_line.main(["pretrain", TINY, *arguments]) == 0
        assert command_line.main(["probe", TINY, *arguments]) == 0
    return folder


@pytest.mark.slow
def test_training_moves_the_weights_and_probing_does_not(workdir):
    start = checkpoint.load_params(RunFolder(workdir / "difference"), "start")
    last = checkpoint.load_params(RunFolder(workdir / "difference"), "last")
    none = checkpoint.load_params(RunFolder(workdir / "none"), "last")
    assert weights.fingerprint(start) == weights.fingerprint(none)
    assert weights.fingerprint(start) != weights.fingerprint(last)
    found = json.loads((workdir / "difference" / run_files.PROBE).read_text())
    assert found["key"]["weights"] == weights.fingerprint(last)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(last))


@pytest.mark.slow
def test_rerunning_finished_work_changes_no_file(workdir, tiny_records):
    before = tree_digest(workdir / "difference")
    arguments = ["--workdir", str(workdir / "difference"), "--data", tiny_records]
    for name in ("pretrain", "probe"):
        assert command_line.main([name, TINY, *arguments]) == 0
    assert tree_digest(workdir / "difference") == before


@pytest.mark.slow
def test_another_seed_does_not_enter_the_folder(workdir, tiny_records, capsys):
    arguments = ["--workdir", str(workdir / "difference"), "--data", tiny_records]
    assert command_line.main(["pretrain", TINY, *arguments, "--seed", "1"]) == 2
    assert "--seed=0, not 1" in capsys.readouterr().err


@pytest.mark.slow
def test_the_report_shows_both_rows_and_loads_nothing(workdir, capsys):
    assert command_line.main(["report", str(workdir)]) == 0
    path = pathlib.Path(capsys.readouterr().out.strip())
    assert path.is_absolute()
    html = path.read_text()
    for found in re.findall(r'(?:src|href)="([^"]+)"', html):
        assert found.startswith(("data:image", "https://arxiv.org", "#")), found
    for word in ("none", "difference", "random weights", "untrained network", "copy"):
        assert word in html
    assert "<script" not in html


def _fewer(records: str, folder: pathlib.Path) -> str:
    """The records without their last of train, as a folder from before the index."""
    shutil.copytree(records, folder)
    told = manifest.read(records)
    kinds = data.features(told.segments, told.sub_segments, told.grid.n_patches)
    source = data.open_split(records, "train")
    (old,) = told.shards["train"]
    rows = (source[i] for i in range(len(source) - 1))
    shards = told.shards | {
        "train": (data.write_shard(folder / old.file, rows, kinds),)
    }
    told = dataclasses.replace(told, shards=shards, index={}, fingerprint="")
    (folder / manifest.NAME).write_text(manifest.to_json(told))
    return str(folder)


@pytest.mark.slow
def test_cases_of_other_records_and_moved_ones(workdir, tiny_records, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(workdir / "difference", run)
    arguments = [TINY, "--workdir", str(run), "--data"]
    other = _fewer(tiny_records, tmp_path / "other")
    assert command_line.main(["pretrain", *arguments, other]) == 2
    error = capsys.readouterr().err
    assert "other content of records" in error and "sha256" in error
    assert error.count("\n") == 1
    # A probe may look at other records, and notes them.
    assert command_line.main(["probe", *arguments, other]) == 0
    assert json.loads((run / run_files.PROBE).read_text())["records"]["value"] == other
    shutil.copytree(tiny_records, tmp_path / "moved")
    for command in ("pretrain", "probe"):
        assert command_line.main([command, *arguments, str(tmp_path / "moved")]) == 0
        places = json.loads((run / run_files.PLACES).read_text())
        assert places[inputs.RECORDS] == str(tmp_path / "moved")
    assert "records" not in json.loads((run / run_files.PROBE).read_text())
    assert command_line.main(["report", str(run)]) == 0
    capsys.readouterr()
    with RunFolder(run).held():
        for command in ("pretrain", "probe"):
            assert command_line.main([command, *arguments, tiny_records]) == 2
            assert "another command is at work in it" in capsys.readouterr().err


@pytest.mark.slow
def test_cases_of_a_tokenizer_that_changes_after_training(
    tiny_records, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    tokens = tmp_path / "tokens.json"
    shutil.copy(tokenizers.TOY, tokens)
    run = ["--workdir", "[a] b/\u00fc", "--data", tiny_records]
    run += ["--set", "training.steps=0", "--set", "data.tokenizer=tokens.json"]
    for command in ("pretrain", "probe"):
        assert command_line.main([command, TINY, *run]) == 0
    tokens.write_text(tokens.read_text() + " ")
    commands = [["pretrain", TINY, *run], ["probe", TINY, *run[:4]]]
    for command in (*commands, ["report", "[a] b"]):
        capsys.readouterr()
        assert command_line.main(command) == 2
        error = capsys.readouterr().err
        assert "data.tokenizer" in error and "tokens.json" in error
        assert error.count("sha256") == 2 and error.count("\n") == 1
    shutil.copy(tokenizers.TOY, tmp_path / "again.json")  # the same, elsewhere
    run[-1] = "data.tokenizer=again.json"
    for command in ("pretrain", "probe"):
        assert command_line.main([command, TINY, *run]) == 0
    assert command_line.main(["report", "[a] b/\u00fc/"]) == 0


@pytest.mark.slow
def test_cases_of_starts_in_folders(workdir, tiny_records, tmp_path, capsys):
    starts = [str(workdir / "difference"), str(tmp_path / "converted")]
    official = str(tmp_path / "official")
    assert command_line.main(["weights", "export", starts[0], official]) == 0
    assert command_line.main(["weights", "convert", official, starts[1]]) == 0
    run = ["--workdir", str(tmp_path / "run"), "--data", tiny_records]
    run += ["--set", "training.steps=0", "--set"]
    wrong = "model.checkpoint=smal"
    assert command_line.main(["pretrain", TINY, *run, wrong]) == 2
    assert not (tmp_path / "run").exists()
    for start in starts:
        words = [*run, f"model.checkpoint={start}"]
        assert command_line.main(["pretrain", TINY, *words]) == 0
        found = checkpoint.load_params(RunFolder(tmp_path / "run"), "start")
        wanted = weights.load(start, configure.load(TINY).model)
        for a, b in zip(*map(jax.tree.leaves, (found, wanted)), strict=True):
            np.testing.assert_array_equal(a, b)
        # The same weights elsewhere are the same start; others are not.
        capsys.readouterr()
        if start == starts[1]:
            words[-1] = f"model.checkpoint={official}"
            assert command_line.main(["probe", TINY, *words]) == 0
            shutil.copytree(starts[0] + "/start", tmp_path / "untrained")
            words[-1] = f"model.checkpoint={tmp_path / 'untrained'}"
            for command in ("pretrain", "probe"):
                assert command_line.main([command, TINY, *words]) == 2
                assert "model.checkpoint" in capsys.readouterr().err
        shutil.rmtree(tmp_path / "run")


@pytest.mark.slow
def test_masks_of_a_run_are_summarised(workdir):
    summary = json.loads((workdir / "difference" / run_files.MASKS).read_text())
    assert summary["whole_box"] > 0.4
    assert summary["hidden_share"] == pytest.approx(0.25, abs=0.02)
    assert not (workdir / "none" / run_files.MASKS).exists()


def start_run(folder: pathlib.Path, records: str) -> subprocess.Popen:
    """`mmdiffmask pretrain` on one device, in its own process."""
    words = [sys.executable, "-m", "mmdiffmask", "pretrain", TINY]
    words += ["--workdir", str(folder), "--data", records, "--set", "training.steps=12"]
    words += ["--set", "training.save_every=1"]
    one_device = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
    one_device |= quick.ENVIRONMENT
    return subprocess.Popen(words, cwd=ROOT, env=one_device, stderr=subprocess.DEVNULL)


def steps_noted(folder: pathlib.Path) -> int:
    path = folder / "metrics.jsonl"
    return path.read_text().count('"train"') if path.is_file() else 0


def kill_and_resume(folder: pathlib.Path, records: str, kills: int) -> None:
    """Ends a run at a random moment, so many times, then lets it finish."""
    rng, killed = random.Random(kills), 0
    while killed < kills:
        run, goal = start_run(folder, records), steps_noted(folder) + rng.randint(0, 2)
        while run.poll() is None and steps_noted(folder) < goal:
            time.sleep(0.02)
        time.sleep(rng.uniform(0, 1.0))
        if run.poll() is None:
            run.send_signal(signal.SIGKILL)
        killed += run.wait() == -signal.SIGKILL
        if steps_noted(folder) >= 12:
            break
    assert killed >= min(kills, 2)
    assert start_run(folder, records).wait() == 0


def check_killed_run(folder: pathlib.Path, records: str, kills: int) -> None:
    assert start_run(folder / "calm", records).wait() == 0
    kill_and_resume(folder / "killed", records, kills)
    calm, killed = (
        weights.fingerprint(checkpoint.load_params(RunFolder(folder / name), "last"))
        for name in ("calm", "killed")
    )
    assert calm == killed
    calm, killed = (
        (folder / name / "metrics.jsonl").read_bytes() for name in ("calm", "killed")
    )
    assert calm == killed


@pytest.mark.slow
def test_a_killed_run_ends_with_the_same_bits(tmp_path, tiny_records):
    check_killed_run(tmp_path, tiny_records, 2)


@pytest.mark.long
def test_a_run_killed_ten_times_ends_with_the_same_bits(tmp_path, tiny_records):
    check_killed_run(tmp_path, tiny_records, 10)
