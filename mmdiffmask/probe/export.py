"""Frozen features of all records by id, in one file for other people's heads."""

import os
import pathlib
import zipfile
from collections.abc import Iterator, Sequence

import numpy as np

from mmdiffmask import atomic, config, configure, inputs, run_files, weights
from mmdiffmask.data.corpus import Corpus
from mmdiffmask.data.records import manifest
from mmdiffmask.probe import clips as clip_probe
from mmdiffmask.probe import finished, floors, settings, tasks
from mmdiffmask.probe import questions as question_probe
from mmdiffmask.probe import run as probing
from mmdiffmask.probe.frozen import Frozen
from mmdiffmask.run_files import FEATURES
from mmdiffmask.run_folder import RunFolder

Arrays = Iterator[tuple[str, np.ndarray]]


def write(
    run_dir: str,
    out: str,
    records_dir: str | None = None,
    overrides: Sequence[str] = (),
) -> str:
    """Writes the features of every clip and question of the records.

    For each read-out of probe.read_outs, all splits behind one another:
    `clip/id`, `clip/split` and `clip/READ_OUT` (clips, d); `question/id`,
    `question/split`, `question/clip`, `question/right` (-1: not known) and
    `question/match/VIEW` (e, d), `question/span` (e, c, d), `question/answer/VIEW`
    (e, c, d). Types are those of the cache (`feature_parts.stored_type`).

    Args:
      run_dir: a finished run, or the folder of a checkpoint that was probed.
      out: .npz file to write.
      records_dir: what is looked at; None: the records of the folder.
      overrides: settings of the probe in the form of --set.

    Returns:
      What was written.

    Raises:
      ValueError: if the folder holds neither, a setting is not the probe's, or records
        have not what a read-out needs.
    """
    path = pathlib.Path(out)
    if path.suffix != ".npz":
        raise ValueError(f"--out {out}: must be a file that ends with .npz")
    folder = RunFolder(run_dir)
    folder.check_run()
    if finished.is_of_texts(folder.owner().settings):
        raise ValueError(
            f"{run_dir}: is a run of texts, and features writes those of video; a"
            " run's own are in its folder once mmdiffmask probe has read it out"
        )
    with folder.held():
        experiment = _settings(folder, overrides)
        experiment, records_dir, _ = probing.find_records(
            experiment, folder, records_dir
        )
        read, corpus = _weights(experiment, folder), Corpus.of(records_dir)
        frozen = Frozen(
            experiment,
            manifest.identity(records_dir),
            folder.at(FEATURES),
            weights.fingerprint(read.params),
            lambda: read.params,
        )
        lines = _write(path, _arrays(frozen, corpus))
    return "\n".join([f"{out}: features after {read.step} steps", *lines])


def _settings(folder: RunFolder, overrides: Sequence[str]) -> config.Experiment:
    for item in overrides:
        name = item.partition("=")[0].strip()
        if not name.startswith("probe.") and name != settings.TEXT_LENGTH:
            raise ValueError(
                f"--set {name}: the weights are there already; only probe.* and"
                f" {settings.TEXT_LENGTH} can be set"
            )
    experiment = folder.experiment(folder.owner().settings)
    return configure.override(experiment, list(overrides))


def _weights(experiment: config.Experiment, folder: RunFolder) -> probing.Weights:
    """The weights of a finished run, or of the checkpoint that was probed."""
    if folder.has(run_files.DATA) or not folder.has(run_files.PROBE):
        return probing.of_run(experiment, probing.check_finished(str(folder)))
    read = probing.of_checkpoint(experiment)
    entry = folder.inputs()[inputs.START]
    if weights.fingerprint_of(experiment.model.checkpoint) != entry["sha256"]:
        raise ValueError(
            f"{folder}: {entry['value']} holds other weights than it did; put it back,"
            " or probe it in another --workdir"
        )
    return read


def _arrays(frozen: Frozen, corpus: Corpus) -> Arrays:
    read_outs = frozen.experiment.probe.read_outs
    if "clip" in read_outs:
        yield from _of_clips(frozen, corpus)
    if set(read_outs) & set(tasks.READ_OUTS):
        yield from _of_questions(frozen, corpus)


def _of_clips(frozen: Frozen, corpus: Corpus) -> Arrays:
    sets = {
        split: clip_probe.encode(
            frozen, corpus, f"all {split}", split, corpus.first_of_clips(split)
        )
        for split in corpus.split_names
    }
    counts = [len(part.clip) for part in sets.values()]
    yield "clip/id", np.array([clip for part in sets.values() for clip in part.clip])
    yield "clip/split", np.repeat(list(sets), counts)
    for name in next(iter(sets.values())).vectors:
        yield f"clip/{name}", _joined([part.vectors[name] for part in sets.values()])


def _of_questions(frozen: Frozen, corpus: Corpus) -> Arrays:
    task = tasks.every_question(
        frozen.experiment, corpus, frozen.manifest, frozen.folder, corpus.split_names
    )
    sets = question_probe.encode(task, frozen, floors.FULL)
    asked_about = {
        question.example_id: question
        for part in task.chosen.values()
        for question in part
    }
    ids = [name for part in sets.values() for name in part.clip]
    listed = [asked_about[name] for name in ids]
    counts = [len(part.clip) for part in sets.values()]
    yield "question/id", np.array(ids)
    yield "question/split", np.repeat(list(corpus.split_names), counts)
    yield "question/clip", np.array([question.clip for question in listed])
    yield "question/right", np.array([question.right for question in listed], np.int32)
    for name in next(iter(sets.values())).vectors:
        parts = [part.vectors[name] for part in sets.values()]
        yield f"question/{name}", _joined(parts)


def _joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts) if len(parts) > 1 else parts[0]


def _write(path: pathlib.Path, arrays: Arrays) -> list[str]:
    """Writes an .npz array by array, so that one at a time is in memory."""
    lines = []
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic.place(path) as temporary:
        with zipfile.ZipFile(temporary, "w") as archive:
            for name, array in arrays:
                with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                    np.lib.format.write_array(file, array, allow_pickle=False)
                lines.append(f"  {name:32} {array.dtype} {array.shape}")
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
    return lines
