"""The table of strategies of texts in the documents is that of the registry."""

import pathlib
import re
import typing

from mmdiffmask.experiment import costs
from mmdiffmask.masking import text_strategies

ROOT = pathlib.Path(__file__).resolve().parents[1]
TEXT = (ROOT / "docs" / "text_strategies.md").read_text()
HIDES = {"piece": "pieces", "word": "words", "entity": "an entity"}


def test_the_table_has_every_row():
    lines = [
        [cell.strip() for cell in line.strip("|\n").split("|")]
        for line in TEXT.splitlines()
        if line.startswith("| `")
    ]
    by_name = {cells[0].strip("`"): cells for cells in lines if len(cells) == 6}
    assert list(by_name) == list(text_strategies.REGISTRY)
    for name, row in text_strategies.REGISTRY.items():
        _, hides, _, _, needs, cost = by_name[name]
        assert hides == HIDES[row.units], name
        assert needs == ", ".join(row.needs), name
        assert cost == "not measured" or float(cost) > 0, name


def test_every_need_has_a_cost():
    assert {*typing.get_args(text_strategies.Need)} == costs.PASSES.keys()


def test_every_need_is_explained():
    explained = re.findall(r"^\| ([a-z, ]+) \| ", TEXT, re.MULTILINE)
    known = {need for cell in explained for need in cell.split(", ")}
    for row in text_strategies.REGISTRY.values():
        assert {*row.needs} <= known
