"""Experiments of texts: results in small files, contrasts, tables and the page."""

import dataclasses

import numpy as np
import pytest
from helpers import labelled_texts

from mmdiffmask import config, configure, contrasts, inputs, statistics, versions
from mmdiffmask.experiment import (
    kept,
    page,
    plan,
    progress,
    result_file,
    scores,
    tables,
    text_tables,
    tidy,
)
from mmdiffmask.inputs import Claim
from mmdiffmask.masking import published_texts, text_summary
from mmdiffmask.probe import contrasted, results, text_labels
from mmdiffmask.run_folder import RunFolder

PRIMARY = "difference:label/macro-f1 - random-word:label/macro-f1"
ROWS = (
    "none: training.steps=0",
    "random-word: masking.strategy=random-word",
    "difference: masking.strategy=difference-word",
    "centroid: masking.strategy=difference-word; masking.similarity=centroid",
    "five: masking.strategy=difference-word; masking.anchor_count=5",
)
EXPERIMENT = config.Experiment(
    name="texts",
    data=config.Texts(dev=("dev.jsonl",), test=("test.jsonl",)),
    model=config.Encoder(),
    masking=config.Masking(
        strategy="random-word", held_out=("random-word",), anchors=()
    ),
    terms=config.Terms(patches=0.0, mlm=1.0),
    training=config.Training(steps=4, warmup_steps=1),
    probe=config.Probe(
        folds=3, l2=(1.0,), fractions=(0.2,), fraction_draws=2, bootstrap=200
    ),
    rows=ROWS,
    contrasts=(
        PRIMARY,
        "random-word:label/macro-f1 - none:label/macro-f1",
        "five:label - random-word:label",
    ),
    row_seeds=("random-word=2", "difference=2"),
)
FILES = labelled_texts.files()
TEXTS = labelled_texts.rows(FILES)
MASKS = text_summary.TextMaskSummary(
    windows=60,
    hidden_share=0.25,
    in_words=1.0,
    cut_words=0.0,
    of_class={"content": 0.6, "function": 0.4},
    lift={"content": 1.2, "function": 0.8},
    most=[["kinase", 12, 20], ["<b>", 9, 20]],
    anchors=[],
)


def probed(row, seed):
    """Scores of features that know fewer words for some rows."""
    noise = np.random.default_rng([len(row), seed]).normal(
        size=(len(TEXTS), 32), scale={"none": 4.0, "random-word": 1.0}.get(row, 0.6)
    )
    vectors = labelled_texts.bags(TEXTS)
    noisy = {"mean": (vectors.vectors["mean"] + noise).astype(np.float32)}
    labels = text_labels.probe(
        EXPERIMENT.probe,
        "label",
        TEXTS,
        dataclasses.replace(vectors, vectors=noisy),
    )
    key = results.make_key(probe=dataclasses.asdict(EXPERIMENT.probe))
    return results.Probed(key=key, labels=labels, step=4)


def held_out(step, loss):
    names = {"loss": loss, "loss_content": loss + 1, "hits": 0.1}
    return [
        dict(zip(result_file.LINE, (step, "random-word", *x, 0, 9, 50), strict=True))
        for x in names.items()
    ]


@pytest.fixture(scope="module")
def planned():
    rows = configure.rows(EXPERIMENT)
    counts = plan.seeds_of(EXPERIMENT)
    return [
        plan.Planned(row, seed, settings, RunFolder(f"nowhere/{row}/{seed}"))
        for seed in (0, 1)
        for row, settings in rows.items()
        if seed < counts.get(row, 1)
    ]


@pytest.fixture(scope="module")
def done(planned, tmp_path_factory):
    """Every run's result as it is read back."""
    folder, read = tmp_path_factory.mktemp("results"), {}
    corpus = {inputs.RECORDS: {"value": "texts", "sha256": "0" * 64}}
    for one in planned:
        settings = configure.settings(one.settings)
        result = result_file.Result(
            row=one.row,
            claim=Claim(result_file.counted(settings), one.seed, corpus),
            numbers=dict(versions.NUMBERS),
            versions={"jax": "1"},
            contrasts=list(EXPERIMENT.contrasts),
            source=result_file.TEXTS,
            seconds={"training": 60.0, "probe": 30.0},
            detectors={},
            clips={"pretraining": 60, "dev": 8},
            fill_only=[],
            masks=None if one.row == "none" else MASKS,
            losses=[7.0, 6.5],
            held_out=held_out(0, 7.0) + held_out(4, 6.0),
            probe=probed(one.row, one.seed),
        )
        path = result_file.path_of(folder, one.row, one.seed)
        result_file.write(path, result)
        read[one] = result_file.read(path)
        assert read[one].masks == result.masks
    return read


