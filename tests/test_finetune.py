"""Fine-tuning on labels: its term, its scores, its runs, its commands, its refusals."""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import killed_run
from helpers import tiny_labels as tiny

from mmdiffmask import (
    __main__,
    build,
    finetune,
    finetune_job,
    finetune_table,
    pretrain,
    run_files,
    statistics,
    text_start,
)
from mmdiffmask.models.bert import model as bert
from mmdiffmask.models.bert import names
from mmdiffmask.models.bert.settings import BertSettings
from mmdiffmask.run_folder import RunFolder
from mmdiffmask.training import checkpoint, evaluate, text_objective
from mmdiffmask.training.family import Held
from mmdiffmask.training.terms import classify, mlm
from mmdiffmask.types import TextBatch

pytestmark = pytest.mark.usefixtures("quick_compilation")

PROGRAM = pathlib.Path(__file__).with_name("helpers") / "tiny_labels.py"
LABELS = ("data", "theory", "tool")
LEARNS = (
    "training.steps=40",
    "training.lr=0.01",
    "training.eval_every=20",
    "training.save_every=20",
    "model.hidden_dropout=0",
    "model.attention_dropout=0",
)
B, L = 6, 7


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.make(tmp_path_factory.mktemp("labels"))


@pytest.fixture(scope="module")
def tuned(folder, tmp_path_factory):
    """A run, and the content of its answers.json."""
    run = tmp_path_factory.mktemp("runs") / "tuned"
    return run, tiny.tune(folder, run, *LEARNS)


@pytest.fixture(scope="module")
def cpt(folder, tmp_path_factory):
    return tiny.pretrained(folder, tmp_path_factory.mktemp("runs") / "cpt")


def make_objective(family, rate=0.0):
    """A small encoder of a family, which classifies, and its weights."""
    sizes = BertSettings(
        family,
        vocabulary=11,
        hidden=8,
        layers=1,
        heads=2,
        intermediate=12,
        positions=12,
        labels=len(LABELS),
        hidden_dropout=rate,
        attention_dropout=rate,
        initial_spread=0.5,
    )
    trained = (*names.BODY, "pooler", "classifier")
    flat = bert.init(jax.random.key(1), sizes, names.shapes(sizes, trained))
    params = {}
    for path, value in flat.items():
        node = params
        for part in path.split("/")[:-1]:
            node = node.setdefault(part, {})
        node[path.split("/")[-1]] = value
    weights = ((classify.NAME, 1.0),)
    return mlm.TextObjective(sizes, weights, 0, (1, 1), LABELS), params


def make_batch():
    ids = np.random.default_rng(0).integers(1, 11, (B, L)).astype(np.int32)
    nothing = np.zeros((B, L), bool)
    return TextBatch(
        input_ids=ids,
        attention_mask=np.arange(L)[None] < np.array([7, 5, 6, 7, 4, 7])[:, None],
        unit_of_token=ids,
        unit_score=np.zeros((B, L), np.float32),
        is_box_unit=~nothing,
        word_class=ids,
        is_hidden=nothing,
        shown_ids=ids,
        example_hash=np.arange(B, dtype=np.uint32),
        clip_hash=np.arange(B, dtype=np.uint32),
        is_real=np.arange(B) < B - 1,
        label=np.array([0, 1, 2, 1, 1, 0], np.int32),
    )


