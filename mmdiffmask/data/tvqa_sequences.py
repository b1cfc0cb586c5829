"""The sequences of a question with candidate answers: two for each candidate.

Source: RESERVE.md section 3.1.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from mmdiffmask.data import tokenizers, video

Encode = Callable[[str], Sequence[int]]


class OptionSequences(NamedTuple):
    """Token ids of c candidates in both streams, and the segment of each token.

    Segment 0 is the option (time, question, candidate, MASK), 1..t are the clip's;
    padding has token 0 and segment 0.
    """

    text_tokens: Int[np.ndarray, "c l"]
    text_segment: Int[np.ndarray, "c l"]
    audio_tokens: Int[np.ndarray, "c l"]
    audio_segment: Int[np.ndarray, "c l"]


def answer_tokens(encode: Encode, answer: str) -> list[int]:
    """Ids of "answer: " and, encoded by itself, the answer: two spaces between them.

    A special token that the answer spells out is left out, being no word.
    """
    ids = [*encode("answer: "), *encode(answer)]
    return [i for i in ids if i >= video.N_SPECIAL]


def option_sequences(
    question: Sequence[int],
    answers: Sequence[Sequence[int]],
    subtitles: Sequence[Sequence[int]],
    sub_segments: int,
    length: int,
) -> OptionSequences:
    """Puts each candidate behind the question and a MASK behind it, then the clip.

    The question and a candidate are cut to length - 1 tokens, so that MASK, where the
    candidate's score is read, is always there.

    Args:
      question: ids of "{start} to {end}", START and the question (`video.option`).
      answers: ids of each candidate (`answer_tokens`).
      subtitles: ids of what is said in each of the t segments; may be empty.
      sub_segments: sound clips of a segment, six AUDIOSPAN each in the audio stream,
        also where there is no sound.
      length: l, tokens of a sequence; the clip is cut there.

    Raises:
      ValueError: if there is no room for MASK.
    """
    if length < 1:
        raise ValueError(f"sequences of {length} tokens have no room for MASK")
    spans = [tokenizers.AUDIOSPAN] * (video.TOKENS_PER_SOUND * sub_segments)
    text, audio = [], []
    for answer in answers:
        option = [*question, *answer][: length - 1] + [tokenizers.MASK]
        text.append(video.stream([option, *subtitles], length))
        audio.append(video.stream([option, *[spans] * len(subtitles)], length))
    text, audio = np.array(text, np.int32), np.array(audio, np.int32)
    return OptionSequences(text[:, 0], text[:, 1], audio[:, 0], audio[:, 1])
