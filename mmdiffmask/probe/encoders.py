"""What is read out of a run's network: features of clips, features of questions."""

from collections.abc import Sequence

from mmdiffmask import build, config
from mmdiffmask.training import steps
from mmdiffmask.training.family import Encode, Family, ReadQuestions


def of_clips(experiment: config.Experiment) -> Encode:
    """(params, batch) -> {read-out: features (b, d)}, jitted."""
    return steps.make_encode(_family(experiment))


def of_questions(
    experiment: config.Experiment, read_outs: Sequence[str]
) -> ReadQuestions:
    """`Family.questions` of these read-outs.

    Raises:
      ValueError: if the model reads no questions.
    """
    family = _family(experiment)
    if family.questions is None:
        raise ValueError(
            f"probe.read_outs={','.join(read_outs)}: this model reads no questions;"
            " ask for clip alone"
        )
    return family.questions(read_outs)


def _family(experiment: config.Experiment) -> Family:
    """The run's network without what only training needs.

    So no file of a term has to be there still, and all rows of a comparison share what
    is compiled.
    """
    bare = config.Experiment(
        experiment.name, data=experiment.data, model=experiment.model
    )
    return build.family(bare)
