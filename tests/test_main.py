"""The command line: a user's mistake is one sentence, status 2, and leaves nothing."""

import os
import pathlib
import shutil
import subprocess
import sys

import jax
import pytest

from mmdiffmask import __main__ as command_line
from mmdiffmask import config, devices, doctor, machine
from mmdiffmask.training import mesh

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
        (["--data", "gs://bucket/records"], "gs://bucket/records: runs, records"),
        (["--model", "basis"], "did you mean base"),
        (["--model", "base", "--set", "model.hidden=100"], "model.hidden=100"),
    ],
)
def test_a_wrong_setting_stops_pretrain_before_any_work(
    capsys, tmp_path, monkeypatch, extra, words
):
    monkeypatch.chdir(tmp_path)
    error = complaint(capsys, "pretrain", TINY, "--workdir", tmp_path / "run", *extra)
    assert words in error
    assert not any(tmp_path.iterdir())


def test_an_address_is_no_folder(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    address = "gs://bucket/run"
    for arguments in (
        ("pretrain", TINY, "--workdir", address),
        ("probe", TINY, "--workdir", address),
        ("report", address),
        ("inspect", address),
        ("demo", "--dir", address),
        ("features", "run", "--out", address),
        ("inspect", "records", "--out", address),
        ("probe", TINY, "--workdir", "run", "--submission", address),
        ("weights", "convert", "gs://bucket/base", address),
        ("weights", "export", "run", address),
        ("experiment", TINY, "--workdir", address),
    ):
        error = complaint(capsys, *arguments)
        assert f"{address}: " in error and "disk" in error and error.count("\n") == 1
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    "extra, environment, words",
    [
        (["--device", "tpu"], "", "--device tpu: no TPU was found"),
        ([], "tpu,cpu", "JAX_PLATFORMS=tpu,cpu: no TPU was found"),
        ([], "nonsense", "JAX_PLATFORMS=nonsense: jax cannot compute there"),
    ],
)
def test_a_run_for_a_device_that_is_not_there_stops(
    tmp_path, extra, environment, words
):
    run = subprocess.run(
        [sys.executable, "-m", "mmdiffmask", "pretrain", TINY]
        + ["--workdir", str(tmp_path / "run"), *extra],
        cwd=tmp_path,
        env=os.environ | {"JAX_PLATFORMS": environment, "TPU_SKIP_MDS_QUERY": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 2, run.stderr
    last = run.stderr.strip().splitlines()[-1]
    assert words in last and "Traceback" not in run.stderr
    assert not any(tmp_path.iterdir())


def test_a_gpu_that_jax_would_replace_by_a_processor_is_told(monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "cuda,cpu")
    with pytest.raises(ValueError, match="no GPU was found; jax would compute on cpu"):
        devices.use(None)
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    devices.use(None)


def test_several_processes_are_refused(monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    for refused in (lambda: devices.use(None), lambda: mesh.make(8)):
        with pytest.raises(ValueError, match="2 processes share this run"):
            refused()


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


def test_doctor_tells_what_there_is(capsys, tmp_path, tiny_records, monkeypatch):
    monkeypatch.setattr(machine, "LEAST_S", 0.01)
    arguments = [
        "doctor",
        TINY,
        "--data",
        tiny_records,
        "--workdir",
        str(tmp_path / "a"),
    ]
    assert command_line.main(arguments) == 0
    lines = dict(x.split(": ", 1) for x in capsys.readouterr().out.splitlines()[:-1])
    assert lines["backend"].startswith("cpu, 8 x cpu, 1 process")
    assert (
        f"free in {tmp_path}" in lines["space"] and jax.__version__ in lines["versions"]
    )
    rate = float(lines["matrix products (512 x 512, float32)"].split()[0])
    clips = float(lines["input"].split()[0])
    assert rate > 0 and clips > 0
    assert lines["records"].startswith("42 of train in ")


def test_doctor_names_what_is_lacking(capsys, tmp_path, monkeypatch, tiny_records):
    monkeypatch.setattr(machine, "LEAST_S", 0.01)
    monkeypatch.setenv("MMDIFFMASK_CACHE", str(tmp_path))
    usage = shutil.disk_usage(tmp_path)._replace(free=2_000_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    monkeypatch.chdir(tmp_path)
    tvqa = str(ROOT / "tpu_configs" / "tvqa.py")
    assert command_line.main(["doctor", tvqa, "--data", tiny_records]) == 0
    *_, rate, last = capsys.readouterr().out.splitlines()
    assert rate == "input: not measured; needs a tokenizer"
    assert last == (
        "lacking: the checkpoint ckpts/base; MERLOT-Reserve's tokenizer; 6.9 GB of"
        f" space in {tmp_path}"
    )
    named = ["--model", "tiny", "--set", "data.tokenizer=toy"]
    named += ["--set", "model.checkpoint=small"]
    assert command_line.main(["doctor", tvqa, "--data", tiny_records, *named]) == 0
    assert capsys.readouterr().out.endswith("\nnothing is lacking\n")
    # The parameters that reserve.md counts, the start and two steps with moments.
    assert doctor.run_bytes(config.MODELS["base"]) == 28 * 316_412_163


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


def test_the_demo_makes_as_many_runs_at_a_time_as_it_is_told(monkeypatch, tmp_path):
    from mmdiffmask import demo

    at_a_time = []
    monkeypatch.setattr(demo.toy_records, "make", lambda *_: "records")
    monkeypatch.setattr(
        demo.runs, "run", lambda *_, workers, **__: at_a_time.append(workers)
    )
    monkeypatch.setattr(demo.collect, "write_page", lambda workdir: workdir)
    monkeypatch.setattr(demo.RunFolder, "write", lambda *_: None)
    for words in ([], ["--workers", "1"]):
        assert command_line.main(["demo", "--dir", str(tmp_path), *words]) == 0
    assert at_a_time == [demo.WORKERS, 1]


def test_the_demo_needs_a_run_at_a_time(capsys):
    assert "--workers 0: at least 1" in complaint(capsys, "demo", "--workers", "0")


def test_reading_the_arguments_imports_no_library_that_logs():
    # Orbax hands Python's log a handler of its own, and then no line of ours is shown.
    text = "import logging, sys, mmdiffmask.__main__ as main; main._parser();"
    text += "print(logging.root.handlers, {'jax', 'orbax'} & {*sys.modules})"
    shown = subprocess.run(
        [sys.executable, "-c", text], capture_output=True, text=True, check=True
    )
    assert shown.stdout.strip() == "[] set()"