def numpy_log_probability(objective, params, batch):
    """(log-probabilities, what the last layer reads), restated."""
    read = jax.jit(mlm.states, static_argnums=0)
    seq = np.asarray(read(objective, params, batch.input_ids, batch))[:, 0]
    is_bert = objective.settings.family == "bert"
    dense = params["pooler"] if is_bert else params["classifier"]["dense"]
    last = params["classifier"] if is_bert else params["classifier"]["output"]
    inner = np.tanh(seq @ np.asarray(dense["kernel"]) + np.asarray(dense["bias"]))
    values = inner @ np.asarray(last["kernel"]) + np.asarray(last["bias"])
    return values - np.log(np.exp(values).sum(1, keepdims=True)), inner


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_loss_and_gradient_are_those_of_numpy(family):
    objective, params = make_objective(family)
    batch = make_batch()
    network = text_objective.family(objective)
    held, key = Held({}, {}, jax.random.key(0)), jax.random.key(3)

    def loss(params):
        terms, _ = network.terms(params, held, batch, None, key)
        return terms[classify.NAME]

    value, grads = jax.jit(jax.value_and_grad(loss))(params)
    log_probability, inner = numpy_log_probability(objective, params, batch)
    right = np.eye(len(LABELS))[batch.label]
    assert value == pytest.approx(-(log_probability * right).sum(1).mean(), rel=1e-5)
    error = (np.exp(log_probability) - right) / B
    last = grads["classifier"]["output"] if family == "roberta" else grads["classifier"]
    np.testing.assert_allclose(last["kernel"], inner.T @ error, atol=1e-5)
    np.testing.assert_allclose(last["bias"], error.sum(0), atol=1e-5)
    # The label reaches the tables of the encoder too.
    assert np.abs(grads["embeddings"]["word"]).max() > 0


def test_dropout_follows_the_key():
    objective, params = make_objective("bert", rate=0.3)
    batch = make_batch()
    loss = jax.jit(classify.loss, static_argnums=0)
    values = [
        float(loss(objective, params, batch, key))
        for key in (jax.random.key(0), jax.random.key(0), jax.random.key(1), None)
    ]
    assert values[0] == values[1] and len(set(values)) == 3


def macro_f1(right, said, counts_named=True):
    """As answers.json has it: every label that is said counts."""
    counts = statistics.class_counts(said, right, 4).sum(0, keepdims=True)
    return statistics.macro_f1(counts, counts_named=counts_named)[0]


def test_held_out_scores_are_those_of_numpy():
    objective, params = make_objective("bert")
    batch = make_batch()
    network = text_objective.family(objective)
    rows = evaluate.masked(
        network.scores,
        {classify.LABELS: lambda batch: None},
        params,
        Held({}, {}, jax.random.key(0)),
        [jax.tree.map(jnp.asarray, batch)],
        4,
        seed=0,
    )
    log_probability, _ = numpy_log_probability(objective, params, batch)
    real = batch.is_real
    right, said = batch.label[real], log_probability.argmax(1)[real]
    expected = {
        classify.F1: macro_f1(right, said),
        classify.ACCURACY: np.mean(right == said),
        classify.LOG_PROBABILITY: log_probability[real][range(B - 1), right].mean(),
    }
    for metric, value in expected.items():
        score = evaluate.value_of(rows, classify.LABELS, metric)
        assert score == pytest.approx(value, abs=1e-5), metric


def test_macro_f1_is_the_mean_over_labels_that_occur():
    right, said = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1])
    assert macro_f1(right, said) == pytest.approx((2 / 3 + 4 / 5) / 2)
    # A label that is said and never right counts 0; one that is nowhere does not.
    said = np.array([0, 3, 1, 1])
    assert macro_f1(right, said) == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert macro_f1(right, said, counts_named=False) == pytest.approx((2 / 3 + 1) / 2)


