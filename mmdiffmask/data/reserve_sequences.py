"""Records to the token sequences of Reserve's own objective (reserve.md section 4.1).

A record is one group: one sequence of each kind, its pieces in order of sub-segments.
What a sequence shows of a sub-segment:

  text2audio           its words; of a target MASK MASKAUDIO
  audio2text           its sound, some words beside a target; of a target MASK
  audio_text_matching  after the LTOVPOOL of each segment all sound or all words
  random_text          no video: a paragraph of the user's file with words hidden

Departs: records have no title, description and tags, which Reserve puts in front of
audio_text_matching; all kinds share one length.
"""

import math
import re
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from mmdiffmask import config, seeds
from mmdiffmask.data import pieces as pieces_lib
from mmdiffmask.data import random_text, video
from mmdiffmask.data.pieces import Piece
from mmdiffmask.data.records import schema
from mmdiffmask.tokens import (
    AUDIOSPAN,
    LTOVPOOL,
    MASK,
    MASKAUDIO,
    TOKENS_PER_SOUND,
    name_hash,
)
from mmdiffmask.types import ReserveBatch


class Clip(NamedTuple):
    """What a record says and sounds like, by sub-segment p = t * s.

    Attributes:
      words: ids of what is said in each.
      has_sound: whether there is real sound.
      is_there: whether its segment has a frame or sound.
      sub_segments: s.
    """

    words: tuple[tuple[int, ...], ...]
    has_sound: Bool[np.ndarray, " p"]
    is_there: Bool[np.ndarray, " p"]
    sub_segments: int

    def said(self, place: int) -> Piece:
        """The words of a sub-segment."""
        return Piece(self.words[place], place)

    def heard(self, place: int) -> Piece:
        """The six tokens of its sound; its words where there is none."""
        if not self.has_sound[place]:
            return self.said(place)
        return Piece((AUDIOSPAN,) * TOKENS_PER_SOUND, place)

    def hidden(self, place: int, *tokens: int) -> Piece:
        """Other tokens in place of the words."""
        return Piece(tokens, place, self.words[place])


def reserve_row(
    record: Any,
    data: config.Data,
    settings: config.Reserve,
    encode: video.Encode,
    seed: int,
    epoch: int,
) -> ReserveBatch:
    """One record's sequences, in numpy without the batch axis: a pure function.

    `text_spans` has k = settings.spans rows, and settings.random_spans more where there
    is random text. If more is hidden, random text loses spans first, then chance
    decides; a MASK without a span, also one over silence, has text pointer -1.

    Args:
      record: of data/records/shards.py.
      data: length of the sequences.
      settings: shares and numbers; the weights of the terms change nothing here.
      encode: text -> token ids.
      seed: of the run, >= 0.
      epoch: each draws anew.

    Raises:
      ValueError: if the file of random text is missing or empty.
    """
    name = int(name_hash(record.example_id))
    rng = seeds.generator(seed, epoch, name)
    clip = read_clip(record, encode)
    heard, read = draw_targets(rng, clip.is_there, clip.has_sound, settings)
    # In the fields' order; draws for random text come last, so that the sequences of
    # the video do not depend on it.
    sequences = [
        _text2audio(clip, heard),
        _audio2text(rng, clip, read, settings.word_share),
        _matching(clip, bool(rng.random() < settings.heard_share)),
    ]
    video_of_segment = _cut_in_two(rng, clip, settings.cut_share)
    rows = settings.spans
    if settings.random_text is not None:
        rows += settings.random_spans
        sequences.append(_random_text(rng, data, settings, encode))
    cut = [pieces_lib.cut(pieces, data.text_length) for pieces in sequences]
    numbered, spans = pieces_lib.number_spans(rng, cut, (0, 0, 0, 1), rows)
    laid = [pieces_lib.lay_out(pieces, data.text_length) for pieces in numbered]
    return ReserveBatch(
        text2audio=laid[0],
        audio2text=laid[1],
        audio_text_matching=laid[2],
        random_text=laid[3] if settings.random_text is not None else None,
        text_spans=spans,
        video_of_segment=video_of_segment,
    )


def read_clip(record: Any, encode: video.Encode) -> Clip:
    """A record's words and sound by sub-segment."""
    sub_segments = record.spectrogram.shape[1]
    has_sound = np.repeat(np.asarray(record.is_audio_valid, bool), sub_segments)
    has_frame = np.repeat(np.asarray(record.is_frame_valid, bool), sub_segments)
    words = (pieces_lib.word_ids(encode, text) for text in spoken(record))
    return Clip(tuple(words), has_sound, has_sound | has_frame, sub_segments)


