"""Runs of texts: rows, masks, the loop, heads that are warmed up, what is refused."""

import dataclasses
import json
import logging
import pathlib

import jax
import numpy as np
import pytest
from helpers import killed_run, wordpieces
from helpers import tiny_text as tiny

from mmdiffmask import build, config, configure, pretrain, text_examples, text_start
from mmdiffmask.data import loader, text_corpus, texts
from mmdiffmask.masking import text_strategies
from mmdiffmask.run_folder import RunFolder
from mmdiffmask.text import masks
from mmdiffmask.training import checkpoint, steps, stopping
from mmdiffmask.training.job import StopOn

pytestmark = pytest.mark.usefixtures("quick_compilation")

PROGRAM = pathlib.Path(__file__).with_name("helpers") / "tiny_text.py"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An encoder with a head, and its texts."""
    return tiny.make(tmp_path_factory.mktemp("texts"))


@pytest.fixture(scope="module")
def run(folder):
    """What a run is made of."""
    experiment = tiny.experiment(folder)
    owner = pretrain.claim(experiment, str(folder), 0)
    return build.prepare(experiment, str(folder), owner)


def test_distinct_texts_are_chosen_by_content_alone(folder, tmp_path):
    corpus = build.corpus(tiny.experiment(folder), str(folder))
    assert corpus is build.corpus(tiny.experiment(folder), str(folder))
    assert len(corpus.chosen.train) == 40
    assert len(corpus.chosen.dev) == 10  # four of them stand in TRAIN too
    lines = (folder / "train.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "one.jsonl").write_text("".join(lines[20:]))
    (tmp_path / "two.jsonl").write_text("".join(lines[:20]) + lines[30])
    data = config.Texts(train=("one.jsonl", "two.jsonl"), dev_share=0.3)
    moved = text_corpus.TextCorpus(data, tmp_path)
    same = text_corpus.TextCorpus(config.Texts(dev_share=0.3), folder)
    for positions in ("train", "dev"):
        one, two = (
            [c.trained_on("train")[i].text for i in getattr(c.chosen, positions)]
            for c in (moved, same)
        )
        assert one == two
    assert 0 < len(moved.chosen.dev) < 20
    assert moved.fingerprint() != same.fingerprint()
    assert "<<" not in moved.trained_on("train")[0].text
    assert "<<" in moved.texts("train", are_marked=True)[0].text


def test_rows_hide_what_masks_export_hides(folder, run):
    """Of seed, strategy and text alone; the second epoch's is the second draw."""
    pieces = text_start.tokenizer(tiny.experiment(folder))
    with run.job.train_batches(0) as batches:
        batch, epoch = next(iter(batches))
    assert epoch == 0
    hidden = run.job.draw_masks(jax.random.key(0), batch, 0)
    order = loader.order_at(0, 0, 8, 40)
    source, chosen = run.corpus.trained_on("train"), run.corpus.chosen
    recipe = masks.Recipe(text_strategies.find("random-word"))
    choice = masks.vocabulary(pieces, "bert")
    for row, position in enumerate(order):
        text = source[chosen.train[position]].text
        windows = pieces.windows([text], tiny.TOKENS)
        drawn = next(masks.of_texts([text], windows, recipe, choice))
        n = len(drawn.ids)
        assert np.array_equal(hidden.is_masked[row, 1 : n + 1], drawn.is_masked)
        assert np.array_equal(hidden.shown_ids[row, 1 : n + 1], drawn.ids)
        assert np.array_equal(batch.input_ids[row, 1 : n + 1], drawn.window.ids)
        assert not hidden.is_masked[row, n + 1 :].any() and drawn.is_masked.any()
        assert batch.attention_mask[row].sum() == n + 2
        assert batch.example_hash[row] == texts.window_hash(text, 0)


