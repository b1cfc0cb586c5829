"""Answers to questions whose right answer nobody knows: TVQA's submission file."""

import json
import pathlib
import zipfile
from collections.abc import Mapping, Sequence

import numpy as np

from mmdiffmask import atomic, config
from mmdiffmask.data.corpus import Corpus
from mmdiffmask.probe import choices, floors, question_scores, tasks
from mmdiffmask.probe import questions as question_probe
from mmdiffmask.probe.frozen import Frozen
from mmdiffmask.training.question_batch import ANSWER, MATCH

# Split -> the file of its answers in the archive.
FILES = {"val": "prediction_val.json", "test_public": "prediction_test_public.json"}


def check(experiment: config.Experiment, corpus: Corpus, out: str) -> None:
    """Checks that there can be a submission, before any work.

    Raises:
      ValueError: if the file's name is wrong, no question is asked, or the records lack
        a split.
    """
    if pathlib.Path(out).suffix != ".zip":
        raise ValueError(f"--submission {out}: must be a file that ends with .zip")
    if not {ANSWER, MATCH} & set(experiment.probe.read_outs):
        raise ValueError(
            "--submission needs answers: add --set probe.read_outs=answer, or match"
        )
    if experiment.probe.folds:
        raise ValueError(
            f"--submission: probe.folds={experiment.probe.folds} fits heads on val, and"
            " answers to val must come from train; leave probe.folds at 0"
        )
    absent = [split for split in FILES if split not in corpus.split_names]
    if absent:
        raise ValueError(
            f"--submission: {corpus.folder} has no split {absent[0]}; records of TVQA's"
            " raw folder have train, val and test_public"
        )


def write(frozen: Frozen, corpus: Corpus, out: str) -> None:
    """Writes TVQA's two files of answers and meta.json, zipped.

    The head is that of the probe, fitted on train: of `answer`, else of `match`. It
    answers every question of both splits: question id -> candidate, from 0; the first
    of equally high ones.

    Args:
      frozen: the encoder.
      corpus: its records.
      out: .zip file to write.

    Raises:
      ValueError: if two questions have the same id.
    """
    experiment, manifest, cache = frozen.experiment, frozen.manifest, frozen.folder
    task = tasks.open_task(experiment, corpus, manifest, cache)
    read_out = ANSWER if ANSWER in task.read_outs else MATCH
    known = {
        name: question_scores.part(part, read_out, floors.FULL, task.chosen[name])
        for name, part in question_probe.encode(task, frozen, floors.FULL).items()
    }
    settings = experiment.probe
    result = choices.probe(
        train=known["train"],
        dev=known["dev"],
        val=known["val"],
        l2=settings.l2,
        link=settings.link,
    )
    every = tasks.every_question(experiment, corpus, manifest, cache, tuple(FILES))
    sets = question_probe.encode(every, frozen, floors.FULL)
    files = {}
    for (split, file), (name, part) in zip(FILES.items(), sets.items(), strict=True):
        posed = question_scores.part(part, read_out, floors.FULL, every.chosen[name])
        answers = np.argmax(choices.scores(result.head, posed.features), axis=1)
        files[file] = _by_id(part.clip, answers, split)
    files["meta.json"] = meta(experiment.name, read_out)
    _write(pathlib.Path(out), files)


def question_id(example_id: str) -> str:
    """TVQA's id of a question: what stands before the clip, without leading zeros."""
    number = example_id.partition("~")[0]
    return str(int(number)) if number.isdecimal() else number


def meta(name: str, read_out: str) -> dict[str, object]:
    """What the server wants to know of a model; empty texts are the user's to fill."""
    return {
        "model_name": f"{name} ({read_out})",
        "is_ensemble": False,
        "with_ts": True,  # windows are cut around the time that a question names
        "show_on_leaderboard": False,
        "author": "",
        "institution": "",
        "description": "a linear head on frozen features",
        "paper_link": "",
        "code_link": "",
    }


def _by_id(ids: Sequence[str], answers: np.ndarray, split: str) -> dict[str, int]:
    answer_of_id = {
        question_id(name): int(answer)
        for name, answer in zip(ids, answers, strict=True)
    }
    if len(answer_of_id) < len(ids):
        raise ValueError(
            f"--submission: {len(ids)} questions of {split} have"
            f" {len(answer_of_id)} ids before the sign ~; ids must differ there"
        )
    return answer_of_id


def _write(path: pathlib.Path, files: Mapping[str, object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic.place(path) as temporary:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                # Without the time of day: the same answers, the same file.
                entry = zipfile.ZipInfo(name)
                entry.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(entry, json.dumps(content, indent=1) + "\n")
