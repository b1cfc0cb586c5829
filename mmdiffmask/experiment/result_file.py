"""The one small file that a finished run leaves: all that tables and contrasts need."""

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from mmdiffmask import atomic, config, inputs, run_files, versions
from mmdiffmask.data.records import manifest
from mmdiffmask.data.records import seconds as detectors
from mmdiffmask.experiment import packed_probe
from mmdiffmask.inputs import Claim
from mmdiffmask.probe import finished, results
from mmdiffmask.run_folder import RunFolder

LARGEST = 30_000  # bytes of a file
FIRST_LOSSES = 10  # updates whose losses are kept
# Settings that a run does not depend on, beside `config.UNCOUNTED`.
UNCOUNTED = (*config.UNCOUNTED, "name", "rows", "report_clips")
HELD_OUT = ("retrieval_", "copy_", "chance")  # how names of metrics begin that are kept
HELD_OUT_OF_TEXTS = ("loss", "hits")
TEXTS = "text"  # the source of a result of texts
REMEDY = (
    "delete it, and mmdiffmask experiment makes its run anew; or name another --results"
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result:
    """What is kept of a run.

    Attributes:
      row: its name.
      claim: settings that count, seed, and what it read, by content.
      numbers: `versions.NUMBERS` of the code.
      versions: of code and packages that it was begun with.
      contrasts: those that its config named when it was begun.
      source: kind of its records: toy, video, tvqa or social_iq; TEXTS.
      seconds: stage -> processor seconds.
      detectors: detector -> processor seconds that it took on all clips of the records,
        once for all runs; {} where the records do not say.
      clips: "pretraining" and "dev" -> how many.
      fill_only: kinds of held-out masks that hide no box.
      masks: what its masks were made of; None where it hides nothing.
      losses: of its first updates.
      held_out: at the first and the last evaluation, how often hidden cells were
        found, or the loss on hidden pieces: lines of metrics.jsonl, cut to `LINE`.
      probe: its scores; clips and questions have numbers for names.
    """

    row: str
    claim: Claim
    numbers: dict[str, int]
    versions: dict[str, str]
    contrasts: Sequence[str]
    source: str
    seconds: dict[str, float]
    detectors: dict[str, float]
    clips: dict[str, int]
    fill_only: Sequence[str]
    masks: finished.Masks | None
    losses: Sequence[float]
    held_out: Sequence[dict[str, Any]]
    probe: results.Probed

    @property
    def records(self) -> str:
        """What its records are known by."""
        return self.claim.inputs[inputs.RECORDS]["sha256"]


AS_THEY_ARE = ("row", "numbers", "versions", "contrasts", "source", "seconds", "clips")
AS_THEY_ARE += ("fill_only", "losses")
LINE = ("step", "masks", "metric", "value", "low", "high", "count")


def path_of(results_dir: pathlib.Path, row: str, seed: int) -> pathlib.Path:
    """Where the result of a row with a seed lies."""
    return results_dir / row / f"seed={seed}.json"


def of_folder(row: str, folder: RunFolder) -> Result:
    """What is to be kept of a finished and probed run.

    Raises:
      ValueError: if a file of the run is damaged or gone.
    """
    run = finished.read(folder)
    if run.probe is None:
        raise ValueError(f"{folder}: has no {run_files.PROBE}; {REMEDY}")
    begun = run.versions.get(versions.OF_STAGES)
    now = versions.number("records", "training")
    if begun is not None and not begun.startswith(now):
        raise ValueError(
            f"{folder}: was begun by other code ({begun}; now {now}), so its numbers"
            " are of neither; train it again in another --workdir"
        )
    owner = folder.owner()
    read = {
        name: {"value": pathlib.Path(entry["value"]).name, "sha256": entry["sha256"]}
        for name, entry in owner.inputs.items()
    }
    is_text = finished.is_of_texts(owner.settings)
    source = TEXTS
    if not is_text:
        source = manifest.read(folder.find(inputs.RECORDS)).settings["source"]
    seconds = run_files.CPU_SECONDS
    return Result(
        row=row,
        claim=Claim(counted(owner.settings), owner.seed, read),
        numbers=dict(versions.NUMBERS),
        versions=run.versions,
        contrasts=owner.settings["contrasts"],
        source=source,
        seconds=folder.read(seconds) if folder.has(seconds) else {},
        detectors=detectors.read(folder.find(inputs.RECORDS)),
        clips=run.clips,
        fill_only=run.fill_only,
        masks=run.masks,
        losses=_first_losses(run.lines),
        held_out=_ends(run.lines, HELD_OUT_OF_TEXTS if is_text else HELD_OUT),
        probe=run.probe,
    )


def counted(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings without those that a run does not depend on."""
    return {name: v for name, v in settings.items() if name not in UNCOUNTED}


def _first_losses(lines: Sequence[Mapping[str, Any]]) -> list[float]:
    losses = [line["loss"] for line in lines if line["kind"] == "train"]
    return [float(f"{loss:.7g}") for loss in losses[:FIRST_LOSSES]]


def _ends(
    lines: Sequence[Mapping[str, Any]], names: tuple[str, ...]
) -> list[dict[str, Any]]:
    """Held-out lines over all streams, of the first and the last evaluation."""
    kept = [
        {name: line.get(name) for name in LINE}
        for line in lines
        if line["kind"] == "eval"
        and line["stream"] == "all"
        and line["metric"].startswith(names)
    ]
    steps = {line["step"] for line in kept}
    ends = {min(steps), max(steps)} if steps else steps
    return [line for line in kept if line["step"] in ends]


def write(path: pathlib.Path, result: Result) -> None:
    """Writes the file, whole or not at all, of at most `LARGEST` bytes.

    Where it would be larger log-probabilities are kept less finely, and then floors of
    questions and the like are left out, last what boxes hold (`packed_probe.WAYS`).
    """
    for per_nat, kept in packed_probe.WAYS:
        text = _text(result, per_nat, kept)
        if len(text.encode()) <= LARGEST:
            break
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic.write(path, text)


def _text(result: Result, per_nat: int, kept: Sequence[str]) -> str:
    """A line for each part; the last one is the checksum of those before."""
    masks = None if result.masks is None else dataclasses.asdict(result.masks)
    content = {
        "row": result.row,
        **result.claim.as_json(),
        "numbers": result.numbers,
        "versions": result.versions,
        "contrasts": list(result.contrasts),
        "source": result.source,
        "seconds": result.seconds,
        "clips": result.clips,
        "fill_only": list(result.fill_only),
        "masks": _rounded(masks),
        "losses": list(result.losses),
        "held_out": [[_rounded(x[name]) for name in LINE] for x in result.held_out],
        "probe": packed_probe.pack(result.probe, per_nat, kept),
    }
    if result.detectors:
        content["detectors"] = result.detectors
    lines = [f"{json.dumps(k)}: {_compact(value)}" for k, value in content.items()]
    lines.append(f'"sha256": "{_checksum(content)}"')
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def _checksum(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(_compact(content).encode()).hexdigest()[:16]


def _rounded(node: Any) -> Any:
    if isinstance(node, dict):
        return {name: _rounded(value) for name, value in node.items()}
    return float(f"{node:.5g}") if isinstance(node, float) else node


def read(path: pathlib.Path) -> Result:
    """The result in a file.

    Raises:
      ValueError: if it is damaged, or was changed by hand; says what to do.
    """
    content = atomic.read_json(path, REMEDY)
    try:
        checksum = content.pop("sha256")
        if checksum != _checksum(content):
            raise ValueError("its checksum is another")
        return _result(content)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: damaged ({error}); {REMEDY}") from error


def _result(content: dict[str, Any]) -> Result:
    claim, masks = Claim.from_json(content), content["masks"]
    probe = {
        name.removeprefix("probe."): value
        for name, value in claim.settings.items()
        if name.startswith("probe.")
    }
    return Result(
        **{name: content[name] for name in AS_THEY_ARE},
        claim=claim,
        detectors=content.get("detectors", {}),  # a version before noted none
        masks=None if masks is None else finished.masks_of(claim.settings, masks),
        held_out=[dict(zip(LINE, x, strict=True)) for x in content["held_out"]],
        probe=packed_probe.unpack(content["probe"], probe),
    )


def check(path: pathlib.Path, result: Result, row: str, wanted: Claim) -> None:
    """Checks that a result is of the run that is meant.

    Args:
      path: where it lies.
      result: its content.
      row: of the run.
      wanted: the run; what it reads is compared as far as it is there.

    Raises:
      ValueError: naming the first thing that differs; says what to do.
    """
    difference = inputs.first_difference(
        result.claim, dataclasses.replace(wanted, settings=counted(wanted.settings))
    )
    if result.row != row:
        difference = f"row {result.row}, not {row}"
    for stage, number in versions.NUMBERS.items():
        before = result.numbers.get(stage)
        if before != number:
            difference = f"{stage} {before} of the code, not {number}"
    if difference:
        raise ValueError(f"{path}: is of a run with {difference}; {REMEDY}")
