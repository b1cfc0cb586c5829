"""Tables, CSV and page of an experiment, from results whose numbers are known."""

import csv
import dataclasses
import html
import re

import numpy as np
import pytest
import scipy.stats
from helpers import fake_experiment, fake_runs

from mmdiffmask import __main__ as command_line
from mmdiffmask import configure, run_files
from mmdiffmask.data.records import seconds
from mmdiffmask.experiment import held_out, kept, outcome, plan, result_file, tables
from mmdiffmask.masking import published, strategies
from mmdiffmask.probe import results as results_of_probe

CONTRAST = "difference:action - random:action"
BASE = fake_experiment.experiment(contrasts=(CONTRAST,))
SEEDS = (0, 1, 2)
RATIO = BASE.masking.ratio


@pytest.fixture(scope="module")
def done(tmp_path_factory, tiny_records):
    """All runs with three seeds, and their results."""
    workdir = tmp_path_factory.mktemp("experiment")
    planned, keeping = fake_experiment.keep(BASE, workdir, tiny_records, SEEDS)
    return planned, keeping, kept.read(planned, keeping)


def share(row, seed):
    return np.mean(fake_runs.noisy(fake_experiment.RATES[row], seed, 100))


def shown(path):
    """The text of a page."""
    text = re.sub(r"<style>.*?</style>", "", path.read_text(), flags=re.DOTALL)
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]*>", " ", text)))


def test_rows_that_hide_nothing_come_first(tmp_path, tiny_records):
    rows = BASE.rows[2:] + BASE.rows[1::-1]
    base = dataclasses.replace(BASE, rows=rows)
    planned, keeping = fake_experiment.keep(base, tmp_path, tiny_records, (0,))
    made = tables.make(planned, kept.read(planned, keeping))
    assert [row.name for row in made.rows] == ["none", "replay", "random", "difference"]
    assert [row.strategy for row in made.rows] == ["", "", "random", "difference"]


def test_accuracies_are_means_over_seeds_with_t_intervals(done):
    planned, _, results = done
    made = tables.make(planned, results)
    assert made.measures == ("action", "zero-shot", "match", "answer")
    for row in made.rows:
        values = [share(row.name, seed) for seed in SEEDS]
        cell = row.cells["action"]
        assert (cell.n, cell.count) == (3, 100)
        assert cell.mean == pytest.approx(np.mean(values))
        assert cell.sd == pytest.approx(np.std(values, ddof=1))
        interval = scipy.stats.ttest_1samp(values, 0).confidence_interval(0.95)
        np.testing.assert_allclose((cell.low, cell.high), interval)
        same = row.cells["zero-shot"]  # of all seeds
        assert same.mean == pytest.approx(fake_runs.ANSWERS[row.name] / 120)
        assert (same.sd, same.low) == (0.0, None)
    assert made.floors["action"] == {"largest class": 0.27, "chance": 0.25}
    floors = {"frames blanked": 0.45, "answers only": 0.25, "chance": 0.25}
    assert made.floors["match"] == floors


def test_one_seed_has_the_interval_over_clips(done):
    planned, _, results = done
    alone = {one: result for one, result in results.items() if one.seed == 0}
    made = tables.make(list(alone), alone)
    for row in made.rows:
        cell = row.cells["action"]
        assert (cell.n, cell.sd) == (1, None) and cell.low < cell.mean < cell.high
    assert "one seed" in made.contrasts[0].reason


def test_sides_of_boxes_are_shown(tmp_path, tiny_records):
    """The paper's Eq. 1 by row: both sides, and their difference over seeds."""
    base = fake_experiment.experiment()
    base = dataclasses.replace(base, rows=base.rows[:1])
    planned, keeping = fake_experiment.keep(base, tmp_path, tiny_records, SEEDS)
    results = kept.read(planned, keeping)
    gaps = []
    for one, result in results.items():
        head = result.probe.labels["action"].heads["joint"]
        right = fake_runs.noisy(0.8, one.seed, 100)
        gaps.append(np.mean(right) - np.mean(head.is_right))
        inside = dataclasses.replace(head, is_right=right)
        sides = results_of_probe.Inside(
            inside=inside, outside=head, clips=result.probe.labels["action"].clips
        )
        label = dataclasses.replace(result.probe.labels["action"], inside=sides)
        probe = dataclasses.replace(result.probe, labels={"action": label})
        results[one] = dataclasses.replace(result, probe=probe)
    made = tables.make(planned, results)
    cell = made.rows[0].sides["action"]
    assert made.sides == ("action",) and cell.n == 3
    assert cell.mean == pytest.approx(np.mean(gaps))
    names = {"action, inside boxes", "action, as many cells outside"}
    assert names <= set(made.further)
    outcome.write(planned, results, keeping.folder, tmp_path)
    text = shown(tmp_path / run_files.TABLES)
    assert f"{100 * cell.mean:+.1f} sd {100 * cell.sd:.1f}, 3 seeds" in text
    lines = list(csv.DictReader((tmp_path / run_files.CSV).open()))
    shares = [x for x in lines if x["read_out"] == "inside minus outside"]
    assert [float(x["value"]) for x in shares] == pytest.approx(gaps)
    assert {(x["statistic"], x["n"]) for x in shares} == {
        ("accuracy_difference", "100")
    }
    alone = {one: result for one, result in results.items() if one.seed == 0}
    cell = tables.make(list(alone), alone).rows[0].sides["action"]
    assert cell.sd is None and cell.low < cell.mean < cell.high


