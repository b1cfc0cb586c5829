"""Folders of runs with known numbers, as training and probe write them."""

import json
import math
import pathlib

import numpy as np

from mmdiffmask import atomic, config, configure, inputs, run_files, statistics
from mmdiffmask.data.records import manifest
from mmdiffmask.probe import results
from mmdiffmask.run_folder import RunFolder

# Row -> what it changes, in the form of --set.
CHANGES = {
    "none": "training.steps=0",
    "replay": "terms.patches=0",
    "random": "masking.strategy=random",
    "difference": "masking.strategy=difference",
}
ROWS = tuple(CHANGES)
CLASSES = ("all", "colour", "object", "action")
STEPS = (0, 30, 60, 90)
# Held-out masks: row -> how well it finds hidden cells at the end.
FINDS = {"none": 0.1, "replay": 0.12, "random": 0.3, "difference": 0.28}
LOOKS = {"none": 0.3, "replay": 0.5, "random": 0.45, "difference": 0.6}
# 40 clips with 3 questions each; right answers out of 120, at the first places.
ANSWERS = {"none": 48, "replay": 72, "random": 60, "difference": 66}
FLOORS = {"frames blanked": 54, "answers only": 30}
NOWHERE = "0" * 64  # checksum of records that nothing reads
QUESTION_KINDS = ("object", "colour", "action")
TERMS = ("imgs_to_audio", "text_to_audio", "stuff_to_span", "closed_span")


def evaluated(step, masks, metric, value, stream="all", half=0.02) -> dict:
    """A line of kind "eval"."""
    line = {"kind": "eval", "step": step, "masks": masks, "stream": stream}
    ends = {"low": value - half, "high": value + half, "count": 100}
    return line | {"metric": metric, "value": value} | ends


def metrics_lines(row: str, is_new: bool = True) -> list[dict]:
    """metrics.jsonl of a row; `is_new`: with the language side."""
    lines = []
    for step in STEPS if row != "none" else STEPS[:1]:
        done = step / STEPS[-1]
        finds = FINDS["none"] + done * (FINDS[row] - FINDS["none"])
        for kind in ("random", "difference", "difference-face"):
            lines.append(evaluated(step, kind, "loss", 8.0 - 10 * finds))
            lines.append(evaluated(step, kind, "log_candidates", math.log(64) * 2))
            for cells, of in (("touched", 64), ("hidden", 64), ("in_clip", 8)):
                value = finds if of == 64 else 2 * finds
                lines.append(evaluated(step, kind, f"retrieval_{cells}", value))
                lines.append(evaluated(step, kind, f"copy_{cells}", 0.2))
            lines.append(evaluated(step, kind, "chance", 1 / 64))
            lines.append(evaluated(step, kind, "chance_in_clip", 1 / 8))
        if is_new:
            lines += _language_lines(row, step, done)
    if row != "none":
        lines += [_update(row, step, is_new) for step in range(1, STEPS[-1] + 1)]
    return sorted(lines, key=lambda line: line["step"])


def _language_lines(row: str, step: int, done: float) -> list[dict]:
    looks = LOOKS["none"] + done * (LOOKS[row] - LOOKS["none"])
    lines = []
    for i, name in enumerate(CLASSES):
        right = evaluated(step, "words", "right_video", looks - 0.03 * i, name)
        wrong = evaluated(step, "words", "wrong_video", 0.25 + 0.01 * i, name)
        lines += [right, wrong]
    return lines + [
        evaluated(step, "terms", f"loss_{term}", 3.0 + i - done * LOOKS[row])
        for i, term in enumerate(TERMS)
    ]


def _update(row: str, step: int, is_new: bool) -> dict:
    patches = 7.0 * math.exp(-step / 60)
    line = {"kind": "train", "step": step, "epoch": 0, "rows": 64}
    if not is_new:
        return line | {"loss": patches, "log_candidates": math.log(64) * 2}
    terms = {f"loss_{term}": 3.0 + i - step / 90 for i, term in enumerate(TERMS)}
    if row != "replay":
        guess = {"log_candidates": math.log(64) * 2}
        terms |= {"loss_patches": patches} | guess
    total = sum(value for name, value in terms.items() if name.startswith("loss_"))
    return line | terms | {"loss": total}


