"""The probe of a run with all read-outs: results, floors, caches, refusals, table."""

import dataclasses
import json
import pathlib
import shutil
import zipfile

import numpy as np
import pytest

from mmdiffmask import __main__ as command_line
from mmdiffmask import configure, examples, inputs, pretrain, run_files, starts
from mmdiffmask.data import cache, loader
from mmdiffmask.data.corpus import Corpus
from mmdiffmask.data.records import manifest
from mmdiffmask.probe import (
    encoders,
    feature_parts,
    floors,
    question_features,
    results,
    submission,
    table,
    tasks,
)
from mmdiffmask.probe import features as clip_features
from mmdiffmask.probe import questions as question_probe
from mmdiffmask.probe import run as probing
from mmdiffmask.report import limits
from mmdiffmask.report import runs as report_runs
from mmdiffmask.run_folder import RunFolder
from mmdiffmask.training import checkpoint

TINY = pathlib.Path(__file__).resolve().parents[1] / "tpu_configs" / "tiny.py"
KINDS = ("doing=doing", "colour=colour", "who=^who")
FLOORS = {*floors.VIEWS, "untrained"}


@pytest.fixture(scope="module")
def experiment():
    found = configure.override(configure.load(TINY), ["training.steps=0"])
    settings = dataclasses.replace(
        found.probe, read_outs=("clip", "match", "answer"), kinds=KINDS
    )
    return dataclasses.replace(found, probe=settings)


@pytest.fixture(scope="module")
def run(tmp_path_factory, tiny_records, experiment):
    folder = tmp_path_factory.mktemp("run") / "none"
    pretrain.pretrain(experiment, tiny_records, str(folder), 0)
    return folder


@pytest.fixture(scope="module")
def found(run, experiment):
    return probing.probe(experiment, str(run))


def changed(experiment, **settings):
    settings = dataclasses.replace(experiment.probe, **settings)
    return dataclasses.replace(experiment, probe=settings)


def test_every_read_out_and_floor_scores_every_question(found):
    asked = found.questions
    n = len(asked.ids)
    assert n == len(set(asked.ids)) == len(asked.clips) == len(asked.kinds)
    assert asked.chance == pytest.approx(0.2)
    assert set(asked.kinds) <= {"doing", "colour", "who", ""}
    assert asked.counts["val"] == n and not any(asked.unanswered.values())
    assert list(asked.read_outs) == ["zero-shot", "match", "answer"]
    assert list(asked.floors) == ["zero-shot", "match", "answer"]
    for name, entry in asked.read_outs.items():
        assert set(asked.floors[name]) == FLOORS
        for scores in (entry, *asked.floors[name].values()):
            assert len(scores.is_right) == n and set(scores.is_right) <= {0, 1}
        logs = np.array(entry.log_probability)
        assert len(logs) == n and (logs <= 0).all()
        # Who gives the right one more than half of it all answers rightly.
        assert all(np.array(entry.is_right)[logs > np.log(0.5)] == 1)
    for name in ("match", "answer"):
        entry = asked.read_outs[name]
        assert entry.dev_loss[str(entry.l2)] == min(entry.dev_loss.values())
    assert set(found.labels) == {"action", "object", "shirt"}


def test_folds_score_held_out_clips_by_each_other(run, experiment, monkeypatch):
    seen, extract = [], clip_features.extract

    def noted(encode, params, batches, note=int):
        part = extract(encode, params, batches, note)
        seen.extend(part.clip)
        return part

    monkeypatch.setattr(clip_features, "extract", noted)
    by_folds = changed(
        experiment, folds=3, labels=("action",), read_outs=("clip", "match")
    )
    probed = probing.probe(by_folds, str(run))
    val = Corpus.of(RunFolder(run).find(inputs.RECORDS))
    held_out = {entry.clip for entry in val.entries("val")}
    assert set(seen) <= held_out  # none of train's
    label, asked = probed.labels["action"], probed.questions
    assert set(label.clips) == held_out == set(asked.clips)
    assert set(asked.counts) == {"val"}
    for scores in (*label.heads.values(), asked.read_outs["match"]):
        assert scores.l2 is None and len(scores.l2_of_fold) == 3
        assert len(scores.log_probability) == len(scores.is_right)
    assert set(asked.floors["match"]) == FLOORS
    assert "heads of each of 3 folds" in table.lines(probed)
    assert probing.probe(by_folds, str(run)) == probed
    with pytest.raises(ValueError, match="each fold needs one; take fewer folds"):
        probing.probe(changed(by_folds, folds=7), str(run))
    with pytest.raises(ValueError, match="leave probe.folds at 0"):
        probing.probe(by_folds, str(run), submission="x.zip")


