"""Frames that lie on their side in the file: drawn upright, under upright boxes."""

import cv2
import numpy as np
import pytest
from helpers import raw_trees

from mmdiffmask import config
from mmdiffmask.data.corpus import Corpus
from mmdiffmask.report import drawn, inspect


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """Records of the same upright pictures, stored upright and stored turned."""
    found = {}
    for name, encode in {
        "upright": raw_trees.jpeg,
        "turned": raw_trees.turned_jpeg,
    }.items():
        folder = tmp_path_factory.mktemp(name)
        raw_trees.write_tvqa(folder / "raw", train=1, val=0)
        for i, path in enumerate(sorted((folder / "raw").rglob("*.jpg"))):
            path.write_bytes(encode(raw_trees.picture(i)))
        raw_trees.make(folder / "raw", folder / "out")
        found[name] = str(folder / "out")
    return found


def read(path):
    return cv2.imread(str(path)).astype(int)


def test_inspect_draws_turned_frames_as_upright_ones(both, tmp_path):
    upright, turned = (
        read(inspect.draw(records_dir, None, str(tmp_path / f"{name}.png")))
        for name, records_dir in both.items()
    )
    assert upright.shape == turned.shape
    assert np.abs(upright - turned).mean() < 1  # JPEG's rounding differs


def test_the_report_draws_turned_frames_as_upright_ones(both):
    experiment = config.Experiment(
        "turned", data=config.Data(segments=3, sub_segments=1, rows=6, cols=10)
    )
    random, strips = config.Masking(strategy="random"), []
    for records_dir in both.values():
        source = Corpus.of(records_dir).source("train")
        (example,) = drawn.draw(experiment, source, [0], {"random": random}, 0)
        pictures = [np.frombuffer(row.picture, np.uint8) for row in example.rows]
        strips.append([cv2.imdecode(data, 1).astype(int) for data in pictures])
    for upright, turned in zip(*strips, strict=True):
        assert upright.shape == turned.shape
        assert np.abs(upright - turned).mean() < 2  # JPEG's rounding differs
