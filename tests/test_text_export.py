"""Exports of masks of texts: rows, resuming after a kill, mistakes in one sentence."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from helpers import wordpieces

from mmdiffmask import __main__ as command_line
from mmdiffmask.data import texts as corpora
from mmdiffmask.data import tokenizer_files
from mmdiffmask.masking import text_strategies, web_counts
from mmdiffmask.text import export, rows

WORDS = ["the", "cell", "kinase", "is", "inhibit", "grammar", "parser", "of"]
TEXTS = [f"The {a} of {b}, is {c}." for a in WORDS for b in WORDS for c in WORDS[:3]]


@pytest.fixture
def corpus(tmp_path, monkeypatch):
    """Texts, a tokenizer and vectors, as a user has them; one text a part."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(web_counts, "load", lambda: {w: 9 for w in WORDS[1:]})
    wordpieces.vocab_txt(tmp_path / "bert", WORDS)
    wordpieces.jsonl(tmp_path / "a.jsonl", [{"text": t} for t in TEXTS[:100]])
    (tmp_path / "b.txt").write_text("\n".join(TEXTS[100:]) + "\n\n...\n" + "cell " * 90)
    rng = np.random.default_rng(0)
    np.savez("v.npz", **{word: rng.standard_normal(4) for word in WORDS})
    monkeypatch.setattr(export, "TEXTS_A_PART", 50)
    wordpieces.encoder(tmp_path / "encoder", WORDS)
    wordpieces.encoder(tmp_path / "reference", WORDS, seed=1)
    labelled = [{"text": t, "label": "ab"[i % 2]} for i, t in enumerate(TEXTS[:40])]
    wordpieces.jsonl(tmp_path / "labelled.jsonl", labelled)
    spans = [(i, 4, 4 + len(t.split()[1])) for i, t in enumerate(TEXTS[:30])]
    lines = [f"{corpora.content_id(TEXTS[i])}\t{a}\t{b}" for i, a, b in spans]
    (tmp_path / "spans.tsv").write_text("\n".join(["id\tstart\tend", *lines]) + "\n")
    return tmp_path


def words(out, *more, strategy="difference-word"):
    line = f"--text a.jsonl b.txt --tokenizer bert --strategy {strategy} --length 64"
    return ["masks", "export", *line.split(), "--out", out, *map(str, more)]


def run(capsys, *arguments):
    status = command_line.main(list(arguments))
    return status, *capsys.readouterr()


VECTORS = ("--vectors", "v.npz", "--k", 3)
SOURCES = (*VECTORS, "--encoder", "encoder", "--spans", "spans.tsv")
SOURCES += ("--labelled", "labelled.jsonl", "--reference", "reference")


@pytest.mark.parametrize("strategy", sorted(text_strategies.REGISTRY))
def test_rows_are_what_a_trainer_needs(corpus, capsys, strategy):
    arguments = (*SOURCES, "--draws", 2)
    status, out, err = run(capsys, *words("m.parquet", *arguments, strategy=strategy))
    assert status == 0, err
    assert "2 masks each" in out and "hidden" in out
    table = pq.read_table("m.parquet").to_pylist()
    is_whole = text_strategies.find(strategy).units != "piece"
    pieces = tokenizer_files.load("bert")
    by_id = {}
    for row in table:
        by_id.setdefault((row["id"], row["draw"]), []).append(row["window"])
        ids, labels = np.array(row["input_ids"]), np.array(row["labels"])
        assert len(ids) == len(labels) == len(row["attention_mask"]) <= 64
        assert set(row["attention_mask"]) == {1}
        hidden = labels != rows.SHOWN
        assert row["masked"] == hidden.sum()
        assert not hidden[0] and not hidden[-1]
        assert [ids[0], ids[-1]] == [*pieces.before, *pieces.after]
        first = max(1, round(0.25 * (len(ids) - 2)))
        assert row["masked"] <= first or is_whole
    assert len(by_id) == 2 * (len(TEXTS) + 2)
    assert sum(len(windows) > 1 for windows in by_id.values()) == 2  # the long one
    assert all(windows == sorted(windows) for windows in by_id.values())


def test_lines_hold_the_same_as_parquet(corpus, capsys):
    for out in ("m.parquet", "m.jsonl"):
        assert run(capsys, *words(out, *VECTORS))[0] == 0
    lines = [json.loads(line) for line in open("m.jsonl", encoding="utf-8")]
    assert lines == pq.read_table("m.parquet").to_pylist()
    assert not list(corpus.glob("*.parts"))


def test_what_fails_before_the_first_part_leaves_nothing(corpus, capsys):
    """Nor does it touch the folder of a process that is at work."""
    wrong = words("m.jsonl", "--vectors", "absent.npz", "--k", 3)
    status, _, err = run(capsys, *wrong)
    assert status == 2 and "absent.npz" in err
    assert not list(corpus.glob("m.jsonl*"))
    folder = corpus / "m.jsonl.parts"
    folder.mkdir()
    with export.atomic.lock(folder / export.LOCK, "busy"):
        status, _, err = run(capsys, *words("m.jsonl", *VECTORS))
        assert status == 2 and "another process writes m.jsonl now" in err
        assert (folder / export.LOCK).is_file()
    assert run(capsys, *words("m.jsonl", *VECTORS))[0] == 0
    assert not folder.exists()


class Killed(BaseException):
    pass