def test_masks_stand_beside_their_bound(done):
    planned, _, results = done
    rows = {row.name: row for row in tables.make(planned, results).rows}
    assert rows["none"].hidden is None and rows["replay"].hidden is None
    hidden = rows["difference"].hidden
    assert hidden.in_boxes.mean == pytest.approx(0.7)
    assert hidden.bound == pytest.approx(fake_runs.MASKS["boxes_share"] / RATIO)
    one = next(one for one in planned if one.row == "difference")
    masks = dataclasses.replace(results[one].masks, boxes_share=0.5)
    many = results | {one: dataclasses.replace(results[one], masks=masks)}
    made = tables.make([one], {one: many[one]})
    assert made.rows[0].hidden.bound == 1.0


def test_retrieval_at_both_ends_and_costs(done):
    planned, _, results = done
    rows = {row.name: row for row in tables.make(planned, results).rows}
    first, last = rows["random"].held_out["difference", "hidden"]
    assert first.mean == pytest.approx(fake_runs.FINDS["none"])
    assert last.mean == pytest.approx(fake_runs.FINDS["random"])
    assert rows["random"].cost.total == 90.0 and rows["random"].cost.boxes == ""
    assert rows["difference"].cost.boxes.startswith("body: detectors over all")
    assert rows["none"].cost.boxes == rows["none"].cost.passes == ""


def test_hours_of_detectors_are_those_of_the_records(done, tiny_records, tmp_path):
    planned, _, results = done
    one = next(one for one in planned if one.row == "difference")
    noted = seconds.read(tiny_records)
    assert noted.keys() == {"ssdlite", "mtcnn"} and min(noted.values()) > 0
    assert results[one].detectors == noted
    made = tables.make([one], {one: dataclasses.replace(results[one], detectors={})})
    assert "do not note" in made.rows[0].cost.boxes  # as of a version before
    spent = {"mtcnn": 5400.0, "ssdlite": 360.0}
    changed = dataclasses.replace(results[one], detectors=spent)
    path = tmp_path / "result.json"
    result_file.write(path, changed)
    made = tables.make([one], {one: result_file.read(path)})
    assert made.rows[0].cost.boxes.endswith("rows: mtcnn 1.5 h, ssdlite 0.1 h")


@pytest.mark.parametrize(
    "kind, words", [("start", "one of the start"), ("live", "own")]
)
def test_strategies_by_attention_need_passes(done, kind, words):
    planned, _, results = done
    one = planned[2]
    name = next(row.name for row in strategies.REGISTRY.values() if row.is_by_attention)
    claim = results[one].claim
    changes = {"masking.strategy": name, "masking.attention": kind}
    claim = dataclasses.replace(claim, settings=claim.settings | changes)
    result = dataclasses.replace(results[one], claim=claim)
    assert words in tables.make([one], {one: result}).rows[0].cost.passes


