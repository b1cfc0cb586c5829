"""Questions whose wrong answers are right answers of other questions.

A question can be answered from its answers alone where right ones are written unlike
wrong ones, as in Social-IQ (DeSIQ, arXiv 2310.18359). Here every candidate is right
for some question, so that this question and its clip set them apart.
"""

import dataclasses
import hashlib
from collections.abc import Sequence
from typing import Any

from mmdiffmask.data import questions
from mmdiffmask.probe import tasks

NAME = "right answers of others"  # of the questions, for the cache
TRIES = 100  # draws for each distractor


def draw(
    chosen: Sequence[questions.Question], records: Any
) -> dict[int, tuple[str, ...]]:
    """Position -> its candidates: the right answer where it was, others in its place.

    Each other candidate is the right answer of a question on another clip, which the
    hash of the question's id draws. No two candidates are the same text.

    Args:
      chosen: questions of one split, whose right answers are known.
      records: of the split, or its entries: their answers, by position.

    Raises:
      ValueError: if the questions of other clips have too few right answers.
    """
    by_id = sorted(chosen, key=lambda question: question.example_id)
    right = [records[q.position].answers[q.right] for q in by_id]
    answers: dict[int, tuple[str, ...]] = {}
    for question in chosen:
        old = records[question.position].answers
        others, taken = [], {_plain(old[question.right])}
        for number in range(TRIES * question.candidates):
            if len(others) == question.candidates - 1:
                break
            text = f"distractor {number} of {question.example_id}"
            digest = hashlib.sha256(text.encode()).digest()
            i = int.from_bytes(digest[:8], "big") % len(by_id)
            if by_id[i].clip != question.clip and _plain(right[i]) not in taken:
                others.append(right[i])
                taken.add(_plain(right[i]))
        if len(others) < question.candidates - 1:
            raise ValueError(
                f"probe.right_distractors: {question.example_id} needs"
                f" {question.candidates - 1} different right answers to questions on"
                f" other clips, and the {len(chosen)} questions of its split have too"
                " few; add clips, or leave it out"
            )
        others.insert(question.right, old[question.right])
        answers[question.position] = tuple(others)
    return answers


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def of_task(task: tasks.Task) -> tasks.Task:
    """The same questions with such candidates, of their own split.

    Raises:
      ValueError: as `draw`; if a candidate is cut off by data.text_length.
    """
    sources, chosen = {}, {}
    for name, part in task.chosen.items():
        source = task.sources[name]
        answers = draw(part, task.entries[name])
        sources[name] = tasks.Answered(source, answers)
        chosen[name] = tasks.measured(
            task.experiment, _Texts(task.entries[name], answers), list(part)
        )
    every = [question for part in chosen.values() for question in part]
    questions.check_length(every, task.experiment.data)
    return dataclasses.replace(task, sources=sources, chosen=chosen, variant=NAME)


@dataclasses.dataclass(frozen=True)
class _Text:
    """What measuring a question needs of a record."""

    question: str
    answers: tuple[str, ...]
    span_percent: tuple[int, int]


class _Texts:
    """Entries of an index with other candidates."""

    def __init__(self, entries: Any, answers: dict[int, tuple[str, ...]]):
        self.entries, self.answers = entries, answers

    def __getitem__(self, position: int) -> _Text:
        entry = self.entries[position]
        return _Text(entry.question, self.answers[position], entry.span_percent)
