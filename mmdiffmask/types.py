"""The values that cross module borders, and the letters of their axes.

Letters, everywhere: b batch, t segments (one frame each), s sub-segments of sound,
n patches of a frame or tokens of a sequence, q patches of a clip (t * n), u units,
m boxes, k anchors, c candidate answers, l text length, d hidden, h heads, v vocabulary.
"""

import dataclasses
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import AbstractDtype, Bool, Float, Int, UInt32

Array = jax.Array | np.ndarray


class Pixels(AbstractDtype):
    """Bytes, or floats in [0, 1]; `grid.unit_values` makes them one."""

    dtypes = ("uint8", "bfloat16", "float16", "float32", "float64")


@dataclasses.dataclass(frozen=True)
class Boxes:
    """Boxes of one clip's frames, in pixels of the source frames.

    Attributes:
      frame: which of the t frames each box lies in.
      xyxy_px: left, top, right, bottom; half-open; may reach past the frame.
      kind: "body", "face" or "object".
      label: what is in the box, a word or words ("person", "face", "red ball").
      score: the detector's, in [0, 1]; 1 for true boxes.
      track: the same number = the same thing over time; -1 = not tracked.
      source: which detector or file the box came from.
    """

    frame: Int[np.ndarray, " m"]
    xyxy_px: Float[np.ndarray, "m 4"]
    kind: tuple[str, ...]
    label: tuple[str, ...]
    score: Float[np.ndarray, " m"]
    track: Int[np.ndarray, " m"]
    source: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.kind)

    def take(self, index: np.ndarray) -> "Boxes":
        """The boxes at the integer positions `index`, in that order."""
        return Boxes(
            frame=self.frame[index],
            xyxy_px=self.xyxy_px[index],
            kind=tuple(self.kind[i] for i in index),
            label=tuple(self.label[i] for i in index),
            score=self.score[index],
            track=self.track[index],
            source=tuple(self.source[i] for i in index),
        )


class MaskInputs(NamedTuple):
    """What a masking method may look at, for one clip or one sentence.

    `unit_of_token` is the unit of each token in [0, u), -1 = never masked. There are
    as many unit slots as tokens, so u = n; slots without a token have score 0. What
    the score is (similarity to anchors, attention, motion), the strategy says.
    """

    unit_of_token: Int[Array, " n"]
    unit_score: Float[Array, " u"]


class Sequences(NamedTuple):
    """Token sequences of one kind, g for each example (reserve.md section 4.1).

    `audio_pointer` is the sub-segment of sound that a token belongs to, counted over
    the whole example, and `text_pointer` the span that a MASK hides; -1 = none.
    """

    tokens: Int[Array, "b g l"]
    audio_pointer: Int[Array, "b g l"]
    text_pointer: Int[Array, "b g l"]


class ReserveBatch(NamedTuple):
    """The sequences of Reserve's own objective.

    `text_spans` are the k hidden texts of an example (0 = padding, an empty row is no
    span); `video_of_segment` tells segments of different videos apart.
    """

    text2audio: Sequences
    audio2text: Sequences
    audio_text_matching: Sequences
    random_text: Sequences | None
    text_spans: Int[Array, "b k 15"]
    video_of_segment: Int[Array, "b t"]


class ClozeBatch(NamedTuple):
    """Texts with single words of a closed vocabulary hidden, and the frames shown.

    `segment` places tokens as in the streams; `target` is the vocabulary entry behind
    the i-th MASK of the text, -1 = no such MASK; `frame` are the f frames that go with
    the text, positions in [0, t); `is_narrated` marks the entries that the clip's
    subtitles mention (and its right answer, where a start is trained on answers).
    """

    tokens: Int[Array, "b l"]
    segment: Int[Array, "b l"]
    target: Int[Array, "b i"]
    frame: Int[Array, "b f"]
    is_narrated: Bool[Array, "b v"]


