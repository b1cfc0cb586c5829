"""Contrasts of rows, named in a config before the runs: read and checked.

    difference - random                                 of every measure, one by one
    difference:action - random:action                   of one
    (a:action - b:action) - (a:object - b:object)       a difference of differences
    a:mean(action, shirt) - b:mean(action, shirt)       of the mean of two or more

A measure is a label, a read-out of questions (match, zero-shot, answer), or a kind of
them (match/colour): its accuracy, or with /log-probability behind it (action/
log-probability) the mean log-probability of the right one, in nats.

Of texts a measure is their label (`data.label_field`), or a part of its rows: with
folds label/new (rows of dev and test whose text does not stand in TRAIN), label/test
(the official test), label/test/seen and label/test/new; without them label (the
official test), label/seen and label/new. With /macro-f1 behind it (label/macro-f1) it
is the mean of the classes' F1.
"""

import collections
import dataclasses
import difflib
import fractions
import re
from collections.abc import Mapping, Sequence

from mmdiffmask import config, probe_settings

# Read-outs of the settings -> measures of questions that come with them.
OF_QUESTIONS = {"match": ("match", "zero-shot"), "answer": ("answer",)}
LOG = "/log-probability"  # behind a measure's name
F1 = "/macro-f1"  # likewise, of texts
# Behind the label of texts: with folds, of all rows; or on the official test.
OF_FOLDS = ("", "/new", "/test", "/test/seen", "/test/new")
OF_TEST = ("", "/seen", "/new")
KINDS = {
    LOG: "accuracies and log-probabilities",
    F1: "accuracies and means of F1",
}
END = r"(?=\s*(?:[-+)]|$))"
MEAN = re.compile(r"mean\s*\(\s*")  # of the measures in the brackets
Weight = fractions.Fraction | int


@dataclasses.dataclass(frozen=True)
class Term:
    """A row's score on a measure, and how often it counts: +1, -1, 1/2, ..."""

    row: str
    measure: str
    weight: Weight


@dataclasses.dataclass(frozen=True)
class Contrast:
    """A sum of scores whose weights sum to 0.

    Attributes:
      name: as the config has it, with the measure where the config names none.
      terms: no two of the same row and measure.
    """

    name: str
    terms: tuple[Term, ...]


def of_experiment(
    experiment: config.Experiment, rows: Sequence[str]
) -> tuple[Contrast, ...]:
    """The contrasts that the settings name.

    Args:
      experiment: its `contrasts`, and what its probe measures.
      rows: names of its rows.

    Raises:
      ValueError: naming a contrast of another form, an unknown row or measure, weights
        that do not sum to 0, or a contrast that stands twice.
    """
    if not experiment.contrasts:
        return ()
    if isinstance(experiment.data, config.Texts):
        known = of_texts(experiment.data.label_field, experiment.probe.folds)
    else:
        known = measures(experiment.probe)
    return parse(experiment.contrasts, rows, known)


def of_texts(label: str, n_folds: int) -> tuple[str, ...]:
    """What is scored of the label of texts: by accuracy, macro F1, log-probability."""
    names = [f"{label}{part}" for part in (OF_FOLDS if n_folds else OF_TEST)]
    return tuple(f"{name}{kind}" for kind in ("", F1, LOG) for name in names)


def kind_of(measure: str) -> str:
    """How a score is measured: F1, LOG, or "" by accuracy."""
    return next((kind for kind in (F1, LOG) if measure.endswith(kind)), "")


def measures(probe: config.Probe) -> tuple[str, ...]:
    """What the probe scores: labels, read-outs of questions, and these by kind.

    Each by its accuracy, then each by its log-probability.

    Raises:
      ValueError: if two are called alike.
    """
    labels = probe.labels if "clip" in probe.read_outs else ()
    asked_by = [name for r in probe.read_outs for name in OF_QUESTIONS.get(r, ())]
    kinds = [entry.partition("=")[0] for entry in probe_settings.kinds(probe.kinds)]
    names = [*labels, *asked_by]
    names += [f"{r}/{kind}" for r in asked_by for kind in dict.fromkeys(kinds)]
    names += [f"{name}{LOG}" for name in names]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ValueError(
            f"two measures of the probe are called {twice[0]}: give the label or kind"
            " another name (probe.labels, probe.kinds)"
        )
    return tuple(names)


