"""A MERLOT-Reserve as the `Family` that is trained and read out: terms, read-outs."""

import functools

import jax
from jaxtyping import Bool, PRNGKeyArray

from mmdiffmask import config
from mmdiffmask.models.reserve import towers
from mmdiffmask.training import evaluate
from mmdiffmask.training.family import Family, FromAttention, Held, Params, Scores
from mmdiffmask.training.read_outs import clips, questions
from mmdiffmask.training.terms import flops, grounding, patches, reserve, streams
from mmdiffmask.training.terms.shared import UNKNOWN, Losses, Objective, Passes
from mmdiffmask.types import Array, VideoBatch

WORDS, ALL = "words", "all"
# Parts of the model that not every term uses -> the terms that do.
HEAD, SPAN_ENCODER = "head", "span_encoder"
USERS = {
    HEAD: (*reserve.TERMS, *grounding.TERMS),
    SPAN_ENCODER: ("stuff_to_span", *grounding.TERMS),
}


def weights_of(terms: config.Terms) -> dict[str, float]:
    """The terms that have weight; the masked one last."""
    names = (*reserve.TERMS, *grounding.TERMS, patches.NAME)
    weights = {name: getattr(terms, name) for name in names}
    return {name: weight for name, weight in weights.items() if weight > 0}


def check(terms: config.Terms, training: config.Training) -> None:
    """Checks that there is a loss, and that its targets can be as the settings say.

    Raises:
      ValueError: if training has no term, targets that never change are to learn, or
        it is to stop on what labels alone have.
    """
    if training.steps and not weights_of(terms):
        raise ValueError(
            "all weights in terms are 0: there is nothing to train on; raise one"
        )
    if training.stop_on != "loss":
        raise ValueError(
            f"training.stop_on={training.stop_on}: is a number of labels, and"
            " terms.classify is 0; set training.stop_on=loss"
        )
    if training.target_gradient and training.target != "live":
        raise ValueError(
            f"training.target_gradient=true: targets of training.target="
            f"{training.target} never change; set training.target=live, or leave it out"
        )


def family(objective: Objective) -> Family:
    """MERLOT-Reserve with these terms."""
    weights = weights_of(objective.terms)
    is_masked = patches.NAME in weights
    has_others = len(weights) > is_masked
    return Family(
        weights=weights,
        masked=patches.NAME if is_masked else None,
        hold=functools.partial(patches.hold, objective),
        terms=functools.partial(losses, objective),
        scores=functools.partial(scores, objective),
        encode=functools.partial(clips.encode, objective),
        others=functools.partial(others, objective) if has_others else None,
        start_parts=patches.start_parts(objective) if is_masked else (),
        questions=functools.partial(questions.encoder, objective),
        flop=lambda batch: sum(flops.update(objective, batch).values()),
    )


def losses(
    objective: Objective,
    params: Params,
    held: Held,
    batch: VideoBatch,
    is_masked: Bool[Array, "b t n"] | FromAttention | None,
    key: PRNGKeyArray | None = None,
) -> tuple[Losses, dict[str, Array]]:
    """`Family.terms`; what the towers give for the plain batch serves every term.

    It also serves masks that are drawn from its attention, through which no gradient
    goes. `key` plays no part: nothing here changes from update to update but the batch.
    """
    is_hiding = patches.NAME in weights_of(objective.terms) and is_masked is not None
    seen = None
    if is_hiding and callable(is_masked):
        seen, attention = objective.vision_with_attention(params, batch.patches)
        is_masked = is_masked(jax.lax.stop_gradient(attention))
    passes = shared_passes(objective, params, batch, is_hiding, seen)
    terms = unmasked(objective, params, batch, passes)
    if not is_hiding:
        return terms, {}
    outcome = patches.forward(objective, params, held, batch, is_masked, passes)
    return terms | {patches.NAME: outcome.loss}, outcome.metrics


def shared_passes(
    objective: Objective,
    params: Params,
    batch: VideoBatch,
    is_hiding: bool,
    frames: towers.Tower | None = None,
) -> Passes:
    """The towers' outputs of the whole batch that some term looks at.

    `frames` are the vision tower's, where they are known. Reserve's terms alone may
    look at a few clips only, and then see to it themselves.
    """
    is_reserve = any(name in weights_of(objective.terms) for name in reserve.TERMS)
    is_reserve = is_reserve and not objective.reserve.clips
    is_heard = is_hiding and streams.AUDIO in objective.settings.streams
    sound = None
    if frames is None and (is_hiding or is_reserve):
        frames = objective.vision(params, batch.patches)
    if is_heard or is_reserve:
        sound = objective.sound(params, batch.spectrogram)
    return Passes(frames, sound)


def unmasked(
    objective: Objective,
    params: Params,
    batch: VideoBatch,
    passes: Passes = UNKNOWN,
) -> Losses:
    """The terms that need no masks, as far as they have weight."""
    weights = weights_of(objective.terms)
    terms: Losses = {}
    for group in (reserve, grounding):
        if any(name in weights for name in group.TERMS):
            terms |= group.losses(objective, params, batch, passes)
    return terms


def scores(
    objective: Objective,
    params: Params,
    held: Held,
    batch: VideoBatch,
    is_masked: Bool[Array, "b t n"],
) -> tuple[Scores, Array]:
    """`Family.scores`: the masked cells, per stream."""
    outcome = patches.forward(objective, params, held, batch, is_masked)
    return outcome.scores, outcome.dropped


def others(
    objective: Objective, params: Params, held: Held, batch: VideoBatch
) -> dict[str, Scores]:
    """`Family.others`: losses of the other terms, and hidden words named by class."""
    terms = unmasked(objective, params, batch)
    losses_of = {f"loss_{name}": (value, None) for name, value in terms.items()}
    scores_of_kind = {evaluate.OTHERS: {ALL: losses_of}}
    if objective.vocabulary is not None:
        scores_of_kind[WORDS] = grounding.scores(objective, params, batch)
    return scores_of_kind
