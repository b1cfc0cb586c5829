"""Probes a finished run: read-outs of its frozen features, kept in its folder."""

import dataclasses

from mmdiffmask import config, inputs, run_files, versions, weights
from mmdiffmask.data.corpus import Corpus
from mmdiffmask.probe import clips as clip_probe
from mmdiffmask.probe import questions as question_probe
from mmdiffmask.probe import results
from mmdiffmask.probe.frozen import Frozen
from mmdiffmask.run_files import FEATURES
from mmdiffmask.run_folder import RunFolder
from mmdiffmask.training import checkpoint


def probe(
    experiment: config.Experiment, run_dir: str, records_dir: str | None = None
) -> results.Probed:
    """Heads on the frozen features of the run; the content of probe.json.

    Features are cached beside the checkpoint; heads are fitted anew unless probe.json
    was made with the same settings and code from the same weights and records.

    Args:
      experiment: the run's settings (`of_run`).
      run_dir: of a finished run.
      records_dir: None: where the run's records were when it was trained.

    Raises:
      ValueError: if the run is not finished, its records have changed, or they have
        no val split, or not the labels or questions that `probe.read_outs` needs.
    """
    folder = RunFolder(run_dir)
    folder.check_run()
    if not folder.has(run_files.DATA):
        raise ValueError(f"{run_dir}: not finished; go on with mmdiffmask pretrain")
    with folder.held():
        records_dir = folder.find(inputs.RECORDS, records_dir)
        folder.remember({inputs.RECORDS: records_dir})
        return _probe(experiment, folder, Corpus.of(records_dir))


def _probe(
    experiment: config.Experiment, folder: RunFolder, corpus: Corpus
) -> results.Probed:
    """`probe` in a folder that is held, with records that are the run's."""
    which = experiment.probe.checkpoint
    params = checkpoint.load_params(folder, which)
    step = checkpoint.step_of(folder, which)
    key = results.make_key(
        probe=dataclasses.asdict(experiment.probe),
        data=dataclasses.asdict(experiment.data),
        weights=weights.fingerprint(params),
        numbers=versions.number("training", "features", "heads"),
        manifest=folder.inputs()[inputs.RECORDS]["sha256"],
    )
    known = results.read(folder)
    if known is not None and known.key == key:
        return known
    _check_val(corpus)
    cache = folder.at(FEATURES)
    questions = None
    if set(question_probe.READ_OUTS) & set(experiment.probe.read_outs):
        seed = folder.owner().seed
        task = question_probe.open_task(experiment, corpus, key.manifest, cache)
        questions = question_probe.probe(task, params, key.weights, seed)
    labels, left_out = {}, {}
    if "clip" in experiment.probe.read_outs:
        frozen = Frozen(experiment, key.manifest, cache, key.weights, lambda: params)
        labels, left_out = clip_probe.probe(frozen, corpus)
    probed = results.Probed(
        key=key, labels=labels, step=step, questions=questions, left_out=left_out
    )
    results.write(folder, probed)
    return probed


def _check_val(corpus: Corpus) -> None:
    if "val" not in corpus.split_names:
        raise ValueError(
            f"{corpus.folder}: no val split to score a probe on; records of loose"
            " videos have one if questions or labels of two videos are given"
        )