def test_a_run_learns_and_answers_every_row(folder, tuned):
    run, answers = tuned
    lines = [json.loads(x) for x in (run / run_files.METRICS).read_text().splitlines()]
    losses = [line["loss"] for line in lines if line["kind"] == "train"]
    assert losses[-1] < 0.8 * losses[0]
    dev, log_probability = (
        {
            line["step"]: line["value"]
            for line in lines
            if (line.get("stream"), line.get("metric")) == ("all", metric)
        }
        for metric in (classify.F1, classify.LOG_PROBABILITY)
    )
    assert log_probability[40] > log_probability[0] + 0.1
    assert answers["labels"] == list(LABELS)
    assert answers["splits"]["dev"]["f1"] == pytest.approx(dev[answers["step"]])
    assert dev[answers["step"]] == max(dev.values())
    rows = answers["splits"]["test"]["rows"]
    assert [row["id"] for row in rows] == [f"test-{i}" for i in range(64, 77)]
    hits = [row["label"] == row["answer"] for row in rows]
    assert answers["splits"]["test"]["accuracy"] == pytest.approx(np.mean(hits))
    before = (run / run_files.METRICS).stat().st_mtime_ns
    assert tiny.tune(folder, run, *LEARNS) == answers
    assert (run / run_files.METRICS).stat().st_mtime_ns == before
    (run / run_files.ANSWERS).unlink()  # a run may be killed between the two
    assert tiny.tune(folder, run, *LEARNS) == answers


def test_it_starts_from_a_run_with_a_head_of_its_own(folder, cpt):
    experiment = tiny.experiment(folder, f"model.start={cpt}")
    starts = []
    for seed in (0, 1):
        owner = pretrain.claim(experiment, str(folder), seed)
        starts.append(build.prepare(experiment, str(folder), owner).job.start())
    for which, seed in (("best", 0), ("best", 1)):
        kept = checkpoint.load_params(RunFolder(cpt), which)["encoder"]
        jax.tree.map(np.testing.assert_array_equal, starts[seed]["encoder"], kept)
    one, two = (start["classifier"]["kernel"] for start in starts)
    assert (one != two).any() and "mlm" not in starts[0]
    pooler = text_start.checkpoint(experiment.model).params["pooler"]
    jax.tree.map(np.testing.assert_array_equal, starts[0]["pooler"], pooler)
    plain = pretrain.claim(tiny.experiment(folder), str(folder), 0)
    assert plain.inputs["model.checkpoint"] != owner.inputs["model.checkpoint"]


def test_a_run_of_the_same_labels_hands_its_classifier_on(folder, tuned):
    experiment = tiny.experiment(folder, f"model.start={tuned[0]}")
    owner = pretrain.claim(experiment, str(folder), 5)
    start = build.prepare(experiment, str(folder), owner).job.start()
    before = checkpoint.load_params(RunFolder(tuned[0]), "best")
    jax.tree.map(np.testing.assert_array_equal, start, before)


@pytest.mark.slow
def test_joint_training_has_both_losses(folder, cpt, tmp_path):
    changes = (f"model.start={cpt}", "terms.mlm=0.5", "masking.masks=per_epoch")
    tiny.tune(folder, tmp_path / "joint", *changes)
    text = (tmp_path / "joint" / run_files.METRICS).read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    train = [line for line in lines if line["kind"] == "train"]
    for line in train:
        total = line["loss_classify"] + 0.5 * line["loss_mlm"]
        assert line["loss"] == pytest.approx(total, rel=1e-5)
    experiment = tiny.experiment(folder, *changes)
    owner = pretrain.claim(experiment, str(folder), 0)
    job = build.prepare(experiment, str(folder), owner).job
    job.prepare()
    seen = {}
    with job.train_batches(0) as batches:
        for batch, _ in batches:
            for window in np.asarray(batch.unlabelled.example_hash):
                seen[int(window)] = seen.get(int(window), 0) + 1
            hidden = finetune_job.of_unlabelled(jax.random.key(0), batch, 0)
            assert np.asarray(hidden.is_masked).any(1).all()
    assert sum(seen.values()) == 64 and len(seen) > 30


@pytest.mark.slow
def test_a_score_that_no_longer_rises_stops_a_run(folder, tmp_path):
    tiny.tune(folder, tmp_path / "run", "training.lr=0", "training.patience=1")
    text = (tmp_path / "run" / run_files.METRICS).read_text()
    steps = [json.loads(x)["step"] for x in text.splitlines() if '"train"' in x]
    assert max(steps) == 4  # of 8
    assert checkpoint.step_of(RunFolder(tmp_path / "run"), "best") == 0


