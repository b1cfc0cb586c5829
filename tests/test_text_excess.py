"""Excess loss: each word hidden once, known words first, references that cannot be."""

import dataclasses
import re
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import tiny_text as tiny
from helpers import wordpieces

from mmdiffmask import __main__ as command_line
from mmdiffmask import build, inputs, pretrain, text_start
from mmdiffmask.data import tokenizer_files
from mmdiffmask.masking import text_strategies
from mmdiffmask.models.bert import checkpoints, model
from mmdiffmask.text import encoders, excess, masks

pytestmark = pytest.mark.usefixtures("quick_compilation")

WORDS = ["the", "cell", "kinase", "is", "of", "we", "grammar"]
KNOWN = {"kinase", "grammar"}
TEXTS = [
    "The kinase of the cell, is.",
    "We parse (grammar) of the cells",
    "kinase",
    "the cell is of a kinase, the grammar is: we parse xy cells " * 2,
    "?!",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A start; a reference that knows some words better, and thus all others worse."""
    folder = tmp_path_factory.mktemp("encoders")
    wordpieces.encoder(folder / "start", WORDS)
    checkpoint = checkpoints.load(folder / "start")
    bias = checkpoint.params["mlm"]["bias"].copy()
    pieces = encoders.load(str(folder / "start")).pieces
    bias[[pieces.backend.token_to_id(word) for word in KNOWN]] += 3.0
    head = {**checkpoint.params["mlm"], "bias": bias}
    knowing = dataclasses.replace(checkpoint, params={**checkpoint.params, "mlm": head})
    shutil.copytree(folder / "start", folder / "reference")
    checkpoints.save(folder / "reference", knowing)
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MMDIFFMASK_CACHE", str(tmp_path))
    return tmp_path / "text-values"


def passages(texts, pieces, length=60):
    windows = pieces.windows(texts, length)
    return [
        p for pair in zip(texts, windows, strict=True) for p in masks.passages(*pair)
    ]


def source(folder, name="reference", pieces=None):
    start = encoders.load(str(folder / "start"))
    return excess.load(start, str(folder / name), (pieces or start.pieces).fingerprint)


def test_a_pass_hides_a_fifth_of_the_words_and_each_is_hidden_once(folder):
    pieces = encoders.load(str(folder / "start")).pieces
    some = passages([*TEXTS, " ".join(TEXTS[:4])], pieces)
    for passage in some:
        w, dealt = len(passage.words), excess.pass_of_word(passage)
        assert dealt.shape == (w,)
        sizes = np.bincount(dealt, minlength=excess.PASSES)
        assert sizes.sum() == w and sizes.max() - sizes.min() <= 1
        assert sizes.max() == -(-w // excess.PASSES)
    one, other = some[3], some[3]._replace(number=1)
    assert (excess.pass_of_word(one) == excess.pass_of_word(one)).all()
    assert (excess.pass_of_word(one) != excess.pass_of_word(other)).any()


def test_a_word_s_loss_is_the_mean_over_its_hidden_pieces(folder):
    start = encoders.load(str(folder / "start"))
    some = passages(TEXTS, start.pieces)
    values = excess.Losses(start, start.pieces.fingerprint)(some)
    net = model.Bert(start.checkpoint.settings)
    params = jax.tree.map(jnp.asarray, start.checkpoint.params)

    @jax.jit
    def predict(ids, is_valid):
        seq = net.apply({"params": params}, model.Pieces(ids, is_valid)).seq
        return net.apply({"params": params}, seq, method="predict")

    for passage, value in zip(some, values, strict=True):
        assert len(value) == len(passage.words)
        dealt, word = excess.pass_of_word(passage), passage.word_of_piece
        for number in set(dealt.tolist()):
            chosen = np.flatnonzero(dealt == number)
            shown = np.where(np.isin(word, chosen), start.pieces.mask, passage.ids)
            ids = start.opened(shown)
            room = 64 - len(ids)
            is_valid = np.pad(np.ones(len(ids), bool), (0, room))
            logits = predict(np.pad(ids, (0, room))[None], is_valid[None])
            logits = np.asarray(logits)[0, 1 : len(ids) - 1]
            total = np.log(np.exp(logits.astype(float)).sum(1))
            of_piece = total - logits[np.arange(len(logits)), passage.ids]
            for w in chosen:
                expected = of_piece[word == w].mean()
                np.testing.assert_allclose(value[w], expected, rtol=1e-4)
    assert any((np.bincount(p.word_of_piece + 1)[1:] > 1).any() for p in some)


def test_words_that_the_reference_knows_are_hidden_first(folder):
    found = source(folder)
    pieces = found.start.encoder.pieces
    some = passages(TEXTS, pieces)
    for passage, value in zip(some, found(some), strict=True):
        known = np.array([word in KNOWN for word in passage.words], bool)
        assert (value[known] > 0.1).all() and (value[~known] < 0).all()
    scores = text_strategies.Settings(excess=found)
    strategy = text_strategies.find("excess")
    for units in strategy.units_of(some, scores):
        assert (units.score >= 0).all()
    recipe = masks.Recipe(strategy, scores, ratio=0.5, draws=20)
    choice = masks.vocabulary(pieces, "mask")
    windows = pieces.windows(TEXTS, 60)
    others = set()
    for row in masks.of_texts(TEXTS, windows, recipe, choice):
        units, hidden = row.window.unit_of_piece, row.is_masked
        for u, word in enumerate(row.window.words):
            assert hidden[units == u].all() or word not in KNOWN
            others |= {word} if hidden[units == u].all() else set()
    assert others == {word for p in some for word in p.words}  # what room is left
    # A budget of one piece: a known word wherever there is one.
    small = dataclasses.replace(recipe, ratio=0.01)
    drawn = [
        row.window.words[int(row.window.unit_of_piece[row.is_masked][0])]
        for row in masks.of_texts(TEXTS, windows, small, choice)
        if row.is_masked.any()
    ]
    assert len(drawn) == 80 and set(drawn) == KNOWN


def test_a_reference_that_is_the_start_prefers_nothing_and_says_so(folder, caplog):
    found = source(folder, "start")
    for value in found(passages(TEXTS, found.start.encoder.pieces)):
        assert not value.any()
    assert "knows no word of 5 windows better than the start" in caplog.text


def test_no_other_text_enters_and_each_model_s_losses_are_kept(
    folder, cache, monkeypatch
):
    found = source(folder)
    some = passages(TEXTS, found.start.encoder.pieces)
    monkeypatch.setattr(excess, "AT_ONCE", 2)
    together = found(some)
    for passage, value in zip(some, together, strict=True):
        assert (found([passage])[0] == value).all()
    turned = found(some[::-1])
    assert all((a == b).all() for a, b in zip(turned[::-1], together, strict=True))
    monkeypatch.setattr(excess.states, "mlm_losses", None)  # it is not called
    assert all((a == b).all() for a, b in zip(found(some), together, strict=True))
    source(folder, "start")(some)  # nor for the start beside another reference
    assert len(list(cache.iterdir())) == 2 * (2 + len(some))


def test_masks_of_another_tokenizer_go_by_the_same_losses(folder, tmp_path):
    other = tokenizer_files.load(wordpieces.byte_level(tmp_path / "bpe", TEXTS * 3))
    theirs, ours = (source(folder, pieces=pieces) for pieces in (other, None))
    pairs = zip(
        theirs(passages(TEXTS, other)),
        ours(passages(TEXTS, ours.start.encoder.pieces)),
        strict=True,
    )
    for value, expected in pairs:
        np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-6)


def export(folder, *more):
    (folder / "texts.txt").write_text("\n".join(TEXTS) + "\n")
    start = str(folder / "start")
    line = ["masks", "export", "--text", str(folder / "texts.txt"), "--strategy"]
    line += ["excess", "--tokenizer", start, "--encoder", start, "--length", "60"]
    return command_line.main([*line, "--out", str(folder / "m.jsonl"), *more])


def test_an_export_says_how_many_readings_it_took(folder, capsys):
    reference = str(folder / "reference")
    for _ in range(2):  # kept ones count too
        assert export(folder, "--reference", reference) == 0
        said = capsys.readouterr().out
        assert f"\n{2 * (5 + 5 + 1 + 5)} readings of windows with words hidden" in said


def headless(path):
    return tiny.encoder(path, WORDS, positions=64)


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        (None, "excess loss needs a reference: name"),
        ("absent", "absent: no such folder"),
        ("headless", "has no MLM head, so its loss at hidden words"),
        ("other", "has another vocabulary than"),
        ("start", "the encoder .* has no MLM head"),
    ],
)
def test_a_reference_that_cannot_be_is_one_sentence(
    folder, tmp_path, capsys, reference, reason
):
    headless(tmp_path / "headless")
    wordpieces.encoder(tmp_path / "other", [*WORDS, "more"])
    more = [] if reference is None else ["--reference", str(tmp_path / reference)]
    if reference == "start":
        more = ["--reference", str(folder / "start")]
        more += ["--encoder", str(tmp_path / "headless")]
    assert export(folder, *more) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.strip().count("\n") == 0
    assert re.search(reason, said.err), said.err
    assert not list(folder.glob("m.jsonl.parts"))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Texts and an encoder without a head, and a reference beside it."""
    folder = tiny.make(tmp_path_factory.mktemp("texts"), parts=())
    wordpieces.encoder(folder / "reference", tiny.WORDS, positions=32)
    return folder


def settings(corpus, *changes):
    changes = ("masking.strategy=excess", *changes)
    return tiny.experiment(corpus, f"masking.reference={corpus}/reference", *changes)


def test_a_run_s_start_is_scored_with_the_head_that_it_starts_from(corpus, monkeypatch):
    """The encoder has none of its own: one is warmed up, or so it seems here."""
    scored, load = [], excess.load

    def keeping(encoder, *more):
        scored.append(encoder)
        return load(encoder, *more)

    def warmed(experiment, params, some):
        bias = np.linspace(0, 1, len(params["mlm"]["bias"]), dtype=np.float32)
        return {**params["mlm"], "bias": bias}

    monkeypatch.setattr(excess, "load", keeping)
    monkeypatch.setattr(text_start, "_warm", warmed)
    experiment = settings(corpus)
    build.check(experiment)
    owner = pretrain.claim(experiment, str(corpus), 0)
    job = build.prepare(experiment, str(corpus), owner).job
    job.prepare()
    (encoder,) = scored
    jax.tree.map(np.testing.assert_array_equal, encoder.checkpoint.params, job.start())
    with job.train_batches(0) as batches:
        batch, _ = next(iter(batches))
    assert np.asarray(batch.is_hidden).any(1).all()


def test_a_run_knows_its_reference_by_content(corpus, tmp_path):
    owner = pretrain.claim(settings(corpus), str(corpus), 0)
    moved = shutil.copytree(corpus / "reference", tmp_path / "moved")
    again = settings(corpus, f"masking.reference={moved}")
    claim = pretrain.claim(again, str(corpus), 0)
    assert inputs.first_difference(owner, claim) is None
    wordpieces.encoder(tmp_path / "other", tiny.WORDS, positions=32, seed=1)
    other = settings(corpus, f"masking.reference={tmp_path}/other")
    claim = pretrain.claim(other, str(corpus), 0)
    assert "content of masking.reference" in inputs.first_difference(owner, claim)


def test_a_run_without_its_reference_is_refused_before_any_work(corpus):
    for value, reason in (("none", "needs a reference"), ("no/x", "no such folder")):
        with pytest.raises(ValueError, match=reason):
            build.check(settings(corpus, f"masking.reference={value}"))
    with pytest.raises(ValueError, match="another vocabulary"):
        words = ("masking.held_out=excess", "masking.strategy=random-word")
        wordpieces.encoder(corpus / "wide", [*tiny.WORDS, "more"])
        build.check(settings(corpus, *words, f"masking.reference={corpus}/wide"))
