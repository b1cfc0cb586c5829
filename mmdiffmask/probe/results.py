"""What probe.json holds: the scores of a run's read-outs, and what they depend on."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

from mmdiffmask import statistics
from mmdiffmask.run_files import PROBE
from mmdiffmask.run_folder import RunFolder

Hits = Sequence[int | float]  # 1 = right, 0 = wrong, a tie as its share (`ties.hits`)
# Natural logarithm of the probability of the right one, as `ties.log_probability`; None
# where there is none, as no head can name a class that it was not fitted on.
LogProbability = Sequence[float | None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Key:
    """What the scores depend on: the same key, the same scores.

    Attributes:
      probe: settings of the probe, as JSON has them.
      data: settings of the data, likewise.
      weights: fingerprint of the weights that were read out.
      numbers: `versions.number` of the stages.
      manifest: identity of the records.
    """

    probe: dict[str, Any]
    data: dict[str, Any] = dataclasses.field(default_factory=dict)
    weights: str = ""
    numbers: str = ""
    manifest: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelHead:
    """One label from one kind of features.

    Attributes:
      l2: penalty of the linear head, chosen on dev; None with folds.
      l2_of_fold: with folds, the penalty that the others chose for each.
      dev_loss: penalty, as text -> its loss on dev, or the loss that folds chose by.
      is_right: per clip of val, by the linear head.
      is_right_knn: by the nearest neighbours.
      log_probability: per clip of val, by the linear head; empty where a version
        before did not note it.
    """

    l2: float | None = None
    l2_of_fold: Sequence[float] = ()
    dev_loss: dict[str, float] = dataclasses.field(default_factory=dict)
    is_right: Hits
    is_right_knn: Hits
    log_probability: LogProbability = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Label:
    """The read-outs of one label.

    In the file the heads stand beside the other fields, each by its name.

    Attributes:
      heads: read-out -> its head and scores.
      floors: what needs no features.
      unknown: class that train lacks -> how many clips of val are of it.
      clips: the clips of val that have the label, in the order of the hits.
    """

    heads: dict[str, LabelHead]
    floors: statistics.Floors
    unknown: dict[str, int] = dataclasses.field(default_factory=dict)
    clips: Sequence[str]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scores:
    """One read-out of the questions, or one of its floors.

    Attributes:
      l2: penalty of the head, chosen on dev; None where there is no head, with folds,
        and of floors.
      l2_of_fold: with folds, the penalty that the others chose for each.
      dev_loss: penalty, as text -> its loss on dev; empty without a head.
      is_right: per question of val.
      log_probability: per question of val; empty of floors, and where a version before
        did not note it.
    """

    l2: float | None = None
    l2_of_fold: Sequence[float] = ()
    dev_loss: dict[str, float] = dataclasses.field(default_factory=dict)
    is_right: Hits
    log_probability: LogProbability = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Questions:
    """The read-outs of the questions of val; lists are in the order of the hits.

    Attributes:
      kinds: of each question; "" where it is of none.
      clips: of each question.
      ids: of each question.
      chance: of guessing.
      counts: split -> how many questions were used.
      unanswered: split -> how many were left out, their answer not being known.
      read_outs: "zero-shot", "match" or "answer" -> its scores.
      floors: read-out -> name of what needs less than the whole -> its scores.
    """

    kinds: Sequence[str]
    clips: Sequence[str]
    ids: Sequence[str]
    chance: float
    counts: dict[str, int] = dataclasses.field(default_factory=dict)
    unanswered: dict[str, int] = dataclasses.field(default_factory=dict)
    read_outs: dict[str, Scores]
    floors: dict[str, dict[str, Scores]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Probed:
    """All that probe.json holds.

    Attributes:
      key: what the scores depend on.
      labels: name -> its read-outs; empty where `clip` was not asked for.
      step: of the weights that were read out.
      questions: None where they were not asked.
      left_out: label -> why there is nothing to tell apart by it.
      records: path ("value") and "sha256" of the records, where they are not those that
        the run trained on.
    """

    key: Key
    labels: dict[str, Label]
    step: int
    questions: Questions | None = None
    left_out: dict[str, str] = dataclasses.field(default_factory=dict)
    records: dict[str, str] = dataclasses.field(default_factory=dict)


# Fields that the file lacks where they are None or empty.
OPTIONAL = ("questions", "left_out", "records", "unknown", "l2", "dev_loss")
OPTIONAL += ("log_probability", "l2_of_fold")
OF_LABEL = frozenset(field.name for field in dataclasses.fields(Label)) - {"heads"}


def mean_log(logs: LogProbability) -> float | None:
    """The mean where there is one; None where there is none at all."""
    known = [value for value in logs if value is not None]
    return sum(known) / len(known) if known else None


def write(folder: RunFolder, probed: Probed) -> None:
    """Writes probe.json."""
    folder.write(PROBE, as_json(probed))


def as_json(probed: Probed) -> dict[str, Any]:
    """The content of probe.json."""
    content = dataclasses.asdict(probed, dict_factory=_present)
    labels = {name: _beside(entry) for name, entry in content["labels"].items()}
    return content | {"labels": labels}


def _beside(entry: dict[str, Any]) -> dict[str, Any]:
    """A label with its heads beside the other fields."""
    heads = entry.pop("heads")
    assert not heads.keys() & OF_LABEL, "a read-out is called like a field"
    return heads | entry


def _present(fields: list[tuple[str, Any]]) -> dict[str, Any]:
    return {k: v for k, v in fields if k not in OPTIONAL or v not in (None, {}, ())}


def read(folder: RunFolder) -> Probed | None:
    """The content of probe.json; None where the run was not probed.

    Raises:
      ValueError: if it is damaged.
    """
    if not folder.has(PROBE):
        return None
    content = folder.read(PROBE)
    try:
        return from_json(content)
    except (KeyError, TypeError, AttributeError) as error:
        raise folder.damaged(PROBE, f"{error!r}") from error


def from_json(content: Mapping[str, Any]) -> Probed:
    """The scores that `as_json` took apart.

    Raises:
      KeyError: if a part is missing; TypeError or AttributeError if it is another.
    """
    questions = content.get("questions")
    return Probed(
        key=_key(content["key"]),
        labels={name: _label(entry) for name, entry in content["labels"].items()},
        step=content["step"],
        questions=None if questions is None else _questions(questions),
        left_out=content.get("left_out", {}),
        records=content.get("records", {}),
    )


def _key(content: Mapping[str, Any]) -> Key:
    """Versions before had other parts too."""
    names = [field.name for field in dataclasses.fields(Key)]
    return Key(**{name: content[name] for name in names if name in content})


def make_key(**parts: Any) -> Key:
    """A key as JSON gives it back; see `Key`."""
    return Key(**json.loads(json.dumps(parts)))


def _label(content: Mapping[str, Any]) -> Label:
    fields = {name: content[name] for name in OF_LABEL if name in content}
    fields["floors"] = statistics.Floors(**content["floors"])
    read_outs = [name for name in content if name not in OF_LABEL]
    if not read_outs:
        raise KeyError("read-outs of a label")
    heads = {name: LabelHead(**content[name]) for name in read_outs}
    return Label(heads=heads, **fields)


def _questions(content: Mapping[str, Any]) -> Questions:
    read_outs, floors = content["read_outs"], content.get("floors", {})
    return Questions(
        **dict(content)
        | {
            "read_outs": _scores(read_outs),
            "floors": {name: _scores(entry) for name, entry in floors.items()},
        }
    )


def _scores(content: Mapping[str, Any]) -> dict[str, Scores]:
    return {name: Scores(**entry) for name, entry in content.items()}