@pytest.mark.slow
def test_the_command_shows_seeds_side_by_side(folder, cpt, tmp_path, capsys):
    path = tmp_path / "tiny.py"
    path.write_text(
        "from helpers import tiny_labels\n\n\ndef get_config():\n"
        f"    return tiny_labels.experiment({str(folder)!r})\n"
    )
    command = ["finetune", str(path), "--data", str(folder), "--start", str(cpt)]
    command += ["--which", "last", "--workdir", str(tmp_path / "runs"), "--seeds", "2"]
    assert __main__.main(command) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == f"tiny-labels from {cpt} (seed 0, 1)"
    assert out[1].startswith("  dev  macro F1 ") and "mean" in out[2] and "sd" in out[2]
    assert finetune_table.lines(tmp_path / "runs") == out
    assert __main__.main(["finetuned", str(tmp_path / "runs")]) == 0
    assert __main__.main(["finetuned", str(folder)]) == 2
    assert "holds no run that mmdiffmask finetune" in capsys.readouterr().err
    command = ["finetune", str(path), "--workdir", "x", "--which", "last"]
    assert __main__.main(command) == 2
    assert "--which last: is of --start" in capsys.readouterr().err


def refused(folder, *changes):
    """What is said of a run."""
    with pytest.raises(ValueError) as error:
        experiment = tiny.experiment(folder, *changes)
        build.check(experiment)
        build.verify(experiment, str(folder))
    assert "\n" not in str(error.value)
    return str(error.value)


def test_starts_that_cannot_be(folder, cpt, tuned, tmp_path):
    start = "model.start={}".format
    assert "no run here" in refused(folder, start(tmp_path))
    assert "was fine-tuned already" not in refused(folder, start(tmp_path))
    unfinished = RunFolder(tmp_path / "unfinished")
    unfinished.claim(RunFolder(cpt).owner())
    assert "is not finished" in refused(folder, start(unfinished))
    other = tiny.encoder(tmp_path / "other", parts=())
    reason = refused(folder, start(cpt), f"model.checkpoint={other}")
    assert "was trained from another encoder" in reason and "set model.check" in reason
    reason = refused(folder, start(cpt), "terms.mlm=1", "terms.classify=0")
    assert "training.stop_on=f1" in reason
    changes = ("terms.mlm=1", "terms.classify=0", "training.stop_on=loss")
    assert "what fine-tuning starts from" in refused(folder, start(cpt), *changes)


def test_rows_that_cannot_be(folder, tmp_path):
    assert "names no file: fine-tuning picks" in refused(folder, "data.dev=")
    assert "has no 'kind'" in refused(folder, "data.label_field=kind")
    line = json.dumps({"id": "odd", "text": "we use", "label": "verse"}) + "\n"
    copy = tiny.make(tmp_path / "copy")
    with (copy / "dev.jsonl").open("a") as file:
        file.write(line)
    reason = refused(copy)
    assert "dev.jsonl, text 17" in reason and "'verse', which no row of" in reason
    (copy / "labels.json").write_text('["tool", "theory"]')
    assert "which labels.json lacks" in refused(copy, "data.label_names=labels.json")
    (copy / "labels.json").write_text('{"tool": 1}')
    assert "must be a JSON list" in refused(copy, "data.label_names=labels.json")


def test_runs_that_are_no_fine_tuning(folder):
    changes = ["terms.classify=0", "terms.mlm=1", "training.stop_on=loss"]
    with pytest.raises(ValueError, match="terms.classify is 0, so no label is learnt"):
        finetune.check(tiny.experiment(folder, *changes))


@pytest.mark.long
def test_a_killed_run_ends_with_the_same_bits(folder, tmp_path):
    """With dropout, both losses, and a kill at the first save and a later one."""
    changes = ["training.steps=14", "model.hidden_dropout=0.3", "terms.mlm=0.5"]
    files = (run_files.METRICS, run_files.ANSWERS)
    killed_run.assert_same_bits(PROGRAM, (folder, changes), tmp_path, files)