def test_an_untrained_start_is_its_own_floor(found):
    # The row `none` from a random start: the same weights made a second way.
    asked = found.questions
    for name, entry in asked.read_outs.items():
        floor = asked.floors[name]["untrained"]
        assert floor.is_right == entry.is_right


def test_probing_again_costs_nothing(run, found, experiment, monkeypatch):
    before = (run / run_files.PROBE).stat().st_mtime_ns
    monkeypatch.setattr(question_features, "extract", None)
    assert probing.probe(experiment, str(run)) == found
    # Other heads on the same features: no encoder runs.
    other = probing.probe(changed(experiment, link="sigmoid"), str(run))
    assert other.key != found.key
    assert other.questions.ids == found.questions.ids
    assert (run / run_files.PROBE).stat().st_mtime_ns != before
    zero_shot = [x.questions.read_outs["zero-shot"] for x in (found, other)]
    assert zero_shot[0] == zero_shot[1]


def test_the_untrained_floor_is_computed_once_for_all_rows(
    run, experiment, tmp_path, monkeypatch
):
    few = changed(experiment, read_outs=("match",), questions=24, eval_questions=10)
    row = probing.probe(few, str(run)).questions
    other = tmp_path / "other"
    left = shutil.ignore_patterns(run_files.FEATURES, run_files.PROBE)
    shutil.copytree(run, other, ignore=left)
    monkeypatch.setattr(starts, "random", None)  # asked for, it would fail
    assert probing.probe(few, str(other)).questions == row
    shared = list((cache.folder() / "floors").glob("*.json"))
    for path in shared:
        path.write_text("{}")
    with pytest.raises(ValueError, match="holds other questions; delete it"):
        probing.probe(changed(few, bootstrap=100), str(other))
    for path in shared:
        path.unlink()


def test_fewer_questions_and_no_floors(run, experiment):
    few = changed(
        experiment, read_outs=("match",), questions=20, eval_questions=10, floors=False
    )
    found = probing.probe(few, str(run))
    asked = found.questions
    assert asked.counts == {"train": 20, "dev": 9, "val": 10}
    assert asked.ids == sorted(asked.ids) and len(asked.ids) == 10
    assert asked.floors == {} and found.labels == {}
    assert list(asked.read_outs) == ["zero-shot", "match"]


def test_questions_without_known_answer_are_left_out(run, experiment, tiny_records):
    task = tasks.open_task(experiment, Corpus.of(tiny_records), "", run)
    first, *others = Corpus.of(tiny_records).entries("val")
    hidden = first.example_id
    entries = [dataclasses.replace(first, answer_index=-1), *others]
    chosen, unanswered = tasks.choose(experiment, "val", entries, range(18))
    assert unanswered == 1
    assert hidden not in {question.example_id for question in chosen}
    assert len(chosen) == len(task.chosen["val"]) - 1


def test_wrong_kinds_and_bare_checkpoints_are_refused(run, experiment, tiny_records):
    with pytest.raises(ValueError, match="probe.kinds"):
        probing.probe(changed(experiment, kinds=("x",)), str(run))
    task = tasks.open_task(experiment, Corpus.of(tiny_records), "", run)
    params = checkpoint.load_params(RunFolder(run), "start")
    bare = {name: value for name, value in params.items() if name != "span_encoder"}
    with pytest.raises(ValueError, match="no span_encoder"):
        question_probe.probe(task, bare, "", 0)


def test_the_table_shows_kinds_and_the_best_floor(found):
    lines = table.lines(found).splitlines()
    rows = [line for line in lines if line.startswith("match")]
    assert any(
        "all questions" in row and "18 questions of 6 clips" in row for row in rows
    )
    assert sum("doing" in row for row in rows) == 1
    asked = found.questions
    best = max(
        [np.mean(f.is_right) for f in asked.floors["match"].values()] + [asked.chance]
    )
    row = next(row for row in rows if "all questions" in row)
    assert f"best floor {100 * best:.1f} (" in row


