"""Runs' folders become one `RunSummary`, and that becomes the page."""

import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from mmdiffmask import config, examples, run_folder, versions
from mmdiffmask.data import records, splits
from mmdiffmask.masking import strategies
from mmdiffmask.probe import metrics
from mmdiffmask.report import curves, page, pictures, sentences, summary
from mmdiffmask.training import checkpoint

UNTRAINED, COPY = "untrained network", "copy"
TIMES = "stage_seconds.json"  # the demo's, stage -> seconds
CELLS = {"touched": "touched", "hidden": "hidden", "same clip": "in_clip"}
KINDS = {"random": "random", "body": "person", "face": "face", "object": "object"}


def _last(lines: list[dict], masks: str, metric: str, first: bool = False) -> dict:
    """The last (or first) held-out row of a kind of masks, over all streams."""
    rows = [
        line
        for line in lines
        if line["kind"] == "eval"
        and (line["masks"], line["metric"], line["stream"]) == (masks, metric, "all")
        and line["value"] is not None
    ]
    rows.sort(key=lambda line: line["step"])
    return rows[0 if first else -1] if rows else {}


def _score(row: dict) -> metrics.Score:
    return metrics.Score(row["value"], row["low"], row["high"], row["count"])


def retrieval_tasks(
    found: Sequence[run_folder.Run],
) -> tuple[summary.RetrievalTask, ...]:
    """Held-out retrieval of every run, beside chance and its floors."""
    kinds = [k for k in KINDS if all(_last(r.lines, k, "loss") for r in found)]
    tasks = []
    for kind in kinds:
        for cells, suffix in CELLS.items():
            rows = {r.name: _last(r.lines, kind, f"retrieval_{suffix}") for r in found}
            rows = {name: row for name, row in rows.items() if row}
            if not rows:
                continue
            start = found[0].lines
            rows[UNTRAINED] = _last(start, kind, f"retrieval_{suffix}", first=True)
            rows[COPY] = _best_copy(found, kind, f"copy_{suffix}")
            scores = {name: _score(row) for name, row in rows.items() if row}
            chance = _chance(found[0], kind, cells)
            tasks.append(
                summary.RetrievalTask(KINDS[kind], cells, 1 / chance, chance, scores)
            )
    return tuple(tasks)


def _best_copy(found: Sequence[run_folder.Run], kind: str, metric: str) -> dict:
    """The copy floor of the last checkpoint, of any row, whose features copy best."""
    rows = [_last(run.lines, kind, metric) for run in found]
    return max((row for row in rows if row), key=lambda row: row["value"], default={})


def _chance(run: run_folder.Run, kind: str, cells: str) -> float:
    """How often guessing finds a cell."""
    metric = "chance_in_clip" if cells == "same clip" else "chance"
    return _last(run.lines, kind, metric)["value"]


def panels(found: Sequence[run_folder.Run]) -> tuple[curves.Panel, ...]:
    """Curves of training and of held-out scores, with their floors."""
    trained = [run for run in found if run.settings["masking.strategy"] != "none"]
    if not trained:
        return ()
    made = [_training_panel(trained)]
    for kind, word in KINDS.items():
        if not all(_last(run.lines, kind, "loss") for run in found):
            continue
        made.append(
            _held_out_panel(trained, kind, "loss", f"Held-out loss, {word} masks")
        )
        # Masks of patches may hide no cell wholly.
        if all(_last(run.lines, kind, "retrieval_hidden") for run in found):
            title = f"Finding wholly hidden cells, held-out {word} masks"
            made.append(_held_out_panel(trained, kind, "retrieval_hidden", title))
    return tuple(made)


