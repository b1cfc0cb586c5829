"""Fine-tuning on labels: a run of the loop, then the answers of its best step.

answers.json of the run's folder has them: {"labels", "step", "splits": {split:
{"accuracy", "f1", "log_probability", "rows": [{"id", "label", "answer",
"log_probability"}, ...]}}}, split by split, in the order of the files. A row's
log-probability is that of its right label.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from mmdiffmask import (
    build,
    config,
    finetune_job,
    labelled_texts,
    pretrain,
    run_files,
    statistics,
    text_start,
)
from mmdiffmask.data import loader
from mmdiffmask.data.text_corpus import TextCorpus
from mmdiffmask.run_folder import RunFolder
from mmdiffmask.training import checkpoint
from mmdiffmask.training import watch as watching
from mmdiffmask.training.terms import classify
from mmdiffmask.types import TextBatch

SPLITS = ("dev", "test")


def check(experiment: config.Experiment) -> None:
    """Checks that an experiment is fine-tuning.

    Raises:
      ValueError: if it is one of video, or learns no labels.
    """
    if not isinstance(experiment.data, config.Texts):
        raise ValueError(
            f"{experiment.name}: is of {experiment.data.family}; fine-tuning is of"
            " texts alone (mmdiffmask probe reads labels of video out)"
        )
    if not finetune_job.is_one(experiment):
        raise ValueError(
            f"{experiment.name}: terms.classify is 0, so no label is learnt; set"
            " terms.classify=1"
        )


def run(
    experiment: config.Experiment,
    folder_of_texts: str,
    run_dir: str,
    seed: int,
    watch: watching.Watch = watching.Watch(),  # noqa: B008  frozen
) -> dict[str, Any]:
    """Trains in `run_dir`, or goes on there; the content of its answers.json.

    Args:
      experiment: its settings.
      folder_of_texts: that names of files begin from.
      run_dir: new, empty, or its own.
      seed: of the run.
      watch: how it is looked at.

    Raises:
      ValueError: as `check` and `pretrain.pretrain`.
      KeyboardInterrupt: after SIGTERM or SIGINT, with the state saved.
    """
    check(experiment)
    pretrain.pretrain(experiment, folder_of_texts, run_dir, seed, watch)
    folder = RunFolder(run_dir)
    with folder.held():
        if not folder.has(run_files.ANSWERS):
            corpus = build.corpus(experiment, folder_of_texts)
            folder.write(run_files.ANSWERS, _answers(experiment, corpus, folder))
        return folder.read(run_files.ANSWERS)


def _answers(
    experiment: config.Experiment, corpus: TextCorpus, folder: RunFolder
) -> dict[str, Any]:
    """What the best step says of every held-out row."""
    labels, layout = labelled_texts.names(corpus), text_start.layout(experiment)
    objective = finetune_job.objective(experiment, labels)
    params = checkpoint.load_params(folder, "best")
    read = jax.jit(functools.partial(classify.answers, objective, params))
    size = experiment.training.batch_size
    splits = {}
    for split in SPLITS:
        if corpus.paths(split):
            rows = labelled_texts.rows(corpus, split, labels, layout)
            splits[split] = _of_split(read, rows, labels, size)
    step = checkpoint.step_of(folder, "best")
    return {"labels": labels, "step": step, "splits": splits}


def _of_split(
    read: Callable[[TextBatch], classify.Answers],
    rows: labelled_texts.Labelled,
    labels: tuple[str, ...],
    size: int,
) -> dict[str, Any]:
    """Scores and answers of a split, read in batches of `size`."""
    with loader.eval_batches(rows.make_row(), range(len(rows)), size) as batches:
        parts = [jax.device_get(read(batch)) for batch in batches]
    answer, of_label = (
        np.concatenate(field)[: len(rows)] for field in zip(*parts, strict=True)
    )
    right = np.array(rows.label)
    log_probability = of_label[np.arange(len(rows)), right]
    counts = statistics.class_counts(answer, right, len(labels)).sum(0, keepdims=True)
    f1 = float(statistics.macro_f1(counts, counts_named=True)[0])
    return {
        "accuracy": float(np.mean(answer == right)),
        "f1": f1,
        "log_probability": float(np.mean(log_probability, dtype=float)),
        "rows": [
            {
                "id": rows.text(i).id,
                "label": labels[right[i]],
                "answer": labels[answer[i]],
                "log_probability": round(float(log_probability[i]), 5),
            }
            for i in range(len(rows))
        ],
    }
