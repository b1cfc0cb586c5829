"""Question sequences, decoded: what stands where, what is cut, what never occurs."""

import logging

import numpy as np
import pytest
from helpers.question_records import Source, record

from mmdiffmask import config, tokens
from mmdiffmask.data import question_kinds, questions, tokenizers
from mmdiffmask.data.records import index

TOY = tokenizers.load("toy")
MASK = "<|MASK|>"
SOUND = "<|AUDIOSPAN|>"


def layout(found: questions.Tokens) -> list[tuple[int, str]]:
    """(segment, text) of each run of one segment; padding is left out."""
    runs: list[tuple[int, list[int]]] = []
    for token, segment in zip(found.tokens, found.segment, strict=True):
        if token == tokens.PAD:
            continue
        if not runs or runs[-1][0] != segment:
            runs.append((int(segment), []))
        runs[-1][1].append(int(token))
    return [(segment, TOY.decode(ids)) for segment, ids in runs]


def sequence(view, answer, length=64, made=None):
    made = record() if made is None else made
    return questions.sequence(
        made, TOY.encode_plain, length, questions.VIEWS[view], answer
    )


HEAD = " 10 to 40<|START|> who is walking? answer: "


@pytest.mark.parametrize(
    ("view", "answer", "expected"),
    [
        ("answers", "red", [(0, f" answer:  red{MASK}")]),
        ("answers", None, [(0, f" answer:{MASK}")]),
        ("question", "red", [(0, f"{HEAD} red{MASK}")]),
        ("question", None, [(0, f"{HEAD[:-1]}{MASK}")]),
        (
            "frames and subtitles",
            "the blue man",
            [
                (0, f"{HEAD} the blue man{MASK}"),
                (1, " hello there."),
                (2, " a red ball."),
            ],
        ),
        ("sound", None, [(0, f"{HEAD[:-1]}{MASK}"), (1, 6 * SOUND), (2, 6 * SOUND)]),
        (
            "frames and sound",
            "a dog",
            [(0, f"{HEAD} a dog{MASK}"), (1, 6 * SOUND), (2, 6 * SOUND)],
        ),
    ],
)
def test_layout(view, answer, expected):
    found = sequence(view, answer)
    assert layout(found) == expected
    assert found.tokens[found.mask_at] == tokens.MASK
    assert (found.tokens == tokens.MASK).sum() == 1


def test_the_released_tokenizer_s_answer_tokens(shared):
    path = shared / "data" / "merlot_reserve" / "lowercase_encoder.json"
    encode = tokenizers.load(path).encode_plain
    view = questions.VIEWS["answers"]
    found = questions.sequence(record(), encode, 16, view, "red")
    ids = [2216, 35, 149, *encode("red"), tokens.MASK]  # reserve.md section 3.1
    np.testing.assert_array_equal(found.tokens[: len(ids)], ids)
    assert encode("red") == encode(" red")  # its own leading space


def test_a_long_option_is_cut_so_that_mask_fits():
    long = record(question="walking " * 50)
    for answer in (None, "red"):
        found = sequence("subtitles", answer, 20, long)
        assert found.mask_at == 19 and found.tokens[19] == tokens.MASK
        assert found.tokens[0] != tokens.PAD and not found.segment.any()


def test_silent_sound_is_padding_and_the_rest_keeps_its_place():
    made = record(is_audio_valid=np.array([False, True]))
    found, whole = sequence("sound", None, 64, made), sequence("sound", None)
    at = np.flatnonzero(found.tokens == tokens.AUDIOSPAN)
    np.testing.assert_array_equal(at, np.flatnonzero(whole.segment == 2))
    np.testing.assert_array_equal(found.audio_pointer[at], [1] * 6)
    assert (found.tokens[whole.segment == 1] == tokens.PAD).all()


def test_special_tokens_in_texts_are_no_masks():
    made = record(question=f"Who {MASK}?", subtitles=(MASK, SOUND))
    found = sequence("subtitles", f"red {MASK}", 64, made)
    assert (found.tokens == tokens.MASK).sum() == 1
    assert not (found.tokens == tokens.AUDIOSPAN).any()


def test_no_input_depends_on_the_right_answer():
    arguments = (TOY.encode_plain, 64, list(questions.VIEWS), ("match", "answer"))
    found = [
        questions.sequences(record(answer_index=i), *arguments) for i in (0, 2, -1)
    ]
    for other in found[1:]:
        for x, y in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(x, y)
    assert found[0].tokens.shape == (7, 4, 64) and found[0].mask_at.shape == (7, 4)


def test_match_holds_no_candidate_and_answer_each_one_once():
    made = record(answers=("zebra", "yellow", "bike"), question="Who?")
    arguments = (TOY.encode_plain, 64, list(questions.VIEWS), ("match", "answer"))
    found = questions.sequences(made, *arguments)
    texts = [[TOY.decode(row) for row in view] for view in found.tokens.tolist()]
    for match, *answers in texts:
        assert not any(name in match for name in made.answers)
        for i, text in enumerate(answers):
            assert [name in text for name in made.answers] == [j == i for j in range(3)]


