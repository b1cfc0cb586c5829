"""A config becomes a run, of video or of texts; each has a module of its own."""

import types
from collections.abc import Sequence

from mmdiffmask import config, text_job, video_family, video_job
from mmdiffmask.data.corpus import Corpus
from mmdiffmask.data.text_corpus import TextCorpus
from mmdiffmask.inputs import Claim
from mmdiffmask.run_folder import RunFolder
from mmdiffmask.training.family import Family
from mmdiffmask.training.job import Answering, Prepared

_MODULES = {"video": video_job, "text": text_job}


def _of(experiment: config.Experiment) -> types.ModuleType:
    return _MODULES[experiment.data.family]


def check(experiment: config.Experiment) -> None:
    """Checks the names in a config before any work.

    Raises:
      ValueError: for an unknown strategy, a warm-up longer than the training, a kind
        of question that is no pattern, a loss without a term, a contrast that cannot
        be read, or a tokenizer that cannot be read or does not fit the model.
    """
    _of(experiment).check(experiment)


def check_lengths(experiment: config.Experiment) -> None:
    """Checks that sequences are long enough, and short enough for the model.

    Raises:
      ValueError: with the length that is needed.
    """
    _of(experiment).check_lengths(experiment)


def find_files(experiment: config.Experiment) -> config.Experiment:
    """The experiment with files in place of names that stand for them.

    Raises:
      ValueError: if one is not there.
    """
    return _of(experiment).find_files(experiment)


def adopt(
    experiment: config.Experiment, folder: str, overrides: Sequence[str] = ()
) -> config.Experiment:
    """The experiment with the settings that the corpus in a folder decides.

    Raises:
      ValueError: if an override asks for something that the corpus does not have.
    """
    return _of(experiment).adopt(experiment, folder, overrides)


def corpus(experiment: config.Experiment, folder: str) -> Corpus | TextCorpus:
    """The records, or the texts, of a folder.

    Raises:
      ValueError: if there are none.
    """
    return _of(experiment).corpus(experiment, folder)


def verify(experiment: config.Experiment, folder: str) -> None:
    """Checks that what a folder holds can be read.

    Raises:
      ValueError: naming the first file that cannot.
    """
    _of(experiment).verify(experiment, folder)


def fingerprint_of_start(
    experiment: config.Experiment, folder: RunFolder | None = None
) -> str | None:
    """What the first weights are known by; None where they are random.

    Args:
      experiment: names the checkpoint.
      folder: of the run, if one is meant: see `starts.fingerprint`.

    Raises:
      ValueError: if the checkpoint cannot be read.
    """
    return _of(experiment).fingerprint_of_start(experiment, folder)


def fingerprint_of_start_run(
    experiment: config.Experiment, folder: RunFolder | None = None
) -> str | None:
    """What the weights of the run that `model.start` names are known by; None: no run.

    Args:
      experiment: names the run.
      folder: as of `fingerprint_of_start`.

    Raises:
      ValueError: if they cannot be read.
    """
    return _of(experiment).fingerprint_of_start_run(experiment, folder)


def fingerprint_of_reference(experiment: config.Experiment) -> str | None:
    """What the weights that `masking.reference` names are known by; None: none there.

    Args:
      experiment: names them; of video it names none.
    """
    return text_job.fingerprint_of_reference(experiment)


def name_of_start(experiment: config.Experiment) -> str | None:
    """Where the first weights lie, as settings name it."""
    model = experiment.model
    is_video = experiment.data.family == "video"
    # A run of texts goes with the checkpoint that it was begun from (finetune_start).
    return (is_video and model.start) or model.checkpoint


def prepare(experiment: config.Experiment, folder: str, owner: Claim) -> Prepared:
    """A run, ready to train.

    Args:
      experiment: its settings.
      folder: of its records or texts.
      owner: what the run is: its seed counts here, the whole goes to its folder.

    Raises:
      ValueError: if there is nothing to train on.
    """
    return _of(experiment).prepare(experiment, folder, owner)


def answering(experiment: config.Experiment, folder: str) -> Answering:
    """What the weights of a fine-tuned run are asked, split by split.

    Args:
      experiment: its settings.
      folder: of its records or texts.

    Raises:
      ValueError: as `prepare`.
    """
    return _of(experiment).answering(experiment, folder)


def family(experiment: config.Experiment) -> Family:
    """The network with the terms of the settings; the same object for the same ones.

    So rows and seeds of a comparison share their compiled steps.
    """
    of_family = {"video": video_family.family, "text": text_job.family}
    return of_family[experiment.data.family](experiment)
