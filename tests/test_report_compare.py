"""Differences and tables of questions, against numbers known from how data were made.

In `fake_runs` a clip's three questions are right together or wrong together, so a
bootstrap over clips draws from a binomial of 40 clips.
"""

import dataclasses

import numpy as np
import pytest
from helpers import fake_runs
from scipy import stats

from mmdiffmask.probe import results
from mmdiffmask.report import answers, compare

PLAIN = ("none", "replay")
RESAMPLES = 4000


@pytest.fixture(scope="module")
def tables():
    rows = {row: fake_runs.asked(row) for row in fake_runs.ROWS}
    return {t.read_out: t for t in compare.question_tables(rows, PLAIN, 0, RESAMPLES)}


def pair(column, a, b):
    (found,) = [c for c in column.comparisons if (c.a, c.b) == (a, b)]
    return found


def asked_of_kinds(kinds):
    """The rows that hide nothing, asked questions of other kinds."""
    return {
        row: dataclasses.replace(fake_runs.asked(row), kinds=kinds) for row in PLAIN
    }


def binomial(share, sign=1):
    """Ends of 95 % of a share of 40 clips."""
    ends = stats.binom.ppf([0.025, 0.975], 40, share) / 40
    return pytest.approx(ends if sign > 0 else -ends[::-1], abs=1e-9)


def test_accuracies_have_intervals_over_clips(tables):
    column = tables["zero-shot"].columns[0]
    assert (column.kind, column.questions, column.clips) == (compare.ALL, 120, 40)
    for row, right in fake_runs.ANSWERS.items():
        score = column.scores[row]
        assert score.value == pytest.approx(right / 120) and score.n == 40
        assert (score.low, score.high) == binomial(right / 120)


def test_difference_is_paired_and_over_clips(tables):
    # 6 questions of 2 clips: over questions it would leave out zero, over clips not.
    found = pair(tables["zero-shot"].columns[0], "difference", "replay").difference
    assert found.value == pytest.approx(-6 / 120)
    assert (found.low, found.high) == binomial(2 / 40, sign=-1)
    assert found.high == 0 and not found.is_seen
    assert found.smallest == pytest.approx(2.8 * np.sqrt(0.05 * 0.95 / 40), rel=0.05)
    assert pair(tables["zero-shot"].columns[0], "difference", "none").difference.low > 0


def test_gains_are_against_the_better_of_the_rows_that_hide_nothing(tables):
    for name, better in (("zero-shot", "replay"), ("answer", "none")):
        gains = [c for c in tables[name].columns[0].comparisons if c.is_gain]
        assert {(c.a, c.b) for c in gains} == {
            ("random", better),
            ("difference", better),
        }
    titles = [title for title, _ in answers.gains(tables["match"], PLAIN)]
    assert titles == [
        "difference \N{MINUS SIGN} better of none and replay",
        "random \N{MINUS SIGN} better of none and replay",
    ]
    assert answers.gains(tables["match"], ("none",)) == []


def test_kinds_have_columns_of_their_own(tables):
    columns = tables["zero-shot"].columns
    assert [c.kind for c in columns[1:]] == list(fake_runs.QUESTION_KINDS)
    assert [c.questions for c in columns] == [120, 40, 40, 40]
    assert columns[1].scores["difference"].value == pytest.approx(22 / 40)
    rows = asked_of_kinds(["all"] * 120)
    (column,) = compare.question_tables(rows, PLAIN, 0, 100)[0].columns
    assert column.kind == compare.ALL


def test_rare_and_nameless_kinds():
    kinds = ["rare"] * 12 + [""] * 108  # 12 questions of 4 clips
    rows = asked_of_kinds(kinds)
    table = compare.question_tables(rows, PLAIN, 0, 100)[0]
    assert [c.kind for c in table.columns] == [compare.ALL, "other"]
    assert table.left_out == ("rare",)


