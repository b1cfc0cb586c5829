"""Floors of the questions' read-outs: what needs less than clip and network."""

import dataclasses
import hashlib
import json
import logging
import pathlib
from collections.abc import Callable, Sequence

from mmdiffmask import atomic, config, inputs, settings_json, versions
from mmdiffmask.data import cache, questions
from mmdiffmask.probe import results

UNTRAINED = "untrained"
FULL = ("frames and sound", "frames and subtitles")  # views of the two streams
# What the audio and the text stream hold where something is left out. No frames in
# any of them, so the vision tower does not run.
VIEWS = {
    results.ANSWERS_ONLY: ("answers", "answers"),
    "question + answers": ("question", "question"),
    "+ subtitles": ("question", "subtitles"),
    "+ audio": ("sound", "question"),
    "frames blanked": ("sound", "subtitles"),
}
BLIND = tuple(name for name, view in questions.VIEWS.items() if not view.has_frames)
# One stream alone, beside question and answers (`probe.streams`).
STREAMS = {
    "video": ("frames", "frames"),
    "subtitles": VIEWS["+ subtitles"],
    "audio": VIEWS["+ audio"],
}

Hits = dict[str, results.Hits]  # read-out -> per question of val


def untrained(
    experiment: config.Experiment,
    manifest: str,
    seed: int,
    ids: Sequence[str],
    compute: Callable[[], Hits],
) -> Hits:
    """The floor of an untrained network: once for all rows of a comparison.

    It depends on the records, the sizes and the seed, and not on what a row was trained
    on or started from. So its scores are kept where all runs of a user find them, by
    the content that they depend on: `cache.folder`, folder "floors".

    Args:
      experiment: settings of data, model and probe.
      manifest: sha256 of the records' manifest.
      seed: of the random weights.
      ids: of the questions of val.
      compute: makes the scores.

    Raises:
      ValueError: if the stored file is damaged.
    """
    path = _path(experiment, manifest, seed)
    if path.exists():
        return _read(path, ids)
    hits = compute()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic.write_json(path, {"ids": list(ids), "is_right": hits})
    except OSError as error:  # a home that nobody may write to
        logging.warning("%s: not kept for other rows (%s)", path, error.strerror)
    return hits


def _path(experiment: config.Experiment, manifest: str, seed: int) -> pathlib.Path:
    data = dataclasses.replace(experiment.data, toy=None, tokenizer="")
    model = dataclasses.replace(experiment.model, checkpoint=None, start=None)
    sizes = json.loads(settings_json.to_json(model))
    probe = experiment.probe
    parts = {
        "manifest": manifest,
        "seed": seed,
        "data": dataclasses.asdict(data),
        "tokenizer": inputs.digest("data.tokenizer", experiment.data.tokenizer),
        "model": sizes,
        "bounds": [probe.questions, probe.eval_questions, probe.read_outs],
        "heads": [probe.l2, probe.link, probe.folds],
        "numbers": versions.number("training", "features", "heads"),
    }
    text = json.dumps(parts, sort_keys=True)
    key = hashlib.sha256(text.encode()).hexdigest()[:16]
    return cache.folder() / "floors" / f"untrained-{key}.json"


def _read(path: pathlib.Path, ids: Sequence[str]) -> Hits:
    content = atomic.read_json(path, "delete it and run again")
    is_right = content.get("is_right") if isinstance(content, dict) else None
    if not isinstance(is_right, dict) or content.get("ids") != list(ids):
        raise ValueError(f"{path}: holds other questions; delete it and run again")
    return is_right
