"""A MERLOT-Reserve that learns questions or labels, as a `Family`."""

import functools
from collections.abc import Iterable

import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from mmdiffmask.training.family import Family, Held, Params, Scores
from mmdiffmask.training.read_outs import clips, questions
from mmdiffmask.training.terms import classify, classify_video
from mmdiffmask.training.terms.classify_video import Learner
from mmdiffmask.types import Array, VideoBatch


def family(learner: Learner) -> Family:
    """The network with this term alone; its batches are labelled, nothing is hidden."""
    return Family(
        weights={classify.NAME: learner.weight},
        masked=None,
        hold=hold,
        terms=functools.partial(losses, learner),
        scores=functools.partial(scores, learner),
        encode=functools.partial(clips.encode, learner.objective),
        questions=functools.partial(questions.encoder, learner.objective),
    )


def hold(params: Params, batches: Iterable[VideoBatch]) -> dict[str, Array]:
    """`Family.hold`: nothing is held fixed beside the start."""
    del params, batches
    return {}


def losses(
    learner: Learner,
    params: Params,
    held: Held,
    batch: VideoBatch,
    is_masked: None,
    key: PRNGKeyArray,
) -> tuple[dict[str, Array], dict[str, Array]]:
    """`Family.terms`; no draw plays a part in it."""
    del held, is_masked, key
    return {classify.NAME: classify_video.loss(learner, params, batch)}, {}


def scores(
    learner: Learner, params: Params, held: Held, batch: VideoBatch, is_masked: None
) -> tuple[Scores, Array]:
    """`Family.scores`: those of labels, or of questions."""
    del held, is_masked
    return classify_video.scores(learner, params, batch), jnp.int32(0)
