"""Contrasts of an experiment's folder: on the page, and from Python."""

import dataclasses
import json
import pathlib
import re

import pytest
from helpers import fake_runs

from mmdiffmask import configure, run_files
from mmdiffmask import experiment as experiments
from mmdiffmask.probe import results
from mmdiffmask.report import collect, over_seeds

ROOT = pathlib.Path(__file__).resolve().parents[1]
TEXT = "random:action - none:action"
RATES = {"none": 0.3, "random": 0.55}


def write(workdir, records, seeds, contrasts=(TEXT,), **changes):
    """Finished runs of two rows, as an experiment leaves them; returns their plan."""
    base = configure.load(ROOT / "tpu_configs" / "tiny.py")
    rows = ("none: training.steps=0", "random: masking.strategy=random")
    base = dataclasses.replace(base, rows=rows, contrasts=contrasts)
    planned = experiments.plan(base, workdir, seeds)
    for one in planned:
        path = one.folder.path
        if path.exists():
            continue
        fake_runs.write_run(path, base, one.row, records, seed=one.seed, **changes)
        probed = results.read(one.folder)
        right = fake_runs.noisy(RATES[one.row], one.seed, 100)
        old = probed.labels["action"]
        heads = {"joint": dataclasses.replace(old.heads["joint"], is_right=right)}
        label = dataclasses.replace(old, heads=heads)
        results.write(one.folder, dataclasses.replace(probed, labels={"action": label}))
        one.folder.write(run_files.DONE, experiments.PROBED)
    return planned


def test_python_and_the_folder_say_the_same(tmp_path, tiny_records):
    planned = write(tmp_path, tiny_records, (0, 1, 2))
    measured = over_seeds.measured(tmp_path)
    assert measured == experiments.compare(planned)
    assert [(item.name, item.seeds) for item in measured] == [(TEXT, (0, 1, 2))]
    (alone,) = over_seeds.measured(tmp_path / "seed=2")
    assert alone.seeds == (2,) and "one seed" in alone.reason


def test_the_page_shows_them(tmp_path, tiny_records):
    write(tmp_path, tiny_records, (0, 1, 2))
    html = collect.write_page(tmp_path).read_text(encoding="utf-8")
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", html))
    (item,) = over_seeds.measured(tmp_path)
    assert "Contrasts named before the runs, over seeds" in text
    assert "over the 1 contrasts that two or more seeds measured" in text
    mean = f"{100 * item.over_seeds.mean:+.1f}".replace("-", "\N{MINUS SIGN}")
    verdict = "seen" if item.is_seen else "not seen"
    assert f"{TEXT} {verdict} 3 {mean} " in text


def test_one_seed_is_no_comparison_and_the_page_says_so(tmp_path, tiny_records):
    write(tmp_path, tiny_records, (0,))
    html = collect.write_page(tmp_path).read_text(encoding="utf-8")
    assert "Not compared: one seed with every row in it" in html


@pytest.mark.parametrize(
    "name, value, words",
    [
        ("training.lr", 0.5, "are of one row but differ: training.lr="),
        ("contrasts", ["none:action - random:action"], "begun with other contrasts"),
    ],
)
def test_runs_of_other_settings_are_not_compared(
    tmp_path, tiny_records, name, value, words
):
    write(tmp_path, tiny_records, (0, 1))
    path = tmp_path / "seed=1" / "random" / run_files.CONFIG
    content = json.loads(path.read_text())
    content["settings"][name] = value
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=words):
        over_seeds.measured(tmp_path)
    html = collect.write_page(tmp_path).read_text(encoding="utf-8")
    assert "The contrasts that the config names are not shown" in html


def test_without_contrasts_nothing_is_shown(tmp_path, tiny_records):
    planned = write(tmp_path, tiny_records, (0, 1), contrasts=())
    assert over_seeds.of_page(tmp_path) == ((), ())
    assert experiments.compare(planned) == ()
