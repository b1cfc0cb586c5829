"""Texts of a clip with words of a closed vocabulary hidden (reserve.md section 9.1)."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mmdiffmask import config, seeds
from mmdiffmask.data import questions, video, vocabulary
from mmdiffmask.tokens import MASK, name_hash
from mmdiffmask.types import ClozeBatch

SALT = 11  # draws of its own, apart from those of `reserve_sequences`
Parts = list[str | int]  # texts, and special ids between them


def row(
    record: Any,
    data: config.Data,
    settings: config.Reserve,
    words: vocabulary.Vocabulary,
    encode: Callable[[str], Sequence[int]],
    seed: int,
    epoch: int,
) -> ClozeBatch:
    """One record's cloze text, without the batch axis, in numpy.

    Either the subtitles with up to `cloze_masks` content words hidden, or, for a share
    `cloze_questions` of the draws, the question with its answer hidden, then the
    subtitles: the text of the read-out `match`. The second uses the right answer, as
    `is_narrated` does then, so it is for pretraining a start alone. A pure function of
    its arguments.

    Args:
      record: of data/records/shards.py.
      data: length of the text.
      settings: how much is hidden, how many frames are shown.
      words: the closed vocabulary.
      encode: text -> token ids.
      seed: of the run.
      epoch: draws anew in each.
    """
    name = int(name_hash(record.example_id))
    rng = seeds.generator(seed, epoch, name, SALT)
    target = np.full(settings.cloze_masks, -1, np.int32)
    answer = _answer(record, words)
    is_question = rng.random() < settings.cloze_questions and answer >= 0
    if is_question:
        view = questions.VIEWS["subtitles"]
        question = questions.sequence(
            record, encode, data.text_length, view=view, answer=None
        )
        tokens, segment = question.tokens, question.segment
        target[0] = answer
    else:
        hidden, entries = _hide(record.subtitles, words, settings.cloze_masks, rng)
        target[: len(entries)] = entries
        tokens, segment = _layout([[], *hidden], data.text_length, encode)
    shown = np.flatnonzero(record.is_frame_valid)
    count = settings.cloze_frames
    frames = rng.choice(shown, count, replace=len(shown) < count)
    said = list(record.subtitles)
    if settings.cloze_questions and record.answer_index >= 0:
        # Narrations may leave out what is asked for (the toy set's do): with them alone
        # one clip in four told a colour, and colours stayed at chance.
        said.append(record.answers[record.answer_index])
    narrated = np.zeros(len(words), bool)
    for text in said:
        narrated[[entry for _, _, entry in words.find(text)]] = True
    return ClozeBatch(tokens, segment, target, np.sort(frames), narrated)


def _answer(record: Any, words: vocabulary.Vocabulary) -> int:
    """The right answer's entry; -1 where there is no answer or it is no entry."""
    if record.answer_index < 0:
        return -1
    return words.index(record.answers[record.answer_index])


def _hide(
    texts: Sequence[str],
    words: vocabulary.Vocabulary,
    most: int,
    rng: np.random.Generator,
) -> tuple[list[Parts], list[int]]:
    """The texts with drawn content words behind MASK, and these words in order."""
    mentions = [(i, *span) for i, text in enumerate(texts) for span in words.find(text)]
    drawn = rng.permutation(len(mentions))[:most]
    chosen = [mentions[i] for i in sorted(drawn)]
    hidden = []
    for i, text in enumerate(texts):
        parts: Parts = []
        at = 0
        for start, end in [(a, b) for j, a, b, _ in chosen if j == i]:
            parts += [text[at:start], MASK]
            at = end
        hidden.append([*parts, text[at:]])
    return hidden, [entry for *_, entry in chosen]


def _layout(
    parts: Sequence[Parts], length: int, encode: Callable[[str], Sequence[int]]
) -> tuple[np.ndarray, np.ndarray]:
    """Tokens and segments 0, 1, .. of the parts, cut or padded."""
    ids = [vocabulary.tokens_of(part, encode) for part in parts]
    return video.stream(ids, length)
