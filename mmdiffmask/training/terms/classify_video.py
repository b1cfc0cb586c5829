"""The classification term of video: a question's right answer, or a clip's label."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Float

from mmdiffmask.data import questions as sequences
from mmdiffmask.training.family import Params, Scores
from mmdiffmask.training.read_outs import clips, questions
from mmdiffmask.training.terms import classify, streams
from mmdiffmask.training.terms.classify import Answers
from mmdiffmask.training.terms.shared import Objective
from mmdiffmask.types import Array, VideoBatch

QUESTIONS = "questions"  # what is learnt, where it is no label
PROJ, CLASSIFIER = "proj", "classifier"  # layers: of questions, and of a label
# What each of the streams shows beside a question, as names of `data.questions.VIEWS`.
VIEWS = {streams.AUDIO: "frames and sound", "text": "frames and subtitles"}


@dataclasses.dataclass(frozen=True)
class Learner:
    """A network that learns questions, or a label.

    Attributes:
      objective: the network, its grid and its streams.
      weight: of the term.
      labels: names of the values of the label; () where it learns questions.
    """

    objective: Objective
    weight: float
    labels: tuple[str, ...] = ()


def logits(
    learner: Learner, params: Params, batch: VideoBatch
) -> Float[Array, "b z c"]:
    """Logits of the candidates under each stream; of a label there is one.

    A candidate's is that of the joint output at MASK behind it (read-out `answer`) by
    one layer without bias for all candidates and streams. A label's are linear in the
    mean joint output of the clip's cells (read-out `clip`), seen without text and
    sound. reserve.md section 3.2.
    """
    if learner.labels:
        seen = clips.encode(learner.objective, params, batch)[clips.JOINT]
        layer = params[CLASSIFIER]
        return (seen @ layer["kernel"] + layer["bias"][None])[:, None]
    at = _at_mask(learner.objective, params, batch).astype(jnp.float32)
    return jnp.einsum("bzcd,d->bzc", at, params[PROJ]["kernel"][:, 0])


def _at_mask(
    objective: Objective, params: Params, batch: VideoBatch
) -> Float[Array, "b z c d"]:
    """The towers run once a row; all its sequences see what they give."""
    has_sound = streams.AUDIO in objective.settings.streams
    windows = questions.Windows(batch.patches, batch.spectrogram, batch.is_frame_valid)
    seen = questions.look(objective, params, windows, has_sound)
    _, n_streams, candidates = batch.choices.mask_at.shape
    each = n_streams * candidates
    # Sequences of a row lie beside each other: devices that share a batch copy nothing.
    seen = jax.tree.map(lambda x: jnp.repeat(x, each, axis=0), seen)
    texts = sequences.Tokens(*batch.choices)
    return questions.at_mask(objective, params, seen, texts)


def loss(learner: Learner, params: Params, batch: VideoBatch) -> Float[Array, ""]:
    """Cross-entropy over the candidates: means over the batch, summed over streams."""
    said = jax.nn.log_softmax(logits(learner, params, batch))
    right = jnp.take_along_axis(said, batch.label[:, None, None], 2)[..., 0]
    return -right.mean(0).sum()


def answers(learner: Learner, params: Params, batch: VideoBatch) -> Answers:
    """What the weights say of each row: the mean of the streams' probabilities."""
    said = jax.nn.log_softmax(logits(learner, params, batch))
    mean = jax.nn.logsumexp(said, axis=1) - jnp.log(said.shape[1])
    return Answers(jnp.argmax(mean, -1), mean)


def scores(learner: Learner, params: Params, batch: VideoBatch) -> Scores:
    """Sums and counts of each row, label by label; of questions all together."""
    said = answers(learner, params, batch)
    if learner.labels:
        return classify.scores_of(said, batch.label, learner.labels)
    right = jnp.take_along_axis(said.log_probability, batch.label[:, None], 1)[:, 0]
    is_right = (said.answer == batch.label).astype(jnp.float32)
    each = jnp.ones_like(right)
    numbers = {classify.ACCURACY: is_right, classify.LOG_PROBABILITY: right}
    return {QUESTIONS: {name: (value, each) for name, value in numbers.items()}}