@pytest.mark.parametrize("out", ["m.parquet", "m.jsonl"])
def test_a_killed_export_goes_on_and_has_the_same_bytes(
    corpus, capsys, monkeypatch, out
):
    assert run(capsys, *words(f"whole-{out}", *VECTORS))[0] == 0
    written, write_json = [], export.atomic.write_json

    def stops(path, content):
        written.append(path.name)
        if len(written) == 4:  # the order and two parts are noted, the third is not
            raise Killed
        write_json(path, content)

    monkeypatch.setattr(export.atomic, "write_json", stops)
    with pytest.raises(Killed):
        command_line.main(words(out, *VECTORS))
    assert not (corpus / out).exists()
    monkeypatch.setattr(export.atomic, "write_json", write_json)
    before = {p.name: p.stat().st_mtime_ns for p in (corpus / f"{out}.parts").iterdir()}
    assert {"000000.json", "000001.json"} <= before.keys()
    status, _, err = run(capsys, *words(out, *VECTORS, "--seed", 3))
    assert status == 2 and "part of an export with other seed" in err
    drawn = []
    of_texts = export.masks.of_texts
    monkeypatch.setattr(
        export.masks, "of_texts", lambda *a: drawn.append(1) or of_texts(*a)
    )
    assert run(capsys, *words(out, *VECTORS))[0] == 0
    assert (corpus / out).read_bytes() == (corpus / f"whole-{out}").read_bytes()
    assert len(drawn) == 2  # two of four parts stood there


def test_the_order_of_files_changes_no_mask(corpus, capsys):
    assert run(capsys, *words("m.jsonl", *VECTORS))[0] == 0
    turned = [w for w in words("t.jsonl", *VECTORS) if w not in ("a.jsonl", "b.txt")]
    turned[3:3] = ["b.txt", "a.jsonl"]
    assert run(capsys, *turned)[0] == 0
    lines = [sorted((corpus / name).open()) for name in ("m.jsonl", "t.jsonl")]
    assert lines[0] == lines[1]


def test_input_embeddings_of_a_model_are_vectors(corpus, capsys):
    table = np.random.default_rng(1).standard_normal((200, 3)).astype("<f4")
    header = {
        "bert.embeddings.word_embeddings.weight": {
            "dtype": "F32",
            "shape": [200, 3],
            "data_offsets": [0, table.nbytes],
        }
    }
    text = json.dumps(header).encode()
    content = len(text).to_bytes(8, "little") + text + table.tobytes()
    (corpus / "bert" / "model.safetensors").write_bytes(content)
    status, out, err = run(capsys, *words("m.jsonl", "--vectors", "bert", "--k", 2))
    assert status == 0, err
    short = len(text).to_bytes(8, "little") + text + table.tobytes()[:-4]
    (corpus / "bert" / "model.safetensors").write_bytes(short)
    status, _, err = run(capsys, *words("n.jsonl", "--vectors", "bert"))
    assert status == 2 and "no usable safetensors file" in err


def test_words_without_a_vector_are_counted(corpus, capsys):
    rng = np.random.default_rng(0)
    np.savez("few.npz", **{word: rng.random(4) for word in ("cell", "kinase")})
    arguments = ("--vectors", "few.npz", "--anchors", "Cell")
    status, out, _ = run(capsys, *words("m.jsonl", *arguments))
    assert status == 0 and "anchors: cell" in out
    assert "6 words have no vector" in out


@pytest.mark.parametrize(
    "more, sentence",
    [
        (("--strategy", "difference"), "did you mean"),
        (("--tokenizer", "no-such"), "tokenizer no-such: no such file or folder"),
        (("--out", "m.npz"), "needs a .parquet or .jsonl file"),
        (("--out", "no/m.jsonl"), "in a folder that exists"),
        (("--replace", "noise"), "must be one of bert, mask, random"),
        (("--ratio", "1"), "must be above 0 and below 1"),
        (("--draws", "0"), "--draws 0: must be at least 1"),
        (("--length", "2"), "leaves no room"),
        (("--seed", "-1"), "--seed -1"),
        (("--k", "0"), "must be at least 1"),
        (("--text", "none.txt"), "none.txt: is missing"),
        (("--text", "empty.txt"), "no text in it"),
        (("--anchors", "zebra"), "no vector for the anchor zebra"),
        (("--vectors", "none.npz"), "none.npz: no such file"),
        (("--vectors", "none"), "no such file; vectors are those of"),
        (("--background", "none.tsv"), "none.tsv: is missing"),
        (("--background", "bad.tsv"), "bad.tsv, line 2: needs a word, a tab"),
        (("--set", "masking.ratio=0.5"), "takes the place of records"),
    ],
)
def test_mistakes_are_one_sentence(corpus, capsys, more, sentence):
    (corpus / "empty.txt").write_text("\n \n")
    (corpus / "bad.tsv").write_text("word\tcount\ncell\n")
    status, out, err = run(capsys, *words("m.jsonl", *VECTORS), *more)
    assert (status, out) == (2, "") and sentence in err, err
    assert err.strip().count("\n") == 0


def test_records_take_no_tokenizer(capsys):
    status, _, err = run(capsys, "masks", "export", "--out", "x.npz")
    assert status == 2 and "name a folder of records, or files of texts" in err
    line = ["masks", "export", "data/x", "--out", "x.npz", "--strategy", "difference"]
    status, _, err = run(capsys, *line)
    assert status == 2 and "--strategy is for texts" in err