def test_rows_have_the_seeds_that_the_config_names(planned):
    names = [(one.row, one.seed) for one in planned]
    assert len(names) == 7 and ("difference", 1) in names and ("five", 1) not in names
    for entry in ("other=2", "difference", "difference=0", "difference=x"):
        wrong = dataclasses.replace(EXPERIMENT, row_seeds=(entry,))
        with pytest.raises(ValueError, match=r"row_seeds: '.*write each row once"):
            plan.seeds_of(wrong)
    row = dataclasses.replace(EXPERIMENT, rows=("a: row_seeds=[]",))
    with pytest.raises(ValueError, match="cannot change row_seeds"):
        configure.rows(row)


def test_a_result_gives_back_every_answer(planned, done):
    for one in planned[:2]:
        before, after = probed(one.row, one.seed), done[one].probe
        for name, label in before.labels.items():
            other = after.labels[name]
            order = np.argsort(label.clips)
            for field in ("target", "floors", "parts"):
                values = getattr(label.texts, field)
                kept = getattr(other.texts, field)
                pairs = values.items() if isinstance(values, dict) else [("", values)]
                for key, value in pairs:
                    back = kept[key] if key else kept
                    assert [value[i] for i in order] == back
            groups = [label.texts.groups[i] for i in order]
            assert len(set(zip(groups, other.texts.groups, strict=True))) == len(
                set(groups)
            )
            head, back = label.heads["mean"], other.heads["mean"]
            assert [head.predicted[i] for i in order] == back.predicted
            logs = [head.log_probability[i] for i in order]
            np.testing.assert_allclose(back.log_probability, logs, atol=6e-4)


@pytest.mark.parametrize(
    ("n", "groups", "classes"), [(3469, 1397, 13), (1941, 1424, 6)]
)
def test_a_result_of_a_whole_corpus_is_small(
    done, planned, tmp_path, n, groups, classes
):
    """Of ChemProt's and ACL-ARC's size; answers at random are the hardest to press."""
    rng = np.random.default_rng(0)
    named, other, target = rng.integers(0, classes, (3, n)).tolist()
    hits = [int(a == b) for a, b in zip(named, target, strict=True)]
    head = results.LabelHead(
        l2=1.0,
        is_right=hits,
        is_right_knn=hits,
        log_probability=rng.normal(-1.5, 1, n).tolist(),
        predicted=named,
        few=[
            results.Few(fraction=share, draw=i, labels=9, accuracy=0.5, macro_f1=0.3)
            for share in (0.01, 0.05, 0.2)
            for i in range(20)
        ],
    )
    texts = results.OfTexts(
        classes=[f"class {i}" for i in range(classes)],
        target=target,
        groups=[f"{i:016x}" for i in rng.integers(0, groups, n)],
        floors={"largest": [0] * n, "copied": [0] * n, "bag of words": other},
        parts={"seen": [0] * n, "new": [1] * n},
    )
    label = results.Label(
        heads={"mean": head, "cls": dataclasses.replace(head, few=[])},
        floors=statistics.Floors(0.1, 0.3, classes),
        clips=[f"test {i:06}" for i in range(n)],
        texts=texts,
    )
    scored = results.Probed(
        key=results.make_key(probe={}), labels={"label": label}, step=1
    )
    whole = dataclasses.replace(done[planned[0]], probe=scored, masks=MASKS)
    path = tmp_path / "seed=0.json"
    result_file.write(path, whole)
    assert path.stat().st_size <= result_file.LARGEST
    back = result_file.read(path).probe.labels["label"]
    assert back.heads["mean"].predicted == named and back.texts.target == target
    assert back.heads["mean"].log_probability and back.heads["mean"].few == head.few


def test_a_contrast_of_macro_f1_is_that_of_the_runs(planned, done):
    by_row = {}
    for one, result in done.items():
        by_row.setdefault(one.row, {})[one.seed] = result.probe
    named = contrasts.of_experiment(EXPERIMENT, tuple(by_row))
    primary, second, _ = contrasted.measure(named, by_row, 200)

    def f1(row, seed):
        label = by_row[row][seed].labels["label"]
        counts = statistics.class_counts(
            np.array(label.heads["mean"].predicted), np.array(label.texts.target), 3
        )
        return statistics.macro_f1(counts.sum(0, keepdims=True))[0]

    gains = [f1("difference", s) - f1("random-word", s) for s in (0, 1)]
    assert primary.over_seeds.mean == pytest.approx(np.mean(gains))
    assert primary.over_clips.value == pytest.approx(np.mean(gains))
    assert primary.over_clips.n == len(set(TEXTS.groups)) == 105
    assert primary.over_clips.low < primary.over_clips.value < primary.over_clips.high
    # `none` has one seed, so nothing is compared with it.
    assert second.over_seeds is None and second.reason.startswith("one seed")
    # But it trains nothing: over all results its one run stands for every seed.
    whole, beside_none, single = kept.compare(done)
    assert beside_none.seeds == whole.seeds == (0, 1)
    assert beside_none.over_seeds.mean == pytest.approx(
        np.mean([f1("random-word", s) - f1("none", 0) for s in (0, 1)])
    )
    assert single.over_seeds is None and single.reason.startswith("one seed")


