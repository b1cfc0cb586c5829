"""A record's question as token sequences whose MASK is read out (design.md 7)."""

import dataclasses
import hashlib
import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Int

from mmdiffmask import config
from mmdiffmask.data import video
from mmdiffmask.tokens import AUDIOSPAN, MASK, PAD, SPAN_LENGTH, TOKENS_PER_SOUND

Encode = video.Encode


@dataclasses.dataclass(frozen=True)
class View:
    """What of an example stands beside its candidate answers in one sequence."""

    has_question: bool = True
    stream: Literal["none", "subtitles", "sound"] = "none"
    has_frames: bool = False


VIEWS = {
    "answers": View(has_question=False),
    "question": View(),
    "subtitles": View(stream="subtitles"),
    "sound": View(stream="sound"),
    "frames": View(has_frames=True),
    "frames and subtitles": View(stream="subtitles", has_frames=True),
    "frames and sound": View(stream="sound", has_frames=True),
}


class Tokens(NamedTuple):
    """One sequence, or many: `segment` and `audio_pointer` as in `joining.TextPart`.

    `mask_at` is the position of MASK, which is read out.
    """

    tokens: Int[np.ndarray, "*b l"]
    segment: Int[np.ndarray, "*b l"]
    audio_pointer: Int[np.ndarray, "*b l"]
    mask_at: Int[np.ndarray, "*b"]


@dataclasses.dataclass(frozen=True, slots=True)
class Question:
    """What scoring needs of a record; `right` is the right candidate, -1 = unknown.

    `tokens` are those of its longest sequence up to MASK, `sound` those of its sound:
    see `measured`.
    """

    position: int
    example_id: str
    clip: str
    text: str
    candidates: int
    right: int
    group: str = ""
    tokens: int = 0
    sound: int = 0


def sequence(
    record: Any, encode: Encode, length: int, view: View, answer: str | None
) -> Tokens:
    """One sequence: the option with MASK at its end, then the stream by segment.

    The option is "{start} to {end}", START, the question, "answer: " and the
    candidate, if one is given, cut so that MASK fits. Subtitles and sound have
    segments 1..t; sound that is not there is padding, as in pretraining. Nothing here
    depends on which candidate is right. reserve.md section 3.1, design.md section 7.

    Args:
      record: of data/records/shards.py.
      encode: text -> token ids.
      length: tokens of the sequence.
      view: what is shown.
      answer: the candidate of read-out `answer`; None: MASK stands in its place, as
        `match` reads it.
    """
    option = _option(record, encode, view, answer)
    option = [*option[: length - 1], MASK]
    t, s = record.spectrogram.shape[:2]
    parts: list[list[int]] = []
    if view.stream == "subtitles":
        parts = [video.words(encode, subtitle) for subtitle in record.subtitles]
    elif view.stream == "sound":
        parts = [[AUDIOSPAN] * (TOKENS_PER_SOUND * s)] * t
    tokens, segment = video.stream([option, *parts], length)
    is_sound = tokens == AUDIOSPAN
    pointer = (np.cumsum(is_sound) - 1) // TOKENS_PER_SOUND
    pointer = np.where(is_sound, pointer, -1).astype(np.int32)
    is_heard = np.asarray(record.is_audio_valid, bool)[np.maximum(segment - 1, 0)]
    tokens = np.where(is_sound & ~is_heard, PAD, tokens).astype(np.int32)
    return Tokens(tokens, segment, pointer, np.array(len(option) - 1, np.int32))


def _option(record: Any, encode: Encode, view: View, answer: str | None) -> list[int]:
    """What stands before MASK: the question if it is shown, then the candidate."""
    option = video.option(record, encode) if view.has_question else []
    # MASK hides words with the spaces before them, as in pretraining: no lone space.
    lead = video.ANSWER.rstrip() if answer is None else video.ANSWER
    return option + video.words(encode, lead) + video.words(encode, answer or "")


def sequences(
    record: Any,
    encode: Encode,
    length: int,
    views: Sequence[str],
    read_outs: Sequence[str],
) -> Tokens:
    """All sequences of a record: (views, a, l).

    The a sequences of a view are the one of `match`, then those of `answer` in the
    candidates' order, each if its read-out is asked for.
    """
    answers: list[str | None] = [None] if "match" in read_outs else []
    answers += record.answers if "answer" in read_outs else ()
    rows = [
        [sequence(record, encode, length, VIEWS[view], answer) for answer in answers]
        for view in views
    ]
    stacked = [Tokens(*map(np.stack, zip(*row, strict=True))) for row in rows]
    return Tokens(*map(np.stack, zip(*stacked, strict=True)))


def spans(record: Any, encode: Encode) -> Int[np.ndarray, "c 15"]:
    """The candidates' tokens for the span encoder, cut or padded (token 0)."""
    rows = np.zeros((len(record.answers), SPAN_LENGTH), np.int32)
    for row, answer in zip(rows, record.answers, strict=True):
        ids = video.words(encode, answer)[: len(row)]
        row[: len(ids)] = ids
    return rows


