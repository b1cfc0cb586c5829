"""The tokenizer format: the released file's ids, what comes back, errors."""

import collections
import functools
import json
import re
import shutil
import string

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from mmdiffmask import tokens
from mmdiffmask.data import cache as cache_lib
from mmdiffmask.data import tokenizers


@pytest.fixture(scope="module")
def toy():
    return tokenizers.load("toy")


@pytest.fixture(scope="module")
def released(shared):
    return tokenizers.load(shared / "data/merlot_reserve/lowercase_encoder.json")


def test_released_tokenizer_gives_the_references_ids(released, shared):
    golden = shared / "golden/reserve"
    for row in json.loads((golden / "tokenizations.json").read_text()):
        assert released.encode(row["text"]) == row["ids"], row["text"]
        assert released.decode(row["ids"]) == row["decoded"]
    with np.load(golden / "span.npz") as z:
        options = zip(z["label_space_options"], z["label_space_tokens"], strict=True)
        for text, ids in options:
            found = (released.encode(str(text)) + [0] * 15)[:15]
            assert found == ids.tolist()
    assert released.vocabulary == 32768
    assert released.encode("answer: ") == [2216, 35, 149]  # reserve.md section 3.1


def test_special_ids(toy):
    specials = "".join(tokens.SPECIAL_TOKENS)
    assert toy.encode(specials) == list(range(10))
    names = ("PAD", "START", "END", "MASK", "MASKAUDIO", "AUDIOSPAN", "LTOVPOOL")
    for name in names:
        assert toy.encode(f"<|{name}|>") == [getattr(tokens, name)]
    assert toy.vocabulary <= 512


def test_reserves_tokenizer_is_looked_up(shared, tmp_path, monkeypatch, caplog):
    cache, beside = tmp_path / "cache", tmp_path / "beside"
    monkeypatch.setenv(cache_lib.VARIABLE, str(cache))
    with pytest.raises(ValueError) as error:
        tokenizers.load("reserve", beside / "base")
    for word in ("lowercase_encoder.json", str(cache), str(beside), "afc3b00a1296a356"):
        assert word in str(error.value)
    cache.mkdir()
    beside.mkdir()
    (beside / "base").write_bytes(b"x")  # a checkpoint of one file
    source = shared / "data/merlot_reserve/lowercase_encoder.json"
    shutil.copy(source, cache)
    assert tokenizers.load("reserve", beside / "base").vocabulary == 32768
    assert tokenizers.load("reserve").vocabulary == 32768 and not caplog.records
    shutil.copy(tokenizers.TOY, beside / "lowercase_encoder.json")
    for checkpoint in (beside / "base", beside, beside / "folder"):
        caplog.clear()
        assert tokenizers.load("reserve", checkpoint).vocabulary == 512
        assert "not MERLOT-Reserve's afc3b00a1296" in caplog.text


def test_the_cache_is_in_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.delenv(cache_lib.VARIABLE, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    place = tmp_path / ".cache" / "mmdiffmask"
    with pytest.raises(ValueError, match=str(place)):
        tokenizers.find_reserve()
    place.mkdir(parents=True)
    shutil.copy(tokenizers.TOY, place / tokenizers.RESERVE)
    assert str(tokenizers.find_reserve()) == str(place / tokenizers.RESERVE)


@pytest.mark.parametrize("text", ["12 to 88", "0 to 100", "what is anna doing?"])
def test_text_comes_back(toy, text):
    assert toy.decode(toy.encode(text)).strip() == text


TOY = functools.cache(lambda: tokenizers.load("toy"))  # hypothesis takes no fixture


@hypothesis.settings(max_examples=50, deadline=None)
@hypothesis.given(st.text())
def test_any_text_encodes(text):
    assert all(10 <= i < TOY().vocabulary for i in TOY().encode_plain(text))


@hypothesis.settings(max_examples=50, deadline=None)
@hypothesis.given(st.text(string.printable))
def test_plain_text_comes_back(text):
    hypothesis.assume("<|" not in text)
    kept = text.lower().translate(dict.fromkeys(b"\x0b\x0c"))  # control characters go
    assert TOY().decode(TOY().encode(text)).split() == kept.split()


@pytest.mark.parametrize(
    "text", ["na\u00efve \u4f60\u597d \U0001f600", "\u0416\u0443\u043a"]
)
def test_other_scripts_are_not_lost(toy, text):
    plain = text.replace("\u00ef", "i").lower()
    assert toy.decode(toy.encode(text)).split() == (
        plain.replace("\u4f60\u597d", "\u4f60  \u597d").split()
    )


def test_special_tokens_in_a_users_text_are_words(toy):
    assert tokens.MASK in toy.encode("a <|MASK|> b")
    assert min(toy.encode_plain("a <|MASK|> b <|PAD|>")) >= 10


def test_wrong_files_are_named(tmp_path, toy):
    with pytest.raises(ValueError, match="no such tokenizer file"):
        tokenizers.load(tmp_path / "none.json")
    text = tmp_path / "text.json"
    text.write_text("{}")
    with pytest.raises(ValueError, match=r"text\.json: not a tokenizer"):
        tokenizers.load(text)
    other = json.loads(tokenizers.TOY.read_text())
    for token in other["added_tokens"]:
        token["content"] = token["content"].replace("MASK|", "HIDE|")
    vocabulary = other["model"]["vocab"]
    other["model"]["vocab"] = {
        k.replace("MASK|", "HIDE|"): v for k, v in vocabulary.items()
    }
    text.write_text(json.dumps(other))
    with pytest.raises(ValueError, match=r"id 3 is '<\|HIDE\|>', but the model needs"):
        tokenizers.load(text)


def test_shipped_tokenizer_is_what_the_toy_set_says(toy, tmp_path):
    trainer = pytest.importorskip(
        "preprocessing.toy.tokenizer", reason="the toy set is not in this tree"
    )
    assert trainer.PATH == tokenizers.TOY
    assert trainer.write(tmp_path / "again.json") == toy.vocabulary
    assert (tmp_path / "again.json").read_bytes() == tokenizers.TOY.read_bytes(), (
        "the toy set's words changed: run python -m preprocessing.toy.tokenizer"
    )
    text = " ".join(trainer.texts()).lower()
    counts = collections.Counter(re.findall(r" ([a-z]+)", text))
    common = [word for word, count in counts.items() if count >= 100]
    assert len(common) > 50
    assert {w for w in common if len(toy.encode(w)) > 1} == set()
