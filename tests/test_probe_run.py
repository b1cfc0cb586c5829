"""The probe of a run with all read-outs: results, floors, caches, refusals, table."""

import dataclasses
import pathlib
import shutil

import numpy as np
import pytest

from mmdiffmask import configure, run_files, runs, starts
from mmdiffmask.data import tokenizers
from mmdiffmask.data.corpus import Corpus
from mmdiffmask.probe import floors, question_features, table
from mmdiffmask.probe import questions as question_probe
from mmdiffmask.probe import run as probing
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
    runs.pretrain(experiment, tiny_records, str(folder), 0)
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
    for name in ("match", "answer"):
        entry = asked.read_outs[name]
        assert entry.dev_loss[str(entry.l2)] == min(entry.dev_loss.values())
    assert set(found.labels) == {"action", "object", "shirt"}


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
    shared = list((tokenizers.cache_folder() / "floors").glob("*.json"))
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
    task = question_probe.open_task(experiment, Corpus.of(tiny_records), "", run)
    first, *others = Corpus.of(tiny_records).entries("val")
    hidden = first.example_id
    entries = [dataclasses.replace(first, answer_index=-1), *others]
    chosen, unanswered = question_probe.choose(experiment, "val", entries, range(18))
    assert unanswered == 1
    assert hidden not in {question.example_id for question in chosen}
    assert len(chosen) == len(task.chosen["val"]) - 1


def test_wrong_kinds_and_bare_checkpoints_are_refused(run, experiment, tiny_records):
    with pytest.raises(ValueError, match="probe.kinds"):
        probing.probe(changed(experiment, kinds=("x",)), str(run))
    task = question_probe.open_task(experiment, Corpus.of(tiny_records), "", run)
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
