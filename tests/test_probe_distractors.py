"""Right answers of other questions as distractors: whose, how many, who has none."""

import dataclasses

import pytest

from mmdiffmask import config, configure, probe_settings
from mmdiffmask.data import question_kinds, questions
from mmdiffmask.probe import distractors


@dataclasses.dataclass(frozen=True)
class Answered:
    answers: tuple[str, ...]


def asked(n, per_clip=2, candidates=4):
    chosen, records = [], []
    for i in range(n):
        right = i % candidates
        answers = [f"wrong {i} {j}" for j in range(candidates)]
        answers[right] = f"right {i}"
        records.append(Answered(tuple(answers)))
        chosen.append(
            questions.Question(
                i, f"q{i:03}", f"clip{i // per_clip}", "who?", candidates, right
            )
        )
    return chosen, records


def test_distractors_are_right_answers_of_other_clips():
    chosen, records = asked(40)
    drawn = distractors.draw(chosen, records)
    for question in chosen:
        answers = drawn[question.position]
        assert len(answers) == len(set(answers)) == question.candidates
        assert answers[question.right] == f"right {question.position}"
        for i, answer in enumerate(answers):
            if i != question.right:
                other = chosen[int(answer.removeprefix("right "))]
                assert other.clip != question.clip
    assert distractors.draw(chosen[::-1], records) == drawn  # whatever their order
    used = [a for answers in drawn.values() for a in answers]
    assert len(set(used)) == 40  # not the same few everywhere


def test_the_same_answer_in_other_words_is_none():
    chosen, records = asked(12, per_clip=1, candidates=2)
    for i in range(0, 12, 2):  # "Yes", " yes " and so on are one answer
        records[i] = Answered(("YES" if i % 4 else " yes ", "no"))
    drawn = distractors.draw(chosen, records)
    for i in range(0, 12, 2):
        assert drawn[i][1].startswith("right ") and drawn[i][0] == records[i].answers[0]


def test_too_few_clips_say_so():
    chosen, records = asked(6, per_clip=6)
    with pytest.raises(ValueError, match="probe.right_distractors: q000 needs 3 diff"):
        distractors.draw(chosen, records)


@pytest.mark.parametrize(
    "preset, text, kind",
    [
        ("tvqa", "What did House say?", "what"),
        ("tvqa", "Who is at the door?", "who"),
        ("tvqa", '"Why" did he leave?', "why"),
        ("tvqa", "How many people?", "how"),
        ("tvqa", "Where was Monica?", "where"),
        ("tvqa", "When did Ross arrive?", "others"),
        ("tvqa", "After what did he leave?", "others"),
        ("social-iq", "Does the man like her?", "yes or no"),
        ("social-iq", "Hasn't he told?", "others"),
        ("social-iq", "Is she upset?", "yes or no"),
        ("social-iq", "How does she feel?", "how"),
        ("social-iq", "Describe the mood.", "others"),
        ("toy", "Which thing is it?", "object"),
    ],
)
def test_presets_of_kinds(preset, text, kind):
    experiment = configure.override(config.Experiment("x"), [f"probe.kinds={preset}"])
    parsed = question_kinds.parse(experiment.probe.kinds)
    assert question_kinds.of_text(text, parsed) == kind
    assert probe_settings.kinds(("mine=door", preset))[0] == "mine=door"
    with pytest.raises(ValueError, match="or name one of toy, tvqa, social-iq"):
        question_kinds.parse(("tvqu",))
