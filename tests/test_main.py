"""The command line: a user's mistake is one sentence, status 2, and leaves nothing."""

import pathlib
import shutil
import subprocess
import sys

import pytest

from mmdiffmask import __main__ as command_line

ROOT = pathlib.Path(__file__).resolve().parents[1]
TINY = str(ROOT / "tpu_configs" / "tiny.py")


def complaint(capsys, *arguments) -> str:
    """What the command says on stderr when it refuses."""
    try:
        status = command_line.main([str(a) for a in arguments])
    except SystemExit as stop:  # argparse
        status = stop.code
    out, err = capsys.readouterr()
    assert status == 2, err
    assert out == "" and 1 <= len(err.strip().splitlines()) <= 3, err
    assert "Traceback" not in err
    return err


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        (["--set", "masking.strateg=random"], "did you mean masking.strategy"),
        (["--set", "masking.ratio=3"], "from 0.01 to 0.95"),
        (["--set", "masking.strategy=differense"], "did you mean difference"),
        (["--set", "training.warmup_steps=6"], "must be below"),
        (["--set", "model.vocabulary=100"], "has 512 entries"),
        (["--set", "data.tokenizer=nowhere.json"], "nowhere.json"),
        (["--set", "probe.kinds=['who']"], "name=regular expression"),
        (["--set", "masking.label_embeddings=none.npz"], "none.npz"),
        (["--data", "no/such/folder"], "no/such/folder"),
        (["--seed", "-1"], "--seed -1"),
    ],
)
def test_a_wrong_setting_stops_pretrain_before_any_work(
    capsys, tmp_path, monkeypatch, extra, words
):
    monkeypatch.chdir(tmp_path)
    error = complaint(capsys, "pretrain", TINY, "--workdir", tmp_path / "run", *extra)
    assert words in error
    assert not any(tmp_path.iterdir())


def test_missing_things_are_named(capsys, tmp_path):
    run = tmp_path / "run"
    error = complaint(capsys, "pretrain", tmp_path / "c.py", "--workdir", run)
    assert "c.py: no such config file" in error
    assert "no run here" in complaint(capsys, "probe", TINY, "--workdir", run)
    assert "no such folder" in complaint(capsys, "report", run)
    run.mkdir()
    assert "no run here" in complaint(capsys, "report", run)
    assert "no manifest" in complaint(capsys, "inspect", run)
    assert "no such folder" in complaint(capsys, "inspect", tmp_path / "records")
    assert "--workdir" in complaint(capsys, "pretrain", TINY)


def test_a_folder_of_something_else_is_left_alone(capsys, tmp_path, tiny_records):
    (tmp_path / "letter.txt").write_text("mine")
    error = complaint(
        capsys, "pretrain", TINY, "--workdir", tmp_path, "--data", tiny_records
    )
    assert "not empty" in error
    assert [p.name for p in tmp_path.iterdir()] == ["letter.txt"]


def test_records_decide_the_grid(capsys, tmp_path, tiny_records):
    arguments = ("pretrain", TINY, "--workdir", tmp_path / "run")
    arguments += ("--data", tiny_records, "--set", "data.rows=12")
    assert "the records" in complaint(capsys, *arguments)


def test_a_corrupt_shard_is_named(capsys, tmp_path, tiny_records):
    copy = tmp_path / "records"
    shutil.copytree(tiny_records, copy)
    shard = next(copy.glob("*train*array_record*"))
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 255
    shard.write_bytes(data)
    arguments = ("pretrain", TINY, "--workdir", tmp_path / "run", "--data", copy)
    assert shard.name in complaint(capsys, *arguments)
    assert shard.name in complaint(capsys, "inspect", copy)
    assert not (tmp_path / "run").exists()


def test_inspect_draws_a_record(capsys, tmp_path, tiny_records):
    png = tmp_path / "x.png"
    assert command_line.main(["inspect", tiny_records, "--out", str(png)]) == 0
    assert capsys.readouterr().out.strip() == str(png)
    assert png.read_bytes()[:4] == b"\x89PNG"
    assert "--id nobody" in complaint(capsys, "inspect", tiny_records, "--id", "nobody")
    wrong = complaint(capsys, "inspect", tiny_records, "--out", tmp_path / "x.bmp")
    assert ".png" in wrong


def test_the_module_runs_as_a_program():
    run = subprocess.run(
        [sys.executable, "-m", "mmdiffmask", "report", "no/such/folder"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 2 and run.stderr.count("\n") == 1
    assert "no/such/folder: no such folder" in run.stderr


def test_a_damaged_run_is_named(capsys, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "data.json").write_text("{}")
    assert "damaged" in complaint(capsys, "report", tmp_path)
    assert "is a file" in complaint(capsys, "report", tmp_path / "config.json")
