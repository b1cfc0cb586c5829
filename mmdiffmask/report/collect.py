"""Runs' folders become one `RunSummary`, and that becomes the page."""

import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from mmdiffmask import (
    atomic,
    attention,
    config,
    configure,
    inputs,
    run_files,
    statistics,
    versions,
)
from mmdiffmask.data.corpus import Corpus
from mmdiffmask.masking import strategies
from mmdiffmask.probe import finished, results
from mmdiffmask.probe.finished import Run
from mmdiffmask.report import (
    compare,
    curves,
    drawn,
    further,
    history,
    language,
    limits,
    page,
    probe_curves,
    runs,
    summary,
)
from mmdiffmask.run_folder import RunFolder
from mmdiffmask.training.read_outs import clips

SHIPPED = "small"  # the value of model.checkpoint that names the project's own


def panels(
    page_runs: Sequence[Run], has_replay_terms: bool, is_random_start: bool
) -> tuple[curves.Panel, ...]:
    """All curves: hidden patches, then labels and the language side where scored."""
    lines = {run.name: run.lines for run in page_runs}
    labels = page_runs[0].probe.labels if page_runs[0].probe else {}
    floors = {name: label.floors for name, label in labels.items()}
    return (
        *history.patch_panels(lines, has_replay_terms, is_random_start),
        *probe_curves.panels(lines, floors),
        *language.word_panels(lines),
        *language.term_panels(lines),
    )


def _probe_scores(entry: results.Label) -> summary.ProbeScores:
    def score(is_right: results.Hits) -> statistics.Score:
        return statistics.accuracy(np.array(is_right, float))

    return summary.ProbeScores(
        {
            name: summary.ReadOut(
                linear=score(head.is_right),
                near=score(head.is_right_knn),
                log_probability=results.mean_log(head.log_probability),
            )
            for name, head in entry.heads.items()
        }
    )


def _steps(run: Run) -> int:
    trained = [line["step"] for line in run.lines if line["kind"] == "train"]
    return run.probe.step if run.probe else max(trained, default=0)


def _plain(page_runs: Sequence[Run]) -> list[str]:
    """The rows that hide nothing."""
    return [run.name for run in page_runs if run.masks is None]


def comparisons(page_runs: Sequence[Run]) -> tuple[compare.Comparison, ...]:
    """Every pair of probed rows on every label; named by the settings, not chosen."""
    pairs: list[compare.Comparison] = []
    first, plain = page_runs[0], _plain(page_runs)
    for label in first.probe.labels:
        heads = {run.name: run.probe.labels[label].heads for run in page_runs}
        is_right = {
            name: np.array(entry[clips.ordered(entry)[0]].is_right, float)
            for name, entry in heads.items()
        }
        resamples = first.settings["probe.bootstrap"]
        pairs += compare.compare(label, is_right, plain, first.seed, resamples)
    return tuple(pairs)


def questions(page_runs: Sequence[Run]) -> tuple[compare.QuestionTable, ...]:
    """The read-outs of questions, where every row was asked.

    Raises:
      ValueError: if rows answered other questions.
    """
    answers = {run.name: run.probe and run.probe.questions for run in page_runs}
    if not all(answers.values()):
        return ()
    first, plain = page_runs[0], _plain(page_runs)
    resamples = first.settings["probe.bootstrap"]
    return compare.question_tables(answers, plain, first.seed, resamples)


def summarise(workdir: pathlib.Path) -> summary.RunSummary:
    """Everything the page says about the runs in a folder.

    Raises:
      ValueError: if there is no finished run, runs do not belong on one page, or
        their records are gone.
    """
    page_runs, unfinished = runs.read_runs(workdir)
    base = page_runs[-1]
    experiment = base.folder.experiment(base.settings)
    folders = [run.folder for run in page_runs]
    is_probed = all(run.probe for run in page_runs)
    labels = page_runs[0].probe.labels if is_probed else {}
    corpus = Corpus.of(base.folder.find(inputs.RECORDS, also=folders))
    start = base.settings.get("model.checkpoint")
    lines = {run.name: run.lines for run in page_runs}
    has_replay_terms = _has_replay_terms(base.settings)
    return summary.RunSummary(
        title=f"What to mask: {experiment.name}",
        data=_describe(corpus.manifest.settings),
        start=describe_start(start, base.inputs.get(inputs.START, {}).get("sha256")),
        is_random_start=start is None,
        has_replay_terms=has_replay_terms,
        anchors=tuple(base.settings["masking.anchors"]),
        rows=tuple(_row(run, is_probed) for run in page_runs),
        floors={name: label.floors for name, label in labels.items()},
        retrieval=history.retrieval_tasks(lines, start is None),
        comparisons=comparisons(page_runs) if is_probed else (),
        questions=questions(page_runs),
        panels=panels(page_runs, has_replay_terms, start is None),
        examples=_examples(experiment, corpus, page_runs),
        clips=base.clips | _probe_clips(page_runs[0]),
        skipped=int(corpus.manifest.counts.get("skipped", 0)),
        seed=base.seed,
        settings={k: str(v) for k, v in base.settings.items()},
        versions=versions.of_runs({run.name: run.versions for run in page_runs}),
        times=_times(workdir, page_runs),
        not_shown=_not_shown(workdir, page_runs, unfinished),
        further=further.columns(
            {run.name: run.probe for run in page_runs if run.probe}
        ),
    )