def parse(
    texts: Sequence[str], rows: Sequence[str], known: Sequence[str]
) -> tuple[Contrast, ...]:
    """The contrasts; one without measures stands for one of each (not of each kind).

    Args:
      texts: as a config has them.
      rows: names of rows.
      known: names of measures.

    Raises:
      ValueError: as `of_experiment`.
    """
    contrasts: list[Contrast] = []
    for text in texts:
        weights = _Reader(text, rows, known).read()
        if sum(weights.values()) or not any(weights.values()):
            raise ValueError(
                f"contrast {text!r}: its rows must cancel out, as many added as taken"
                " away: write it as 'a - b'"
            )
        if len({measure == "" for _, measure in weights}) > 1:
            raise ValueError(
                f"contrast {text!r}: name a measure of every row in it, or of none"
            )
        kinds = {kind_of(measure) for _, measure in weights}
        if len(kinds) > 1:
            kind = LOG if LOG in kinds else F1
            raise ValueError(
                f"contrast {text!r}: {KINDS[kind]} cannot be"
                f" subtracted; write {kind} behind every measure in it, or behind none"
            )
        contrasts += _of_measures(text.strip(), weights, known)
    terms = [frozenset(contrast.terms) for contrast in contrasts]
    for contrast, its in zip(contrasts, terms, strict=True):
        if terms.count(its) > 1:
            raise ValueError(f"contrast {contrast.name!r}: stands twice in contrasts")
    return tuple(contrasts)


Weights = Mapping[
    tuple[str, str], Weight
]  # (row, measure or "") -> how often it counts


def _of_measures(text: str, weights: Weights, known: Sequence[str]) -> list[Contrast]:
    kept = {name: weight for name, weight in weights.items() if weight}
    if all(measure for _, measure in kept):
        return [Contrast(text, tuple(Term(*name, w) for name, w in kept.items()))]
    return [
        Contrast(
            f"{text} ({measure})",
            tuple(Term(row, measure, w) for (row, _), w in kept.items()),
        )
        for measure in known
        if "/" not in measure
    ]


class _Reader:
    """Reads one contrast from left to right."""

    def __init__(self, text: str, rows: Sequence[str], known: Sequence[str]):
        self.text, self.rows, self.known = text, rows, known
        self.place = 0
        row, measure = (_one_of(names) for names in (rows, known))
        self.averaged = re.compile(rf"({measure})\s*([,)])\s*")
        self.score = re.compile(
            rf"({row})(?=\s*(?:[-+):]|$))(?:\s*:\s*({measure}){END})?"
        )
        self.weights: dict[tuple[str, str], Weight] = collections.defaultdict(int)

    def read(self) -> Weights:
        """How often each score counts."""
        self._sum(1)
        if self._next():
            raise self._error(f"{self.text[self.place :]!r} is left over")
        return self.weights

    def _next(self) -> str:
        """The next character that is no blank; "" at the end."""
        tail = self.text[self.place :]
        self.place += len(tail) - len(tail.lstrip())
        return self.text[self.place : self.place + 1]

    def _sum(self, sign: int) -> None:
        self._part(sign)
        while (operator := self._next()) in ("+", "-") and operator:
            self.place += 1
            self._part(sign if operator == "+" else -sign)

    def _part(self, sign: int) -> None:
        if self._next() == "(":
            self.place += 1
            self._sum(sign)
            if self._next() != ")":
                raise self._error("a bracket is not closed")
            self.place += 1
            return
        match = self.score.match(self.text, self.place)
        if match is None:
            raise self._unknown(self.rows, "row")
        self.place = match.end()
        measures = [match[2] or ""]
        if self._next() == ":":
            self.place += 1
            self._next()
            measures = self._mean()
        for measure in measures:
            share = fractions.Fraction(sign, len(measures))
            self.weights[match[1], measure] += share

    def _mean(self) -> list[str]:
        """The measures whose mean comes next, as mean(action, shirt)."""
        begin = MEAN.match(self.text, self.place)
        if begin is None:
            raise self._unknown(self.known, "measure")
        self.place, measures, sign = begin.end(), [], ","
        while sign == ",":
            match = self.averaged.match(self.text, self.place)
            if match is None:
                raise self._unknown(self.known, "measure", ",")
            measures.append(match[1])
            self.place, sign = match.end(), match[2]
        return measures

    def _unknown(self, names: Sequence[str], kind: str, stop: str = "") -> ValueError:
        """What stands at the place is no such name; a `stop` ends it as well."""
        end = rf"\s*[-+():]\s|[{stop}():]|{END}"
        word = re.split(end, self.text[self.place :])[0].strip()
        if not word:
            return self._error(f"a {kind} is missing; write it as 'a - b'")
        near = difflib.get_close_matches(word, names, 1, 0.0)
        hint = f"; did you mean {near[0]}?" if near else ""
        return self._error(f"no {kind} {word!r}: there are {', '.join(names)}{hint}")

    def _error(self, reason: str) -> ValueError:
        return ValueError(f"contrast {self.text!r}: {reason}")


def _one_of(names: Sequence[str]) -> str:
    """A pattern of the names, the longest that fits."""
    return "|".join(map(re.escape, sorted(names, key=len, reverse=True)))