def test_the_interval_is_over_clips():
    clips, every = [f"c{i // 5}" for i in range(100)], np.ones(100, bool)
    alike = [int(i // 5 % 2) for i in range(100)]  # a clip's questions go together
    mixed = [i % 2 for i in range(100)]
    wide = table.by_clip(alike, clips, every, 500)
    narrow = table.by_clip(mixed, clips, every, 500)
    assert wide.value == narrow.value == 0.5 and wide.n == 20
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)
    all_right = table.by_clip([1] * 100, clips, every, 500)
    assert all_right.high == 1.0 and 0.8 < all_right.low < 0.9


FEW = {"questions": 20, "eval_questions": 10, "floors": False}


def test_a_checkpoint_is_probed_without_a_run(
    run, experiment, tiny_records, tmp_path, capsys, monkeypatch
):
    folder = tmp_path / "alone"
    probe = ["probe", str(TINY), "--data", tiny_records, "--workdir", str(folder)]
    few = ["probe.questions=20", "probe.eval_questions=10", "probe.floors=false"]
    few += ["probe.read_outs=clip,match", "probe.labels=action"]
    few = [word for item in few for word in ("--set", item)]
    assert command_line.main([*probe, *few, "--checkpoint", str(run)]) == 0
    shown = capsys.readouterr().out
    assert "match" in shown and shown.startswith("after 0 steps")
    probed = results.read(RunFolder(folder))
    settings = FEW | {"read_outs": ("clip", "match"), "labels": ("action",)}
    settings |= {"kinds": ("all=",)}
    whole = probing.probe(changed(experiment, **settings), str(run))
    assert probed.labels == whole.labels and probed.records == {}
    assert probed.questions == whole.questions
    # Again: from what is there, with settings of the probe that may be others.
    monkeypatch.setattr(question_features, "extract", None)
    again = [*probe, *few, "--checkpoint", str(run), "--set", "probe.link=sigmoid"]
    assert command_line.main(again) == 0
    assert command_line.main([*probe, *few]) == 2
    assert "which --checkpoint names" in capsys.readouterr().err
    assert command_line.main([*again, "--set", "data.dev_share=0.4"]) == 2
    assert "holds a run with data.dev_share=0.3, not 0.4" in capsys.readouterr().err
    # It is no row of a page.
    assert command_line.main(["report", str(tmp_path)]) == 2
    assert "only checkpoints that were probed" in capsys.readouterr().err


def test_a_checkpoint_of_other_sizes_leaves_no_folder(tiny_records, tmp_path, capsys):
    folder = tmp_path / "alone"
    probe = ["probe", str(TINY), "--data", tiny_records, "--workdir", str(folder)]
    assert command_line.main([*probe, "--checkpoint", "small"]) == 2
    assert "small: does not fit the model" in capsys.readouterr().err
    assert not folder.exists()


@pytest.fixture(scope="module")
def other_records(tiny_records, tmp_path_factory):
    """The same shards as records of another content."""
    folder = tmp_path_factory.mktemp("records") / "other"
    shutil.copytree(tiny_records, folder)
    path = folder / manifest.NAME
    content = json.loads(path.read_text())
    content["settings"]["seed"] = "another"
    content["fingerprint"] = "0" * 64
    path.write_text(json.dumps(content))
    return str(folder)


def test_a_run_is_probed_on_other_records(
    run, experiment, tiny_records, other_records, tmp_path, caplog
):
    few = changed(experiment, read_outs=("match",), **FEW)
    own = probing.probe(few, str(run), tiny_records)
    folder = tmp_path / "runs" / "none"
    shutil.copytree(run, folder)
    places = (folder / run_files.PLACES).read_text()
    probed = probing.probe(few, str(folder), other_records)
    assert "looks at other records than it trained on" in caplog.text
    assert probed.records["value"] == other_records
    assert probed.records["sha256"] == probed.key.manifest != own.key.manifest
    assert probed.questions == own.questions
    assert results.read(RunFolder(folder)) == probed
    assert (folder / run_files.PLACES).read_text() == places
    found, _ = report_runs.read_runs(folder.parent)
    assert any("from other records than" in text for text in limits.of_runs(found))
    # Beside a row that was probed on its own records there is no page.
    shutil.copytree(run, folder.parent / "own")
    with pytest.raises(ValueError, match="differ in the records that they were probed"):
        report_runs.read_runs(folder.parent)
    # The run's own again.
    assert probing.probe(few, str(folder)) == own


def test_features_of_all_records_by_id(run, experiment, tiny_records, tmp_path, capsys):
    out = tmp_path / "features.npz"
    features = ["features", str(run), "--out", str(out)]
    few = ["--set", "probe.read_outs=clip,match"]
    assert command_line.main([*features, *few]) == 0
    assert "question/span" in capsys.readouterr().out
    corpus = Corpus.of(tiny_records)
    with np.load(out) as stored:
        arrays = dict(stored)
    splits = [
        (name, entry) for name in ("train", "val") for entry in corpus.entries(name)
    ]
    assert list(arrays["question/id"]) == [entry.example_id for _, entry in splits]
    assert list(arrays["question/split"]) == [name for name, _ in splits]
    assert list(arrays["question/clip"]) == [entry.clip for _, entry in splits]
    assert list(arrays["question/right"]) == [entry.answer_index for _, entry in splits]
    assert set(arrays["clip/id"]) == {entry.clip for _, entry in splits}
    n, hidden = len(splits), experiment.model.hidden
    shapes = {name: value.shape for name, value in arrays.items()}
    assert shapes["clip/joint"] == shapes["clip/vit"] == (20, hidden)
    assert shapes["question/match/frames and sound"] == (n, hidden)
    assert shapes["question/span"] == (n, 5, hidden)
    # They are those that the probe's own heads see.
    entries = [corpus.entries("val")[i] for i in corpus.first_of_clips("val")]
    source = corpus.source("val")
    row = examples.make_row(experiment.data, experiment.masking, source)
    batch = loader.stack([row(i) for i in corpus.first_of_clips("val")])
    params = checkpoint.load_params(RunFolder(run), "last")
    expected = encoders.of_clips(experiment)(params, batch)["joint"]
    position = {name: i for i, name in enumerate(arrays["clip/id"])}
    rows = [position[entry.clip] for entry in entries]
    np.testing.assert_allclose(arrays["clip/joint"][rows], expected, atol=2e-5)
    for words, wrong in (
        ("only probe.* and", [*features, "--set", "data.rows=4"]),
        ("ends with .npz", ["features", str(run), "--out", "x.zip"]),
        ("no run here", ["features", str(tmp_path), "--out", str(out)]),
    ):
        assert command_line.main(wrong) == 2
        assert words in capsys.readouterr().err


def test_a_submission_answers_every_question(run, tiny_records, tmp_path, capsys):
    records = tmp_path / "records"
    shutil.copytree(tiny_records, records)
    content = json.loads((records / manifest.NAME).read_text())
    for kind in ("shards", "index"):
        content[kind]["test_public"] = content[kind]["train"]
    (records / manifest.NAME).write_text(json.dumps(content))
    out = tmp_path / "answers.zip"
    probe = ["probe", str(TINY), "--workdir", str(tmp_path / "probe")]
    probe += ["--checkpoint", str(run), "--submission", str(out), "--set"]
    probe += ["probe.read_outs=match", "--set", "probe.floors=false"]
    assert command_line.main([*probe, "--data", tiny_records]) == 2
    assert "has no split test_public" in capsys.readouterr().err
    assert command_line.main([*probe, "--data", str(records)]) == 0
    with zipfile.ZipFile(out) as archive:
        files = {name: json.loads(archive.read(name)) for name in archive.namelist()}
    names = (*submission.FILES.values(), "meta.json")
    val, test, meta = (files[name] for name in names)
    assert meta["is_ensemble"] is False and meta["with_ts"] is True
    corpus, ids = Corpus.of(records), submission.question_id
    for answers, split in ((val, "val"), (test, "test_public")):
        assert list(answers) == [ids(x.example_id) for x in corpus.entries(split)]
        assert set(answers.values()) <= set(range(5))
    # It answers as the head that the probe scored.
    asked = results.read(RunFolder(tmp_path / "probe")).questions
    right = {ids(x.example_id): x.answer_index for x in corpus.entries("val")}
    hits = asked.read_outs["match"].is_right
    is_right = dict(zip(map(ids, asked.ids), hits, strict=True))
    assert len(is_right) == len(val)
    assert {n: float(val[n] == right[n]) for n in val} == is_right
    before = out.read_bytes()
    assert command_line.main([*probe, "--data", str(records)]) == 0
    assert out.read_bytes() == before


def test_heads_take_features_of_half_the_bytes(run, experiment, tmp_path, monkeypatch):
    settings = FEW | {"read_outs": ("clip", "match", "answer"), "labels": ("action",)}
    few, folder = changed(experiment, **settings), tmp_path / "half"
    whole = probing.probe(few, str(run))
    left = shutil.ignore_patterns(run_files.FEATURES, run_files.PROBE)
    shutil.copytree(run, folder, ignore=left)
    monkeypatch.setattr(feature_parts, "stored_type", lambda model: np.float16)
    half = probing.probe(few, str(folder))
    for path in (folder / run_files.FEATURES).rglob("*.npz"):
        with np.load(path) as stored:
            kinds = {stored[name].dtype for name in stored.files if name != "clip"}
            assert kinds == {np.dtype(np.float16)}
    pairs = [
        (scores, half.questions.read_outs[name])
        for name, scores in whole.questions.read_outs.items()
    ]
    pairs += [
        (head, half.labels["action"].heads[name])
        for name, head in whole.labels["action"].heads.items()
    ]
    for one, two in pairs:
        assert two.dev_loss == pytest.approx(one.dev_loss, abs=0.05)


def test_ids_of_questions_are_tvqa_s():
    assert submission.question_id("000123~s01e02_seg02_clip_03") == "123"
    assert submission.question_id("val-0007") == "val-0007"
    with pytest.raises(ValueError, match="2 questions of val have 1 ids"):
        submission._by_id(("1~a", "01~b"), np.zeros(2, int), "val")