def _training_panel(trained: Sequence[run_folder.Run]) -> curves.Panel:
    lines, guess = [], 0.0
    for run in trained:
        rows = [line for line in run.lines if line["kind"] == "train"]
        size = max(1, len(rows) // 60)  # points that a phone can show
        parts = [rows[i : i + size] for i in range(0, len(rows), size)]
        lines.append(
            curves.Line(
                run.name,
                tuple(part[-1]["step"] for part in parts),
                tuple(float(np.mean([x["loss"] for x in part])) for part in parts),
            )
        )
        guess = max([guess, *(row["log_candidates"] for row in rows[-1:])])
    note = "Each on its own masks, so the heights are not comparable; both should fall."
    level = (curves.Level("guessing", guess),)
    return curves.Panel("Loss in training", note, tuple(lines), level)


def _held_out_panel(
    trained: Sequence[run_folder.Run], kind: str, metric: str, title: str
) -> curves.Panel:
    lines = []
    for run in trained:
        rows = [
            row
            for row in run.lines
            if row["kind"] == "eval"
            and (row["masks"], row["metric"], row["stream"]) == (kind, metric, "all")
            and row["value"] is not None
        ]
        columns = zip(
            *((r["step"], r["value"], r["low"], r["high"]) for r in rows), strict=True
        )
        lines.append(curves.Line(run.name, *(tuple(c) for c in columns)))
    first, is_share = trained[0], metric != "loss"
    if is_share:
        chance = _chance(first, kind, "hidden")
        levels = [("guessing", chance)]
        untrained = _last(first.lines, kind, "retrieval_hidden", first=True)
        copy = _best_copy(trained, kind, "copy_hidden")
        for name, row in ((UNTRAINED, untrained), (COPY, copy)):
            levels += [(name, row["value"])] if row else []
        note = "The same held-out masks for every row; bands are 95 % over clips."
    else:
        levels = [("guessing", _last(first.lines, kind, "log_candidates")["value"])]
        note = "The same held-out masks for every row."
    dashed = tuple(curves.Level(name, value) for name, value in levels)
    return curves.Panel(title, note, tuple(lines), dashed, is_share)


def _probe_cell(entry: dict) -> summary.ProbeCell:
    def score(read_out, name):
        return metrics.accuracy(np.array(entry[read_out][name], bool))

    return summary.ProbeCell(
        joint=score("joint", "is_right"),
        joint_knn=score("joint", "is_right_knn"),
        vit=score("vit", "is_right"),
        vit_knn=score("vit", "is_right_knn"),
        l2=entry["joint"]["l2"],
    )


def _steps(run: run_folder.Run) -> int:
    trained = [line["step"] for line in run.lines if line["kind"] == "train"]
    return run.probe["step"] if run.probe else max(trained, default=0)


def comparisons(found: Sequence[run_folder.Run]) -> tuple[summary.Comparison, ...]:
    """Every pair of probed rows on every label; named by the settings, not chosen."""
    made: list[summary.Comparison] = []
    for label in found[0].probe["labels"]:
        is_right = {
            run.name: np.array(run.probe["labels"][label]["joint"]["is_right"], bool)
            for run in found
        }
        resamples = found[0].settings["probe.bootstrap"]
        made += summary.compare(label, is_right, found[0].seed, resamples)
    return tuple(made)


def draw_examples(
    experiment: config.Experiment,
    source: records.Source,
    positions: Sequence[int],
    masks: dict[str, tuple[str, str]],
    seed: int,
) -> tuple[summary.Example, ...]:
    """Some records with their boxes and their masks.

    Args:
      experiment: its grid, mask unit, budget.
      source: a split.
      positions: in the split.
      masks: row name -> (strategy, box kind).
      seed: of the masks.
    """
    hidden, shown = {}, None
    for name, (strategy, boxes) in masks.items():
        made, batch = examples.masks_of(
            experiment, source, positions, strategy, boxes, seed
        )
        hidden[name] = made.is_masked
        shown = batch if boxes == "body" or shown is None else shown
    if shown is None:
        return ()
    grid = examples.patch_grid(experiment.data)
    return tuple(
        summary.make_example(
            grid,
            pictures.decode(source[position]),
            {name: is_masked[i] for name, is_masked in hidden.items()},
            np.asarray(shown.unit_of_token[i]),
            np.asarray(shown.is_box_unit[i]),
        )
        for i, position in enumerate(positions)
    )


def summarise(workdir: pathlib.Path) -> summary.RunSummary:
    """Everything the page says about the runs in a folder.

    Raises:
      ValueError: if there is no finished run, runs do not belong on one page, or
        their records are gone.
    """
    found, unfinished = run_folder.read_runs(workdir)
    base = found[-1]
    experiment = config.from_settings(base.settings)
    records_dir = base.data["records"]
    source = examples.open_split(records_dir, "train")
    split = splits.split_train(source, experiment.data.dev_share, boxed_only=True)
    shown = split.first_of_clips(split.train)[: experiment.report_clips]
    masks = {
        run.name: (run.settings["masking.strategy"], run.settings["masking.boxes"])
        for run in found
        if run.settings["masking.strategy"] != "none"
    }
    is_probed = all(run.probe for run in found)
    labels = found[0].probe["labels"] if is_probed else {}
    manifest = records.read_manifest(records_dir)
    return summary.RunSummary(
        title=f"What to mask: {experiment.name}",
        data=_describe(manifest.settings),
        start="random weights",
        is_random_start=True,
        anchors=tuple(base.settings["masking.anchors"]),
        rows=tuple(_row(run, is_probed) for run in found),
        floors={k: metrics.Floors(**v["floors"]) for k, v in labels.items()},
        retrieval=retrieval_tasks(found),
        comparisons=comparisons(found) if is_probed else (),
        panels=panels(found),
        examples=draw_examples(experiment, source, shown, masks, base.seed),
        clips=base.data["clips"] | _probe_clips(found[0]),
        skipped=int(manifest.counts.get("skipped", 0)),
        seed=base.seed,
        settings={k: str(v) for k, v in base.settings.items()},
        versions=versions.of_packages(),
        times=_times(workdir, found),
        not_shown=_not_shown(found, unfinished),
    )


def _not_shown(
    found: Sequence[run_folder.Run], unfinished: Sequence[str]
) -> tuple[str, ...]:
    """Limits of these very runs, a sentence each."""
    said = []
    if unfinished:
        said.append(f"Runs that are not finished: {', '.join(unfinished)}.")
    bare = [run.name for run in found if not run.probe]
    if bare:
        said.append(
            f"No accuracies, since these rows have no probe yet: {', '.join(bare)}."
        )
    dev = found[0].data["clips"]["dev"]
    if dev < sentences.FEW_CLIPS:
        said.append(
            f"Held-out scores come from {dev} clip(s): their intervals say nothing."
        )
    return tuple(said)


def _times(workdir: pathlib.Path, found: Sequence[run_folder.Run]) -> dict[str, float]:
    """Stage -> seconds, as the demo noted them; else the runs' own."""
    if (workdir / TIMES).is_file():
        return checkpoint.read_json(workdir / TIMES)
    return {f"training of {run.name}": run.seconds for run in found if run.seconds}


def _describe(settings: dict[str, Any]) -> str:
    """What the clips are, from the settings that their records were made with."""
    kinds = {
        "toy": "short rendered ones, with the detectors' boxes, not the true ones",
        "tvqa": "TVQA's, with the detectors' boxes",
        "video": "the user's own videos, with the detectors' boxes",
    }
    return f"The clips: {kinds[settings['source']]}."


def _row(run: run_folder.Run, is_probed: bool) -> summary.StrategyRow:
    strategy = strategies.find(run.settings["masking.strategy"])
    labels = run.probe["labels"] if is_probed else {}
    return summary.StrategyRow(
        name=run.name,
        description=strategy.summary,
        steps=_steps(run),
        masks=run.masks,
        probes={label: _probe_cell(entry) for label, entry in labels.items()},
    )


def _probe_clips(run: run_folder.Run) -> dict[str, int]:
    if not run.probe:
        return {}
    return {"val": max(len(v["clips"]) for v in run.probe["labels"].values())}


def write_page(workdir: pathlib.Path) -> pathlib.Path:
    """Writes WORKDIR/report.html; returns its absolute path."""
    html = page.build(summarise(workdir))
    path = workdir.resolve() / "report.html"
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(html, encoding="utf-8")
    temporary.replace(path)
    return path
