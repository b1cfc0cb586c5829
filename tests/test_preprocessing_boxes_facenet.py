"""The package as a second finder of faces; most of it needs torch."""

import importlib.util
import json
import sys

import cv2
import numpy as np
import pytest

from benchmarks import face_speed
from preprocessing.boxes import face_boxes, facenet

KEYS = ("05", "06", "09", "12")


@pytest.fixture
def package():
    """The package, made to load where torch is; what it needed is gone afterwards."""
    pytest.importorskip("torch", reason="torch is not here: install the extra [faces]")
    before = set(sys.modules)
    is_stand_in = face_speed.fit_torchvision()
    facenet.load.cache_clear()
    yield
    facenet.load.cache_clear()
    if is_stand_in:
        for name in set(sys.modules) - before:
            if name.startswith(("torchvision", "facenet_pytorch")):
                del sys.modules[name]


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("run", ["default", "strict"])
def test_both_find_the_same_faces(package, shared, key, run):
    index = json.loads((shared / "golden/mtcnn/index.json").read_text())
    (entry,) = [entry for entry in index["images"] if entry["key"] == key]
    pixels = cv2.imread(str(shared / "media" / entry["image"]))
    pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
    settings = face_boxes.Settings(
        min_face_px=index[run]["min_face_size"],
        thresholds=tuple(index[run]["thresholds"]),
        factor=index[run]["factor"],
    )
    (theirs,) = facenet.detect([pixels], settings)
    (ours,) = face_boxes.detect([pixels], settings)
    assert face_speed.difference(ours, theirs) is None
    with np.load(shared / "golden/mtcnn/mtcnn_golden.npz") as arrays:
        expected = arrays[f"{key}/{run}/boxes"]
    assert theirs[0].shape == expected.shape
    np.testing.assert_allclose(theirs[0], expected, atol=1e-3)


def test_interface_is_that_of_ours(package, shared):
    with np.load(shared / "golden/mtcnn/mtcnn_golden.npz") as arrays:
        frames = list(arrays["batch320/pixels"][:2])
    empty = np.full((48, 64, 3), 90, np.uint8)
    tiny = np.full((12, 300, 3), 90, np.uint8)
    found = facenet.detect([frames[0], empty, tiny, frames[1]])
    (alone,) = facenet.detect([frames[1]])
    assert [len(one[0]) for one in found][1:3] == [0, 0]
    assert len(found[0][0]) == 2
    for one, two in zip(found, face_boxes.detect([*frames, empty, tiny]), strict=True):
        assert [a.dtype for a in one] == [a.dtype for a in two] == [np.float32] * 3
        assert [a.shape[1:] for a in one] == [a.shape[1:] for a in two]
    assert all((a == b).all() for a, b in zip(alone, found[3], strict=True))
    assert sys.modules["torch"].get_num_threads() == 1


def without(monkeypatch, missing, error):
    """Imports of `missing` fail with `error`; others give an empty module."""
    facenet.load.cache_clear()

    def load(name):
        if name == missing:
            raise error
        return object()

    monkeypatch.setattr(facenet.importlib, "import_module", load)


@pytest.mark.parametrize("name", ["torch", "facenet_pytorch"])
def test_a_missing_package_is_named_with_the_way_out(monkeypatch, name):
    without(monkeypatch, name, ModuleNotFoundError("gone", name=name))
    with pytest.raises(ValueError, match=f"{name}, which is missing") as e:
        facenet.detect([np.zeros((40, 40, 3), np.uint8)])
    assert "pip install '.[faces]'" in str(e.value)
    assert "--faces mtcnn" in str(e.value)


def test_a_torchvision_that_does_not_fit_is_told(monkeypatch):
    said = "operator torchvision::nms does not exist\nmore"
    without(monkeypatch, "facenet_pytorch", RuntimeError(said))
    with pytest.raises(ValueError, match="torchvision::nms does not exist") as e:
        facenet.detect([np.zeros((40, 40, 3), np.uint8)])
    assert "[faces]" in str(e.value)
    assert "more" not in str(e.value)


@pytest.mark.skipif(importlib.util.find_spec("torch") is not None, reason="has torch")
def test_benchmark_says_what_is_missing(shared, capsys):
    assert face_speed.main([str(shared / "media")]) == 2
    assert "install the extra [faces]" in capsys.readouterr().err
