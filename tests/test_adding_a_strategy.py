"""docs/adding_a_strategy.md: what it says to write and to run does what it says."""

import pathlib
import re
import shlex

import numpy as np
import pytest

from mmdiffmask import __main__ as command_line
from mmdiffmask import examples
from mmdiffmask.data import video
from mmdiffmask.data.corpus import Corpus
from mmdiffmask.masking import strategies

PAGE = pathlib.Path(__file__).resolve().parents[1] / "docs" / "adding_a_strategy.md"


def test_the_page_adds_a_strategy(tiny_records, tmp_path, monkeypatch):
    text = PAGE.read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    command = re.search(r"^    mmdiffmask (masks export .*)$", text, re.MULTILINE)[1]
    monkeypatch.chdir(tmp_path)
    pathlib.Path("CONFIG.py").write_text(code)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(strategies, "REGISTRY", dict(strategies.REGISTRY))
        words = shlex.split(command.replace("DATA", tiny_records))
        assert command_line.main(words) == 0
    assert "dark" not in strategies.REGISTRY
    stored = np.load("dark.npz")
    source = Corpus.of(tiny_records).source("train")
    grid = examples.grids.PatchGrid(*stored["grid"].tolist())
    for i in (0, len(source) - 1):
        patches, is_valid = video.pictures(source[i], grid)
        value = patches.reshape(7, 3, 2, 5, 2, -1).mean((2, 4, 5))  # of cells
        hidden = stored["masks"][i].reshape(7, 3, 2, 5, 2).all((2, 4))
        assert is_valid.all() and hidden.sum() == 26
        assert value[hidden].max() <= value[~hidden].min() + 1e-3
