"""A model as the loop, the steps and the checkpoints know it: a record of functions.

A batch is any NamedTuple of arrays (b, ...) with `unit_of_token`, `unit_score`,
`is_box_unit`, `example_hash`, `clip_hash` and `is_real`; what else it holds is between
a family's rows and its terms.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from jaxtyping import Bool, PRNGKeyArray

from mmdiffmask.types import Array

Params = Any
Batch = Any
# Stream -> metric -> (sums, counts), each (b,): what an example adds to a number.
# Counts None: the sum is a number of the whole batch.
Scores = dict[str, dict[str, tuple[Array, Array | None]]]


class Held(NamedTuple):
    """What a run holds fixed.

    Attributes:
      start: its first weights.
      values: what `Family.hold` made from them, by name; saved beside them.
      key: `jax.random.key` of the run's seed.
    """

    start: Params
    values: dict[str, Array]
    key: PRNGKeyArray


# The functions of a family as they are compiled; see `Family.scores` and `others`.
ScoreStep = Callable[[Params, Held, Batch, Bool[Array, "b ..."]], tuple[Scores, Array]]
OthersStep = Callable[[Params, Held, Batch], dict[str, Scores]]


@dataclasses.dataclass(frozen=True, eq=False)
class Family:
    """A model with its terms, as pure functions; two are the same if they are one.

    Steps are compiled once for a family, whatever the masks, the seed and the epoch.

    Attributes:
      weights: term -> its weight, above 0; terms that a run lacks are absent.
      masked: the term that hides something; None: nothing is hidden.
      hold: (params, batches) -> what a run holds fixed beside its start.
      terms: (params, held, batch, is_masked, key) -> ({term: loss}, {metric: scalar}).
        `is_masked` is None where `masked` is; `key` is of the run's seed and the
        update. A metric "dropped" counts what found no slot to be predicted in.
      scores: (params, held, batch, is_masked) -> (Scores, dropped), on held-out clips.
      others: (params, held, batch) -> {kind: Scores} of what needs no masks; None:
        there is nothing.
    """

    weights: Mapping[str, float]
    masked: str | None
    hold: Callable[[Params, Iterable[Batch]], dict[str, Array]]
    terms: Callable[
        [Params, Held, Batch, Bool[Array, "b ..."] | None, PRNGKeyArray],
        tuple[dict[str, Array], dict[str, Array]],
    ]
    scores: ScoreStep
    others: OthersStep | None = None
