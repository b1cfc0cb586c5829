"""Words and pieces of texts: whole words, windows that lose nothing, tokenizers."""

import json

import numpy as np
import pytest
import tokenizers
from helpers import wordpieces
from hypothesis import given
from hypothesis import strategies as st

from mmdiffmask.data import tokenizer_files, word_pieces

WORDS = ("the", "cell", "is", "inhibit", "##ed")
TEXTS = ["The cell, is inhibited (3.5 µM)!", "don't snake_case É", "…", "naïve Zürich"]


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bert")
    return tokenizer_files.load(wordpieces.vocab_txt(folder, WORDS))


@pytest.fixture(scope="module")
def roberta(tmp_path_factory):
    folder = tmp_path_factory.mktemp("roberta")
    return tokenizer_files.load(wordpieces.byte_level(folder, TEXTS * 3))


def test_pieces_by_hand(bert):
    ((window,),) = bert.windows(["The cell, is inhibited!"], 64)
    shown = [bert.backend.id_to_token(i) for i in window.ids]
    assert shown == ["the", "cell", ",", "is", "inhibit", "##ed", "!"]
    assert window.unit_of_piece.tolist() == [0, 1, -1, 2, 3, 3, -1]
    assert window.words == ("the", "cell", "is", "inhibited")
    assert [bert.backend.id_to_token(i) for i in bert.before] == ["[CLS]"]
    assert [bert.backend.id_to_token(i) for i in bert.after] == ["[SEP]"]
    ordinary = {bert.backend.id_to_token(i) for i in bert.ordinary}
    assert {"the", "!"} <= ordinary
    assert not ordinary & {*wordpieces.SPECIAL, "[unused0]"}


def test_a_piece_of_several_words_makes_them_one_unit():
    words = np.array([[0, 1], [2, 3], [5, 8], [8, 9]])
    pieces = np.array([[0, 3], [3, 5], [5, 6], [6, 8], [8, 9], [9, 9]])
    assert word_pieces.units_of_pieces(words, pieces).tolist() == [0, -1, 2, 2, 3, -1]
    chain = np.array([[0, 3], [2, 6], [8, 9]])
    assert word_pieces.units_of_pieces(words, chain).tolist() == [0, 0, 3]


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


@given(text=TEXT, length=st.integers(3, 12))
@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_windows_lose_nothing_and_cut_no_word(kind, text, length, request):
    pieces = request.getfixturevalue(kind)
    (windows,) = pieces.windows([text], length)
    encoded = pieces.backend.encode(text, add_special_tokens=False)
    ids = [int(i) for window in windows for i in window.ids]
    assert ids == encoded.ids
    room = length - len(pieces.before) - len(pieces.after)
    (whole,) = pieces.windows([text], 10_000) if ids else ((),)
    units = whole[0].unit_of_piece if ids else []
    sizes = np.bincount(np.array(units, int) + 1)
    at = 0
    for window in windows:
        assert 1 <= len(window.ids) <= room
        assert len(window.words) == window.unit_of_piece.max() + 1
        at += len(window.ids)
        if at < len(units) and units[at] == units[at - 1] >= 0:
            assert sizes[units[at] + 1] > room  # only a word that fits nowhere is cut
    # All characters of words are in pieces of words.
    for (start, end), unit in zip(encoded.offsets, units, strict=True):
        has_word = bool(word_pieces.WORD.search(text[start:end]))
        assert has_word == (unit >= 0)


def test_special_tokens_in_a_text_are_its_words(bert):
    ((window,),) = bert.windows(["a [MASK] b"], 64)
    assert bert.mask not in window.ids and "mask" in window.words


def test_forms_of_files_agree(tmp_path, bert):
    saved = tmp_path / "saved" / "tokenizer.json"
    saved.parent.mkdir()
    bert.backend.enable_padding(length=50)  # as MiniLM's file has it
    bert.backend.enable_truncation(4)
    bert.backend.save(str(saved))
    bert.backend.no_padding()
    bert.backend.no_truncation()
    for name in (saved, saved.parent):
        again = tokenizer_files.load(name)
        ours, theirs = again.windows(TEXTS, 64), bert.windows(TEXTS, 64)
        assert [[w.ids.tolist() for w in t] for t in ours] == [
            [w.ids.tolist() for w in t] for t in theirs
        ]
        assert again.fingerprint == bert.fingerprint


def test_capitals_are_kept_where_the_vocabulary_has_them(tmp_path):
    folder = wordpieces.vocab_txt(tmp_path / "cased", ["The"], cased=True)
    ((window,),) = tokenizer_files.load(folder).windows(["The"], 64)
    assert len(window.ids) == 1 and window.words == ("the",)
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": True}))
    ((window,),) = tokenizer_files.load(folder / "vocab.txt").windows(["The"], 64)
    assert len(window.ids) == 3


def test_byte_level_ends_and_mask(roberta):
    around = [roberta.backend.id_to_token(i) for i in roberta.before + roberta.after]
    assert around == ["<s>", "</s>"]
    assert roberta.backend.id_to_token(roberta.require_mask()) == "<mask>"


def test_a_name_in_hugging_face_s_cache(tmp_path, monkeypatch):
    from huggingface_hub import constants

    snapshot = tmp_path / "models--allenai--small" / "snapshots" / "abc"
    wordpieces.vocab_txt(snapshot, WORDS)
    (tmp_path / "models--allenai--small" / "refs").mkdir()
    (tmp_path / "models--allenai--small" / "refs" / "main").write_text("abc")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    assert tokenizer_files.load("allenai/small").require_mask() == 4


@pytest.mark.parametrize(
    "name, files, words",
    [
        ("no/such-model", {}, "no such file or folder, and nothing of that name in"),
        ("bad name!", {}, "no such file or folder"),
        ("empty", {"x": ""}, "the folder has none of tokenizer.json"),
        ("broken", {"tokenizer.json": "{}"}, "not a tokenizer that can be read"),
        ("words", {"vocab.txt": "the\n"}, "lacks [UNK], [CLS], [SEP]"),
        ("half", {"vocab.json": "{}"}, "needs merges.txt beside it"),
    ],
)
def test_mistakes_are_one_sentence(tmp_path, monkeypatch, name, files, words):
    monkeypatch.chdir(tmp_path)
    for file, content in files.items():
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / file).write_text(content)
    with pytest.raises(ValueError) as caught:
        tokenizer_files.load(name)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_a_tokenizer_without_mask_or_room(tmp_path, bert):
    backend = tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0, "?": 1}, "?"))
    backend.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(ValueError, match="has no mask token"):
        tokenizer_files.load(tmp_path).require_mask()
    with pytest.raises(ValueError, match="leaves no room"):
        bert.windows(["a"], 2)
