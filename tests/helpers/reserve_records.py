"""Made-up records and how to look at the sequences made of them."""

import dataclasses

import numpy as np

from mmdiffmask import config
from mmdiffmask.data import reserve_sequences

PLACE_S = 14 / 9
VIDEO = ("text2audio", "audio2text", "audio_text_matching")


@dataclasses.dataclass
class FakeRecord:
    """The fields that sequences are made of: t segments of s, lines (text, a, b)."""

    t: int = 4
    s: int = 1
    lines: tuple = ()
    silent: tuple = ()  # segments without sound
    absent: tuple = ()  # without frame and sound
    example_id: str = "q1"

    def __post_init__(self):
        where = range(self.t)
        self.is_frame_valid = np.array([i not in self.absent for i in where])
        quiet = self.silent + self.absent
        self.is_audio_valid = np.array([i not in quiet for i in where])
        self.spectrogram = np.zeros((self.t, self.s, 60, 65), np.float16)
        self.line_text = tuple(line[0] for line in self.lines)
        times = np.array([line[1:] for line in self.lines], np.float32).reshape(-1, 2)
        self.line_start_s, self.line_end_s = times.T


def encode(text):
    """Word w7 is id 17; <mask> is a special token, which is no word."""
    return [3 if word == "<mask>" else 10 + int(word[1:]) for word in text.split()]


def make(record, length=128, seed=0, epoch=0, **changes):
    values = {"spans": 99, "cut_share": 0.0} | changes
    return reserve_sequences.reserve_row(
        record,
        config.Data(sub_segments=record.spectrogram.shape[1], text_length=length),
        config.Reserve(**values),
        encode,
        seed,
        epoch,
    )


def tokens_at(sequences, place):
    is_at = sequences.audio_pointer[0] == place
    return sequences.tokens[0][is_at].tolist()


def places_of(sequences, token):
    return sequences.audio_pointer[0][sequences.tokens[0] == token].tolist()


def shown(sequences):
    return [x for x in sequences.tokens[0].tolist() if x]


ONE_WORD_EACH = tuple((f"w{i}", i * PLACE_S, (i + 1) * PLACE_S) for i in range(8))
