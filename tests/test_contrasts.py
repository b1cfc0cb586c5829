"""Contrasts as a config names them: their form, and what is refused."""

import dataclasses
import fractions

import pytest

from mmdiffmask import build, config, configure, contrasts, demo, settings_json
from mmdiffmask.contrasts import Term

ROWS = ("none", "a", "b", "difference", "difference-face", "faces (40 %) - cut", "a+b")
HALF = fractions.Fraction(1, 2)
MEASURES = ("action", "object", "red shirt", "match", "match/colour")


def read(*texts):
    return contrasts.parse(texts, ROWS, MEASURES)


@pytest.mark.parametrize(
    "text, expected",
    [
        ("a:action - b:action", {("a", "action"): 1, ("b", "action"): -1}),
        ("-b : action+a:action", {("a", "action"): 1, ("b", "action"): -1}),
        (
            "(a:action - b:action) - (a:object - b:object)",
            {
                ("a", "action"): 1,
                ("b", "action"): -1,
                ("a", "object"): -1,
                ("b", "object"): 1,
            },
        ),
        (
            "difference-face:match - difference:match",
            {("difference-face", "match"): 1, ("difference", "match"): -1},
        ),
        (
            "faces (40 %) - cut:red shirt - a+b:red shirt",
            {("faces (40 %) - cut", "red shirt"): 1, ("a+b", "red shirt"): -1},
        ),
        (
            "a:match/colour + b:match/colour - (none:match + none:match)",
            {("a", "match/colour"): 1, ("b", "match/colour"): 1, ("none", "match"): -2},
        ),
        (
            "a : mean( action,red shirt ) - b:mean(red shirt, action)",
            {
                ("a", "action"): HALF,
                ("a", "red shirt"): HALF,
                ("b", "action"): -HALF,
                ("b", "red shirt"): -HALF,
            },
        ),
        (
            "a:mean(action, object, match) - (b:match)",
            {
                ("a", "action"): HALF * 2 / 3,
                ("a", "object"): HALF * 2 / 3,
                ("a", "match"): HALF * 2 / 3,
                ("b", "match"): -1,
            },
        ),
    ],
)
def test_the_form(text, expected):
    if text.startswith("-"):  # a sign stands between scores
        with pytest.raises(ValueError, match="a row is missing"):
            read(text)
        return
    (contrast,) = read(text)
    assert contrast.name == text
    assert set(contrast.terms) == {Term(*name, w) for name, w in expected.items()}


def test_without_measures_it_is_one_of_each():
    every = read("difference - a")
    assert [c.name for c in every] == [
        f"difference - a ({name})"
        for name in ("action", "object", "red shirt", "match")
    ]
    terms = {Term("difference", "object", 1), Term("a", "object", -1)}
    assert set(every[1].terms) == terms


@pytest.mark.parametrize(
    "texts, words",
    [
        (["a - c"], r"no row 'c': there are none, a, .*; did you mean"),
        (["a - diference"], "did you mean difference"),
        (["a:acton - b:action"], "no measure 'acton': .* did you mean action"),
        (["a:action - b"], "name a measure of every row in it, or of none"),
        (["a + b"], "must cancel out"),
        (["a - a"], "must cancel out"),
        (["a"], "must cancel out"),
        (["(a - b"], "a bracket is not closed"),
        (["a - b)"], r"'\)' is left over"),
        (["a b"], "'a b': no row 'a b'"),
        (["a - "], "a row is missing"),
        ([""], "a row is missing"),
        (["a - b", "a:match - b:match"], "'a:match - b:match'|stands twice"),
        (["a:match - b:match", "-1"], "'-1'"),
        (["a:mean(action, shirt) - b:action"], "no measure 'shirt': .* red shirt"),
        (["a:mean(action, object - b:action"], "no measure 'object - b'|'object'"),
        (["a:mean() - b:action"], "a measure is missing"),
        (["a:mean - b:action"], "no measure 'mean'"),
        (["a:mean(action, object) - b"], "name a measure of every row"),
        (["a:mean(action, object) - b:action - b:object"], "must cancel out"),
        (["mean(a, b):action - b:action"], "no row 'mean'"),
    ],
)
def test_what_is_no_contrast_is_refused(texts, words):
    with pytest.raises(ValueError, match=words) as caught:
        read(*texts)
    assert str(caught.value).startswith("contrast ") and "\n" not in str(caught.value)


def test_measures_are_those_of_the_probe():
    probe = config.Probe(read_outs=("clip", "match"), labels=("x",), kinds=("who=^W",))
    expected = ("x", "match", "zero-shot", "match/who", "zero-shot/who")
    logs = tuple(f"{name}/log-probability" for name in expected)
    assert contrasts.measures(probe) == expected + logs
    answers = dataclasses.replace(probe, read_outs=("answer",))
    assert contrasts.measures(answers)[:2] == ("answer", "answer/who")
    for changes in ({"labels": ("match",)}, {"kinds": ("log-probability=^W",)}):
        with pytest.raises(ValueError, match="two measures of the probe are called"):
            contrasts.measures(dataclasses.replace(probe, **changes))


def test_log_probabilities_are_measures_of_their_own():
    known = contrasts.measures(config.Probe(labels=("action", "red shirt")))
    text = "a:action/log-probability - b:action/log-probability"
    (contrast,) = contrasts.parse([text], ROWS, known)
    assert contrast.terms[0] == Term("a", "action/log-probability", 1)
    every = contrasts.parse(["a - b"], ROWS, known)  # accuracies alone
    assert [c.name for c in every] == ["a - b (action)", "a - b (red shirt)"]
    mixed = "a:action/log-probability - b:action"
    with pytest.raises(ValueError, match="cannot be subtracted; write /log-prob"):
        contrasts.parse([mixed], ROWS, known)


def test_a_mean_is_one_contrast_where_it_is_set_by_hand():
    text = "difference:mean(action, shirt) - random:mean(action, shirt)"
    base = configure.override(demo.get_config(), [f"contrasts={text}"])
    assert base.contrasts == (text,)
    build.check(base)


def test_they_are_checked_when_the_config_is_read():
    base = demo.get_config()
    build.check(dataclasses.replace(base, contrasts=("difference - random",)))
    for text in ("difference - randm", "difference:shirts - random:shirts"):
        with pytest.raises(ValueError, match="did you mean"):
            build.check(dataclasses.replace(base, contrasts=(text,)))


def test_runs_from_before_are_the_same_runs():
    base = demo.get_config()
    named = configure.override(base, ["contrasts=difference - random"])
    assert named.contrasts == ("difference - random",)
    assert configure.settings(base)["contrasts"] == ()
    assert '"contrasts"' not in settings_json.to_json(base)
    assert settings_json.fingerprint(named) != settings_json.fingerprint(base)
    assert configure.override(named, ["contrasts="]).contrasts == ()
    row = dataclasses.replace(base, rows=("x: contrasts=a - b",))
    with pytest.raises(ValueError, match="row x: cannot change contrasts"):
        configure.rows(row)
