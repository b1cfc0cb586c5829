"""Lines of metrics become tasks and panels; older ones lack the language side."""

import math

import pytest
from helpers import fake_runs

from mmdiffmask.report import curves, history, language, summary

PEOPLE = "Difference-Masking (bodies)"


def lines(is_new=True, rows=fake_runs.ROWS):
    return {row: fake_runs.metrics_lines(row, is_new) for row in rows}


def titles(panels):
    return [panel.title for panel in panels]


def test_a_trained_start_is_the_row_that_was_not_trained():
    tasks = history.retrieval_tasks(lines(), False)
    hidden = next(t for t in tasks if (t.masks, t.cells) == (PEOPLE, "hidden"))
    assert hidden.start == "none"
    values = {name: score.value for name, score in hidden.scores.items()}
    assert values == pytest.approx(fake_runs.FINDS | {"copy": 0.2})
    assert hidden.candidates == pytest.approx(64)


def test_a_random_start_has_a_row_of_its_own():
    tasks = history.retrieval_tasks(lines(), True)
    assert tasks[0].start == summary.UNTRAINED
    assert tasks[0].scores[summary.UNTRAINED].value == pytest.approx(0.1)
    alone = history.retrieval_tasks(lines(rows=("random",)), False)
    assert alone[0].start == summary.START
    assert alone[0].scores[summary.START].value == pytest.approx(0.1)


def test_sum_of_terms_has_no_guess_and_the_patch_term_has():
    whole, patches, *_ = history.patch_panels(lines(), True, False)
    assert [line.name for line in whole.lines] == ["replay", "random", "difference"]
    assert whole.levels == ()
    assert [line.name for line in patches.lines] == ["random", "difference"]
    assert patches.levels[0].value == pytest.approx(2 * math.log(64))
    assert patches.lines[0].values[-1] == pytest.approx(7 * math.exp(-1.5), rel=0.02)


def test_older_runs_have_one_training_panel_and_no_language():
    old = lines(False, ("none", "random", "difference"))
    found = history.patch_panels(old, False, True)
    assert titles(found)[:2] == [
        "Loss in training",
        "Held-out loss under random masking",
    ]
    assert found[0].levels[0].name == "guessing"
    assert language.word_panels(old) == () and language.term_panels(old) == ()


def test_a_page_of_an_untrained_row_alone_has_no_curve():
    assert history.patch_panels(lines(rows=("none",)), False, True) == ()
    assert language.word_panels(lines(rows=("none",))) == ()


def test_words_right_solid_wrong_dashed_in_one_colour():
    panels = language.word_panels(lines())
    assert titles(panels)[0] == "All classes of words"
    assert titles(panels)[1:] == ["Words: action", "Words: colour", "Words: object"]
    right, wrong = panels[2].lines[-2:]
    assert (right.row, wrong.row) == ("difference", "difference")
    assert (right.is_dashed, wrong.is_dashed) == (False, True)
    assert right.values[-1] == pytest.approx(0.57) and wrong.values[-1] == 0.26
    drawing = curves.draw(panels[2], fake_runs.ROWS)
    colour = curves.colour_of("difference", fake_runs.ROWS)
    assert drawing.count(f'stroke="{colour}" stroke-width="2.2"') == 2
    assert drawing.count('stroke-width="2.2" stroke-dasharray') == 3
    assert drawing.count("<polygon") == 3  # bands of the solid ones only


def test_terms_without_intervals_are_drawn_where_they_exist():
    found = lines()
    for of_row in found.values():
        for line in of_row:
            if line["kind"] == "eval" and line["masks"] == "terms":
                line["low"] = line["high"] = None
    panels = language.term_panels(found)
    assert len(panels) == len(fake_runs.TERMS)
    assert panels[3].title == "Hidden words among all words"
    assert [line.name for line in panels[0].lines] == ["replay", "random", "difference"]
    assert panels[0].lines[2].values[-1] == pytest.approx(3.0 - 0.6)
    assert panels[0].levels == (curves.Level("before training", 3.0),)
    assert "nan" not in curves.draw(panels[0], fake_runs.ROWS)
