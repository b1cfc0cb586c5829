"""Sentences on what limits a page's numbers, from what its runs noted."""

from collections.abc import Sequence

from mmdiffmask import config, inputs, label_leak, versions
from mmdiffmask.masking import strategies
from mmdiffmask.probe import table
from mmdiffmask.probe.finished import Run


def of_runs(shown: Sequence[Run]) -> list[str]:
    """Limits of these very runs that their numbers do not show, a sentence each."""
    said = [
        f"{run.name} hid random patches alone: no box was drawn in any of its masks, so"
        " it differs from random masking by name."
        for run in shown
        if run.masks is not None
        and strategies.find(run.settings["masking.strategy"]).units.is_box
        and run.masks.whole_box + run.masks.cut_box == 0
    ]
    kinds = dict.fromkeys(kind for run in shown for kind in run.fill_only)
    if kinds:
        labels_of = [strategies.label(name) for name in kinds]
        said.append(
            f"Held-out masks of {' and '.join(labels_of)} hide random patches: no"
            " held-out clip has a box for them."
        )
    if differing := _of_held_out(shown):
        said.append(
            f"Held-out masks differ between the rows ({', '.join(differing)}): their"
            " held-out losses and shares of found cells are of different tasks."
        )
    if shown[0].probe is not None:
        said += [f"{text}." for text in shown[0].probe.left_out.values()]
        if records := shown[0].probe.records:
            said.append(
                "The accuracies are from other records than the rows were trained on:"
                f" {records['value']} ({inputs.short(records['sha256'])})."
            )
        for label, entry in shown[0].probe.labels.items():
            if entry.unknown:
                text = table.lacking(label, entry.unknown, len(entry.clips))
                said.append(f"{text}.")
    leaking = [
        run.name
        for run in shown
        if run.is_hiding and run.settings.get("training.gold_answer")
    ]
    if leaking:
        said.append(f"{', '.join(leaking)}: {label_leak.SENTENCE}.")
    lengths = {
        run.name: run.probe.key.data.get("text_length") for run in shown if run.probe
    }
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name} {length}" for name, length in lengths.items())
        said.append(f"The rows were probed with different data.text_length: {listed}.")
    packages = {
        name: value
        for name, value in versions.of_runs({r.name: r.versions for r in shown}).items()
        if ";" in value
    }
    if packages:
        said.append(
            "The rows were made with different versions of code or packages:"
            f" {', '.join(f'{name} {value}' for name, value in packages.items())}."
        )
    return said


def _of_held_out(shown: Sequence[Run]) -> list[str]:
    """Settings that draw other held-out masks of one strategy in some of these runs."""
    runs_of: dict[str, list[Run]] = {}
    for run in shown:
        scored = (*run.settings["masking.held_out"], run.settings["masking.strategy"])
        for name in dict.fromkeys(scored):
            runs_of.setdefault(name, []).append(run)
    return [
        name
        for name in (f"masking.{setting}" for setting in _OF_MASKS)
        if any(
            len({_value(run, name) for run in scored}) > 1
            for strategy, scored in runs_of.items()
            if strategy in strategies.REGISTRY
            and _OF_MASKS[name.removeprefix("masking.")](strategies.find(strategy))
        )
    ]


def _value(run: Run, name: str) -> str:
    """What a run has for a setting; of a file its content."""
    value = run.settings.get(name, config.ADDED.get(name))
    if value in config.MASKS:  # held-out masks are static in any case
        return ""
    return str(run.inputs.get(name, {}).get("sha256", value))


def _always(strategy: strategies.Strategy) -> bool:
    del strategy
    return True


def _has_boxes(strategy: strategies.Strategy) -> bool:
    return bool(strategy.units.boxes)


def _is_anchored(strategy: strategies.Strategy) -> bool:
    return strategy.is_anchored


# Setting of masking -> whether it counts in a strategy's held-out masks.
_OF_MASKS = {
    **dict.fromkeys(("mask_unit", "ratio", "select", "padding"), _always),
    **dict.fromkeys(("box_share", "selection", "fill", "tracks"), _has_boxes),
    **dict.fromkeys(("anchors", "label_embeddings", "similarity"), _is_anchored),
    "scores": lambda strategy: strategy.file == "scores",
    "masks": lambda strategy: strategy.file == "masks",
}