def test_further_scores_have_a_table_of_their_own(done, tmp_path):
    planned, _, results = done
    assert tables.make(planned, results).further == ()

    def with_few(one, result):
        few = [
            results_of_probe.Few(
                fraction=0.1, draw=i, labels=9, accuracy=x, log_probability=-1.5
            )
            for i, x in enumerate((0.25, 0.75, 0.2 + one.seed / 10))
        ]
        label = result.probe.labels["action"]
        heads = {n: dataclasses.replace(h, few=few) for n, h in label.heads.items()}
        label = dataclasses.replace(label, heads=heads)
        asked = dataclasses.replace(
            result.probe.questions,
            streams={"match": {"video": result.probe.questions.read_outs["match"]}},
        )
        labels = {"action": label}
        probe = dataclasses.replace(result.probe, labels=labels, questions=asked)
        return dataclasses.replace(result, probe=probe)

    many = {one: with_few(one, result) for one, result in results.items()}
    made = tables.make(planned, many)
    assert made.further == ("action, 10 % of labels", "match, video alone")
    assert made.measures == ("action", "zero-shot", "match", "answer")
    for row in made.rows:
        cell = row.further["action, 10 % of labels"]
        assert cell.mean == pytest.approx((1 + 0.3) / 3) and cell.n == 3
        assert cell.sd == pytest.approx(0.1 / 3) and cell.log_probability == -1.5
        assert row.further["match, video alone"].mean == row.cells["match"].mean
    outcome.write(planned, many, tmp_path, tmp_path)
    page = shown(tmp_path / run_files.TABLES)
    assert (
        "Further scores" in page and "Row action, 10 % of labels match, video" in page
    )


def test_the_csv_is_tidy(done, tmp_path):
    planned, keeping, results = done
    outcome.write(planned, results, keeping.folder, tmp_path)
    with (tmp_path / run_files.CSV).open() as file:
        lines = list(csv.DictReader(file))
    for row in fake_runs.ROWS:
        for seed in SEEDS:
            mine = [x for x in lines if (x["row"], x["seed"]) == (row, str(seed))]
            keys = [(x["measure"], x["read_out"], x["statistic"]) for x in mine]
            assert len(set(keys)) == len(keys)
            values = dict(zip(keys, mine, strict=True))
            accuracy = values["action", "joint", "accuracy"]
            assert float(accuracy["value"]) == pytest.approx(share(row, seed))
            assert accuracy["n"] == "100"
            logs = values["action", "joint", "log_probability"]
            assert float(logs["value"]) == pytest.approx(-1, abs=0.1)
            kinds = values["match/colour", "", "accuracy"]
            assert kinds["n"] == "40"
            seconds = values["cost", "", "processor seconds, training"]
            assert float(seconds["value"]) == 60.0
            if row == "difference":
                bound = values["masks", "", "bound_of_in_boxes"]
                assert float(bound["value"]) == pytest.approx(0.8)


def test_the_page_shows_all_of_it(done, tmp_path):
    planned, keeping, results = done
    text = "\n".join(outcome.write(planned, results, keeping.folder, tmp_path))
    page = tmp_path / run_files.TABLES
    said = shown(page)
    (item,) = kept.compare(results)
    mean = f"{100 * item.over_seeds.mean:+.1f}".replace("-", "\N{MINUS SIGN}")
    verdict = "seen" if item.is_seen else "not seen"
    assert f"{CONTRAST} {verdict} 3 {mean} " in said
    assert "over the 1 contrasts that two or more seeds measured" in said
    for row in fake_runs.ROWS:
        value = np.mean([share(row, seed) for seed in SEEDS])
        assert f"{100 * value:.1f}\N{NO-BREAK SPACE}%" in page.read_text()
        assert f"{100 * value:.1f} (" in text
    assert "73.75" in said and "71.37" in said and "90 %" in said
    assert "FrozenBiLM" in said and "82.06" in said and "2206.08155" in said
    assert "Table 5 (boxes of faces and of bodies) has rows that are not here" in said
    assert "70.0 of at most  80.0" in text and str(page) in text
    source = page.read_text()
    assert source.count("<table>") == source.count('class="scroll"') >= 5
    assert 'name="viewport"' in source and "http://" not in source


def test_tables_of_the_paper_are_shown_where_their_rows_are(tmp_path, tiny_records):
    rows = (*BASE.rows, "faces: masking.strategy=difference-face")
    base = dataclasses.replace(BASE, rows=rows)
    planned = plan.plan(base, tmp_path, (0,))
    known, keeping = fake_experiment.keep(BASE, tmp_path, tiny_records, (0,))
    results = kept.read(known, keeping)
    faces = next(one for one in planned if one.row == "faces")
    old = results[next(one for one in known if one.row == "difference")]
    claim = dataclasses.replace(
        old.claim,
        settings=result_file.counted(configure.settings(faces.settings)),
    )
    path = keeping.path(faces)
    result_file.write(path, dataclasses.replace(old, row="faces", claim=claim))
    results = kept.read(planned, keeping)
    made = tables.make(planned, results)
    five = next(table for table in published.TABLES if table.number == 5)
    names = [row.name for row in made.of_paper(five)]
    assert names == ["none", "replay", "random", "difference", "faces"]
    outcome.write(planned, results, keeping.folder, tmp_path)
    said = shown(tmp_path / run_files.TABLES)
    assert "The paper's Table 5: boxes of faces and of bodies" in said
    assert "81.51" in said


