"""Features of questions: joint outputs at MASK, towers run once a window."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from mmdiffmask.data import questions
from mmdiffmask.models.reserve import joining, layers
from mmdiffmask.training.family import Params
from mmdiffmask.training.question_batch import ANSWER, MATCH, SPAN, Rows, Windows
from mmdiffmask.training.terms.shared import Objective
from mmdiffmask.types import Array


class Seen(NamedTuple):
    """What the towers make of windows: pooled cells and sound tokens."""

    cells: Float[Array, "w t k d"] | None
    sound: Float[Array, "w m 6 d"] | None
    is_frame_valid: Bool[Array, "w t"]


@dataclasses.dataclass(frozen=True)
class Reader:
    """`Family.questions`: (params, windows) -> rows -> features.

    MATCH (q, v, d), unit-normalised head outputs; ANSWER (q, v, c, d), joint outputs;
    SPAN (q, c, d), unit-normalised, where MATCH is.

    Attributes:
      read_outs: MATCH, ANSWER or both.
      look: (params, windows) -> `Seen`, jitted.
      read: (params, seen, rows) -> features, jitted.
    """

    read_outs: tuple[str, ...]
    look: Callable[[Params, Windows], Seen]
    read: Callable[[Params, Seen, Rows], dict[str, Array]]

    def __call__(
        self, params: Params, windows: Windows
    ) -> Callable[[Rows], dict[str, Array]]:
        """Features of questions on these windows.

        Raises:
          ValueError: as `check_params`.
        """
        check_params(params, self.read_outs)
        seen = self.look(params, windows)
        weights = jax.tree.leaves(params)[0]
        if isinstance(weights, jax.Array):
            # Where the weights lie, so whole on every device: any question of a batch
            # that is cut over them may be on any window.
            seen = jax.device_put(seen, weights.sharding)
        return functools.partial(self.read, params, seen)


def encoder(objective: Objective, read_outs: Sequence[str]) -> Reader:
    """The reader of a model on a grid, for MATCH, ANSWER or both."""
    has_match, has_answer = (name in read_outs for name in (MATCH, ANSWER))

    @jax.jit
    def read(params: Params, seen: Seen, rows: Rows) -> dict[str, Array]:
        at_mask = _at_mask(objective, params, seen, rows)
        result = {}
        if has_match:
            spans = objective.call(params, "span", rows.spans)
            result[SPAN] = layers.unit_normalize(spans)
            heads = objective.call(params, "project", at_mask[:, :, 0])
            result[MATCH] = layers.unit_normalize(heads)
        if has_answer:
            result[ANSWER] = at_mask[:, :, int(has_match) :]
        return result

    see = jax.jit(functools.partial(look, objective))
    return Reader(tuple(read_outs), see, read)


def check_params(params: Params, read_outs: Sequence[str]) -> None:
    """Checks that the checkpoint kept what a read-out needs.

    Raises:
      ValueError: if MATCH is asked for without head or span encoder.
    """
    missing = [name for name in ("head", "span_encoder") if name not in params]
    if MATCH in read_outs and missing:
        raise ValueError(
            f"probe.read_outs=match compares texts, but the checkpoint has no"
            f" {' and no '.join(missing)} (finetuned ones drop them); ask for answer"
            " or clip, or start from a pretrained checkpoint"
        )


def look(
    objective: Objective, params: Params, windows: Windows, has_sound: bool = True
) -> Seen:
    """What the towers make of windows; sound only where some sequence has it."""
    count, frames, clips = windows.spectrogram.shape[:3]
    wave = windows.spectrogram.reshape(count, frames * clips, 60, 65)
    cells, sound = None, None
    if has_sound:
        sound = objective.call(params, "audio", wave).seq_attnpool
    if windows.patches is not None:
        cells = objective.vision(params, windows.patches).seq_attnpool
    return Seen(cells, sound, windows.is_frame_valid)


def _at_mask(
    objective: Objective, params: Params, seen: Seen, rows: Rows
) -> Float[Array, "q v a d"]:
    """Joint outputs at MASK; all sequences of all questions are one batch."""
    lead = rows.sequences.tokens.shape[:-1]
    window = jnp.repeat(jnp.asarray(rows.window), lead[1] * lead[2])
    cells = None if seen.cells is None else seen.cells[window]
    is_valid = jnp.asarray(seen.is_frame_valid)[window]
    return at_mask(
        objective, params, Seen(cells, seen.sound[window], is_valid), rows.sequences
    )


def at_mask(
    objective: Objective, params: Params, seen: Seen, sequences: questions.Tokens
) -> Float[Array, "q v a d"]:
    """Joint outputs at MASK, of sequences (q, v, a, l).

    Frames have segments 1..t, as text and sound have; frames that are not there are
    looked at by nobody.

    Args:
      objective: model and grid.
      params: the weights.
      seen: what stands beside each sequence, w = q * v * a.
      sequences: the texts.
    """
    tokens, segment, pointer = (
        jnp.asarray(x).reshape(-1, x.shape[-1]) for x in sequences[:3]
    )
    text = joining.TextPart(tokens, segment, seen.sound, pointer)
    vision = None
    if seen.cells is not None:
        count, frames = seen.cells.shape[:2]
        segment = jnp.broadcast_to(jnp.arange(1, frames + 1)[None], (count, frames))
        vision = joining.VisionPart(seen.cells, segment, seen.is_frame_valid)
    joined = objective.call(params, "joint", text, vision, objective.grid).text
    mask_at = jnp.asarray(sequences.mask_at).reshape(-1, 1, 1)
    at = jnp.take_along_axis(joined, mask_at, 1)
    return at.reshape(*sequences.mask_at.shape, -1)
