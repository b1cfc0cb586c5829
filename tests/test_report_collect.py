"""Folders of runs with known numbers become a page that states them."""

import dataclasses
import json
import pathlib
import re
import shutil

import pytest
from helpers import fake_runs

from mmdiffmask import configure, demo, inputs, run_files, versions
from mmdiffmask.data.corpus import Corpus
from mmdiffmask.report import collect, drawn, limits
from mmdiffmask.report import runs as report_runs
from mmdiffmask.run_folder import RunFolder

ROOT = pathlib.Path(__file__).resolve().parents[1]
DEMO = demo.get_config()
ALONE = [("none",), ("replay",), ("random",), ("difference",), ("random", "difference")]
NEW = {"model.checkpoint": "small"}

RANDOM, BODIES = "random masking", "Difference-Masking (bodies)"


@pytest.fixture
def folder(tmp_path):
    for row in reversed(fake_runs.ROWS):
        fake_runs.write_run(tmp_path / row, DEMO, row, "", **NEW)
    return tmp_path


def test_rows_that_hide_nothing_come_first(folder):
    found, unfinished = report_runs.read_runs(folder)
    assert [run.name for run in found] == ["none", "replay", RANDOM, BODIES]
    assert [run.masks is None for run in found] == [True, True, False, False]
    assert unfinished == []


def test_terms_and_steps_may_differ_only_where_nothing_is_hidden(tmp_path):
    for row in ("replay", "random"):
        fake_runs.write_run(tmp_path / row, DEMO, row, "", **NEW)
    assert len(report_runs.read_runs(tmp_path)[0]) == 2
    for name in ("terms.patches", "training.steps"):
        changes, folder = NEW | {name: 7}, tmp_path / "difference"
        fake_runs.write_run(folder, DEMO, "difference", "", **changes)
        with pytest.raises(ValueError, match=f"differ in {name}"):
            report_runs.read_runs(tmp_path)
        shutil.rmtree(folder)


def test_rows_may_differ_in_what_their_config_says(tmp_path):
    rows = ("a: masking.ratio=0.25", "b: masking.ratio=0.4")
    for name, ratio in (("a", 0.25), ("b", 0.4)):
        changes = NEW | {"rows": rows, "masking.ratio": ratio}
        fake_runs.write_run(tmp_path / name, DEMO, "random", "", **changes)
    found, _ = report_runs.read_runs(tmp_path)
    assert [run.name for run in found] == [f"{RANDOM}, a", f"{RANDOM}, b"]


def _with_file(folder, sha256):
    """A row that hides by a file of masks of that content."""
    changes = NEW | {"masking.masks": f"{sha256[0]}.npz"}
    changes |= {"masking.strategy": "file-masks"}
    fake_runs.write_run(folder, DEMO, "random", "", **changes)
    path = folder / run_files.CONFIG
    content = json.loads(path.read_text())
    entry = {"value": f"{sha256[0]}.npz", "sha256": sha256}
    content["inputs"]["masking.masks"] = entry
    path.write_text(json.dumps(content))


def test_two_files_of_masks_are_two_rows_judged_each_by_its_own(tmp_path):
    _with_file(tmp_path / "a", "1" * 64)
    _with_file(tmp_path / "b", "2" * 64)
    runs, _ = report_runs.read_runs(tmp_path)
    assert [run.name for run in runs] == [f"masks from a file, {x}" for x in "ab"]
    (said,) = [text for text in limits.of_runs(runs) if "Held-out masks" in text]
    assert "differ between the rows (masking.masks)" in said
    _with_file(tmp_path / "c", "1" * 64)
    runs = [run for run in report_runs.read_runs(tmp_path)[0] if "b" not in run.name]
    assert not any("Held-out masks" in text for text in limits.of_runs(runs))


def test_held_out_masks_that_differ_are_told(folder):
    runs, _ = report_runs.read_runs(folder)
    assert not any("Held-out masks" in text for text in limits.of_runs(runs))
    for name, value, strategy in (
        ("ratio", 0.4, "random"),
        ("anchors", ("cup",), "difference"),
        ("scores", "s.npz", None),  # no held-out strategy reads it
        ("masks", "per_epoch", None),  # held-out masks are static
    ):
        settings = runs[-1].settings | {f"masking.{name}": value}
        shown = [*runs[:-1], dataclasses.replace(runs[-1], settings=settings)]
        said = [text for text in limits.of_runs(shown) if "Held-out masks" in text]
        assert len(said) == (strategy is not None), name
        assert all(f"(masking.{name})" in text for text in said)


