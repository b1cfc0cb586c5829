"""MOT text: what is written comes back, and lines that are wrong are named."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies

from preprocessing.boxes.unitrack import mot

SIZES = strategies.floats(1e-3, 1e6)
PLACES = strategies.floats(-1e6, 1e6)
ROWS = strategies.lists(
    strategies.tuples(
        strategies.integers(1, 10**6),
        strategies.integers(-1, 10**6),
        strategies.tuples(PLACES, PLACES, SIZES, SIZES),
        strategies.floats(0, 1),
        strategies.integers(-1, 100),
    ),
    max_size=6,
)


def table(rows):
    columns = list(zip(*rows, strict=True)) or [[]] * 5
    frame, track, tlwh, score, category = columns
    return mot.Rows(
        frame=np.array(frame, int),
        id=np.array(track, int),
        tlwh=np.array(tlwh, float).reshape(-1, 4),
        score=np.array(score, float),
        category=np.array(category, int),
    )


@hypothesis.given(ROWS)
@hypothesis.settings(max_examples=40, deadline=None)
def test_what_is_written_comes_back(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("mot") / "a.txt"
    path.write_text("".join(mot.lines(table(rows))))
    for found, expected in zip(mot.read_counted(path)[0], table(rows), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_written_text_is_the_references(shared):
    path = shared / "golden/unitrack/seq_pedestrians_hog.txt"
    rows = mot.read_counted(path)[0]
    assert len(rows.frame) == 1235
    assert set(rows.score) == {1.0}
    assert set(rows.category) == {-1}
    assert "".join(mot.lines(rows)) == path.read_text()


@pytest.mark.parametrize(
    ("line", "score", "category"),
    [
        ("3,-1,10,20,30,40", 1.0, -1),
        ("3,-1,10,20,30,40,0.5", 0.5, -1),
        ("3,-1,10,20,30,40,0.5,2", 0.5, 2),
        ("3,-1,10,20,30,40,1,7,0.86", 1.0, 7),
        ("3,-1,10,20,30,40,-1,-1,-1,-1", -1.0, -1),
        ("3,-1,10,20,30,40,0.5,2,-1,-1", 0.5, 2),
        ("3,-1,10,20,30,40,0.5,-5.2,3.5,0", 0.5, -1),
        ("3, -1, 10, 20, 30, 40, 0.5,", 0.5, -1),
        ("\ufeff3,-1,1e1,20,30,40.0,0.5\r", 0.5, -1),
    ],
)
def test_forms_of_lines(tmp_path, line, score, category):
    path = tmp_path / "a.txt"
    path.write_text(f"{line}\n\n", encoding="utf-8")
    rows = mot.read_counted(path)[0]
    assert rows.frame.tolist() == [3]
    assert rows.id.tolist() == [-1]
    assert rows.tlwh.tolist() == [[10.0, 20.0, 30.0, 40.0]]
    assert rows.score.tolist() == [score]
    assert rows.category.tolist() == [category]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("1,1,0,0,5", "5 columns"),
        ("1 1 0 0 5 5", "1 columns"),
        ("1,1,0,0,5,5,1,1,1,1,1", "11 columns"),
        ("1,1,x,0,5,5", "'x' is no number"),
        ("1,1,,0,5,5", "'' is no number"),
        ("1,1,nan,0,5,5", "nan is no finite number"),
        ("1,1,0,0,inf,5", "inf is no finite number"),
        ("1e300,1,0,0,5,5", "1e300 is no finite number"),
        ("0,1,0,0,5,5", "frame 0 is not 1, 2"),
        ("1.5,1,0,0,5,5", "frame 1.5 is not"),
        ("1,1.5,0,0,5,5", "id 1.5 is neither"),
        ("1,-2,0,0,5,5", "id -2 is neither"),
        ("1,1,0,0,0,5", "0 x 5 px has no area"),
        ("1,1,0,0,5,-5", "5 x -5 px has no area"),
        ("1,1,0,0,5,5,1,0.5", "class 0.5 is neither"),
        ("1,1,0,0,5,\udcff", "is no number"),
    ],
)
def test_wrong_lines_are_named(tmp_path, line, said):
    path = tmp_path / "a.txt"
    text = f"1,1,0,0,5,5\n\n{line}\n"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ValueError, match="a.txt, line 3: ") as caught:
        mot.read_counted(path)[0]
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