def by_window(
    records: Iterable[tuple[Any, str]], most: int
) -> Iterator[tuple[list[Any], list[tuple[Any, int]]]]:
    """Groups records by shared windows, in order: towers see each window once.

    Args:
      records: each with the key of its window (`index.window_key`).
      most: windows of a group.

    Yields:
      one record for each of up to `most` different windows, and all records of the
      group, each with the position of its window.
    """
    places: dict[str, int] = {}
    windows: list[Any] = []
    rows: list[tuple[Any, int]] = []
    for record, key in records:
        if key not in places and len(windows) == most:
            yield windows, rows
            places, windows, rows = {}, [], []
        if key not in places:
            places[key] = len(windows)
            windows.append(record)
        rows.append((record, places[key]))
    if rows:
        yield windows, rows


def index(
    entries: Any,
    positions: Sequence[int],
    otherwise: str = "probe.read_outs can only be clip",
) -> list[Question]:
    """The questions at some positions of a split, not measured.

    Args:
      entries: of the split (`Corpus.entries`), or its records.
      positions: in it.
      otherwise: what is left of records without questions, for messages.

    Raises:
      ValueError: if a record has no question, or another number of candidates than
        the first.
    """
    questions: list[Question] = []
    for i in positions:
        record = entries[i]
        text, count = record.question, len(record.answers)
        if not text or count < 2:
            raise ValueError(
                f"record {record.example_id} has no question with candidate answers,"
                f" so {otherwise}; records of `toy` and `tvqa` have questions"
            )
        if count != (questions[0].candidates if questions else count):
            raise ValueError(
                f"record {record.example_id} has {count} candidate answers, not the"
                f" {questions[0].candidates} of {questions[0].example_id} in its split"
            )
        questions.append(
            Question(
                position=int(i),
                example_id=record.example_id,
                clip=record.clip,
                text=text,
                candidates=count,
                right=record.answer_index,
                group=record.group,
            )
        )
    return questions


def measured(
    questions: Sequence[Question],
    entries: Any,
    encode: Encode,
    pieces: int,
    read_outs: Sequence[str] = ("match", "answer"),
    length: int = 0,
) -> list[Question]:
    """The questions with the lengths of their sequences.

    Args:
      questions: of one split.
      entries: as in `index`.
      encode: text -> token ids.
      pieces: of sound in a clip.
      read_outs: those that are asked for; only `answer` reads the candidates.
      length: a question that fits into so many tokens for certain, with its sound,
        need not be encoded: `tokens` is then a number that it does not pass.
    """
    sound = TOKENS_PER_SOUND * pieces
    result = []
    for question in questions:
        record = entries[question.position]
        answers = record.answers if "answer" in read_outs else (None,)
        tokens = _most_tokens(record, answers)
        if tokens is None or tokens + sound > length:
            options = (_option(record, encode, View(), a) for a in answers)
            tokens = max(map(len, options)) + 1
        result.append(dataclasses.replace(question, tokens=tokens, sound=sound))
    return result


def _most_tokens(record: Any, answers: Sequence[str | None]) -> int | None:
    """A number that the tokens up to MASK do not pass; None where none is known.

    A token of plain text stands for a character or more; a text may have one more for
    the space before it. Other letters may become several.
    """
    start, end = record.span_percent
    texts = [f"{start} to {end}", record.question, video.ANSWER]
    texts.append(max((answer or "" for answer in answers), key=len))
    if not all(map(str.isascii, (*texts, *(answer or "" for answer in answers)))):
        return None
    return sum(len(text) + 1 for text in texts) + 2  # START and MASK


def check_length(questions: Sequence[Question], data: config.Data) -> None:
    """Checks that no sequence is cut before its MASK; tells of sound that is cut.

    Candidates that are cut to the same tokens cannot be told apart.

    Raises:
      ValueError: with the length that is needed.
    """
    long = [q for q in questions if q.tokens > data.text_length]
    if long:
        worst = max(long, key=lambda q: q.tokens)
        raise ValueError(
            f"data.text_length={data.text_length} cuts off candidates or the question"
            f" of {len(long)} of {len(questions)} questions; {worst.example_id} needs"
            f" {worst.tokens} tokens, {worst.tokens + worst.sound} with its sound: add"
            f" --set data.text_length={worst.tokens + worst.sound}"
        )
    cut = [q for q in questions if q.tokens + q.sound > data.text_length]
    if cut:
        logging.warning(
            "data.text_length=%d cuts off sound behind %d of %d questions; none with"
            " --set data.text_length=%d",
            data.text_length,
            len(cut),
            len(questions),
            max(q.tokens + q.sound for q in cut),
        )


def first_by_hash(questions: Sequence[Question], most: int) -> list[Question]:
    """At most so many, chosen by sha256 of the id: more data move few in or out."""
    return sorted(
        questions, key=lambda q: hashlib.sha256(q.example_id.encode()).digest()
    )[:most]


def first_by_id(questions: Sequence[Question], most: int) -> list[Question]:
    """At most so many, the first by example id."""
    return sorted(questions, key=lambda q: q.example_id)[:most]
