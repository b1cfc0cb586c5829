"""Probes a run, or a checkpoint without one: read-outs of its frozen features."""

import dataclasses
import logging
import os
from typing import Any, NamedTuple

from mmdiffmask import build, config, inputs, pretrain, run_files, versions, weights
from mmdiffmask.data import tokenizers
from mmdiffmask.data.corpus import Corpus
from mmdiffmask.data.records import manifest
from mmdiffmask.data.text_corpus import TextCorpus
from mmdiffmask.inputs import Claim
from mmdiffmask.probe import clips as clip_probe
from mmdiffmask.probe import questions as question_probe
from mmdiffmask.probe import results, settings, tasks
from mmdiffmask.probe import submission as submissions
from mmdiffmask.probe import texts as text_probe
from mmdiffmask.probe.frozen import Frozen
from mmdiffmask.run_files import FEATURES
from mmdiffmask.run_folder import RunFolder
from mmdiffmask.training import checkpoint
from mmdiffmask.training.family import Params


class Weights(NamedTuple):
    """The weights that are read out, and after how many steps."""

    params: Params
    step: int


def probe(
    experiment: config.Experiment,
    run_dir: str,
    records_dir: str | None = None,
    submission: str | None = None,
) -> results.Probed:
    """Heads on the frozen features of the run; the content of probe.json.

    Features are cached beside the checkpoint; heads are fitted anew unless probe.json
    was made with the same settings and code from the same weights and records.

    Args:
      experiment: the run's settings (`of_run`).
      run_dir: of a finished run.
      records_dir: None: where the run's records were when it was trained. Records of
        other content are probed in their own geometry, and noted.
      submission: .zip file for TVQA's server (submission.py); None: none is written.

    Raises:
      ValueError: if the run is not finished, its records have changed, or they have
        no val split, or not the labels or questions that `probe.read_outs` needs.
    """
    folder = check_finished(run_dir)
    with folder.held():
        experiment, records_dir, other = find_records(experiment, folder, records_dir)
        read = of_run(experiment, folder)
        corpus = build.corpus(experiment, records_dir)
        return _probe(experiment, folder, corpus, read, other, submission)


def of_run(experiment: config.Experiment, folder: RunFolder) -> Weights:
    """The weights of a finished run that `probe.checkpoint` names."""
    which = experiment.probe.checkpoint
    return Weights(
        checkpoint.load_params(folder, which), checkpoint.step_of(folder, which)
    )


def of_checkpoint(experiment: config.Experiment) -> Weights:
    """The weights of `model.checkpoint`, as far as it has them.

    Raises:
      ValueError: if they do not fit `model`, or are of texts.
    """
    if isinstance(experiment.model, config.Encoder):
        raise ValueError(
            "--checkpoint: an encoder of texts is probed as a run that trains nothing:"
            " mmdiffmask pretrain --set training.steps=0, then mmdiffmask probe"
        )
    stored = weights.load_stored(
        experiment.model.checkpoint,
        experiment.model,
        tokenizers.load(experiment.data.tokenizer).vocabulary,
        experiment.probe.checkpoint,
    )
    return Weights(stored.params, stored.step)


def check_finished(run_dir: str) -> RunFolder:
    """The folder of a finished run.

    Raises:
      ValueError: if it holds none.
    """
    folder = RunFolder(run_dir)
    folder.check_run()
    if not folder.has(run_files.DATA):
        way = "go on with mmdiffmask pretrain"
        if folder.has(run_files.PROBE):
            way = "it holds the probe of a checkpoint, which --checkpoint names"
        raise ValueError(f"{run_dir}: not finished; {way}")
    return folder


def find_records(
    experiment: config.Experiment, folder: RunFolder, requested: str | None
) -> tuple[config.Experiment, str, dict[str, str]]:
    """The records that a run's weights look at.

    Args:
      experiment: the run's settings.
      folder: of the run.
      requested: where the user says that records are; None: the run's own.

    Returns:
      The settings, with the geometry of the records; where these lie; and, where they
      are not those that the run trained on, their path and sha256 to be noted.

    Raises:
      ValueError: if the run's own are asked for and are not there any more.
    """
    sha256 = None
    if requested is not None:
        settings = folder.owner().settings
        sha256 = inputs.digest(inputs.RECORDS, requested, settings)
    if sha256 in (None, folder.inputs()[inputs.RECORDS]["sha256"]):
        records_dir = folder.find(inputs.RECORDS, requested)
        folder.remember({inputs.RECORDS: records_dir})
        return experiment, records_dir, {}
    logging.warning(
        "%s: looks at other records than it trained on: %s (%s)",
        folder,
        requested,
        inputs.short(sha256),
    )
    other = {"value": os.path.abspath(requested), "sha256": sha256}
    return build.adopt(experiment, requested), requested, other