def spoken(record: Any) -> tuple[str, ...]:
    """What is said in each sub-segment, "" where nothing.

    A word's time is its characters' share of its line's time, and it belongs to the
    sub-segment of its middle; words outside the record are left out. design.md 5,
    reserve.md section 6.3 (records hold no times of words).

    Args:
      record: line texts and times.
    """
    t, s = record.spectrogram.shape[:2]
    said: list[list[str]] = [[] for _ in range(t * s)]
    lines = zip(record.line_text, record.line_start_s, record.line_end_s, strict=True)
    for text, start_s, end_s in lines:
        per_character_s = (float(end_s) - float(start_s)) / max(1, len(text))
        for word in re.finditer(r"\S+", text):
            middle_s = float(start_s) + per_character_s * sum(word.span()) / 2
            place = math.floor(middle_s / schema.SUB_SEGMENT_S)
            if 0 <= place < len(said):
                said[place].append(word[0])
    return tuple(" ".join(words) for words in said)


def draw_targets(
    rng: np.random.Generator,
    is_there: Bool[np.ndarray, " p"],
    has_sound: Bool[np.ndarray, " p"],
    settings: config.Reserve,
) -> tuple[frozenset[int], frozenset[int]]:
    """Sub-segments whose sound, and others whose words, are to be predicted.

    `target_share` of those that are there, at least one, for each; sound can be a
    target only where it is real. Fewer where there are not enough.
    """
    order = rng.permutation(len(is_there)).tolist()
    there = [place for place in order if is_there[place]]
    count = max(1, round(settings.target_share * len(there)))
    heard = [place for place in there if has_sound[place]][:count]
    read = [place for place in there if place not in heard][:count]
    return frozenset(heard), frozenset(read)


def _text2audio(clip: Clip, targets: frozenset[int]) -> list[Piece]:
    return [
        clip.hidden(place, MASK, MASKAUDIO) if place in targets else clip.said(place)
        for place in range(len(clip.words))
    ]


def _audio2text(
    rng: np.random.Generator, clip: Clip, targets: frozenset[int], word_share: float
) -> list[Piece]:
    """Sound all around the hidden words.

    Sound beside a target holds the ends of its words, so there words are shown most
    of the time; where nothing is said there, its sound.
    """
    is_word = rng.random(len(clip.words)) < word_share
    sequence = []
    for place in range(len(clip.words)):
        if place in targets:
            sequence.append(clip.hidden(place, MASK))
            continue
        is_beside = bool(targets & {place - 1, place + 1})
        shows_words = is_beside and is_word[place] and clip.words[place]
        sequence.append(clip.said(place) if shows_words else clip.heard(place))
    return sequence


def _matching(clip: Clip, is_heard: bool) -> list[Piece]:
    """LTOVPOOL of every segment up to the last that is there, and what follows it.

    None is left out between, as the model counts them: a segment without a frame is
    for the loss to leave out.
    """
    show = clip.heard if is_heard else clip.said
    sequence = []
    for segment in range(_segments_there(clip)):
        first = segment * clip.sub_segments
        sequence.append(Piece((LTOVPOOL,), first))
        sequence += [show(first + i) for i in range(clip.sub_segments)]
    return sequence


def _segments_there(clip: Clip) -> int:
    """How many segments there are up to the last one."""
    there = np.flatnonzero(clip.is_there)
    return int(there[-1]) // clip.sub_segments + 1 if len(there) else 0


def _cut_in_two(
    rng: np.random.Generator, clip: Clip, share: float
) -> Int[np.ndarray, " t"]:
    """All segments of video 0; or, with probability `share`, the last ones of 1."""
    video_of_segment = np.zeros(len(clip.words) // clip.sub_segments, np.int32)
    is_cut, there = rng.random() < share, _segments_there(clip)
    first = int(rng.integers(1, max(2, there)))
    if is_cut and there > 1:
        video_of_segment[first:] = 1
    return video_of_segment


def _random_text(
    rng: np.random.Generator,
    data: config.Data,
    settings: config.Reserve,
    encode: video.Encode,
) -> list[Piece]:
    paragraphs = random_text.paragraphs(settings.random_text)
    return random_text.hide(
        rng,
        paragraphs[int(rng.integers(len(paragraphs)))],
        encode,
        length=data.text_length,
        share=settings.target_share,
        spans=settings.random_spans,
    )