def test_masks_of_each_epoch_are_further_draws(folder):
    experiment = tiny.experiment(folder, "masking.masks=per_epoch", "training.steps=11")
    owner = pretrain.claim(experiment, str(folder), 0)
    job = build.prepare(experiment, str(folder), owner).job
    seen = {}
    with job.train_batches(0) as batches:
        for batch, _ in batches:
            for name, mask in zip(
                batch.example_hash.tolist(), np.asarray(batch.is_hidden), strict=True
            ):
                seen.setdefault(name, []).append(mask.tobytes())
    again = [masks_of for masks_of in seen.values() if len(masks_of) > 1]
    assert len(again) > 30
    assert sum(len(set(x)) == len(x) for x in again) > len(again) // 2


def test_a_window_s_read_outs_leave_ends_and_padding_out(folder, run):
    params, job = run.job.start(), run.job
    with job.dev_batches() as batches:
        batch = jax.tree.map(np.asarray, next(iter(batches)))
    got = steps.make_encode(job.family)(params, batch)
    assert set(got) == {"mean", "cls"}
    n = int(batch.attention_mask[0].sum())
    alone = batch._replace(
        input_ids=batch.input_ids[:1, :n],
        attention_mask=batch.attention_mask[:1, :n],
    )
    from mmdiffmask.models.bert import model

    net = model.Bert(text_start.settings(tiny.experiment(folder).model))
    pieces = model.Pieces(alone.input_ids, alone.attention_mask)
    seq = np.asarray(net.apply({"params": params}, pieces).seq)[0]
    np.testing.assert_allclose(got["mean"][0], seq[1:-1].mean(0), atol=1e-5)
    np.testing.assert_allclose(got["cls"][0], seq[0], atol=1e-5)


def test_a_run_learns_and_is_finished_once(folder, tmp_path):
    tiny.train(folder, tmp_path / "run", "training.steps=8", "training.lr=0.01")
    lines = [
        json.loads(line)
        for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()
    ]
    losses = [line["loss"] for line in lines if line["kind"] == "train"]
    assert len(losses) == 8 and losses[-1] < losses[0]
    held_out = {
        (line["step"], line["metric"]): line["value"]
        for line in lines
        if line["kind"] == "eval" and line["stream"] == "all"
    }
    assert held_out[8, "loss"] < held_out[0, "loss"]
    assert {"hits", "loss_content", "loss_function"} <= {m for _, m in held_out}
    run = RunFolder(tmp_path / "run")
    assert set(checkpoint.load_params(run, "last")) == {"embeddings", "encoder", "mlm"}
    read = run.owner().inputs
    assert {"records", "model.checkpoint"} <= read.keys()
    assert run.find("records") == str(folder)
    assert run.experiment(run.owner().settings) == tiny.experiment(
        folder, "training.steps=8", "training.lr=0.01"
    )
    before = (tmp_path / "run/metrics.jsonl").stat().st_mtime_ns
    tiny.train(folder, tmp_path / "run", "training.steps=8", "training.lr=0.01")
    assert (tmp_path / "run/metrics.jsonl").stat().st_mtime_ns == before


@pytest.mark.long
def test_a_run_trains_with_dga_and_holds_its_importance(folder, tmp_path):
    tiny.train(folder, tmp_path, "terms.dga=0.5", "training.steps=2")
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    noted = [json.loads(line) for line in lines]
    assert any("loss_dga" in line and "loss_mlm" in line for line in noted)
    experiment = tiny.experiment(folder, "terms.dga=0.5")
    job = build.prepare(
        experiment, str(folder), pretrain.claim(experiment, str(folder), 0)
    ).job
    params = jax.device_get(checkpoint.load_params(RunFolder(tmp_path), "start"))
    importance = job.family.hold(params, job.hold_batches())["importance"]
    assert importance.shape == (1, 2) and (np.asarray(importance) < 1).all()
    assert np.asarray(importance).any()


def test_a_start_that_is_not_trained_is_scored(folder, tmp_path):
    tiny.train(folder, tmp_path / "run", "training.steps=0")
    lines = (tmp_path / "run/metrics.jsonl").read_text().splitlines()
    assert {json.loads(line)["kind"] for line in lines} == {"eval"}
    pair = (
        checkpoint.load_params(RunFolder(tmp_path / "run"), w)
        for w in ("start", "last")
    )
    jax.tree.map(np.testing.assert_array_equal, *pair)


