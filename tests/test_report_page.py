"""The page: loads nothing, escapes everything, shows the numbers it was given."""

import dataclasses
import html.parser
import re

import numpy as np
import pytest

from mmdiffmask import grid as grids
from mmdiffmask import statistics, types
from mmdiffmask.masking import summary as mask_summary
from mmdiffmask.report import (
    compare,
    curves,
    opening,
    page,
    pictures,
    sentences,
    summary,
)

EVIL = "<script>alert(\"x\")</script> & 'co'"
GRID = grids.PatchGrid(2, 4, 16)
NBSP = "\N{NO-BREAK SPACE}"


def _right(rate, seed, n=200):
    return np.random.default_rng(seed).random(n) < rate


def _scores(rate, seed):
    right, vit = _right(rate, seed), _right(0.3, 9)
    pairs = {"joint": (right, ~right), "vit": (vit, ~vit)}
    return summary.ProbeScores(
        {
            name: summary.ReadOut(*map(statistics.accuracy, pair), -rate)
            for name, pair in pairs.items()
        }
    )


def _masks(**kw):
    values = dict(
        clips=20,
        clips_without_box=3,
        hidden_patches=60.0,
        hidden_share=0.25,
        whole_box=0.512,
        cut_box=0.201,
        fill=0.287,
        boxes_share=0.433,
        cells=105.0,
        cells_touched=26.0,
        cells_hidden=25.5,
    )
    return mask_summary.MaskSummary(**(values | kw))


def _example(name):
    boxes = types.Boxes(
        frame=np.array([0]), xyxy_px=np.array([[0.0, 0.0, 31.0, 31.0]]),
        kind=("body",), label=("person",), score=np.ones(1), track=np.array([-1]),
        source=("true",),
    )  # fmt: skip
    frame = np.full((32, 64, 3), 90, np.uint8)
    hidden = np.array([[True, True, False, False, True, True, False, False]])
    unit = np.array([0, 0, 2, 3, 0, 0, 6, 7])
    is_box = np.arange(8) == 0
    clip = pictures.Clip(name, (frame,), boxes)
    return summary.make_example(GRID, clip, {"difference": hidden}, unit, is_box)


def _score(value, n=50):
    return statistics.Score(value, value - 0.0123, value + 0.0234, n)


def _run(label=EVIL, **kw):
    rates = {"none": 0.5, "random": 0.52, "difference": 0.8}
    right = {name: _right(rate, i) for i, (name, rate) in enumerate(rates.items())}
    rows = tuple(
        summary.ComparedRow(
            name, f"hides {EVIL}", 0 if name == "none" else 150,
            None if name == "none" else _masks(),
            {label: _scores(rate, i)}, name == "random",
        )
        for i, (name, rate) in enumerate(rates.items())
    )  # fmt: skip
    scores = {"none": _score(0.1), "random": _score(0.2), "difference": _score(0.3),
              "untrained network": _score(0.1), "copy": _score(0.25)}  # fmt: skip
    task = summary.RetrievalTask("difference", "hidden", 640.0, 0.0016, scores)
    line = curves.Line("random", (0, 9), (0.1, 0.2))
    values = dict(
        title=f"Title {EVIL}", data=EVIL, start="random weights", is_random_start=True,
        has_replay_terms=False,
        anchors=("person", EVIL), rows=rows, retrieval=(task,),
        floors={label: statistics.Floors(0.25, 0.31, 4)},
        comparisons=compare.compare(label, right, ["none"], 0, 300), questions=(),
        panels=(curves.Panel(EVIL, EVIL, (line,)),),
        examples=(_example(EVIL),), clips={EVIL: 200, "dev": 20}, skipped=2, seed=7,
        settings={"a.b": EVIL}, versions={"jax": "0.10.2"}, times={"boxes": 75.0},
        not_shown=(EVIL,),
    )  # fmt: skip
    return summary.RunSummary(**(values | kw))


