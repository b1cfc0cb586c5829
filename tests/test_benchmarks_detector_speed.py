"""Both comparisons of speed: what they call equal, and the ONNX graph they write."""

import importlib.util

import numpy as np
import pytest

from benchmarks import detector_speed, face_speed
from preprocessing.boxes import protobuf, ssdlite, weight_files

HAS_ONNX = all(importlib.util.find_spec(n) for n in ("onnx", "onnxruntime"))


@pytest.mark.skipif(not HAS_ONNX, reason="onnx and onnxruntime are not here")
def test_graph_gives_what_ours_gives():
    graph = protobuf.read_graph(weight_files.read(weight_files.SSDLITE))
    theirs = detector_speed.load_onnxruntime(ssdlite.read_network(graph))
    view = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    found, expected = ssdlite.load()(view), theirs(view)
    assert detector_speed.difference(found, expected) is None
    moved = found[0] + np.float32(2e-4)
    assert "boxes differ" in detector_speed.difference((moved, found[1]), expected)
    result = detector_speed.compare([view], 1)
    assert result.ratio == result.ours / result.theirs
    assert not result.said


@pytest.mark.skipif(HAS_ONNX, reason="onnx and onnxruntime are here")
def test_missing_packages_are_named(capsys):
    assert detector_speed.main(["--rounds", "1"]) == 2
    assert "pip install onnx onnxruntime" in capsys.readouterr().err


def test_sides_are_those_of_the_maps():
    graph = protobuf.read_graph(weight_files.read(weight_files.SSDLITE))
    network = ssdlite.read_network(graph)
    found = detector_speed.sides(network)
    assert found[0] == (150, 32)
    heads = [found[i] for i in network.heads]
    assert [head.cells for head in heads] == [*ssdlite.MAPS, *ssdlite.MAPS]
    assert [head.channels for head in heads] == [12, *[24] * 5, 6, *[12] * 5]


def test_faces_that_differ_are_told():
    boxes = np.float32([[1, 2, 30, 40]])
    one = boxes, np.float32([0.9]), np.zeros((1, 5, 2), np.float32)
    assert face_speed.difference(one, one) is None
    moved = boxes + np.float32(0.01), *one[1:]
    assert "boxes differ by 1.0e-02" in face_speed.difference(one, moved)
    none = tuple(array[:0] for array in one)
    assert face_speed.difference(one, none) == "1 faces, not 0"
    less = one[0], one[1] - np.float32(0.1), one[2]
    assert "probabilities" in face_speed.difference(one, less)


def test_frames_are_stretched_to_the_size(shared):
    frames = face_speed.read_frames(shared / "media", (64, 36), 5)
    assert {frame.shape for frame in frames} == {(36, 64, 3)}
    assert (frames[0] != frames[4]).any()
    with pytest.raises(ValueError, match="opera_house_720p.mp4"):
        face_speed.read_frames(shared / "none", (64, 36), 1)
