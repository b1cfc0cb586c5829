"""Fine-tuning on labels: a run of the loop, then the answers of its best step.

answers.json of the run's folder has them: {"labels", "step", "splits": {split:
{"accuracy", "f1", "log_probability", "rows": [{"id", "label", "answer",
"log_probability"}, ...]}}}, split by split, in the order of the files. A row's
log-probability is that of its right label. Of questions about video `label` and
`answer` are numbers of candidates, from 0, and there is no F1.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from mmdiffmask import build, config, pretrain, run_files, statistics
from mmdiffmask.data import loader
from mmdiffmask.run_folder import RunFolder
from mmdiffmask.training import checkpoint
from mmdiffmask.training import watch as watching
from mmdiffmask.training.family import Batch
from mmdiffmask.training.job import Answering, LabelledRows
from mmdiffmask.training.terms import classify


def check(experiment: config.Experiment) -> None:
    """Checks that an experiment is fine-tuning.

    Raises:
      ValueError: if it learns no labels.
    """
    if not experiment.is_learning:
        raise ValueError(
            f"{experiment.name}: terms.classify is 0, so no label is learnt; set"
            " terms.classify=1"
        )


def run(
    experiment: config.Experiment,
    data_dir: str,
    run_dir: str,
    seed: int,
    watch: watching.Watch = watching.Watch(),  # noqa: B008  frozen
) -> dict[str, Any]:
    """Trains in `run_dir`, or goes on there; the content of its answers.json.

    Args:
      experiment: its settings.
      data_dir: records, or the folder that names of files of texts begin from.
      run_dir: new, empty, or its own.
      seed: of the run.
      watch: how it is looked at.

    Raises:
      ValueError: as `check` and `pretrain.pretrain`.
      KeyboardInterrupt: after SIGTERM or SIGINT, with the state saved.
    """
    check(experiment)
    pretrain.pretrain(experiment, data_dir, run_dir, seed, watch)
    folder = RunFolder(run_dir)
    with folder.held():
        if not folder.has(run_files.ANSWERS):
            answering = build.answering(experiment, data_dir)
            folder.write(run_files.ANSWERS, _answers(answering, folder))
        return folder.read(run_files.ANSWERS)


def _answers(answering: Answering, folder: RunFolder) -> dict[str, Any]:
    """What the best step says of every held-out row."""
    read = answering.read(checkpoint.load_params(folder, "best"))
    splits = {
        split: _of_split(read, rows, answering.labels, answering.batch_size)
        for split, rows in answering.splits.items()
    }
    step = checkpoint.step_of(folder, "best")
    return {"labels": answering.labels, "step": step, "splits": splits}


def _of_split(
    read: Callable[[Batch], classify.Answers],
    rows: LabelledRows,
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
    scores = {"accuracy": float(np.mean(answer == right))}
    if labels:  # the numbers of candidates are no classes
        counts = statistics.class_counts(answer, right, len(labels))
        total = counts.sum(0, keepdims=True)
        scores["f1"] = float(statistics.macro_f1(total, counts_named=True)[0])
    names = labels or tuple(range(of_label.shape[1]))
    return scores | {
        "log_probability": float(np.mean(log_probability, dtype=float)),
        "rows": [
            {
                "id": rows.name(i),
                "label": names[right[i]],
                "answer": names[answer[i]],
                "log_probability": round(float(log_probability[i]), 5),
            }
            for i in range(len(rows))
        ],
    }