def test_each_row_is_drawn_with_its_own_masking(tiny_records):
    experiment = configure.load(ROOT / "tpu_configs" / "tiny.py")
    source = Corpus.of(tiny_records).source("train")
    few, many = (
        dataclasses.replace(experiment.masking, strategy="random", ratio=ratio)
        for ratio in (0.2, 0.4)
    )
    (example,) = drawn.draw(experiment, source, [0], {"few": few, "many": many}, 0)
    notes = {row.name: row.note for row in example.rows}
    assert notes["few"].startswith("84 patches hidden (20 %")
    assert notes["many"].startswith("168 patches hidden (40 %")


def test_another_start_does_not_belong_on_the_page(folder):
    path = folder / "random" / "config.json"
    text = path.read_text().replace(
        '"model.checkpoint": "small"', '"model.checkpoint": null'
    )
    path.write_text(text)
    with pytest.raises(ValueError, match=r"differ in model.checkpoint \(small, None\)"):
        report_runs.read_runs(folder)


def test_comparisons_and_questions_of_the_folder(folder):
    found, _ = report_runs.read_runs(folder)
    gains = {
        (c.a, c.b): c.difference.value for c in collect.comparisons(found) if c.is_gain
    }
    assert gains == pytest.approx(
        {(RANDOM, "replay"): -0.06, (BODIES, "replay"): -0.02}
    )
    tables = collect.questions(found)
    assert [t.read_out for t in tables] == ["zero-shot", "match", "answer"]
    assert tables[1].columns[0].best_floor == "frames blanked"


def test_without_questions_or_labels(folder):
    path = folder / "random" / run_files.PROBE
    probe = json.loads(path.read_text())
    del probe["questions"]
    path.write_text(json.dumps(probe))
    found, _ = report_runs.read_runs(folder)
    assert collect.questions(found) == ()
    for run in found:
        run.probe.labels.clear()
    assert collect.comparisons(found) == ()
    assert collect._probe_clips(found[0]) == {"val": 40}


@pytest.mark.parametrize(
    "path, text",
    [
        (None, "random weights"),
        ("small", "the small checkpoint that comes with the project"),
        ("/a/base.ckpt", "the weights in /a/base.ckpt"),
    ],
)
def test_start_in_words(path, text):
    assert collect.describe_start(path).startswith(text)


def _page(tmp_path, records, rows, is_new, **changes):
    base = configure.load(ROOT / "tpu_configs" / "tiny.py")
    for row in rows:
        fake_runs.write_run(tmp_path / row, base, row, records, is_new, **changes)
    html = collect.write_page(tmp_path).read_text(encoding="utf-8")
    text = re.sub(r"<style.*?</style>|<[^>]*>", " ", html, flags=re.DOTALL)
    return html, re.sub(r"\s+", " ", text.replace("\N{NO-BREAK SPACE}", " "))


def test_page_of_a_trained_start_with_replay(tmp_path, tiny_records):
    html, text = _page(tmp_path, tiny_records, fake_runs.ROWS, True, **NEW)
    wanted = [
        "started from the small checkpoint that comes with the project",
        "replay was trained for as many steps as the others",
        "Hidden words, named with the right video",
        "Words: colour",
        "Losses that the start was trained on",
        "Answering questions",
        "120 questions 40 clips",
        "55.0 % 40.0 to 70.0 %",  # difference, zero-shot, all questions
        "45.0 % the best floor",
        "\N{MINUS SIGN}5.0 \N{MINUS SIGN}12.5 to +0.0 against replay",
        f"{BODIES} \N{MINUS SIGN} better of none and replay",
        f"{BODIES} minus replay, the better of none and replay, is",
        f"{BODIES} is not clearly apart on action, zero-shot, match and answer. ",
        "clearly above or below that line",
        "above the start (none) (8.0 to 12.0 %)",
        "not corrected for how many there are",
    ]
    for part in wanted:
        assert part in text, part
    assert "random weights, because" not in text and "untrained network" not in text
    pictures = html.count('src="data:image/jpeg')  # found, random, difference
    assert pictures and pictures % 3 == 0
    assert 'alt="Frames of' in html and "replay: " not in " ".join(
        re.findall(r'alt="[^"]*"', html)
    )


@pytest.mark.parametrize("is_new", [True, False])
@pytest.mark.parametrize("is_probed", [True, False])
@pytest.mark.parametrize("rows", ALONE, ids="+".join)
def test_cases_of_pages_without_some_rows(
    tmp_path, tiny_records, monkeypatch, rows, is_probed, is_new
):
    monkeypatch.setattr(collect, "_examples", lambda *_: ())  # drawing takes longest
    base = configure.load(ROOT / "tpu_configs" / "tiny.py")
    for row in rows:
        fake_runs.write_run(tmp_path / row, base, row, tiny_records, is_new)
        if not is_probed:
            (tmp_path / row / run_files.PROBE).unlink()
    place = tmp_path if len(rows) > 1 else tmp_path / rows[0]
    html = collect.write_page(place).read_text(encoding="utf-8")
    labels = {"random": RANDOM, "difference": BODIES}
    for row in fake_runs.ROWS:
        shown = f"</span>{labels.get(row, row)}</span>"
        assert (shown in html) == (row in rows)
    assert ("have no probe yet" in html) != is_probed


