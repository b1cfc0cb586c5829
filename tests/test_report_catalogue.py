"""The page of all strategies: a part for each, the same clips, no other files."""

import re

import pytest

from mmdiffmask import __main__ as command_line
from mmdiffmask.masking import strategies
from mmdiffmask.report import catalogue


def test_every_strategy_has_its_part(tiny_records, tmp_path, monkeypatch, capsys):
    names = ("random", "moved", "file-scores")  # each that is drawn takes seconds
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
    assert html.count("data:image/jpeg;base64,") == catalogue.CLIPS * 3
    assert html.count("It reads a file of yours") == 1
    assert not re.findall(r'(?:src|href)="(?!data:)', html)
    for text in (
        "patch: Every valid patch (or cell) alone",
        "moved body: The boxes of these kinds, each at another place of its frame",
        "The scores of masking.scores for this example.",
        "Every unit alike. Paper: Eq. 5. Drawn.",
        "control for place",
    ):
        assert text in html


@pytest.mark.parametrize("name, row", strategies.REGISTRY.items())
def test_every_strategy_says_what_it_does(name, row):
    functions = [row.units.make, row.weight, *([row.score] if row.score else [])]
    assert all(map(catalogue.first_line, functions)), name


def test_a_page_needs_a_place(tiny_records, tmp_path, capsys):
    words = ["--data", tiny_records, "--out", str(tmp_path / "page.txt")]
    assert command_line.main(["strategies", *words]) == 2
    assert "page.txt: needs an .html file" in capsys.readouterr().err