def probe_checkpoint(
    experiment: config.Experiment,
    run_dir: str,
    records_dir: str,
    seed: int,
    submission: str | None = None,
) -> results.Probed:
    """As `probe`, of a checkpoint that has no run; `run_dir` gets features and scores.

    Args:
      experiment: settings; `model.checkpoint` is read out, and nothing is trained.
      run_dir: of this probe: new, empty, or of the same checkpoint and records.
      records_dir: what it looks at.
      seed: of the untrained network that is a floor.
      submission: as of `probe`.

    Raises:
      ValueError: as `probe`; if the checkpoint does not fit `model`, or the folder is
        of something else.
    """
    folder = RunFolder(run_dir)
    with folder.held():
        owner = _with_probe_of(folder, pretrain.claim(experiment, records_dir, seed))
        with folder.claimed(owner):
            read, corpus = of_checkpoint(experiment), Corpus.of(records_dir)
            return _probe(experiment, folder, corpus, read, {}, submission)


def _with_probe_of(folder: RunFolder, owner: Claim) -> Claim:
    """The claim, with the settings of the probe that the folder was made with.

    These may change from probe to probe, and probe.json says which they were.
    """
    if not folder.has(run_files.CONFIG):
        return owner
    kept = {
        name: value
        for name, value in folder.owner().settings.items()
        if name.startswith("probe.") or name == settings.TEXT_LENGTH
    }
    return dataclasses.replace(owner, settings=owner.settings | kept)


def _probe(
    experiment: config.Experiment,
    folder: RunFolder,
    corpus: Corpus | TextCorpus,
    read: Weights,
    other: dict[str, str],
    submission: str | None,
) -> results.Probed:
    """Scores of weights in a folder that is held.

    Args:
      experiment: the settings.
      folder: of features and scores.
      corpus: the records.
      read: the weights.
      other: notes the records, where they are not the folder's.
      submission: file to write, if any.
    """
    is_text = isinstance(corpus, TextCorpus)
    if submission is not None:
        if is_text:
            raise ValueError("--submission: there is none for texts; leave it out")
        submissions.check(experiment, corpus, submission)
    key = results.make_key(
        probe=dataclasses.asdict(experiment.probe),
        data=dataclasses.asdict(experiment.data),
        weights=weights.fingerprint(read.params),
        numbers=versions.number("training", "features", "heads"),
        manifest=corpus.fingerprint() if is_text else manifest.identity(corpus.folder),
    )
    cache = folder.at(FEATURES)
    frozen = Frozen(experiment, key.manifest, cache, key.weights, lambda: read.params)
    probed = results.read(folder)
    if probed is None or probed.key != key:
        if is_text:
            scored = {"labels": text_probe.probe(frozen, corpus)}
        else:
            clip_probe.check_val(corpus)
            scored = _score(frozen, corpus, folder.owner().seed)
        probed = results.Probed(key=key, step=read.step, records=other, **scored)
        results.write(folder, probed)
    if submission is not None:
        submissions.write(frozen, corpus, submission)
    return probed


def _score(frozen: Frozen, corpus: Corpus, seed: int) -> dict[str, Any]:
    """The fields of `results.Probed` that are scores."""
    experiment, questions = frozen.experiment, None
    if set(tasks.READ_OUTS) & set(experiment.probe.read_outs):
        task = tasks.open_task(experiment, corpus, frozen.manifest, frozen.folder)
        params = frozen.make_params()
        questions = question_probe.probe(task, params, frozen.weights, seed)
    labels, left_out = {}, {}
    if "clip" in experiment.probe.read_outs:
        labels, left_out = clip_probe.probe(frozen, corpus)
    return {"labels": labels, "left_out": left_out, "questions": questions}