def test_other_texts_are_another_run(folder, tmp_path):
    copy = tiny.make(tmp_path / "texts")
    with (copy / "train.jsonl").open("a") as file:
        file.write('{"text": "one more"}\n')
    one, two = (
        pretrain.claim(tiny.experiment(folder), str(place), 0).inputs["records"]
        for place in (folder, copy)
    )
    assert one["sha256"] != two["sha256"]
    assert (
        text_corpus.identity(configure.settings(tiny.experiment(folder)), str(tmp_path))
        is None
    )


def test_an_encoder_without_a_head_gets_one_for_all_rows_and_seeds(tmp_path, caplog):
    bare = tiny.make(tmp_path / "bare", parts=())
    caplog.set_level(logging.INFO)
    heads = []
    for seed, changes in enumerate(
        (
            (),
            ("masking.replacement=random", "masking.ratio=0.5"),
            ("masking.replacement=mask", "masking.strategy=random-piece"),
        )
    ):
        experiment = tiny.experiment(bare, *changes)
        owner = pretrain.claim(experiment, str(bare), seed)
        params = build.prepare(experiment, str(bare), owner).job.start()
        heads.append(params["mlm"])
    for head in heads[1:]:
        jax.tree.map(np.testing.assert_array_equal, heads[0], head)
    assert np.abs(heads[0]["dense"]["kernel"] - np.eye(16)).max() > 0
    assert sum("one was warmed up" in m for m in caplog.messages) == 1
    assert any("the MLM head is that of" in m for m in caplog.messages)
    kept = text_start.checkpoint(experiment.model).params["embeddings"]
    jax.tree.map(np.testing.assert_array_equal, params["embeddings"], kept)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (["masking.strategy=difference"], "strategy difference: texts have random-p"),
        (["masking.held_out=random-word,mst-face"], "strategy mst-face: texts have"),
        (["data.length=33"], "has positions for 32 pieces; set data.length=32 or less"),
        (["data.train=absent.txt"], "absent.txt: no such file, which data.train names"),
        (["masking.masks=a.npz"], "masks of texts come from no file"),
        (["terms.mlm=0"], "there is nothing to train on; set terms.mlm=1"),
        (["model.checkpoint=nowhere"], "nowhere: no such folder"),
        (["data.dev="], "data.dev_share=0, and data.dev names no file"),
        (["data.dev=train.jsonl"], "40 distinct texts leave none held out"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(folder, changes, reason):
    with pytest.raises(ValueError) as error:
        experiment = tiny.experiment(folder, *changes)
        build.check(experiment)
        build.verify(experiment, str(folder))
    assert reason in str(error.value)
    assert "\n" not in str(error.value)


def test_texts_stand_in_a_field_that_settings_name(folder):
    path = wordpieces.jsonl(folder / "named.jsonl", [{"body": "one of << these >>"}])
    assert texts.Texts([path], are_marked=False, text_field="body")[0].text == (
        "one of these"
    )
    with pytest.raises(ValueError, match="named.jsonl, text 1: lacks 'words'"):
        texts.Texts([path], text_field="words")[0]


def test_a_strategy_of_texts_is_none_of_video():
    experiment = config.Experiment("x")
    changed = configure.override(experiment, ["masking.strategy=random-word"])
    with pytest.raises(ValueError, match="random-word"):
        build.check(changed)


def test_folders_and_files_that_cannot_be(folder, tmp_path):
    with pytest.raises(ValueError, match="no such folder; name the one that holds"):
        build.verify(tiny.experiment(folder), str(tmp_path / "absent"))
    (tmp_path / "train.txt").write_text("\n  \n")
    experiment = tiny.experiment(
        folder, "data.train=train.txt", "data.dev=", "data.dev_share=0.1"
    )
    with pytest.raises(ValueError, match="0 distinct texts leave none to train on"):
        build.verify(experiment, str(tmp_path))


def test_a_tokenizer_of_another_encoder(folder, tmp_path):
    other = tiny.encoder(tmp_path / "large", [*tiny.WORDS, "more", "words"])
    experiment = tiny.experiment(folder, f"data.tokenizer={other}")
    with pytest.raises(ValueError, match="pieces, but the encoder .* leave data.token"):
        build.check(experiment)
    shuffled = wordpieces.vocab_txt(tmp_path / "shuffled", tiny.WORDS[::-1])
    experiment = tiny.experiment(folder, f"data.tokenizer={shuffled}")
    with pytest.raises(ValueError, match="numbers its pieces otherwise"):
        build.check(experiment)
    same = tiny.experiment(folder, f"data.tokenizer={folder / tiny.MODEL}")
    build.check(same)


def test_a_batch_larger_than_the_corpus_is_lowered(folder, caplog):
    experiment = tiny.experiment(folder, "training.batch_size=64")
    owner = pretrain.claim(experiment, str(folder), 0)
    job = build.prepare(experiment, str(folder), owner).job
    assert job.batch_size == 40
    assert "only 40 training windows of texts" in caplog.text


def test_every_hidden_piece_has_a_slot(folder, run):
    """A long word is hidden whole where it comes first, whatever the budget."""
    layout = text_start.layout(tiny.experiment(folder))
    long = [texts.Text("a", "we use abcdefghijklmnopqrst", None, "here")]
    some = text_examples.windows(long, [0], layout)
    assert some.longest_word == 20
    assert text_examples.slots(0.25, some) == 20
    params = run.job.start()
    draw = run.job.eval_masks["random-word"]
    with run.job.dev_batches() as batches:
        for batch in batches:
            hidden = draw(batch)
            score_step = steps.make_score_step(run.job.family, run.job.mesh)
            _, dropped = score_step(params, steps.Held({}, {}, None), batch, hidden)
            assert int(dropped) == 0


def test_a_score_that_rises_stops_a_run():
    settings = config.Training(steps=9, patience=2)
    progress = checkpoint.Progress()
    for step, score in enumerate((0.2, 0.5, 0.4, 0.4)):
        progress = stopping.judge(progress, step, score, settings, rises=True)
    assert progress.finished == "early stopping" and progress.best_step == 1
    falling = checkpoint.Progress()
    for step, score in enumerate((0.2, 0.5, 0.4)):
        falling = stopping.judge(falling, step, score, settings)
    assert falling.best_step == 0 and falling.finished == "early stopping"


def test_the_best_step_is_that_of_the_score_that_is_named(folder, tmp_path, run):
    from mmdiffmask.training import loop

    job = dataclasses.replace(run.job, stop_on=StopOn("random-word", "loss", True))
    loop.train(job, RunFolder(tmp_path / "run"))
    assert checkpoint.step_of(RunFolder(tmp_path / "run"), "best") == 0


def test_dropout_goes_by_the_key_of_an_update(folder, run):
    """And by nothing else: the same key, the same loss; without a rate, any key."""
    params = run.job.start()
    with run.job.train_batches(0) as batches:
        batch, _ = next(iter(batches))
    hidden = run.job.draw_masks(jax.random.key(0), batch, 0)
    held = steps.Held({}, {}, jax.random.key(0))

    def losses(*changes):
        net = build.family(tiny.experiment(folder, *changes))
        keys = [jax.random.key(i) for i in (1, 1, 2)]
        return [
            float(net.terms(params, held, batch, hidden, key)[0]["mlm"]) for key in keys
        ]

    one, same, other = losses("model.hidden_dropout=0.3")
    assert one == same != other
    none = losses("model.hidden_dropout=0", "model.attention_dropout=0")
    assert none[0] == none[2]


@pytest.mark.parametrize(
    "dga",
    [
        pytest.param(0.0, marks=pytest.mark.slow),
        pytest.param(0.5, marks=pytest.mark.long),
    ],
)
def test_a_killed_run_with_dropout_ends_with_the_same_bits(folder, tmp_path, dga):
    """Nor does it matter where it is killed: the journal has the same bytes, too."""
    changes = ["training.steps=14", "model.hidden_dropout=0.3", f"terms.dga={dga}"]
    files = ("data.json", "metrics.jsonl")
    killed_run.assert_same_bits(PROGRAM, (folder, changes), tmp_path, files)
