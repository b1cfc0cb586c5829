"""The lines of docs/masks_for_transformers.md, as written, in transformers' hands."""

import json
import pathlib
import re
import subprocess
import time

import numpy as np
import pytest
from helpers import wordpieces

from mmdiffmask import __main__ as command_line
from mmdiffmask.data import texts
from mmdiffmask.masking import word_counts

pytestmark = pytest.mark.hf
ROOT = pathlib.Path(__file__).resolve().parents[1]
PYTHON = ROOT / ".venv-hf" / "bin" / "python"
BLOCKS = re.findall(
    r"<!-- run by make test-hf -->\n```python\n(.*?)```",
    (ROOT / "docs" / "masks_for_transformers.md").read_text(),
    re.DOTALL,
)
# What the lines made, for the test to look at; and what stood there before.
LOOK = """
import json, sys
everything = collate(rows)
batches = [collate([r]) for r in rows[:400]]
texts = [json.loads(line)["text"] for line in open("corpus.jsonl")][:400]
plain = tokenizer(texts, return_offsets_mapping=True)
keep = {"shape": list(batch["input_ids"].shape), "rows": []}
for text, one, ids, offsets in zip(
    texts, batches, plain["input_ids"], plain["offset_mapping"]
):
    keep["rows"].append({
        "text": text, "plain": ids, "offsets": offsets,
        "ids": one["input_ids"][0].tolist(), "labels": one["labels"][0].tolist(),
    })
if "anew" in globals():
    again = [anew(row) for row in rows[:400]]
    keep["anew"] = [row["input_ids"] for row in again]
json.dump(keep, open("kept.json", "w"))
"""


@pytest.fixture(scope="module")
def exported(tmp_path_factory, shared):
    """Export of ACL-ARC with a small tokenizer; the seconds from corpus to batch."""
    if not PYTHON.is_file():
        pytest.skip("no .venv-hf: make test-hf makes it")
    folder = tmp_path_factory.mktemp("hf")
    source = shared / "data" / "acl_arc" / "train.jsonl"
    (folder / "corpus.jsonl").write_bytes(source.read_bytes())
    counted = word_counts.WordCounts()
    counted.add_all(text.text for text in texts.Texts([source]))
    common = [word for word, n in counted.counts.items() if n > 20 and word.isascii()]
    wordpieces.vocab_txt(folder / "my-model", common)
    settings = {"tokenizer_class": "BertTokenizer", "do_lower_case": True}
    (folder / "my-model" / "tokenizer_config.json").write_text(json.dumps(settings))
    rng = np.random.default_rng(0)
    # numpy keeps the name "file" for itself: a word without a vector.
    named = counted.counts.keys() - {"file"}
    vectors = {word: rng.standard_normal(8) for word in sorted(named)}
    np.savez(folder / "vectors.npz", **vectors)
    began = time.monotonic()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        line = "--text corpus.jsonl --tokenizer my-model --strategy difference-word"
        more = "--out masks.parquet --vectors vectors.npz --length 512"
        status = command_line.main(["masks", "export", *line.split(), *more.split()])
    assert status == 0
    return folder, began


def run(folder, code):
    (folder / "page.py").write_text(code)
    ran = subprocess.run(
        [PYTHON, "page.py"], cwd=folder, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads((folder / "kept.json").read_text())


def test_ten_lines_make_a_batch(exported):
    folder, began = exported
    assert len(BLOCKS) == 2
    sizes = [len([x for x in block.splitlines() if x]) for block in BLOCKS]
    assert sizes[0] <= 10 and sizes[1] <= 15
    kept = run(folder, BLOCKS[0] + LOOK)
    assert time.monotonic() - began < 300
    assert kept["shape"][0] == 16
    for row in kept["rows"]:
        ids, labels, plain = (np.array(row[k]) for k in ("ids", "labels", "plain"))
        hidden = labels != -100
        assert hidden.any() and hidden.mean() < 0.5
        np.testing.assert_array_equal(labels[hidden], plain[hidden])
        np.testing.assert_array_equal(ids[~hidden], plain[~hidden])
        for word in re.finditer(r"[^\W_]+", row["text"]):
            of_word = {
                bool(hidden[i])
                for i, (start, end) in enumerate(row["offsets"])
                if start < word.end() and end > word.start()
            }
            assert len(of_word) == 1, word


def test_fifteen_more_replace_anew(exported):
    folder, _ = exported
    kept = run(folder, "\n".join(BLOCKS) + LOOK)
    changed = 0
    for row, anew in zip(kept["rows"], kept["anew"], strict=True):
        labels, new = np.array(row["labels"]), np.array(anew)
        shown = labels == -100
        np.testing.assert_array_equal(new[shown], np.array(row["ids"])[shown])
        changed += anew != row["ids"]
    assert changed > 300


def test_an_unknown_tokenizer_is_one_sentence(exported, capsys, monkeypatch):
    monkeypatch.chdir(exported[0])
    line = (
        "--text corpus.jsonl --tokenizer no/such --strategy random-word --out x.jsonl"
    )
    assert command_line.main(["masks", "export", *line.split()]) == 2
    err = capsys.readouterr().err
    assert "tokenizer no/such: no such file or folder" in err
    assert err.strip().count("\n") == 0
