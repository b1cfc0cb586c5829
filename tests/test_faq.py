"""docs/faq.md: its commands, run as the page has them, on tiny data."""

import dataclasses
import json
import pathlib
import re
import shlex

import numpy as np
import pytest
from helpers import config_file, films

from mmdiffmask import __main__ as command_line
from mmdiffmask import configure, examples, run_files
from mmdiffmask.data.corpus import Corpus
from preprocessing import __main__ as preprocessing_line

ROOT = pathlib.Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "faq.md").read_text()
TINY = configure.load(ROOT / "tpu_configs" / "tiny.py")


def sections():
    """(heading, its commands) of every question."""
    for part in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]:
        heading, _, text = part.partition("\n")
        yield heading, re.findall(r"^ {4}(\S.*)$", text, re.MULTILINE)


def test_each_of_ten_questions_has_one_command():
    questions = list(sections())
    assert [heading.split(".")[0] for heading, _ in questions] == (
        [str(number) for number in range(1, 11)]
    )
    for heading, commands in questions:
        assert len(commands) == 1 and heading.endswith("?"), heading
        assert commands[0].startswith(("mmdiffmask ", "python -m preprocessing "))


def first_cells(records):
    """Masks of a quarter of the cells with picture, those that come first."""
    corpus = Corpus.of(records)
    source, masks = corpus.source("train"), []
    for position in range(len(source)):
        row = examples.make_row(TINY.data, None, source)(position)
        is_cell = row.is_patch_valid.reshape(7, 3, 2, 5, 2).any((2, 4))
        count = round(0.25 * int(is_cell.sum()))
        hidden = is_cell & (np.cumsum(is_cell).reshape(is_cell.shape) <= count)
        masks.append(hidden.repeat(2, 1).repeat(2, 2).reshape(7, 60))
    ids = [entry.example_id for entry in corpus.entries("train")]
    return {"ids": np.array(ids), "masks": np.stack(masks)}


@pytest.fixture
def folder(tmp_path, tiny_records, monkeypatch, quick_compilation):
    """Where a user has records, videos (one of them broken) and masks of his own."""
    small = configure.load(ROOT / "tpu_configs" / "toy.py").model
    experiment = dataclasses.replace(
        TINY,
        model=small,
        training=dataclasses.replace(TINY.training, steps=2, warmup_steps=1),
    )
    config_file.write(tmp_path / "tpu_configs" / "toy.py", experiment)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine").symlink_to(tiny_records)
    for name in ("a", "b"):
        films.write(tmp_path / "videos" / f"{name}.mp4", 12.0, [films.tones(12, [3])])
    (tmp_path / "videos" / "broken.mp4").write_bytes(b"no video")
    np.savez(tmp_path / "masks.npz", **first_cells(tiny_records))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(line):
    """A command of the page, in this process; it has no GPU."""
    words = shlex.split(line.replace("--device gpu", "--device cpu"))
    if words[0] == "mmdiffmask":
        return command_line.main(words[1:])
    assert words[:3] == ["python", "-m", "preprocessing"]
    return preprocessing_line.main(words[3:])


@pytest.mark.slow
def test_the_commands_do_what_the_page_says(folder, capsys):
    for heading, (line,) in sections():
        assert run(line) == 0, heading
    printed = capsys.readouterr().out
    runs = folder / "runs"
    for name in ("own", "mine", "short", "gpu"):
        assert (runs / name / run_files.DATA).exists()
    made_of = json.loads((runs / "short" / run_files.MASKS).read_text())
    usual = json.loads((runs / "mine" / run_files.MASKS).read_text())
    assert made_of["clips_without_box"] > 0  # those are hidden at random
    assert made_of["hidden_share"] < 0.7 * usual["hidden_share"]
    lines = (runs / "mine" / run_files.METRICS).read_text().splitlines()
    first = next(x for x in map(json.loads, lines) if x["kind"] == "train")
    # 8 clips of 26 cells, or fewer where a frame is absent; two streams.
    assert first["log_candidates"] == pytest.approx(2 * np.log(8 * 26), rel=0.05)
    with np.load("features.npz") as stored:
        assert stored["clip/joint"].shape == (len(stored["clip/id"]), 128) == (20, 128)
    probed = json.loads((runs / "mine" / run_files.PROBE).read_text())
    assert set(probed["labels"]) == {"action"}
    assert "action" in (runs / "mine" / run_files.REPORT).read_text()
    other = Corpus.of("data/other").manifest
    assert (other.segments, str(other.grid)) == (5, "12x12")
    skipped = (folder / "data" / "other" / "skipped.jsonl").read_text()
    assert "broken" in skipped and "skipped" in printed
