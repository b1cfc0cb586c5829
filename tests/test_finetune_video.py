"""Fine-tuning of video: its term, its rows, its runs and what it refuses."""

import dataclasses
import json
import logging
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import killed_run, question_records, training_run
from helpers import tiny_clips as tiny

from mmdiffmask import (
    __main__,
    build,
    config,
    configure,
    finetune,
    finetune_table,
    grid,
    labelled_clips,
    learning_start,
    run_files,
    types,
    video_family,
)
from mmdiffmask.data import loader, questions, tokenizers, video
from mmdiffmask.data.corpus import Corpus
from mmdiffmask.data.records import index
from mmdiffmask.inputs import Claim
from mmdiffmask.masking import units
from mmdiffmask.models.reserve import checkpoints
from mmdiffmask.probe import encoders, question_features
from mmdiffmask.probe import settings as probe_settings
from mmdiffmask.run_folder import RunFolder
from mmdiffmask.training import checkpoint
from mmdiffmask.training.read_outs import clips
from mmdiffmask.training.terms import classify, classify_video, shared

PROGRAM = pathlib.Path(tiny.__file__)
VIEWS = ("frames and sound", "frames and subtitles")
LABELS = ("run", "sit", "walk")
EXPERIMENT = config.Experiment(
    "x",
    data=config.Data(rows=4, cols=6, segments=2, sub_segments=1, text_length=40),
    model=dataclasses.replace(training_run.MODEL, vocabulary=512),
    terms=config.Terms(patches=0.0, classify=1.0),
)


@pytest.fixture(scope="module", autouse=True)
def _quick_compilation():
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(scope="module")
def params():
    body = training_run.start()
    rng = np.random.default_rng(5)
    table = rng.normal(size=(512, 64)).astype(np.float32)
    heads = {
        "proj": {"kernel": rng.normal(size=(64, 1)).astype(np.float32)},
        "classifier": {
            "kernel": rng.normal(size=(64, 3)).astype(np.float32),
            "bias": np.array([0.1, 0.2, 0.3], np.float32),
        },
    }
    return body | heads | {"token_encoder": {"Embed_0": {"embedding": table}}}


