"""Fewer labels, single streams and other wrong answers: one table of all rows."""

import dataclasses
import math

import pytest
from helpers import fake_runs

from mmdiffmask import statistics
from mmdiffmask.probe import results
from mmdiffmask.report import further


def few(*accuracies, fraction=0.1, log=-1.0):
    return [
        results.Few(
            fraction=fraction,
            draw=i,
            labels=9 + i,
            accuracy=x,
            log_probability=log,
        )
        for i, x in enumerate(accuracies)
    ]


def head(right, n=40, **kw):
    hits = fake_runs.first_right(right, n)
    logs = fake_runs.logs(hits)
    return results.LabelHead(
        is_right=hits, is_right_knn=hits, log_probability=logs, **kw
    )


def probed(sides=None):
    floors = statistics.Floors(0.25, 0.3, 4)
    heads = {
        "vit": head(10, few=few(0.5)),
        "joint": head(20, few=few(0.2, 0.3) + few(0.1, fraction=0.01, log=None)),
    }
    clips = [f"clip{i}" for i in range(40)]
    label = results.Label(heads=heads, floors=floors, clips=clips, inside=sides)
    hits = fake_runs.first_right(60)
    alone = results.Scores(is_right=hits, log_probability=fake_runs.logs(hits))
    asked = dataclasses.replace(
        fake_runs.asked("random"),
        streams={"match": {"video": dataclasses.replace(alone, few=few(0.6))}},
        right_distractors={"answer": {results.WHOLE: alone}},
    )
    key = results.Key(probe={"bootstrap": 200})
    return results.Probed(key=key, labels={"action": label}, step=1, questions=asked)


def test_rows_by_measures():
    sides = results.Inside(inside=head(30), outside=head(10), clips=())
    rows = {"none": probed(sides), "random": probed()}
    columns = further.columns(rows)
    assert [(c.measure, c.rule) for c in columns] == [
        ("action", "10 % of labels"),
        ("action", "1 % of labels"),
        ("action", "inside boxes"),
        ("action", "as many cells outside"),
        ("action", "inside minus outside"),
        ("match", "video alone"),
        ("match", "video alone, 10 % of labels"),
        ("answer", "among right answers of other questions, whole"),
    ]
    by_rule = {(c.measure, c.rule): c.cells for c in columns}
    both, one = columns[0].cells, by_rule["action", "inside boxes"]
    assert list(both) == ["none", "random"] and list(one) == ["none"]
    assert both["none"].value == "25.0\u00a0%"
    assert both["none"].notes == (
        "draws 20.0, 30.0",
        "10 labels",
        "log-probability \u22121.000",
        "vision 50.0\u00a0%",
    )
    assert columns[1].cells["none"].notes == ("draws 10.0", "9 labels")
    gap = by_rule["action", "inside minus outside"]["none"]
    assert gap.value == "+50.0 points" and "would have been seen" in gap.notes[1]
    alone = by_rule["match", "video alone"]["random"]
    assert alone.value == "50.0\u00a0%" and " to " in alone.notes[0]
    log = float(alone.notes[1].split()[1].replace("\u2212", "-"))
    assert math.isclose(log, (-0.5 - 2.25) / 2, abs_tol=1e-3)
    labels = fake_runs.labelled("random")
    bare = results.Probed(key=results.Key(probe={}), labels=labels, step=1)
    assert further.columns({"random": bare}) == ()


@pytest.mark.parametrize("right", [0, 40])
def test_without_spread_there_is_no_interval(right):
    sides = results.Inside(inside=head(right), outside=head(right), clips=())
    columns = {
        c.rule: c.cells["none"] for c in further.columns({"none": probed(sides)})
    }
    assert columns["inside minus outside"].value == "+0.0 points"
    assert columns["inside minus outside"].notes[0].startswith("no interval")