def test_cells_of_the_paper_are_of_strategies_that_there_are():
    names = [name for table in published.TABLES for name in table.cells]
    assert {*names, *published.IN_BOXES} <= strategies.REGISTRY.keys()
    assert published.TABLES[0].cells["difference"]["social_iq"] == (71.37, 0.58)


def test_contrasts_that_were_named_late_are_marked(done, tmp_path):
    planned, keeping, results = done
    later = "random:action - none:action"
    base = dataclasses.replace(BASE, contrasts=(CONTRAST, later))
    again = plan.plan(base, tmp_path, SEEDS)
    made = tables.make(again, kept.read(again, keeping))
    assert made.late == (later,) and len(made.contrasts) == 2
    results = kept.read(again, keeping)
    text = "\n".join(outcome.write(again, results, keeping.folder, tmp_path))
    assert f"named after some runs had begun: {later}" in text
    assert f"Not named yet when some run was begun: {later}." in shown(
        tmp_path / run_files.TABLES
    )


def test_missing_results_are_counted_and_named(done, tmp_path):
    planned, keeping, results = done
    some = {one: results[one] for one in planned[:6]}
    (said,) = outcome.write(planned, some, keeping.folder, tmp_path / "new")
    assert said.startswith(
        f"{keeping.folder}: 6 of 12 results are missing (row random,"
    )
    assert said.count("; row") == 3 and "; ...)" in said
    assert not (tmp_path / "new").exists()


def test_names_are_escaped(tmp_path, tiny_records):
    planned, keeping = fake_experiment.keep(BASE, tmp_path, tiny_records, (0,))
    results = kept.read(planned, keeping)
    one = planned[0]
    label = results[one].probe.labels["action"]
    evil = {
        one: dataclasses.replace(
            result,
            probe=dataclasses.replace(result.probe, labels={"<b>x": label}),
        )
        for one, result in results.items()
    }
    alone = {one: evil[one]}
    settings = dataclasses.replace(one.settings, contrasts=())
    named = dataclasses.replace(one, settings=settings)
    outcome.write([named], {named: alone[one]}, keeping.folder, tmp_path)
    source = (tmp_path / run_files.TABLES).read_text()
    assert "&lt;b&gt;x" in source and "<b>x" not in source


def test_the_command_writes_both_beside_the_runs(done, tmp_path, capsys):
    _, keeping, _ = done
    words = ["experiment", str(fake_experiment.ROOT / "tpu_configs" / "tiny.py")]
    words += ["--set", f"rows={list(BASE.rows)}", "--set", f"contrasts=['{CONTRAST}']"]
    words += ["--set", "terms.imgs_to_audio=1.0", "--results", str(keeping.folder)]
    assert command_line.main([*words, "--seeds", "3", "--workdir", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("Accuracy in %") and CONTRAST in out
    assert (tmp_path / run_files.CSV).is_file()
    assert (tmp_path / run_files.TABLES).is_file()


def test_rows_share_held_out_columns_and_own_ones_stand_last(done):
    planned, _, results = done
    rows = {row.name: row for row in tables.make(planned, results).rows}
    both = held_out.shown(tuple(rows.values()), {"hidden"}.__contains__)
    masks = [name for name, _ in both.columns]
    assert sorted(masks) == sorted(BASE.masking.held_out) and not both.others
    assert not both.has_own
    names = {"difference": "moved", "random": "random"}
    scored = rows["difference"].held_out.items()
    own = {(names[m], name): ends for (m, name), ends in scored if m in names}
    moved = dataclasses.replace(
        rows["difference"],
        name="moved",
        strategy="moved",
        held_out=own,
        choice=rows["difference"].choice | {"masking.anchors": ["face"]},
    )
    some = held_out.shown(
        (rows["none"], rows["random"], moved), {"hidden"}.__contains__
    )
    assert some.columns == (("random", "hidden"), (held_out.OWN, "hidden"))
    assert some.cells["moved"][-1] == own["moved", "hidden"]
    assert some.cells["none"][-1] is None
    assert some.cells["random"][0] == some.cells["random"][1]
    assert some.others == ("moved",) and some.has_own
