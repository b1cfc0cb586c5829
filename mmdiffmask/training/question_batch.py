"""Questions as a model reads them: `Family.questions` gets these."""

from typing import NamedTuple

from jaxtyping import Bool, Float, Int

from mmdiffmask.data import questions
from mmdiffmask.types import Array, Pixels

MATCH, ANSWER = "match", "answer"  # read-outs, and their features
SPAN = "span"  # of the feature that all views share


class Windows(NamedTuple):
    """Distinct windows; `patches` is None where no view shows frames."""

    patches: Pixels[Array, "w t n p"] | None
    spectrogram: Float[Array, "w t s 60 65"]
    is_frame_valid: Bool[Array, "w t"]


class Rows(NamedTuple):
    """Questions: the window of each, all its sequences, its candidates' spans.

    The sequences of a view are the one of MATCH, then those of ANSWER, as far as these
    read-outs are asked for.
    """

    window: Int[Array, " q"]
    sequences: questions.Tokens
    spans: Int[Array, "q c 15"]