class _Reader(html.parser.HTMLParser):
    VOID = {"meta", "img", "br", "circle", "path", "polygon"}

    def __init__(self):
        super().__init__()
        self.tags, self.links, self.open, self.text = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [
            v for k, v in attrs if k in ("src", "href", "xlink:href", "srcset")
        ]
        assert not [k for k, _ in attrs if k.startswith("on")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def _read(text):
    reader = _Reader()
    reader.feed(text)
    assert reader.open == []
    return reader, re.sub(r"\s+", " ", " ".join(reader.text).replace(NBSP, " "))


def test_page_loads_nothing_and_runs_nothing():
    text = page.build(_run())
    reader, _ = _read(text)
    allowed = {page.PAPER, page.RESERVE}
    assert all(v in allowed or v.startswith("data:image/") for v in reader.links)
    assert len([v for v in reader.links if v.startswith("data:")]) == 4
    assert not {"script", "link", "iframe", "object", "embed"} & set(reader.tags)
    assert "@import" not in text and "url(" not in text
    assert 'name="viewport"' in text and 'charset="utf-8"' in text


def test_everything_from_users_is_escaped():
    text = page.build(_run())
    assert "<script" not in text
    _, shown = _read(text)
    assert shown.count('alert("x")') >= 12


def test_further_scores_are_shown_where_there_are_some():
    cell = summary.FurtherCell("25.0 %", ("draws 20.0, 30.0 <b>",))
    column = summary.FurtherColumn("<i>", "1 % of labels", {"random": cell})
    _, shown = _read(page.build(_run(label="action", further=(column,))))
    assert "Further scores of the frozen network" in shown
    table = shown.partition("Further scores")[2].partition("The task itself")[0]
    assert "Row <i> 1 % of labels none – random 25.0 % draws 20.0, 30.0 <b>" in table
    _, shown = _read(page.build(_run(label="action")))
    assert "Further scores" not in shown


def test_numbers_shown_are_the_numbers_given():
    run = _run(label="action")
    _, shown = _read(page.build(run))
    for row in run.rows:
        probed = row.probes["action"]
        for score in (x for pair in probed.read_outs.values() for x in pair[:2]):
            assert f"{100 * score.value:.1f} %" in shown
        log = f"{probed.main.log_probability:.3f}".replace("-", "\N{MINUS SIGN}")
        assert f"log-probability {log}" in shown
        joint = probed.read_outs["joint"].linear
        assert f"{100 * joint.low:.1f} to {100 * joint.high:.1f} %" in shown
        near = probed.read_outs["vit"].near.value
        assert f"· near {100 * near:.1f} %" in shown
    wanted = [
        "51.2 % boxes hidden whole", "20.1 % boxes hidden in part",
        "28.7 % outside boxes", "units of boxes: 43.3 %", "no box in 3 of 20 clips",
        "26.0 of 105.0", "25.5 wholly hidden", "60.0 patches (25.0 %)", "31.0 %",
        "25.0 %", "4 labels", "0.16 %", "one of about 640", "18.8 to 22.3 %",
        "1 min 15 s",
        "2 raw files could not be used and were skipped", "Seed 7", "0.10.2",
        "started from random weights", "150 steps",
    ]  # fmt: skip
    for text in wanted:
        assert text in shown, text


def test_a_run_without_labels_has_a_page():
    rows = tuple(dataclasses.replace(row, probes={}) for row in _run().rows)
    run = _run(
        rows=rows, floors={}, comparisons=(), retrieval=(), panels=(), examples=()
    )
    _, shown = _read(page.build(run))
    assert "No accuracy was measured" in shown and "Nothing was compared" in shown


def test_missing_result_is_named():
    rows = (dataclasses.replace(_run().rows[0], probes={}),)
    with pytest.raises(ValueError, match="row none has no result for label shirt"):
        page.build(_run(label="shirt", rows=rows))


def _comparison(low, high, value=None):
    value = (low + high) / 2 if value is None else value
    found = statistics.Difference(value, low, high, 0.042, 300)
    return compare.Comparison("action", "difference", "none", found, True)


@pytest.mark.parametrize(
    "low, high, text",
    [
        (
            0.01,
            0.05,
            "+3.0 points (95 % interval +1.0 to +5.0, 300 clips). difference"
            " is ahead of none here.",
        ),
        (-0.05, -0.01, "none is ahead of difference here."),
        (
            -0.01,
            0.03,
            "No difference seen; the smallest difference that could have been"
            " seen here is about 4.2 points.",
        ),
    ],
)
def test_comparison_sentence(low, high, text):
    assert sentences.comparison(_comparison(low, high)).endswith(text)


@pytest.mark.parametrize(
    "ends, answer",
    [
        ([(0.01, 0.05)], "ahead on action"),
        ([(-0.05, -0.01)], "behind on action"),
        ([(-0.01, 0.03)], "not clearly apart on action"),
        ([(0.01, 0.05), (-0.05, -0.01)], "ahead on action and behind on action"),
        (
            [(0.01, 0.05), (-0.01, 0.03)],
            "ahead on action and not clearly apart on action",
        ),
    ],
)
def test_the_opening_says_what_was_seen(ends, answer):
    items = tuple(_comparison(*e) for e in ends)
    other = dataclasses.replace(_comparison(0.1, 0.2), measure="a retrieval task")
    run = _run(label="action", comparisons=(*items, other), retrieval=())
    (text,) = opening.in_words(run)
    assert text == f"Against none, difference is {answer}."


def test_rows_are_held_against_those_that_prefer_nothing():
    rows = [
        dataclasses.replace(row, is_uniform=row.name == "random")
        for row in _run(label="action").rows
    ]
    item = dataclasses.replace(_comparison(0.01, 0.05), b="random", is_gain=False)
    run = _run(label="action", comparisons=(item,), retrieval=(), rows=tuple(rows))
    (text,) = opening.in_words(run)
    assert text.startswith("Against random, difference is ahead on action, with one")


@pytest.mark.parametrize(
    "value, untrained, expected",
    [
        (0.3, 0.1, "difference"),
        (0.13, 0.1, "none of them"),
        (0.09, 0.1, "none of them"),
    ],
)
def test_learned_needs_both_intervals_apart(value, untrained, expected):
    scores = {"difference": _score(value), "untrained network": _score(untrained)}
    task = summary.RetrievalTask("difference", "hidden", 640.0, 0.0016, scores)
    run = _run(comparisons=(), retrieval=(task,))
    (text,) = opening.in_words(run)
    assert f"; clearly more than the untrained network: {expected}" in text
    assert f"(the untrained network {100 * untrained:.1f}{NBSP}%)" in text
    assert "copying" not in text
    few = dataclasses.replace(run, clips={"dev": compare.FEW_CLIPS - 1})
    assert opening.in_words(few)[0].startswith("Nothing was compared")


def test_the_opening_has_three_sentences_at_most():
    rows = [
        dataclasses.replace(row, is_uniform=row.name == "random")
        for row in _run(label="action").rows
    ]
    texts = opening.in_words(_run(label="action", rows=tuple(rows)))
    assert len(texts) == 3 and all(text.count(". ") == 0 for text in texts)
    _, shown = _read(page.build(_run(label="action", rows=tuple(rows))))
    for text in texts:
        assert shown.index(text.replace(NBSP, " ")) < shown.index("1. What this is")


def test_the_table_has_every_row_by_every_measure():
    run = _run(label="action")
    cells, action = opening.measures(run)
    assert (cells.name, action.name) == ("cells hidden by difference", "action")
    for measure in (cells, action):
        assert list(measure.entries) == ["none", "random", "difference"]
        assert measure.reference == "none" and not measure.entries["none"].mark
    probed = {row.name: row.probes["action"].main.linear for row in run.rows}
    assert {name: entry.score for name, entry in action.entries.items()} == probed
    assert cells.chance == 0.0016 and action.chance == 0.25
    # At the next multiple of 5 points above the highest interval.
    assert cells.top == pytest.approx(0.35) and action.top == pytest.approx(0.85)
    assert cells.at(0.07) == "20.0%" and cells.width(_score(0.1)) == "10.2%"
    _, shown = _read(page.build(run))
    assert "▲ above" in shown and "clearly above or below that line" in shown


@pytest.mark.parametrize(
    "value, mark", [(0.2, "above"), (0.13, ""), (0.1, ""), (0.07, ""), (0.05, "below")]
)
def test_cells_are_marked_where_intervals_lie_apart(value, mark):
    scores = {"none": _score(0.1), "random": _score(value), "copy": _score(0.9)}
    task = summary.RetrievalTask("difference", "hidden", 640.0, 0.0016, scores)
    (measure,) = opening.measures(_run(floors={}, retrieval=(task,)))
    assert measure.entries["random"].mark == mark and "copy" not in measure.entries
    point = dataclasses.replace(_score(value), low=value, high=value)
    task = dataclasses.replace(task, scores=scores | {"random": point})
    (measure,) = opening.measures(_run(floors={}, retrieval=(task,)))
    assert not measure.entries["random"].mark


@pytest.mark.parametrize("a, b", [("difference", "none"), ("none", "difference")])
@pytest.mark.parametrize(
    "low, high, side", [(0.01, 0.05, 1), (-0.05, -0.01, -1), (-0.01, 0.02, 0)]
)
def test_labels_are_marked_by_their_paired_difference(a, b, low, high, side):
    item = dataclasses.replace(_comparison(low, high), a=a, b=b)
    run = _run(label="action", comparisons=(item,), retrieval=())
    (measure,) = opening.measures(run)
    side = side if a == "difference" else -side
    assert measure.entries["difference"].mark == ("", "above", "below")[side]
    assert not measure.entries["random"].mark


def test_the_line_is_the_better_row_that_hides_nothing():
    run = _run(label="action")
    better = dataclasses.replace(run.rows[2], masks=None)
    run = dataclasses.replace(run, rows=(run.rows[0], run.rows[1], better))
    cells, action = opening.measures(run)
    assert cells.reference == action.reference == "difference"
    assert action.entries["none"].mark == action.entries["random"].mark == "below"
    hiding = dataclasses.replace(run, rows=run.rows[1:2])
    assert [m.reference for m in opening.measures(hiding)] == ["", ""]
    _, shown = _read(page.build(dataclasses.replace(hiding, comparisons=())))
    assert "▲" not in shown


def test_best_row_beside_its_floors():
    good, bad = _run(label="action"), _run(label="action")
    (text,) = sentences.against_floors(good)
    assert "the best row, difference" in text and text.endswith("is above both.")
    bad = dataclasses.replace(bad, floors={"action": statistics.Floors(0.25, 0.9, 4)})
    assert sentences.against_floors(bad)[0].endswith("is not above both.")


def test_example_says_what_the_mask_was_made_of():
    example = _example("c")
    assert [row.name for row in example.rows] == ["what was found", "difference"]
    assert example.rows[0].note == "1 body"
    assert example.rows[1].note == (
        "4 patches hidden (50 % of the picture), in 1 of 2 cells: 100 % in boxes hidden"
        " whole, 0 % in boxes hidden in part, 0 % outside boxes"
    )


@pytest.mark.parametrize(
    "words, text", [([], ""), (["a"], "a"), (["a", "b", "c"], "a, b and c")]
)
def test_words_in_a_row(words, text):
    assert sentences.join(words) == text


@pytest.mark.parametrize(
    "seconds, text",
    [(4.21, "4.2 s"), (59.99, "60.0 s"), (192, "3 min 12 s"), (7500, "2 h 5 min")],
)
def test_duration(seconds, text):
    assert page.duration(float(seconds)) == text


@pytest.mark.parametrize("low, high", [(0.4, 0.4), (1.0, 1.0)])
def test_cases_of_intervals_that_are_points(low, high):
    score = statistics.Score(low, low, high, 1)
    assert sentences.interval(score) == sentences.NO_INTERVAL
    assert not score.is_above(0.1)
    found = _comparison(low, high)
    assert not found.difference.is_seen
    text = sentences.comparison(found)
    assert sentences.NO_INTERVAL in text and "is ahead" not in text
    run = _run(label="action", comparisons=(found,), retrieval=())
    assert "ahead" not in " ".join(opening.in_words(run))
    task = summary.RetrievalTask(
        "difference", "hidden", 640.0, 0.0016, {"difference": score, "copy": score}
    )
    (text,) = sentences.retrieval(task, ["difference"])
    assert "not above chance" in text and sentences.NO_INTERVAL in text
    scores = summary.ProbeScores({"joint": summary.ReadOut(score, score)})
    rows = tuple(
        dataclasses.replace(row, probes={"action": scores}) for row in run.rows
    )
    alone = dataclasses.replace(run, rows=rows)
    assert sentences.interval_width(alone).startswith("The accuracies have no interval")
    assert "cannot be held against" in sentences.against_floors(alone)[0]
    assert "above both" not in page.build(alone)


def test_cases_of_sentences_about_rows_that_are_not_there():
    run = _run(label="action")
    _, shown = _read(page.build(run))
    assert "none is the start itself" in shown and "meet boxes by accident" in shown
    without = {"comparisons": (), "retrieval": (), "panels": ()}
    only = dataclasses.replace(run, rows=run.rows[2:], **without)
    _, shown = _read(page.build(only))
    for text in ("none is the start", "So none is", "replay", "meet boxes by accident"):
        assert text not in shown, text
    assert "Every row hides something" in shown
    nothing = dataclasses.replace(run, rows=run.rows[:1], examples=(), **without)
    _, shown = _read(page.build(nothing))
    for text in ("rows that hide something", "counts hidden patches", "Dashed lines"):
        assert text not in shown, text
    assert "No row hides anything" in shown
