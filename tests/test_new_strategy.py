"""A new masking method is one registry line: no other file knows its name."""

import ast
import json
import pathlib

import jax.numpy as jnp
import numpy as np
import pytest

from mmdiffmask import __main__ as command_line
from mmdiffmask import configure, masks, run_files
from mmdiffmask.data.corpus import Corpus
from mmdiffmask.masking import strategies, units
from mmdiffmask.run_folder import RunFolder
from mmdiffmask.training import checkpoint, journal

ROOT = pathlib.Path(__file__).resolve().parents[1]
TINY = str(ROOT / "tpu_configs" / "tiny.py")
# Where a strategy may be named: its registry, and settings.
NAMING = ("mmdiffmask/masking/", "mmdiffmask/config.py", "mmdiffmask/demo.py")

LOW = strategies.Strategy(
    "low-patches",
    "what lies low in the picture",
    units=units.PATCHES,
    score=None,
    # Cells of 3 rows and 5 columns a frame: those of the top row have weight 0.
    weight=lambda inputs: jnp.float32(jnp.arange(inputs.unit_score.size) // 5 % 3),
)


@pytest.fixture(scope="module")
def run(tmp_path_factory, tiny_records):
    """The folder of a run of it."""
    folder = tmp_path_factory.mktemp("runs") / LOW.name
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(strategies.REGISTRY, LOW.name, LOW)
        words = ["--workdir", str(folder), "--data", tiny_records]
        words += ["--set", f"masking.strategy={LOW.name}"]
        assert command_line.main(["pretrain", TINY, *words]) == 0
        yield folder


def held_out(lines, kind, step):
    return next(
        line["value"]
        for line in lines
        if line["kind"] == "eval"
        and (line["masks"], line["metric"], line["stream"]) == (kind, "loss", "all")
        and line["step"] == step
    )


@pytest.mark.slow
def test_it_is_judged_by_its_own_masks(run):
    lines = journal.read_metrics(RunFolder(run))
    known = {line["masks"] for line in lines if line["kind"] == "eval"}
    assert known == {"random", "difference", "difference-face", LOW.name}
    with checkpoint.open_steps(RunFolder(run)) as manager:
        progress = checkpoint.read_progress(manager)
    own = {step: held_out(lines, LOW.name, step) for step in (0, 3, 6)}
    assert progress.finished == "steps"
    assert progress.best_loss == min(own.values()) == own[progress.best_step]
    assert progress.best_loss != held_out(lines, "random", progress.best_step)


def test_it_hides_what_its_weights_say(run, tiny_records):
    summary = json.loads((run / run_files.MASKS).read_text())
    assert summary["hidden_share"] == pytest.approx(0.25, abs=0.02)
    settings = configure.override(
        configure.load(TINY), ["masking.strategy=low-patches"]
    )
    source = Corpus.of(tiny_records).source("train")
    batches = masks.bare_batches(settings, source, [0, 1], [LOW.name], 0)
    hidden = masks.of_batch(settings, LOW.name, batches[LOW.name], 0).is_masked
    top, others = np.split(hidden.reshape(2, 7, 6, 10), [2], axis=2)
    assert others.any() and not top.any()


def test_it_stands_in_the_report_with_its_label(run, capsys):
    assert command_line.main(["report", str(run)]) == 0
    html = pathlib.Path(capsys.readouterr().out.strip()).read_text()
    assert f"</span>{LOW.label}</span><small>masking.strategy={LOW.name};" in html
    assert f"<b>{LOW.label}</b>: " in html  # its masks of the first clips
    assert f"Held-out loss under {LOW.label}" in html
    assert "Held-out loss under Difference-Masking (faces)" in html


def strings(path):
    """(text, line) of the strings of a file, docstrings included."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value, node.lineno


def test_nobody_else_knows_a_strategy_by_name():
    names = set(strategies.REGISTRY)
    folders = ("mmdiffmask", "benchmarks")
    paths = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    places = {str(path.relative_to(ROOT)): path for path in sorted(paths)}
    found = [
        f"{place}:{line}: {text}"
        for place, path in places.items()
        if not place.startswith(NAMING)
        for text, line in strings(path)
        if text in names
    ]
    assert found == []
    assert any(text in names for text, _ in strings(places["mmdiffmask/config.py"]))