def first_right(count: int, n: int = 120) -> list[int]:
    """Right on the first `count` questions."""
    return [int(i < count) for i in range(n)]


def logs(right: list[int]) -> list[float]:
    """Log-probabilities of the right one, higher where the answer is right."""
    return [-0.5 if is_right else -2.25 for is_right in right]


def asked(row: str, n: int = 120) -> results.Questions:
    """ "questions" of probe.json: three of each clip, one of each kind."""
    zero = first_right(ANSWERS[row])
    answers = first_right(60 if row != "none" else 66)
    floors = {
        floor: results.Scores(is_right=first_right(k)) for floor, k in FLOORS.items()
    }
    by_read_out = {"match": floors, "answer": floors, "zero-shot": {}}
    return results.Questions(
        kinds=[QUESTION_KINDS[i % 3] for i in range(n)],
        clips=[f"clip{i // 3:03}" for i in range(n)],
        ids=[f"q{i:03}" for i in range(n)],
        chance=0.25,
        read_outs={
            "zero-shot": results.Scores(is_right=zero, log_probability=logs(zero)),
            "match": results.Scores(l2=0.01, is_right=zero[::-1]),
            "answer": results.Scores(l2=0.1, is_right=answers),
        },
        floors=by_read_out if row == "none" else {},
    )


def labelled(row: str, n: int = 100) -> dict[str, results.Label]:
    """ "labels" of probe.json."""
    right = first_right({"none": 30, "replay": 50, "random": 44}.get(row, 48), n)
    head = results.LabelHead(
        l2=0.01,
        is_right=right,
        is_right_knn=right[::-1],
        log_probability=logs(right),
    )
    heads = {"joint": head, "vit": head}
    floors = statistics.Floors(chance=0.25, largest_class=0.27, n_classes=4)
    clips = [f"clip{i:03}" for i in range(n)]
    label = results.Label(heads=heads, floors=floors, clips=clips)
    return {"action": label}


MASKS = {
    "clips": 20, "clips_without_box": 3, "hidden_patches": 105.0,
    "hidden_share": 0.25, "whole_box": 0.6, "cut_box": 0.1, "fill": 0.3,
    "boxes_share": 0.2, "cells": 105.0, "cells_touched": 26.0, "cells_hidden": 25.5,
}  # fmt: skip


def write_run(
    folder: pathlib.Path,
    base: config.Experiment,
    row: str,
    records_dir: str,
    is_new: bool = True,
    seed: int = 0,
    **changes,
) -> None:
    """A finished, probed run of one row; `changes`: dotted settings.

    Without `records_dir` its records are nowhere.
    """
    folder.mkdir(parents=True)
    own = configure.override(base, [CHANGES[row]])
    settings = configure.settings(own) | changes
    read = {inputs.RECORDS: {"value": records_dir, "sha256": NOWHERE}}
    if records_dir:
        read[inputs.RECORDS]["sha256"] = manifest.identity(records_dir)
    content = {"settings": settings, "seed": seed, "inputs": read}
    atomic.write_json(folder / run_files.CONFIG, content)
    data = {"clips": {"pretraining": 20, "dev": 12}}
    atomic.write_json(folder / run_files.DATA, data)
    lines = metrics_lines(row, is_new)
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / run_files.METRICS).write_text(text)
    step = 0 if row == "none" else STEPS[-1]
    probed = results.Probed(
        key=results.Key(probe={}),
        labels=labelled(row),
        step=step,
        questions=asked(row) if is_new else None,
    )
    results.write(RunFolder(folder), probed)
    if own.is_hiding:
        atomic.write_json(folder / run_files.MASKS, MASKS)


def noisy(rate: float, seed: int, n: int = 120) -> list[int]:
    """Right at random, so that pages look like real ones."""
    return [int(x) for x in np.random.default_rng(seed).random(n) < rate]
