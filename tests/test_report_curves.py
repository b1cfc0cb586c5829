"""The drawings are well-formed and put values where they belong."""

import math
import xml.etree.ElementTree as ElementTree

import pytest

from mmdiffmask.report import curves

NAMES = ("none", "random", "difference")


def _panel(**kw):
    line = curves.Line(
        "random", (0, 50, 100), (0.1, 0.2, 0.4), (0.0, 0.1, 0.3), (0.2, 0.3, 0.5)
    )
    default = dict(
        title="Found <cells>",
        note="",
        lines=(line,),
        levels=(curves.Level("copy & paste", 0.25),),
        is_share=True,
    )
    return curves.Panel(**(default | kw))


@pytest.mark.parametrize(
    "low, high, expected",
    [
        (0, 0.42, [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]),
        (3.2, 7.05, [3, 4, 5, 6, 7, 8]),
        (0, 150, [0, 50, 100, 150]),
        (0, 0.004, [0.0, 0.001, 0.002, 0.003, 0.004]),
    ],
)
def test_ticks(low, high, expected):
    assert curves.ticks(low, high) == pytest.approx(expected)


@pytest.mark.parametrize(
    "value, is_share, text",
    [
        (0.123, True, "12.3\u00a0%"),
        (0.0041, True, "0.41\u00a0%"),
        (0.0, True, "0.0\u00a0%"),
        (5.267, False, "5.27"),
        (math.nan, True, "not measured"),
    ],
)
def test_number(value, is_share, text):
    assert curves.number(value, is_share) == text


def test_points_and_floor_stand_where_their_values_are():
    root = ElementTree.fromstring(curves.draw(_panel(), NAMES))
    dots = [(float(c.get("cx")), float(c.get("cy"))) for c in root.iter("circle")]
    (x0, y0), (x1, y1), (x2, y2) = dots
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.2)
    assert (y0 - y2) == pytest.approx(3 * (y0 - y1), abs=0.4)  # 0.1 -> 0.2 -> 0.4
    floor = next(p for p in root.iter("path") if p.get("class") == "level")
    y_floor = float(floor.get("d").split()[1].split("H")[0])
    assert y_floor == pytest.approx(y0 - 1.5 * (y0 - y1), abs=0.3)
    assert len(list(root.iter("polygon"))) == 1


def test_legend_names_every_line_with_its_value():
    root = ElementTree.fromstring(curves.draw(_panel(), NAMES))
    texts = [t.text for t in root.iter("text") if t.get("class") == "legend"]
    assert texts == ["random", "at the end 40.0\u00a0%", "copy & paste", "25.0\u00a0%"]
    assert root.get("aria-label") == "Found <cells>"


def test_gaps_and_nothing_at_all_are_drawn():
    line = curves.Line("none", (0, 1, 2), (1.0, math.nan, 2.0))
    root = ElementTree.fromstring(curves.draw(_panel(lines=(line,), levels=()), NAMES))
    path = next(p for p in root.iter("path") if p.get("fill") == "none")
    assert path.get("d").count("M") == 2
    ElementTree.fromstring(curves.draw(_panel(lines=(), levels=()), NAMES))
    broken = curves.Line("none", (0,), (math.nan,))
    text = curves.draw(_panel(lines=(broken,), is_share=False), NAMES)
    assert "nan" not in text


def test_a_row_keeps_its_colour():
    colours = [curves.colour_of(name, NAMES) for name in NAMES]
    assert len(set(colours)) == 3
    assert colours[1] in curves.draw(_panel(), NAMES)
