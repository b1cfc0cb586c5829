"""The walk of docs/tpu.md, in small as the page says: its own commands, killed once."""

import json
import os
import pathlib
import re
import shlex
import signal
import subprocess
import sys
import time
import zipfile

import pytest

from mmdiffmask import run_files
from mmdiffmask.training import journal

ROOT = pathlib.Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "tpu.md").read_text()
MACHINE, SMALL = re.split(r"\n## \d+\. Try it without a TPU\n", PAGE)
PROGRAMS = {
    ".venv/bin/python": shlex.quote(sys.executable),
    ".venv/bin/mmdiffmask": f"{shlex.quote(sys.executable)} -m mmdiffmask",
}
RUN = pathlib.Path("try/runs/tvqa/difference-0")
KILLED_AFTER = 4  # updates, of nine


def commands(text):
    """The lines of a page that are commands."""
    return re.findall(r"^ {4}(\S.*)$", text, re.MULTILINE)


def in_order(words, line):
    """Whether all words stand in a line, in their order."""
    line = iter(line)
    return all(word in line for word in words)


def test_the_walk_in_small_is_that_of_the_machine():
    """Every command for the machine stands in it, with what it has there."""
    large = [line.split(" -- ")[1] for line in commands(MACHINE) if " -- " in line]
    names = [re.search(r"preprocessing|mmdiffmask \w+", line)[0] for line in large]
    assert [name.split()[-1] for name in names] == (
        ["preprocessing", "doctor", "pretrain", "probe", "report"]
    )
    small = [line.replace(".venv/bin/", "").split() for line in commands(SMALL)]
    for line in large:
        line = line.replace("/mnt/work", "try").replace("ckpts/base", "ckpts/tiny")
        words = line.replace("--device tpu", "--device cpu").split()
        assert any(in_order(words, other) for other in small), line


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the walk is done; it has the configs."""
    folder = tmp_path_factory.mktemp("walk")
    (folder / "tpu_configs").symlink_to(ROOT / "tpu_configs")
    return folder


def start(line, folder, variables):
    """A command of the page in a process of its own; nothing else is set for it."""
    for shown, program in PROGRAMS.items():
        line = line.replace(shown, program)
    environment = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
    environment |= {"PYTHONPATH": str(ROOT)} | variables
    return subprocess.Popen(
        ["bash", "-c", f"set -o pipefail; {line}"],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(process):
    """What it printed; it ends well and without a traceback."""
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert "Traceback" not in err, err
    return out, err


def updates(folder):
    path = folder / RUN / run_files.METRICS
    return path.read_text().count('"train"') if path.is_file() else 0


def kill_within(process, folder):
    """Ends a run by SIGKILL when it has made some updates."""
    while process.poll() is None and updates(folder) < KILLED_AFTER:
        time.sleep(0.05)
    assert process.poll() is None, "it ended before it could be killed"
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (folder / RUN / run_files.DATA).exists()


def check(folder):
    """Nine updates, both read-outs, both files of answers, a page."""
    lines = journal._whole_lines(folder / RUN / run_files.METRICS)
    steps = [line["step"] for line in lines if line["kind"] == journal.TRAIN]
    assert steps == list(range(1, 10))
    probed = json.loads((folder / RUN / run_files.PROBE).read_text())
    assert {"match", "answer"} <= probed["questions"]["read_outs"].keys()
    with zipfile.ZipFile(folder / f"{RUN}.zip") as archive:
        for split in ("val", "test_public"):
            path = folder / f"try/raw/tvqa_qa_release/tvqa_{split}.jsonl"
            posed = [json.loads(line) for line in path.read_text().splitlines()]
            answers = json.loads(archive.read(f"prediction_{split}.json"))
            assert answers.keys() == {str(question["qid"]) for question in posed}
            assert set(answers.values()) <= set(range(5))
            assert all(("answer_idx" in q) == (split == "val") for q in posed)
    assert "difference" in (folder / RUN / run_files.REPORT).read_text()


@pytest.mark.slow
def test_the_walk(folder):
    variables, is_killed = {}, False
    for line in commands(SMALL):
        if line.startswith("export "):
            variables |= dict(word.split("=", 1) for word in shlex.split(line)[1:])
            continue
        process = start(line, folder, variables)
        if f"--workdir {RUN} " in line and " pretrain " in line:
            kill_within(process, folder)
            process, is_killed = start(line, folder, variables), True
        out, err = finish(process)
        if " doctor " in line:
            assert "8 x cpu" in out and out.endswith("nothing is lacking\n")
        if " preprocessing tvqa " in line:
            assert "60 records" in out and "0 skipped" in out
    assert is_killed
    check(folder)