def test_cases_of_records_replaced_or_moved(tmp_path, tiny_records):
    base = configure.load(ROOT / "tpu_configs" / "tiny.py")
    old, new = tmp_path / "old", tmp_path / "new"
    shutil.copytree(tiny_records, old)
    for row in ("none", "random"):
        fake_runs.write_run(tmp_path / "runs" / row, base, row, str(old))
    before = collect.write_page(tmp_path / "runs").read_text()
    old.rename(new)
    with pytest.raises(ValueError, match="nothing is at .*--data to mmdiffmask"):
        collect.write_page(tmp_path / "runs")
    # What pretrain and probe do with --data, for one of the rows.
    place = RunFolder(tmp_path / "runs" / "none").find(inputs.RECORDS, str(new))
    RunFolder(tmp_path / "runs" / "none").remember({inputs.RECORDS: place})
    assert collect.write_page(tmp_path / "runs").read_text() == before
    path = new / "manifest.json"
    told = json.loads(path.read_text())
    told["fingerprint"] = "2" * 64
    path.write_text(json.dumps(told))
    with pytest.raises(ValueError, match="was trained on .* is other content"):
        collect.write_page(tmp_path / "runs")


def test_cases_of_starts_are_told_apart_by_content(tmp_path):
    start = {"value": "ck", "sha256": "1" * 64}
    places = {"none": start, "random": start | {"value": "a/copy/of/it"}}
    places["difference"] = start | {"sha256": "2" * 64}
    for row, entry in places.items():
        changes = NEW | {"model.checkpoint": entry["value"]}
        fake_runs.write_run(tmp_path / row, DEMO, row, "", **changes)
        path = tmp_path / row / run_files.CONFIG
        content = json.loads(path.read_text())
        content["inputs"][inputs.START] = entry
        path.write_text(json.dumps(content))
    told = r"differ in model.checkpoint \(ck with sha256 1+..., ck with sha256 2+..."
    with pytest.raises(ValueError, match=told):
        report_runs.read_runs(tmp_path)
    shutil.rmtree(tmp_path / "difference")
    assert len(report_runs.read_runs(tmp_path)[0]) == 2
    assert "ck (sha256 111" in collect.describe_start("ck", "1" * 64)


def test_page_of_older_runs(tmp_path, tiny_records):
    rows = ("none", "random", "difference")
    _, text = _page(tmp_path, tiny_records, rows, False)
    for part in (
        "started from random weights.",
        "untrained network",
        "Answering questions, which the paper's accuracies are about, is not scored",
        "trained on the hidden patches alone",
        f"action: {BODIES} minus none is +18.0 points",
        f"{BODIES} is ahead on action. ",
        f"Against {RANDOM}, {BODIES} is ahead on action, with one seed",
    ):
        assert part in text, part
    assert (
        "replay was trained" not in text
        and "Hidden words, named with the right video" not in text
    )


def test_cases_of_versions_and_limits_are_those_of_the_runs(folder):
    for row, version in (("none", "0.1"), ("random", "0.2")):
        (folder / row / "versions.json").write_text(json.dumps({"jax": version}))
    noted = RunFolder(folder / "none").versions()
    shared = {"none": noted, "replay": noted}
    assert versions.of_runs(shared) == {"jax": "0.1"}
    data = json.loads((folder / "random" / run_files.DATA).read_text())
    (folder / "random" / run_files.DATA).write_text(
        json.dumps(data | {"fill_only": ["difference-face"]})
    )
    found, _ = report_runs.read_runs(folder)
    found = [run for run in found if run.name in ("none", RANDOM, BODIES)]
    found[0].probe.labels["action"].unknown.update({"swim": 2, "fly": 1})
    found[0].probe.left_out["tone"] = "tone: every clip of train is 'sad'"
    found[1].probe.key.data["text_length"] = 64
    bare = dataclasses.replace(found[2].masks, whole_box=0.0, cut_box=0.0, fill=1.0)
    found[2] = dataclasses.replace(found[2], masks=bare)
    said = limits.of_runs(found)
    for text, words in zip(
        said,
        (
            f"{BODIES} hid random patches alone",
            "masks of Difference-Masking (faces) hide random patches",
            "tone: every clip of train is 'sad'.",
            "of classes that train lacks (fly, swim)",
            f"text_length: none None, {RANDOM} 64, {BODIES} None",
            f"jax 0.1 (none); 0.2 ({RANDOM}); not noted ({BODIES})",
        ),
        strict=True,
    ):
        assert words in text, said