def _has_replay_terms(settings: dict[str, Any]) -> bool:
    """Whether a run trains on the start's own terms."""
    weights = {k: v for k, v in settings.items() if k.startswith("terms.")}
    return any(v for k, v in weights.items() if k != "terms.patches")


def _examples(
    experiment: config.Experiment, corpus: Corpus, page_runs: Sequence[Run]
) -> tuple[summary.Example, ...]:
    """The first clips of continued pretraining under every row that hides something."""
    split = corpus.split_train(experiment.data.dev_share, boxed_only=True)
    shown = split.first_of_clips(split.train)[: experiment.report_clips]
    rows = {run.name: _masking(run) for run in page_runs if run.masks is not None}
    source, entries = corpus.source("train"), corpus.entries("train")
    last = page_runs[-1]  # all start from the same
    owner = last.folder.owner()
    start = attention.of_run(experiment, source, entries, last.folder, owner)
    return drawn.draw(experiment, source, shown, rows, last.seed, start)


def _masking(run: Run) -> config.Masking:
    """A run's masking, the files that it read where they lie now."""
    if inputs.RECORDS not in run.inputs:  # a version before files were noted
        return configure.from_settings(run.settings).masking
    return run.folder.experiment(run.settings).masking


def describe_start(path: str | None, sha256: str | None = None) -> str:
    """What training continued from, to follow "started from"."""
    if path is None:
        return "random weights"
    if path == SHIPPED:
        return (
            "the small checkpoint that comes with the project, which was trained on"
            " general clips of the toy set with the network's own exercises, and on"
            " questions about these clips and their answers"
        )
    return f"the weights in {path}" + (f" ({inputs.short(sha256)})" if sha256 else "")


def _not_shown(
    workdir: pathlib.Path, page_runs: Sequence[Run], unfinished: Sequence[str]
) -> tuple[str, ...]:
    """Limits of these very runs, a sentence each."""
    said = []
    if unfinished:
        said.append(f"Runs that are not finished: {', '.join(unfinished)}.")
    bare = [run.name for run in page_runs if not run.probe]
    if bare:
        said.append(
            f"No accuracies, since these rows have no probe yet: {', '.join(bare)}."
        )
    if not page_runs[0].settings.get("probe.floors", True):
        said.append(
            "Of the floors of questions only guessing: the others (no frames, no"
            " question, an untrained network) were switched off (probe.floors)."
        )
    dev = page_runs[0].clips["dev"]
    if dev < compare.FEW_CLIPS:
        said.append(
            f"Held-out scores come from {dev} clip(s): their intervals say nothing."
        )
    others = finished.folders(workdir)[1]
    alone = [f.path.name for f in others if finished.is_of_checkpoint(f)]
    if alone:
        said.append(f"Checkpoints that were probed without a run: {', '.join(alone)}.")
    said += limits.of_runs(page_runs)
    return tuple(said)


def _times(workdir: pathlib.Path, page_runs: Sequence[Run]) -> dict[str, float]:
    """Stage -> seconds, as the demo noted them; else the runs' own."""
    folder = RunFolder(workdir)
    if folder.has(run_files.STAGE_SECONDS):
        return folder.read(run_files.STAGE_SECONDS)
    return {f"training of {run.name}": run.seconds for run in page_runs if run.seconds}


def _describe(settings: dict[str, Any]) -> str:
    """What the clips are, from the settings that their records were made with."""
    names = {"toy": "short rendered ones", "video": "the user's own videos"}
    names |= {"tvqa": "TVQA's", "social_iq": "Social-IQ 2.0's"}
    file = (settings.get("boxes") or {}).get("boxes")
    boxes = f"the boxes of {file['name']}" if file else "the detectors' boxes"
    true = ", not the true ones" * (settings["source"] == "toy" and not file)
    return f"The clips: {names[settings['source']]}, with {boxes}{true}."


def _row(run: Run, is_probed: bool) -> summary.ComparedRow:
    strategy = strategies.find(run.settings["masking.strategy"])
    labels = run.probe.labels if is_probed else {}
    descriptions = {
        finished.NOT_TRAINED: "the start itself, not trained further",
        finished.NOT_HIDING: "the start's own terms, nothing hidden",
    }
    return summary.ComparedRow(
        name=run.name,
        description=descriptions.get(run.name, f"masking.strategy={strategy.name}"),
        is_uniform=run.is_hiding and strategy.is_uniform,
        steps=_steps(run),
        masks=run.masks,
        probes={label: _probe_scores(entry) for label, entry in labels.items()},
    )


def _probe_clips(run: Run) -> dict[str, int]:
    """How many clips of val were scored."""
    if not run.probe:
        return {}
    scored = [len(label.clips) for label in run.probe.labels.values()]
    questioned = run.probe.questions.clips if run.probe.questions else ()
    return {"val": max([*scored, len(set(questioned))])}


def write_page(workdir: pathlib.Path) -> pathlib.Path:
    """Writes WORKDIR/report.html; returns its absolute path."""
    html = page.build(summarise(workdir))
    path = workdir.resolve() / run_files.REPORT
    atomic.write(path, html)
    return path