@pytest.mark.parametrize(
    ("view", "has"),
    [
        ("answers", ""),
        ("question", "q"),
        ("subtitles", "qs"),
        ("sound", "qa"),
        ("frames and subtitles", "qsf"),
        ("frames and sound", "qaf"),
    ],
)
def test_a_view_shows_what_it_says_and_nothing_else(view, has):
    changes = {
        "q": {"question": "Where are we?", "span_percent": (1, 99)},
        "s": {"subtitles": ("Nothing.", "At all.")},
        "a": {"is_audio_valid": np.array([True, False])},
    }
    for what, change in changes.items():
        same = all(
            np.array_equal(x, y)
            for x, y in zip(
                sequence(view, "red"),
                sequence(view, "red", made=record(**change)),
                strict=True,
            )
        )
        assert same != (what in has), what
    assert questions.VIEWS[view].has_frames == ("f" in has)


def test_spans_are_cut_to_fifteen_tokens():
    made = record(answers=("red", "red ball " * 20))
    found = questions.spans(made, TOY.encode_plain)
    assert found.shape == (2, 15) and (found[1] > 0).all()
    np.testing.assert_array_equal(found[0][:1], TOY.encode_plain("red"))
    assert not found[0][1:].any()


def test_records_are_grouped_by_what_towers_see():
    rows = [record(0, 0), record(1, 0), record(2, 1), record(3, 0), record(4, 2)]
    keyed = [(row, index.window_key(row)) for row in rows]
    found = list(questions.by_window(keyed, 2))
    names = [
        ([w.example_id for w in windows], [(r.example_id, i) for r, i in asked])
        for windows, asked in found
    ]
    assert names == [
        (["q0", "q2"], [("q0", 0), ("q1", 0), ("q2", 1), ("q3", 0)]),
        (["q4"], [("q4", 0)]),
    ]
    changed = record(is_frame_valid=np.array([True, False]))
    assert index.window_key(changed) != index.window_key(record())


def test_records_without_questions_are_refused():
    loose = record(question="", answers=())
    with pytest.raises(ValueError, match="q0 has no question"):
        questions.index(Source([loose]), [0])
    uneven = [record(0), record(1, answers=("yes", "no"))]
    with pytest.raises(ValueError, match="q1 has 2 candidate answers"):
        questions.index(Source(uneven), [0, 1])


def test_the_first_by_hash_do_not_follow_the_order_of_ids():
    source = Source([record(i) for i in range(30)])
    found = questions.index(source, range(30))
    by_hash = questions.first_by_hash(found, 10)
    assert by_hash == questions.first_by_hash(found[::-1], 20)[:10]
    assert by_hash != found[:10]
    ids = [q.example_id for q in questions.first_by_id(found[::-1], 3)]
    assert ids == ["q0", "q1", "q10"]


def test_kinds():
    kinds = question_kinds.parse(("who=^who", "doing=doing", "any=r"))
    texts = ("Who is doing it?", "What are they doing?", "Where?", "Oh?")
    found = [question_kinds.of_text(text, kinds) for text in texts]
    assert found == ["who", "doing", "any", ""]
    for wrong in ("who", "=x", "who=("):
        with pytest.raises(ValueError, match="probe.kinds"):
            question_kinds.parse((wrong,))


def test_cases_of_candidates_that_are_cut_off(caplog):
    source = Source([record(i) for i in range(3)])
    every = questions.index(source, range(3))
    sizes = (source, TOY.encode_plain, 2)
    asked = questions.measured(every, *sizes, ("answer",))
    longest = asked[0].tokens
    whole = questions.sequences(
        source[0], TOY.encode_plain, longest, ["question"], ["answer"]
    )
    assert whole.mask_at.max() + 1 == longest
    assert asked[0].sound == 12
    with pytest.raises(ValueError, match="of 3 of 3 questions; q0 needs") as error:
        questions.check_length(asked, config.Data(text_length=longest - 1))
    assert f"--set data.text_length={longest + 12}" in str(error.value)
    with caplog.at_level(logging.WARNING):
        questions.check_length(asked, config.Data(text_length=longest + 12))
        assert not caplog.records
        questions.check_length(asked, config.Data(text_length=longest))
    assert "cuts off sound behind 3 of 3 questions" in caplog.text
    # `match` does not read the candidates.
    short = questions.measured(every, *sizes, ("match",))
    assert short[0].tokens < longest
    # Those that fit for certain are not encoded; the number that stands for them fits.
    for length in (longest + 12, 200, 1000):
        quick = questions.measured(every, *sizes, ("answer",), length)
        for exact, bound in zip(asked, quick, strict=True):
            assert exact.tokens <= bound.tokens
            assert bound.tokens == exact.tokens or bound.tokens + 12 <= length
    unread = questions.measured(every, source, lambda text: 1 / 0, 2, ("answer",), 1000)
    assert unread == quick