def records():
    """Six questions on three windows; some sound and a frame are not there."""
    no_units = {"covered_share": np.zeros((0, 24), np.float32)}
    silent = {"is_audio_valid": np.array([True, False])}
    dark = {"is_frame_valid": np.array([True, False])}
    changes = [{}, {"question": "Where is it?"}, {}, silent, silent, dark]
    wrong = ("a dog", "the blue man")
    rows = []
    for i in range(6):
        place = i % 3  # of the right answer, which says the same everywhere
        answers = (*wrong[:place], "red", *wrong[place:])
        more = no_units | changes[i] | {"answers": answers}
        rows.append(question_records.record(i, i // 2, **more))
    return rows


@pytest.fixture(scope="module")
def batch():
    data, encode = EXPERIMENT.data, tokenizers.load("toy").encode_plain
    rows = []
    for one in records():
        texts = questions.sequences(one, encode, data.text_length, VIEWS, ("answer",))
        plain = video.row(
            one,
            data,
            grid.PatchGrid(4, 6),
            encode,
            lambda _, seen: units.none(seen.size),
        )
        choices = types.ChoiceBatch(*texts)
        rows.append(plain._replace(label=np.int32(one.answer_index), choices=choices))
    return loader.stack(rows)


def learner(*labels):
    """A network on the batches of `batch`."""
    patches = grid.PatchGrid(4, 6)
    network = video_family.model(EXPERIMENT.model)
    terms, settings = EXPERIMENT.terms, EXPERIMENT.training
    objective = shared.Objective(network, patches, settings, 0, terms)
    return classify_video.Learner(objective, 1.0, labels)


def read(learner, params, batch):
    """Loss, answers and scores in one program."""

    def every(params, batch):
        term = classify_video
        values = (term.loss, term.answers, term.scores)
        return [value(learner, params, batch) for value in values]

    return jax.device_get(jax.jit(every)(params, batch))


def log_softmax(values):
    return values - np.log(np.exp(values).sum(-1, keepdims=True))


def test_questions_are_answered_from_the_features_of_the_probe(params, batch):
    encode = tokenizers.load("toy").encode_plain
    keyed = [(row, index.window_key(row)) for row in records()]
    frozen = question_features.extract(
        encoders.of_questions(EXPERIMENT, ("answer",)),
        params,
        lambda: question_features.groups(
            keyed, encode, EXPERIMENT.data, 6, VIEWS, ("answer",)
        ),
        VIEWS,
    )
    assert frozen.clip == tuple(f"q{i}" for i in range(6))
    kernel = params["proj"]["kernel"][:, 0]
    said = np.stack([frozen.vectors[f"answer/{view}"] @ kernel for view in VIEWS], 1)
    said = log_softmax(said.astype(float))  # (6, 2, 3)
    loss, answers, scores = read(learner(), params, batch)
    right = np.arange(6) % 3
    assert batch.label.tolist() == right.tolist()
    of_right = said[np.arange(6), :, right]
    assert loss == pytest.approx(-of_right.mean(0).sum(), rel=1e-4)
    mean = np.exp(said).mean(1)
    np.testing.assert_allclose(answers.log_probability, np.log(mean), atol=1e-3)
    assert answers.answer.tolist() == mean.argmax(1).tolist()
    numbers = scores[classify_video.QUESTIONS]
    hits, each = numbers[classify.ACCURACY]
    assert hits.tolist() == (mean.argmax(1) == right).tolist()
    assert each.tolist() == [1] * 6
    logs = numbers[classify.LOG_PROBABILITY][0]
    np.testing.assert_allclose(logs, np.log(mean[np.arange(6), right]), atol=1e-3)


def test_labels_are_read_from_pictures_alone(params, batch):
    task = learner(*LABELS)
    encode = jax.jit(clips.encode, static_argnums=0)
    seen = np.asarray(encode(task.objective, params, batch)[clips.JOINT])
    head = params["classifier"]
    said = log_softmax((seen @ head["kernel"] + head["bias"]).astype(float))
    loss, answers, scores = read(task, params, batch)
    assert loss == pytest.approx(-said[np.arange(6), batch.label].mean(), rel=1e-4)
    np.testing.assert_allclose(answers.log_probability, said, atol=1e-4)
    assert list(scores) == list(LABELS)
    hits = sum(scores[name][classify.ACCURACY][0] for name in LABELS)
    assert hits.tolist() == (said.argmax(1) == batch.label).tolist()


@pytest.mark.parametrize("labels", [pytest.param((), marks=pytest.mark.slow), LABELS])
def test_the_whole_network_learns(params, batch, labels):
    """Six rows by heart: the loss falls, and every part that is read changes."""
    task, tx = learner(*labels), optax.adam(3e-3)
    # Windows tell no label apart here: two rows share each.
    batch = batch._replace(
        label=np.arange(6, dtype=np.int32) // 2 if labels else batch.label
    )

    @jax.jit
    def update(params, state):
        term = classify_video.loss
        loss, grads = jax.value_and_grad(lambda p: term(task, p, batch))(params)
        changes, state = tx.update(grads, state)
        return optax.apply_updates(params, changes), state, loss

    now = jax.tree.map(jnp.asarray, params)
    state, losses = tx.init(now), []
    for _ in range(25):
        now, state, loss = update(now, state)
        losses.append(float(loss))
    assert losses[-1] < 0.3 * losses[0], losses
    read_parts = {"vision_encoder", "joint_transformer"}
    read_parts |= (
        {"classifier"} if labels else {"proj", "audio_encoder", "token_encoder"}
    )
    for part, tree in params.items():
        pairs = zip(jax.tree.leaves(tree), jax.tree.leaves(now[part]), strict=True)
        assert any((x != y).any() for x, y in pairs) == (part in read_parts), part


def rows_of(records_dir, *changes):
    return labelled_clips.of_corpus(tiny.experiment(*changes), Corpus.of(records_dir))


def test_rows_of_questions(tiny_records):
    corpus, task = Corpus.of(tiny_records), rows_of(tiny_records)
    assert task.labels == () and list(task.rows) == ["train", "dev", "val"]
    entries = {split: corpus.entries(split) for split in ("train", "val")}
    groups = {}
    for name, rows in task.rows.items():
        some = [entries["val" if name == "val" else "train"][i] for i in rows.positions]
        groups[name] = {entry.group for entry in some}
        assert [entry.example_id for entry in some] == list(rows.names)
        assert [entry.answer_index for entry in some] == list(rows.label)
    assert not groups["train"] & (groups["dev"] | groups["val"])
    assert len(task.rows["val"]) == len(entries["val"])
    row = task.rows["dev"].make_row()(1)
    assert row.label == task.rows["dev"].label[1]
    candidates = len(entries["train"][0].answers)
    assert row.choices.tokens.shape == (2, candidates, 64)
    # Rows of records from which boxes are left out serve too.
    few = rows_of(tiny_records, "training.eval_clips=3", "training.streams=text")
    assert len(few.rows["dev"]) == 3
    assert few.rows["dev"].make_row()(0).choices.tokens.shape[0] == 1


def test_rows_of_labels_and_clips_without_one(tiny_records, caplog):
    task = rows_of(tiny_records, "training.learn=shirt")
    corpus = Corpus.of(tiny_records)
    of_clip = {
        entry.clip: entry.labels["shirt"]
        for split in ("train", "val")
        for entry in corpus.entries(split)
    }
    assert task.labels == tuple(sorted(set(of_clip.values())))
    names = [name for rows in task.rows.values() for name in rows.names]
    assert sorted(names) == sorted(of_clip)
    for rows in task.rows.values():
        assert [task.labels[i] for i in rows.label] == [of_clip[n] for n in rows.names]
    assert task.rows["val"].make_row()(0).label == task.rows["val"].label[0]
    lacking = Corpus(tiny_records)
    gone, odd = names[0], task.rows["dev"].names[0]
    changed = {gone: {"shirt": " "}, odd: {"shirt": "tartan"}}
    lacking._entries["train"] = tuple(
        dataclasses.replace(e, labels=changed.get(e.clip, e.labels))
        for e in corpus.entries("train")
    )
    with caplog.at_level(logging.WARNING):
        few = labelled_clips.of_corpus(tiny.experiment("training.learn=shirt"), lacking)
    assert gone not in few.rows["train"].names
    assert len(few.rows["train"]) == len(task.rows["train"]) - 1
    assert (
        "1 of" in caplog.text and "no label 'shirt': they are left out" in caplog.text
    )
    assert "'tartan': they cannot be answered right" in caplog.text


def test_questions_without_answers_and_of_other_counts(tiny_records, caplog):
    corpus, experiment = Corpus(tiny_records), tiny.experiment()
    entries = corpus.entries("train")
    n_rows = len(labelled_clips.of_corpus(experiment, corpus).rows["train"])
    split = corpus.split_train(experiment.data.dev_share, boxed_only=False)
    unknown = split.train[0]
    corpus._entries["train"] = tuple(
        dataclasses.replace(e, answer_index=-1) if i == unknown else e
        for i, e in enumerate(entries)
    )
    with caplog.at_level(logging.WARNING):
        few = labelled_clips.of_corpus(experiment, corpus)
    assert len(few.rows["train"]) == n_rows - 1
    assert f"1 of {n_rows} questions of train have no known answer" in caplog.text
    detail = json.loads(entries[unknown].detail)
    detail[1] = detail[1][:-1]
    other = dataclasses.replace(
        entries[unknown], detail=json.dumps(detail).encode(), answer_index=0
    )
    corpus._entries["train"] = tuple(
        other if i == unknown else e for i, e in enumerate(entries)
    )
    with pytest.raises(ValueError, match="candidate answers, not the"):
        labelled_clips.of_corpus(experiment, corpus)
    detail[0] = ""
    other = dataclasses.replace(other, detail=json.dumps(detail).encode())
    corpus._entries["train"] = (other, *entries[1:])
    with pytest.raises(ValueError, match="so training.learn can only be the name of"):
        labelled_clips.verify(experiment, corpus)


def refused(records_dir, *changes):
    """What is said of a run."""
    with pytest.raises(ValueError) as error:
        experiment = tiny.experiment(*changes)
        build.check(experiment)
        build.verify(experiment, records_dir)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_settings_that_cannot_be(tiny_records):
    said = refused(tiny_records, "terms.patches=1", "terms.closed_span=1")
    assert "terms.closed_span and terms.patches have weight" in said
    assert "--set terms.closed_span=0 --set terms.patches=0" in said
    assert "stop_on=accuracy, or loss" in refused(tiny_records, "training.stop_on=f1")
    assert "no curves" in refused(tiny_records, "training.probe_every=2")
    said = refused(tiny_records, "training.learn=shrit")
    assert said.startswith("training.learn:") and "did you mean 'shirt'" in said
    plain = ("terms.classify=0", "terms.patches=1")
    said = refused(tiny_records, *plain, "training.stop_on=accuracy")
    assert "is a number of labels" in said
    said = refused(tiny_records, *plain, "model.start=x")
    assert "model.start=x: is what fine-tuning starts from" in said
    with pytest.raises(ValueError, match="terms.classify is 0, so no label is learnt"):
        finetune.check(tiny.experiment(*plain))
    texts = config.Experiment("x", data=config.Texts(), model=config.Encoder())
    with pytest.raises(
        ValueError, match="training.learn=shirt: plays a part in runs of"
    ):
        configure.override(texts, ["training.learn=shirt", "terms.patches=0"])


def test_starts_that_cannot_be(tiny_records, tmp_path):
    plain = configure.load(tiny.CONFIG)

    def run(name, *changes, is_finished=True):
        """A folder that says which run it holds."""
        settings = configure.settings(configure.override(plain, list(changes)))
        folder = RunFolder(tmp_path / name)
        read = {"data.tokenizer": {"value": "toy", "sha256": "0" * 64}}
        folder.claim(Claim(settings, 0, read if name == "tokens" else {}))
        if is_finished:
            folder.write(run_files.DATA, {"clips": {}, "fill_only": []})
        return f"model.start={folder}"

    assert "no run here" in refused(tiny_records, f"model.start={tmp_path}/none")
    said = refused(tiny_records, run("begun", is_finished=False))
    assert "is not finished, so nothing can start from it" in said
    said = refused(tiny_records, run("tuned", *tiny.QUESTIONS))
    assert "was fine-tuned already" in said
    said = refused(tiny_records, run("wide", "model.hidden=128"))
    assert "model.hidden=128, and here it is 64; set model.hidden=128" in said
    assert "with another tokenizer, toy" in refused(tiny_records, run("tokens"))
    claim = json.loads((tmp_path / "wide" / run_files.CONFIG).read_text())
    claim["settings"]["data.family"] = "text"
    (tmp_path / "wide" / run_files.CONFIG).write_text(json.dumps(claim))
    said = refused(tiny_records, f"model.start={tmp_path}/wide")
    assert "is a run of texts, and one of video is needed" in said
    build.check(tiny.experiment(run("good")))


def test_a_probe_goes_by_the_start_of_a_fine_tuned_run(tmp_path):
    run, plain = RunFolder(tmp_path / "tuned"), configure.load(tiny.CONFIG)
    tuned = tiny.experiment("model.checkpoint=small", "model.start=cpt")
    read = {"value": "cpt", "sha256": "0" * 64}
    contents = {"records": read, "model.checkpoint": read}
    run.claim(Claim(configure.settings(tuned), 0, contents))
    with pytest.raises(ValueError, match="=None: the run in .* name its own config"):
        probe_settings.of_run(str(run), plain)
    requested = probe_settings.with_files_of(str(run), plain)
    assert probe_settings.of_run(str(run), requested).model == tuned.model


def test_a_layer_of_its_own_stands_on_a_checkpoint(tmp_path):
    stored = training_run.start()
    experiment = dataclasses.replace(
        EXPERIMENT, model=dataclasses.replace(EXPERIMENT.model, checkpoint="kept")
    )
    table = np.zeros((512, 64), np.float32)
    stored |= {"token_encoder": {"Embed_0": {"embedding": table}}}

    def starts(more, n_labels, seed):
        with pytest.MonkeyPatch.context() as patch:
            read = lambda *_: type("Stored", (), {"params": stored | more})  # noqa: E731
            patch.setattr(learning_start.weights, "read", read)
            make = learning_start.make(experiment, n_labels, int, (), seed)
            return jax.device_get(make())

    one, two = (starts({}, 0, seed) for seed in (0, 1))
    assert set(one) == {*checkpoints.BODY, "proj"}
    shapes = learning_start.shapes(experiment.model, 0)
    assert jax.tree.map(np.shape, one) == jax.tree.map(lambda x: x.shape, shapes)
    assert (one["proj"]["kernel"] != two["proj"]["kernel"]).any()
    assert 0.005 < one["proj"]["kernel"].std() < 0.02
    np.testing.assert_array_equal(one["token_encoder"]["Embed_0"]["embedding"], table)
    kernel = np.ones((64, 1), np.float32)
    kept = starts({"proj": {"kernel": kernel}}, 0, 0)
    np.testing.assert_array_equal(kept["proj"]["kernel"], kernel)
    of_label = starts({"proj": {"kernel": kernel}}, 5, 0)
    assert set(of_label) == {*checkpoints.BODY, "classifier"}
    assert of_label["classifier"]["kernel"].shape == (64, 5)
    assert not of_label["classifier"]["bias"].any()


@pytest.fixture(scope="module")
def cpt(tiny_records, tmp_path_factory):
    return tiny.pretrained(tiny_records, tmp_path_factory.mktemp("runs") / "cpt")


@pytest.mark.slow
def test_the_command_shows_seeds_side_by_side(tiny_records, cpt, tmp_path, capsys):
    runs = tmp_path / "runs"
    command = ["finetune", str(tiny.CONFIG), "--data", tiny_records, "--seeds", "2"]
    command += ["--start", str(cpt), "--which", "last", "--workdir", str(runs)]
    for change in (*tiny.QUESTIONS, "training.learn=shirt", "training.steps=3"):
        command += ["--set", change]
    assert __main__.main(command) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == f"tiny: shirt from {cpt} (seed 0, 1)"
    assert [line.split()[0] for line in out[1:]] == ["dev", "val"]
    assert finetune_table.lines(runs) == out and "macro F1" in out[1]
    kept = checkpoint.load_params(RunFolder(cpt), "last")
    first = checkpoint.load_params(RunFolder(runs / "seed-0"), "start")
    for part in checkpoints.BODY:
        jax.tree.map(np.testing.assert_array_equal, first[part], kept[part])
    rows = json.loads((runs / "seed-0" / run_files.ANSWERS).read_text())["splits"]
    val = rows["val"]
    hits = [row["label"] == row["answer"] for row in val["rows"]]
    assert val["accuracy"] == pytest.approx(np.mean(hits)) and len(hits) == 6
    assert __main__.main(command) == 0  # a finished run costs nothing
    assert capsys.readouterr().out.splitlines() == out


@pytest.mark.long
def test_a_killed_run_ends_with_the_same_bits(tiny_records, tmp_path):
    """Of questions, killed at the first save and at a later one; then it has learnt."""
    changes = ["training.steps=24", "training.eval_every=12", "training.lr=3e-3"]
    changes += ["training.early_stopping=false", "training.save_every=6"]
    one_device = {"XLA_FLAGS": ""}
    files = (run_files.METRICS, run_files.ANSWERS)
    plain, _ = killed_run.assert_same_bits(
        PROGRAM, (tiny_records, changes), tmp_path, files, one_device
    )
    lines = (plain / run_files.METRICS).read_text().splitlines()
    losses = [json.loads(x)["loss"] for x in lines if '"train"' in x]
    assert len(losses) == 24 and np.mean(losses[-4:]) < 0.93 * losses[0]
    answers = json.loads((plain / run_files.ANSWERS).read_text())
    assert answers["labels"] == [] and "f1" not in answers["splits"]["val"]
    assert len(answers["splits"]["val"]["rows"]) > 6