def test_best_floor_and_who_is_above_it(tables):
    column = tables["answer"].columns[0]
    assert column.best_floor == "frames blanked"
    assert column.over_floor["none"].value == pytest.approx(12 / 120)
    assert tables["zero-shot"].columns[0].best_floor == compare.CHANCE
    text, best = answers.of_table(tables["answer"], PLAIN)
    # 4 clips more than the floor: below zero in less than 2.5 % of draws; 2 are not.
    assert text == (
        "Above the best floor, frames blanked (45.0\N{NO-BREAK SPACE}%), by more than"
        " the interval: none. Not: replay, random and difference."
    )
    assert best.startswith("The best row is none, 55.0")
    assert "hides nothing: by this read-out hiding patches did not help" in best


def test_floor_below_chance_leaves_chance():
    rows = {row: fake_runs.asked(row) for row in fake_runs.ROWS}
    rows["none"].floors["match"] = {
        "answers only": results.Scores(is_right=fake_runs.first_right(24))
    }
    table = compare.question_tables(rows, PLAIN, 0, RESAMPLES)[1]
    column = table.columns[0]
    assert column.best_floor == compare.CHANCE and column.over_floor == {}
    # none: 40 % of 40 clips; 10 of 40, chance, is the lower end of its interval.
    assert answers.of_table(table, PLAIN)[0] == (
        "Above chance (25.0\N{NO-BREAK SPACE}%) by more than the interval: replay,"
        " random and difference. Not: none."
    )


def test_too_few_clips_are_not_compared():
    rows = {row: fake_runs.asked(row) for row in fake_runs.ROWS}
    rows = {
        row: dataclasses.replace(entry, clips=["a", "b"] * 60)
        for row, entry in rows.items()
    }
    table = compare.question_tables(rows, PLAIN, 0, 100)[1]
    assert [c.kind for c in table.columns] == [compare.ALL]
    assert table.columns[0].comparisons == () and answers.pairs(table) == []
    assert (
        answers.gains(table, PLAIN) == [] and len(answers.of_table(table, PLAIN)) == 2
    )


def test_all_or_none_right_still_has_a_width():
    rows = {
        row: dataclasses.replace(
            fake_runs.asked(row),
            read_outs={"match": results.Scores(is_right=fake_runs.first_right(count))},
        )
        for row, count in (("none", 0), ("random", 120))
    }
    scores = compare.question_tables(rows, ["none"], 0, 100)[0].columns[0].scores
    assert (scores["none"].low, scores["random"].high) == (0.0, 1.0)
    assert scores["none"].high == pytest.approx(1 - scores["random"].low)
    assert scores["none"].high == pytest.approx(0.0876, abs=1e-3)  # Wilson, 0 of 40


def test_other_questions_are_refused():
    rows = {row: fake_runs.asked(row) for row in PLAIN}
    ids = rows["replay"].ids[::-1]
    rows["replay"] = dataclasses.replace(rows["replay"], ids=ids)
    with pytest.raises(ValueError, match="rows none and replay answered other"):
        compare.question_tables(rows, PLAIN, 0, 100)


def test_labels_are_compared_in_every_pair_with_one_gain_a_row():
    right = {
        row: np.arange(100) < count
        for row, count in (("none", 30), ("replay", 50), ("random", 44))
    }
    found = compare.compare("action", right, PLAIN, 0, 500)
    assert [(c.a, c.b, c.is_gain) for c in found] == [
        ("replay", "none", False),
        ("random", "none", False),
        ("random", "replay", True),
    ]
    assert found[2].difference.value == pytest.approx(-0.06)


def test_in_words(tables):
    item = pair(tables["zero-shot"].columns[0], "difference", "replay")
    assert answers.in_words(item).startswith("no difference seen; one of about ")
    ahead = dataclasses.replace(item.difference, value=-0.2, low=-0.3, high=-0.1)
    assert answers.in_words(dataclasses.replace(item, difference=ahead)) == (
        "replay is ahead"
    )
