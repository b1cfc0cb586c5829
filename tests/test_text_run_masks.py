"""Every strategy of texts draws the masks of a run, from its settings alone."""

import numpy as np
import pytest
from helpers import wordpieces

from mmdiffmask import config, text_examples, text_masks, text_start
from mmdiffmask.data import text_corpus
from mmdiffmask.masking import text_strategies, web_counts

WORDS = ["the", "cell", "kinase", "is", "grammar", "parser", "of"]
PAIRS = [(a, b) for a in WORDS for b in WORDS if a != b]
TEXTS = [f"<< {a} >> of the {b}, is [[ x {i} ]]" for i, (a, b) in enumerate(PAIRS)]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A corpus of two labels in a folder, and an encoder beside it."""
    folder = tmp_path_factory.mktemp("texts")
    rows = [{"text": t, "label": str(len(t) % 2)} for t in TEXTS]
    wordpieces.jsonl(folder / "train.jsonl", rows[:30])
    wordpieces.jsonl(folder / "dev.jsonl", rows[30:])
    wordpieces.encoder(folder / "encoder", WORDS)
    wordpieces.encoder(folder / "reference", WORDS, seed=1)
    rng = np.random.default_rng(0)
    np.savez(folder / "v.npz", **{w: rng.random(4) for w in (*WORDS, "x")})
    return folder


def experiment(folder, name):
    return config.Experiment(
        "texts",
        data=config.Texts(dev=("dev.jsonl",), length=32, dev_share=0.0),
        model=config.Encoder(checkpoint=str(folder / "encoder")),
        masking=config.Masking(
            strategy=name,
            held_out=(name,),
            anchors=(),
            anchor_count=2,
            label_embeddings=str(folder / "v.npz"),
            spans="markers",
            reference=str(folder / "reference"),
        ),
    )


@pytest.mark.parametrize("name", sorted(text_strategies.REGISTRY))
def test_a_run_draws_its_masks(run, monkeypatch, name):
    monkeypatch.setattr(web_counts, "load", lambda: {w: 9 for w in WORDS})
    settings = experiment(run, name)
    source = text_corpus.TextCorpus.of(settings.data, run)
    layout = text_start.layout(settings)
    recipes = text_masks.Recipes(settings, source, layout.pieces)
    for split in ("train", source.chosen.dev_split):
        places = getattr(source.chosen, split)
        some = text_examples.windows(source.trained_on(split), places, layout)
        drawn = text_masks.draw(some, recipes.of(name, 0), recipes.choice)
        assert len(drawn) == len(some) > 5
        for i, ((is_masked, ids),) in enumerate(drawn):
            text, window = some.window(i)
            assert "<<" not in text.text and len(ids) == len(window.ids)
            assert is_masked.any()
            if name in ("entitybert", "salient-span"):
                # An entity is hidden first, in held-out texts too.
                hidden = {
                    word
                    for u, word in enumerate(window.words)
                    if is_masked[window.unit_of_piece == u].all()
                }
                entities = {window.words[0], "x", window.words[-1]}
                assert hidden & entities, (text.text, hidden)
