"""NanoDet's parity command on changed copies of its folder; its score and its speed."""

import cv2
import numpy as np
import pytest

from benchmarks import boxes, labelled, nanodet_speed, parity

FILE = "nanodet_golden.npz"


@pytest.fixture
def copy(shared, tmp_path):
    """A folder with one case of the golden one; arrays can be changed or added."""
    with np.load(shared / "golden" / "nanodet" / FILE) as arrays:
        kept = {name: arrays[name] for name in arrays if name.startswith("d/")}

    def write(**changed):
        target = tmp_path / "golden"
        target.mkdir(exist_ok=True)
        changed = {name.replace("__", "/"): array for name, array in changed.items()}
        np.savez(target / FILE, **(kept | changed))
        return target, kept

    return write


def run(target, capsys, place):
    status = parity.main(["nanodet", str(target), "--nanodet", place])
    return status, capsys.readouterr()


def test_every_array_of_the_folder_is_within_its_tolerance(
    shared, capsys, nanodet_file
):
    status, out = run(shared / "golden" / "nanodet", capsys, nanodet_file)
    assert status == 0
    assert out.out.splitlines()[-1] == (
        "111 arrays compared, 0 beyond tolerance, 0 not compared"
    )


def test_changed_arrays_are_over(copy, capsys, nanodet_file):
    _, arrays = copy()
    scores = arrays["d/stride16/scores"].copy()
    scores[3, 7] += 1e-3
    target, _ = copy(
        d__stride16__scores=scores,
        d__low__boxes=arrays["d/low/boxes"][:-1],
        d__default__score=np.full_like(arrays["d/default/score"], np.nan),
    )
    status, out = run(target, capsys, nanodet_file)
    over = [line.split()[0] for line in out.out.splitlines() if line.endswith("OVER")]
    assert status == 1
    assert over == ["d/stride16/scores", "d/low/boxes", "d/default/score"]


def test_an_array_that_is_not_compared_is_told(copy, capsys, nanodet_file):
    target, _ = copy(d__maps__conv99=np.zeros((3, 2, 2, 4)), more=np.zeros(2))
    status, out = run(target, capsys, nanodet_file)
    lines = [line.split() for line in out.out.splitlines()]
    assert status == 1
    assert [x[0] for x in lines if x[1:] == ["NOT", "COMPARED"]] == [
        "d/maps/conv99",
        "more",
    ]
    assert out.out.splitlines()[-1].endswith("0 beyond tolerance, 2 not compared")


def test_wrong_folders_and_files_are_one_sentence(copy, capsys, tmp_path, nanodet_file):
    target, _ = copy()
    for place, folder in (
        (str(tmp_path / "none.bin"), target),
        (nanodet_file, tmp_path / "none"),
    ):
        status, out = run(folder, capsys, place)
        assert status == 2 and "none" in out.err and len(out.err.splitlines()) == 1
    with np.load(target / FILE) as arrays:
        kept = {name: arrays[name] for name in arrays if name != "d/low/score"}
    np.savez(target / FILE, **kept)
    status, out = run(target, capsys, nanodet_file)
    assert status == 2 and "d has no low/score" in out.err


def test_it_is_scored_where_its_file_is(shared, tmp_path, nanodet_file, capsys):
    """On one labelled picture, beside the others."""
    picture = labelled.read_media(shared / "media")[0]
    detect = boxes._nanodet(
        boxes._parser().parse_args(["x", "--nanodet", nanodet_file])
    )
    found = boxes.detections(picture.pixels, detect_labelled=detect)
    assert ("nanodet", "body") in found and len(found["nanodet", "body"][0])
    assert boxes._nanodet(boxes._parser().parse_args(["x"])) is None  # no such cache
    assert boxes.main([str(tmp_path), "--nanodet", str(tmp_path)]) == 2
    assert "make labels" in capsys.readouterr().err


@pytest.mark.slow
def test_it_finds_people_in_real_pictures(shared, nanodet_file):
    detect = boxes._nanodet(
        boxes._parser().parse_args(["x", "--nanodet", nanodet_file])
    )

    def bodies(pixels):
        ((xyxy, score, label),) = detect([pixels])
        return {("nanodet", "body"): (xyxy[label == 0], score[label == 0])}

    total = boxes.score_all(labelled.read_media(shared / "media"), bodies)
    both = total["nanodet", "body", "pedestrians"].plus(
        total["nanodet", "body", "others"]
    )
    assert both.hits >= 52 and both.false <= 4


def test_both_detectors_are_timed(shared, nanodet_file, capsys):
    picture = cv2.imread(str(shared / "media" / "frames" / "classroom_0000.png"))
    result = nanodet_speed.compare([picture[:, :, ::-1]], 1, nanodet_file)
    assert result.ratio == pytest.approx(result.nanodet / result.ssdlite)
    assert result.persons > 0 and result.first > 0
    assert nanodet_speed.main(["x", "--nanodet", "none.bin"]) == 2
    assert "x/videos" in capsys.readouterr().err