class ChoiceBatch(NamedTuple):
    """Questions as fine-tuning reads them: z streams of c candidates each.

    `segment` and `audio_pointer` place tokens and sound as in `joining.TextPart`;
    `mask_at` is the position of MASK, which is read out.
    """

    tokens: Int[Array, "b z c l"]
    segment: Int[Array, "b z c l"]
    audio_pointer: Int[Array, "b z c l"]
    mask_at: Int[Array, "b z c"]


class VideoBatch(NamedTuple):
    """One global batch of clips as the jitted step sees it.

    `patches` are bytes where no frame of the batch had to be resized (`Pixels`);
    `spectrogram` holds 64 log-mel values and the playback speed. A text or audio
    stream is `tokens` with the segment (0 = question, 1..t) of each; token 0 is
    padding. `unit_of_token` counts patches of the whole clip (q = t * n, frame-major,
    row-major) with -1 where a patch must not be masked; with mask unit `cell` all
    patches of a cell share a unit. `is_box_unit` tells units of a box from background.
    `example_hash` and `clip_hash` are the first 4 bytes of sha256 of the example id
    and of the clip's name: keys of masks and noise, and who is whose negative.
    `is_real` is False for rows that only fill up the last batch.

    Of rows that fine-tuning learns `label` is the place of a question's right answer,
    or of the clip's label among those of the records.
    """

    patches: Pixels[Array, "b t n p"]
    spectrogram: Float[Array, "b t s 60 65"]
    text_tokens: Int[Array, "b l"]
    text_segment: Int[Array, "b l"]
    audio_tokens: Int[Array, "b l"]
    audio_segment: Int[Array, "b l"]
    is_frame_valid: Bool[Array, "b t"]
    is_audio_valid: Bool[Array, "b t"]
    is_patch_valid: Bool[Array, "b t n"]
    unit_of_token: Int[Array, "b q"]
    unit_score: Float[Array, "b q"]
    is_box_unit: Bool[Array, "b q"]
    example_hash: UInt32[Array, " b"]
    clip_hash: UInt32[Array, " b"]
    is_real: Bool[Array, " b"]
    reserve: ReserveBatch | None = None  # only where the objective needs them
    cloze: ClozeBatch | None = None
    label: Int[Array, " b"] | None = None
    choices: ChoiceBatch | None = None


class TextBatch(NamedTuple):
    """One global batch of windows of texts as the jitted step sees it.

    `input_ids` are the pieces as they stand in the texts, with those that open and
    close a window; `attention_mask` is False at padding. `unit_of_token` is the word of
    each piece, -1 at punctuation and ends. `unit_score` and `is_box_unit` have no part
    in texts: masks come with the rows. `word_class` places each piece's word in
    `data.word_classes`, -1 = no word. `is_hidden` are the pieces that the run's own
    mask hides, `shown_ids` what stands there instead. `example_hash` is that of text
    and window, `clip_hash` that of the text without signs around its entities.
    `is_real` is False for rows that only fill up the last batch.

    Of labelled rows `label` is the place of each one's label among those of the corpus;
    `unlabelled` are the windows that stand beside them, where both train at once.
    """

    input_ids: Int[Array, "b l"]
    attention_mask: Bool[Array, "b l"]
    unit_of_token: Int[Array, "b l"]
    unit_score: Float[Array, "b l"]
    is_box_unit: Bool[Array, "b l"]
    word_class: Int[Array, "b l"]
    is_hidden: Bool[Array, "b l"]
    shown_ids: Int[Array, "b l"]
    example_hash: UInt32[Array, " b"]
    clip_hash: UInt32[Array, " b"]
    is_real: Bool[Array, " b"]
    label: Int[Array, " b"] | None = None
    unlabelled: "TextBatch | None" = None


class HiddenPieces(NamedTuple):
    """What a mask hides of a batch of texts, and what stands there instead."""

    is_masked: Bool[Array, "b l"]
    shown_ids: Int[Array, "b l"]
