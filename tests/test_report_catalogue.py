"""The page of all strategies: a part for each, the same clips, no other files."""

import re

import pytest

from mmdiffmask import __main__ as command_line
from mmdiffmask.data import cache
from mmdiffmask.masking import strategies
from mmdiffmask.report import catalogue


def test_every_strategy_has_its_part(tiny_records, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    # Each that is drawn takes seconds.
    names = ("random", "mst", "moved", "file-scores")
    few = {name: strategies.find(name) for name in names}
    monkeypatch.setattr(strategies, "REGISTRY", few)
    out = tmp_path / "page.html"
    words = ["--out", str(out), "--data", tiny_records]
    words += ["--set", "masking.held_out=random", "--set", "masking.strategy=random"]
    words += ["--set", 'rows=["random: masking.strategy=random"]']
    assert command_line.main(["strategies", *words]) == 0
    assert capsys.readouterr().out.strip() == str(out)
    html = out.read_text()
    assert re.findall(r'<h2 id="([\w-]+)">', html) == list(names)
    assert html.count("data:image/jpeg;base64,") == catalogue.CLIPS * 4
    assert html.count("It reads a file of yours") == 1
    assert not re.findall(r'(?:src|href)="(?!data:)', html)
    for text in (
        "patch: Every valid patch (or cell) alone",
        "moved body: The boxes of these kinds, each at another place of its frame",
        "The scores of masking.scores for this example.",
        "Every unit alike. Paper: Eq. 5. Drawn.",
        "Share of its frame&#39;s [CLS] attention that each patch has.",
        "Attention is that of the weights <code>small</code>",
        "control for place",
    ):
        assert text in html


def test_without_weights_there_is_no_attention_to_show(
    tiny_records, tmp_path, monkeypatch, capsys
):
    few = {name: strategies.find(name) for name in ("random", "attention-body")}
    monkeypatch.setattr(strategies, "REGISTRY", few)
    out = tmp_path / "page.html"
    words = ["--out", str(out), "--data", tiny_records]
    words += ["--set", "masking.held_out=random", "--set", "masking.strategy=random"]
    words += ["--set", 'rows=["random: masking.strategy=random"]']
    words += ["--set", "model.checkpoint=none"]
    assert command_line.main(["strategies", *words]) == 0
    html = out.read_text()
    assert html.count("model.checkpoint names none, so there is nothing to show") == 1
    assert html.count("data:image/jpeg;base64,") == catalogue.CLIPS * 2
    assert "Attention is that of" not in html


@pytest.mark.parametrize("name, row", strategies.REGISTRY.items())
def test_every_strategy_says_what_it_does(name, row):
    scores = [score for score in (row.score, row.patch_score) if score]
    functions = [row.units.make, row.weight, *scores]
    assert all(map(catalogue.first_line, functions)), name


def test_a_page_needs_a_place(tiny_records, tmp_path, capsys):
    words = ["--data", tiny_records, "--out", str(tmp_path / "page.txt")]
    assert command_line.main(["strategies", *words]) == 2
    assert "page.txt: needs an .html file" in capsys.readouterr().err