def test_measures_of_texts_have_names():
    known = contrasts.of_texts("label", 5)
    assert {"label", "label/new", "label/test/seen"} <= set(known)
    assert {"label/macro-f1", "label/test/new/log-probability"} <= set(known)
    every = contrasts.parse(["a - b"], ("a", "b"), known)
    assert [one.name for one in every] == ["a - b (label)"]
    with pytest.raises(ValueError, match="accuracies and means of F1 cannot be"):
        contrasts.parse(["a:label/macro-f1 - b:label"], ("a", "b"), known)
    assert "label/test" not in contrasts.of_texts("label", 0)
    wrong = dataclasses.replace(EXPERIMENT, contrasts=("five:action - none:action",))
    with pytest.raises(ValueError, match="no measure 'action'"):
        contrasts.of_experiment(wrong, ("five", "none"))


def test_scores_are_of_all_rows_and_parts_with_intervals_over_groups(planned, done):
    shown = [s for s in scores.of_result(done[planned[1]]) if s.is_main]
    by_name = {score.measure: score for score in shown}
    assert list(by_name)[:2] == ["label/macro-f1", "label"]
    assert by_name["label/test/seen"].count == 5
    assert by_name["label/new"].count == 45
    whole = by_name["label/macro-f1"].accuracy
    assert whole.n == 105 and whole.low < whole.value < whole.high
    further = [s for s in scores.of_result(done[planned[1]]) if s.is_further]
    assert [(s.measure, s.rule) for s in further] == [
        ("label", "20 % of labels"),
        ("label/macro-f1", "20 % of labels"),
    ]


def test_the_page_has_the_papers_tables_floors_and_words(planned, done):
    shown = tables.make(planned, done)
    by_row = {row.name: row for row in shown.rows}
    assert by_row["centroid"].published != by_row["difference"].published != ""
    assert by_row["five"].published == "" and by_row["five"].anchors == (5, "nearest")
    text = page.html(shown)
    for part in ("74.04", "69.02", "Table 3", "Figure 3", "Figure 4", "DAPT", "TAPT"):
        assert part in text, part
    assert "nothing here is about RoBERTa" in text and "sentence encoder" in text
    assert "What could not be told" in text and "one seed with every row" in text
    assert "kinase 12" in text and "<b>" not in text and "clips" not in text
    # A row of other anchors has none of the paper's cells.
    table = text[text.index("Scores by row") if "Scores by row" in text else 0 :]
    five = table[table.index("<th>five") :].split("</tr>")[0]
    assert "74.04" not in five
    lines = "\n".join(page.lines(shown))
    assert "bag of words: label/macro-f1 " in lines and "kinase" in lines
    assert "label of the same text, else the largest class" in lines


def test_every_number_is_in_the_table(planned, done):
    text = tidy.text(done)
    for part in (
        "random-word,0,label/macro-f1,mean,macro F1,",
        "random-word,0,label/test/new,mean,accuracy,",
        '"held-out random-word, step 4",,loss_content,7,50',
        "masks,,how often kinase is hidden,12,1",
    ):
        assert part in text, part


def test_a_plan_counts_minutes_by_updates(planned):
    short, longer = (
        progress._seconds(
            dataclasses.replace(
                EXPERIMENT, training=config.Training(steps=steps, batch_size=16)
            ),
            None,
        )
        for steps in (60, 120)
    )
    pieces = 60 * 16 * EXPERIMENT.data.length
    assert longer - short == pytest.approx(pieces * progress.PIECE_S)


def test_a_row_of_dga_stands_beside_the_papers_dga(planned):
    settings = configure.settings(planned[-1].settings) | {"terms.mlm": 1.0}
    settings |= {"training.steps": 4, "masking.strategy": "random-word"}
    assert text_tables.published(settings) == "random-word"
    assert text_tables.published(settings | {"terms.dga": 0.5}) == published_texts.DGA
