"""The small file that a run leaves: read as written, small, refused where it is not."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
from helpers import fake_experiment, fake_runs

from mmdiffmask import __main__ as command_line
from mmdiffmask import config, configure, pretrain, run_files, statistics, versions
from mmdiffmask.experiment import (
    kept,
    packed_probe,
    plan,
    result_file,
    runs,
    scores,
)
from mmdiffmask.probe import results
from mmdiffmask.training import checkpoint, saved

TINY = str(fake_experiment.ROOT / "tpu_configs" / "tiny.py")
BASE = fake_experiment.experiment()


@pytest.fixture
def done(tmp_path, tiny_records):
    """All runs of two seeds, and their results."""
    return fake_experiment.keep(BASE, tmp_path, tiny_records)


def large(n: int, questions: int) -> results.Probed:
    """Scores of n clips: three labels, two read-outs, some questions."""
    rng = np.random.default_rng(0)

    def label(rate: float) -> results.Label:
        heads = {
            name: results.LabelHead(
                l2=0.1,
                dev_loss={str(l2): rng.random() for l2 in config.Probe().l2},
                is_right=(rng.random(n) < rate).astype(int).tolist(),
                is_right_knn=(rng.random(n) < rate).astype(int).tolist(),
                log_probability=np.log(rng.random(n)).round(5).tolist(),
            )
            for name in ("joint", "vit")
        }
        floors = statistics.Floors(0.1, 0.2, 10)
        order = rng.permutation(n)
        names = [f"friends_s01e{i // 100:02}_seg02_clip_{i % 100:02}" for i in order]
        return results.Label(heads=heads, floors=floors, clips=names)

    of_each = rng.integers(0, n, questions)
    asked = results.Questions(
        kinds=[("who", "", "where")[i % 3] for i in range(questions)],
        clips=[f"friends_s01e{i // 100:02}_seg02_clip_{i % 100:02}" for i in of_each],
        ids=[f"q{i}" for i in range(questions)],
        chance=0.2,
        read_outs={
            name: results.Scores(
                is_right=rng.integers(0, 2, questions).tolist(),
                log_probability=np.log(rng.random(questions)).round(5).tolist(),
            )
            for name in ("match", "zero-shot")
        },
        floors={
            "match": {
                name: results.Scores(is_right=rng.integers(0, 2, questions).tolist())
                for name in ("frames blanked", "answers only", "untrained")
            }
        },
    )
    return results.Probed(
        key=results.Key(probe={}),
        labels={"action": label(0.5), "object": label(0.7), "shirt": label(0.9)},
        step=300,
        questions=asked,
    )


def test_a_result_is_read_as_it_was_written(done):
    planned, keeping = done
    for one in planned:
        result = kept.read([one], keeping)[one]
        before = results.read(one.folder)
        assert (result.row, result.claim.seed) == (one.row, one.seed)
        assert result.seconds == {"training": 60.0, "probe": 30.0}
        assert result.source == "toy" and result.numbers == versions.NUMBERS
        assert (result.masks is None) == (one.row in ("none", "replay"))
        if result.masks is not None:
            assert dataclasses.asdict(result.masks) == fake_runs.MASKS
        head, old = (x.labels["action"].heads["joint"] for x in (result.probe, before))
        assert head.is_right == old.is_right and head.is_right_knn == old.is_right_knn
        np.testing.assert_allclose(
            head.log_probability, old.log_probability, rtol=0, atol=0.5001e-3
        )
        losses = [
            x["loss"]
            for x in fake_runs.metrics_lines(one.row)[:200]
            if x["kind"] == "train"
        ]
        np.testing.assert_allclose(result.losses, losses[:10], rtol=1e-6)
        steps = {line["step"] for line in result.held_out}
        assert steps == ({0} if one.row == "none" else {0, 90})


def test_answers_stay_with_their_clips_in_another_order():
    probed = large(40, 60)
    content = json.loads(json.dumps(packed_probe.pack(probed, 1000)))
    back = packed_probe.unpack(content, {"bootstrap": 100})
    assert back.key.probe == {"bootstrap": 100} and back.step == 300
    names = sorted({name for label in probed.labels.values() for name in label.clips})
    named = {
        name: f"{content['clips']['sha256']} {i:06}" for i, name in enumerate(names)
    }
    for label, entry in probed.labels.items():
        for name, head in entry.heads.items():
            for field in ("is_right", "is_right_knn"):
                old = dict(zip(entry.clips, getattr(head, field), strict=True))
                unpacked = getattr(back.labels[label].heads[name], field)
                new = dict(zip(back.labels[label].clips, unpacked, strict=True))
                assert new == {named[clip]: value for clip, value in old.items()}
    old, new = probed.questions, back.questions
    for name in ("match", "zero-shot"):
        pairs = zip(old.clips, old.kinds, old.read_outs[name].is_right, strict=True)
        expected = sorted((named[clip], kind, right) for clip, kind, right in pairs)
        pairs = zip(new.clips, new.kinds, new.read_outs[name].is_right, strict=True)
        assert sorted(pairs) == expected
    assert list(new.clips) == sorted(new.clips) and len(set(new.ids)) == 60


def test_what_heads_have_beside_their_answers_is_kept(done, tmp_path):
    planned, keeping = done
    probed = large(40, 60)
    few = [results.Few(fraction=0.01, draw=i, labels=9, accuracy=0.4) for i in (0, 1)]
    label, asked = probed.labels["action"], probed.questions
    head = dataclasses.replace(
        label.heads["joint"], l2=None, l2_of_fold=[1e-4] * 9, few=few
    )
    video = dataclasses.replace(asked.read_outs["match"], is_right=[1] * 60)
    probed = dataclasses.replace(
        probed,
        labels={"action": dataclasses.replace(label, heads={"joint": head})},
        questions=dataclasses.replace(asked, streams={"match": {"video": video}}),
    )
    old = result_file.read(keeping.path(planned[0]))
    path = tmp_path / "result.json"
    result_file.write(path, dataclasses.replace(old, probe=probed))
    back = result_file.read(path)
    assert back.probe.labels["action"].heads["joint"].l2_of_fold == [1e-4] * 9
    of_rule = {(score.measure, score.rule): score for score in scores.of_result(back)}
    assert of_rule["action", "1 % of labels"].accuracy.value == pytest.approx(0.4)
    assert of_rule["match", "video alone"].accuracy.value == 1.0
    assert not back.probe.questions.streams["match"]["video"].log_probability


def with_sides(probed: results.Probed, n: int) -> results.Probed:
    """Every label also from inside boxes, and from outside, of n clips."""
    rng = np.random.default_rng(2)

    def head(rate: float) -> results.LabelHead:
        return results.LabelHead(
            l2_of_fold=[0.1] * 5,
            is_right=(rng.random(n) < rate).astype(int).tolist(),
            is_right_knn=[0] * n,
            log_probability=[-0.5] * n,
        )

    clips = [f"clip {i}" for i in rng.permutation(n)]
    sides = results.Inside(inside=head(0.8), outside=head(0.5), clips=clips)
    labels = {
        name: dataclasses.replace(label, inside=sides)
        for name, label in probed.labels.items()
    }
    return dataclasses.replace(probed, labels=labels)


@pytest.mark.parametrize("n", [40, 70])  # as many as the label has, and others
def test_sides_of_boxes_are_kept(done, tmp_path, n):
    planned, keeping = done
    probed = with_sides(large(40, 60), n)
    old = result_file.read(keeping.path(planned[0]))
    assert scores.sides(old) == {}  # as of a version before
    path = tmp_path / "result.json"
    result_file.write(path, dataclasses.replace(old, probe=probed))
    back = result_file.read(path)
    before = probed.labels["action"].inside
    after = back.probe.labels["action"].inside
    order = np.argsort(before.clips)
    for side in results.SIDES:
        old_head, new_head = getattr(before, side), getattr(after, side)
        assert new_head.is_right == np.array(old_head.is_right)[order].tolist()
        assert new_head.l2_of_fold == [0.1] * 5
    assert len(set(after.clips)) == n
    share = np.mean(before.inside.is_right), np.mean(before.outside.is_right)
    of_rule = {(x.measure, x.rule): x for x in scores.of_result(back)}
    for rule, value in zip(
        ("inside boxes", "as many cells outside"), share, strict=True
    ):
        one = of_rule["action", rule]
        assert one.accuracy.value == pytest.approx(value) and one.is_further
    gap = scores.sides(back)["action"]
    assert gap.value == pytest.approx(share[0] - share[1]) and gap.n == n


@pytest.mark.long
def test_a_file_with_sides_of_many_clips_is_small(done, tmp_path):
    planned, keeping = done
    old = result_file.read(keeping.path(planned[0]))
    path = tmp_path / "result.json"
    for n, is_kept in ((6000, True), (40_000, False)):
        probed = with_sides(large(3000, 0), n)
        result_file.write(path, dataclasses.replace(old, probe=probed))
        assert path.stat().st_size <= result_file.LARGEST
        labels = result_file.read(path).probe.labels
        assert {x.inside is not None for x in labels.values()} == {is_kept}


def test_other_clips_have_other_names():
    probed = large(40, 0)
    label = probed.labels["action"]
    other = dataclasses.replace(label, clips=[*label.clips[:-1], "another"])
    one, two = (
        packed_probe.pack(
            dataclasses.replace(probed, labels={"action": entry}, questions=None),
            1000,
        )
        for entry in (label, other)
    )
    assert one["clips"]["sha256"] != two["clips"]["sha256"]


@pytest.mark.parametrize(
    "n, questions, per_unit, has_beside",
    [(300, 450, 1000, True), (3000, 0, 200, True), (3000, 15000, None, False)],
)
def test_files_are_small(tmp_path, done, n, questions, per_unit, has_beside):
    planned, keeping = done
    path = tmp_path / "result.json"
    small = result_file.read(keeping.path(planned[-1]))
    result_file.write(path, dataclasses.replace(small, probe=large(n, questions)))
    assert path.stat().st_size <= result_file.LARGEST == 30_000
    content = json.loads(path.read_text())["probe"]
    logs = content["labels"]["action"]["joint"].get("log_probability", {})
    assert logs.get("per_unit") == per_unit
    assert "log_probability" not in content["labels"]["action"]["vit"]
    assert bool(content["questions"].get("floors")) == has_beside or not questions
    back = result_file.read(path).probe
    assert len(back.labels["shirt"].clips) == n
    assert len(back.questions.ids) == questions


@pytest.mark.parametrize("how", ["cut", "changed", "empty", "no JSON"])
def test_a_damaged_result_is_one_sentence(done, how):
    planned, keeping = done
    path = keeping.path(planned[0])
    text = path.read_text()
    changed = text.replace('"n":100', '"n":101', 1)
    damaged = {"cut": text[:500], "changed": changed, "empty": "{}", "no JSON": "[1]"}
    assert damaged[how] != text
    path.write_text(damaged[how])
    with pytest.raises(ValueError) as error:
        kept.read(planned, keeping)
    message = str(error.value)
    assert message.startswith(f"{path}: damaged (") and "\n" not in message
    assert "delete it, and mmdiffmask experiment makes its run anew" in message


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"training.lr": 0.5}, "with training.lr=0.001, not 0.5; delete it"),
        ({"masking.ratio": 0.5}, "with masking.ratio=0.25, not 0.5"),
    ],
)
def test_results_of_other_settings_do_not_fit(done, changes, words):
    planned, keeping = done
    texts = [f"{name}={value}" for name, value in changes.items()]
    other = [
        dataclasses.replace(one, settings=configure.override(one.settings, texts))
        for one in planned
    ]
    with pytest.raises(ValueError, match=words):
        kept.read(other, keeping)


def test_settings_that_a_run_does_not_depend_on_may_change(done):
    planned, keeping = done
    base = dataclasses.replace(
        BASE,
        name="other",
        rows=(*BASE.rows, "more: masking.strategy=motion"),
        contrasts=("difference:action - random:action",),
        report_clips=1,
    )
    later = plan.plan(base, planned[0].folder.path.parent, (0, 1))
    results_now = kept.read(later, keeping)
    assert [one.row for one in later if one not in results_now] == ["more", "more"]
    (item,) = kept.compare(results_now)
    assert item.seeds == (0, 1) and item.over_seeds.n == 2


def test_results_of_other_code_seeds_rows_and_records_do_not_fit(
    done, tmp_path, monkeypatch, tiny_records
):
    planned, keeping = done
    first, second = keeping.path(planned[0]), keeping.path(planned[4])
    with pytest.raises(ValueError, match="with training 1 of the code, not 7"):
        with monkeypatch.context() as patch:
            patch.setitem(versions.NUMBERS, "training", 7)
            kept.read(planned, keeping)
    shutil.copy(second, first)
    with pytest.raises(ValueError, match="with --seed=1, not 0"):
        kept.read(planned, keeping)
    shutil.copy(keeping.path(planned[1]), first)
    with pytest.raises(ValueError, match="of a run with "):
        kept.read(planned, keeping)
    fake = {"value": "x", "sha256": "1" * 64}
    result = result_file.read(second)
    claim = dataclasses.replace(
        result.claim, inputs=result.claim.inputs | {"records": fake}
    )
    result_file.write(second, dataclasses.replace(result, claim=claim))
    with pytest.raises(ValueError, match="other content of records: x"):
        kept.read([planned[4]], keeping, tiny_records)
    assert kept.read([planned[4]], keeping)  # where no records are here to compare
    with pytest.raises(ValueError, match="on other records than "):
        kept.read(planned[1:], keeping)


def test_weights_are_removed_once_the_result_is_there(tmp_path, tiny_records):
    planned = plan.plan(BASE, tmp_path, (0,))
    one = planned[-1]
    fake_experiment.finish(one, tiny_records)
    for name in ("start", "steps", "features"):
        one.folder.at(name).mkdir()
        (one.folder.at(name) / "weights").write_text("x")
    kept.Kept(tmp_path / "a", has_weights=True).write(one)
    assert one.folder.at("steps").is_dir() and not saved.is_removed(one.folder)
    kept.Kept(tmp_path / "b").write(one)
    assert not any(one.folder.at(x).exists() for x in ("start", "steps", "features"))
    with pytest.raises(ValueError, match="its weights were removed once its result"):
        checkpoint.load_params(one.folder)
    owner = pretrain.claim(one.settings, tiny_records, 0)
    assert pretrain.is_finished(one.folder, owner)
    # The result can be made again of what the folder still holds.
    kept.Kept(tmp_path / "c").write(one)
    texts = {
        (tmp_path / name / "difference" / "seed=0.json").read_text() for name in "abc"
    }
    assert len(texts) == 1


def test_a_removal_that_was_interrupted_goes_on(done, tiny_records):
    planned, keeping = done
    runs.run(planned, tiny_records, workers=1, kept=keeping)
    folder, other = planned[0].folder, planned[1].folder.at(run_files.SAVED)
    before = other.stat().st_mtime_ns
    folder.at("steps").mkdir()
    runs.run(planned, tiny_records, workers=1, kept=keeping)
    assert not folder.at("steps").exists()
    assert other.stat().st_mtime_ns == before


def test_a_run_whose_code_changed_since_leaves_no_result(tmp_path, tiny_records):
    (one, *_) = plan.plan(BASE, tmp_path, (0,))
    fake_experiment.finish(one, tiny_records)
    begun = "records 1, training 0, features 1, heads 1"
    one.folder.write(run_files.VERSIONS, {"numbers": begun})
    with pytest.raises(ValueError, match=f"was begun by other code .{begun}; now"):
        kept.Kept(tmp_path / "results").write(one)


def test_a_run_with_a_result_is_not_done_again(done, tiny_records, monkeypatch):
    planned, keeping = done
    begun = []
    monkeypatch.setattr(runs, "_run_all", lambda todo, *_: begun.extend(todo))
    for one in planned:
        shutil.rmtree(one.folder.path)
    runs.run(planned, tiny_records, workers=1, kept=keeping)
    assert begun == []
    keeping.path(planned[2]).unlink()
    runs.run(planned, tiny_records, workers=1, kept=keeping)
    assert begun == [planned[2]]


def arguments(*words: str) -> list[str]:
    rows = f"rows={list(BASE.rows)}"
    words = ("--set", rows, "--set", "terms.imgs_to_audio=1.0", *words)
    return ["experiment", TINY, "--seeds", "2", *words]


def test_in_a_fresh_clone_nothing_is_computed(
    done, tmp_path, tmp_path_factory, monkeypatch, capsys
):
    _, keeping = done
    clone = tmp_path_factory.mktemp("clone")
    shutil.copytree(keeping.folder, clone / "results")
    monkeypatch.chdir(clone)

    def fail(*_, **__):
        raise AssertionError("something is computed")

    from mmdiffmask import toy_records

    monkeypatch.setattr(toy_records, "make", fail)
    monkeypatch.setattr(runs, "run", fail)
    assert command_line.main(arguments("--results", "results")) == 0
    out = capsys.readouterr().out
    assert out.startswith("Accuracy in %") and "\ndifference " in out
    assert (clone / "runs" / "tiny" / run_files.TABLES).is_file()
    assert not (clone / "data").exists()
    words = [x for x in arguments("--results", "results") if x not in ("--seeds", "2")]
    assert command_line.main(words) == 0  # as many seeds as there are results of
    assert capsys.readouterr().out == out


def test_a_row_may_not_be_called_like_the_results(tmp_path, capsys):
    words = ["experiment", TINY, "--workdir", str(tmp_path / "x"), "--plan"]
    words += ["--set", "rows=['results: masking.strategy=random']"]
    assert command_line.main(words) == 2
    assert "would lie in the folder of row results" in capsys.readouterr().err
