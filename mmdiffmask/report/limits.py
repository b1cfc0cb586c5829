"""What a page of runs must say of masks without boxes, classes and versions."""

from collections.abc import Sequence

from mmdiffmask import versions
from mmdiffmask.masking import strategies
from mmdiffmask.probe import run as probing
from mmdiffmask.report import runs


def of_runs(found: Sequence[runs.Run]) -> list[str]:
    """Limits of these very runs that their numbers do not show, a sentence each."""
    said = [
        f"{run.name} hid random patches alone: no box was drawn in any of its masks, so"
        " it differs from random masking by name."
        for run in found
        if run.masks is not None
        and strategies.find(run.settings["masking.strategy"]).units.is_box
        and run.masks.whole_box + run.masks.cut_box == 0
    ]
    kinds = dict.fromkeys(kind for run in found for kind in run.fill_only)
    if kinds:
        labels_of = [strategies.label(name) for name in kinds]
        said.append(
            f"Held-out masks of {' and '.join(labels_of)} hide random patches: no"
            " held-out clip has a box for them."
        )
    if found[0].probe is not None:
        said += [f"{text}." for text in found[0].probe.left_out.values()]
        for label, entry in found[0].probe.labels.items():
            if entry.unknown:
                text = probing.lacking(label, entry.unknown, len(entry.clips))
                said.append(f"{text}.")
    lengths = {
        run.name: run.probe.key.data.get("text_length") for run in found if run.probe
    }
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} {length}" for name, length in lengths.items())
        said.append(f"The rows were probed with different data.text_length: {told}.")
    packages = {
        name: value
        for name, value in versions.of_runs({r.name: r.versions for r in found}).items()
        if ";" in value
    }
    if packages:
        said.append(
            "The rows were made with different versions of code or packages:"
            f" {', '.join(f'{name} {value}' for name, value in packages.items())}."
        )
    return said
