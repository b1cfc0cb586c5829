"""A model as the loop, the steps, the checkpoints and the probe know it: a `Family`.

What a new model brings, and where it is joined to a run (`job.Job`). Two are there:
MERLOT-Reserve on video (video_job.py), BERT and RoBERTa on texts (text_job.py);
build.py tells them apart by `data.family`. Each has a job that pretrains and one that
fine-tunes.

1. Settings: a dataclass of `Experiment.data`, one of `Experiment.model`, each with a
   `family` (config.py; text_settings.py).
2. Rows: (position in a split, epoch) -> a NamedTuple of arrays. examples.py makes those
   of video, text_examples.py those of texts. A batch stacks them (data/loader.py). The
   project reads `unit_of_token`, `unit_score`, `is_box_unit`, `example_hash`,
   `clip_hash` (of the group: a clip, a text) and `is_real` of it; what else it holds is
   between rows and family. `Job.train_batches`, `dev_batches` and `hold_batches` hand
   batches to the loop, the probe hands them to `encode`.
3. Masks of a batch: `Job.draw_masks` and `eval_masks`, an array (b, ...) or a
   NamedTuple of such. Those of video are drawn on the device, those of texts come with
   the rows (text_masks.py).
4. First weights, and their shapes: `Job.start` and `shapes`, of starts.py and
   text_start.py.
5. A `Family`. objective.py makes that of MERLOT-Reserve (learning.py where it is
   fine-tuned), text_objective.py that of an encoder of texts, out of training/terms and
   read-outs.
6. What the run reads, known by content (inputs.py), so that its folder is its own.
"""

import dataclasses
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from jaxtyping import Bool, Float, PRNGKeyArray

from mmdiffmask.training.question_batch import Rows, Windows
from mmdiffmask.types import Array

Params = Any
Batch = Any
# What is hidden of a batch: an array (b, ...), or a NamedTuple of such.
Hidden = Any
# Stream -> metric -> (sums, counts), each (b,): what an example adds to a number.
# Counts None: the sum is a number of the whole batch.
Scores = dict[str, dict[str, tuple[Array, Array | None]]]


class Held(NamedTuple):
    """What a run holds fixed.

    Attributes:
      start: its first weights, as far as something reads them (`steps.read_start`).
      values: what `Family.hold` made from them, by name; saved beside them.
      key: `jax.random.key` of the run's seed.
    """

    start: Params
    values: dict[str, Array]
    key: PRNGKeyArray


# Each frame's attention to its patches, of the update's clean pass -> what is hidden.
FromAttention = Callable[[Float[Array, "b t n"]], Bool[Array, "b t n"]]
# The functions of a family as they are compiled; see the fields of `Family`.
ScoreStep = Callable[[Params, Held, Batch, Hidden], tuple[Scores, Array]]
OthersStep = Callable[[Params, Held, Batch], dict[str, Scores]]
Encode = Callable[[Params, Batch], Mapping[str, Float[Array, "b d"]]]
# (params, windows) -> rows -> {feature: (q, ...)}: what sees a window runs once for all
# questions about it. MATCH (q, v, d) and SPAN (q, c, d) are compared as they are, of
# ANSWER there is one for each candidate (q, v, c, d); v views, c candidates.
ReadQuestions = Callable[[Params, Windows], Callable[[Rows], dict[str, Array]]]


@dataclasses.dataclass(frozen=True, eq=False)
class Family:
    """A model with its terms, as pure functions; two are the same if they are one.

    Steps are compiled once for a family, whatever the masks, the seed and the epoch.

    Attributes:
      weights: term -> its weight, above 0; terms that a run lacks are absent.
      masked: the term that hides something; None: nothing is hidden.
      hold: (params, batches) -> what a run holds fixed beside its start.
      terms: (params, held, batch, is_masked, key) -> ({term: loss}, {metric: scalar}).
        `is_masked` is None where `masked` is; it may be a function of the clean pass
        (`FromAttention`). `key` is of the run's seed and the update. A metric "dropped"
        counts what found no slot to be predicted in.
      scores: (params, held, batch, is_masked) -> (Scores, dropped), on held-out clips.
      encode: (params, batch) -> {read-out: features (b, d)}, what heads for labels are
        fitted on; nothing of it may tell the label in words.
      others: (params, held, batch) -> {kind: Scores} of what needs no masks; None:
        there is nothing.
      start_parts: top names of the first weights that `terms` or `scores` read from
        `held.start`; others need not be there.
      questions: read-outs of question_batch.py -> `ReadQuestions`; None: the model
        reads no questions.
      flop: batch, of which only the shapes are read -> FLOP of an update on it, without
        rematerialisation; None: not counted, so no MFU is shown.
    """

    weights: Mapping[str, float]
    masked: str | None
    hold: Callable[[Params, Iterable[Batch]], dict[str, Array]]
    terms: Callable[
        [
            Params,
            Held,
            Batch,
            Hidden | FromAttention | None,
            PRNGKeyArray,
        ],
        tuple[dict[str, Array], dict[str, Array]],
    ]
    scores: ScoreStep
    encode: Encode
    others: OthersStep | None = None
    start_parts: Collection[str] = ()
    questions: Callable[[Sequence[str]], ReadQuestions] | None = None
    flop: Callable[[Batch], int] | None = None
