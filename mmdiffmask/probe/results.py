"""What probe.json holds: the scores of a run's read-outs, and what they depend on."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

from mmdiffmask import statistics
from mmdiffmask.probe.label_scores import (
    Few,
    Hits,
    Inside,
    Label,
    LabelHead,
    LogProbability,
    OfTexts,
)
from mmdiffmask.run_files import PROBE
from mmdiffmask.run_folder import RunFolder

ANSWERS_ONLY = "answers only"  # a floor: neither question nor clip
WHOLE = "whole"  # clip, sound, subtitles and question, as rows are scored


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
      few: with fewer labels (`probe.fractions`).
    """

    l2: float | None = None
    l2_of_fold: Sequence[float] = ()
    dev_loss: dict[str, float] = dataclasses.field(default_factory=dict)
    is_right: Hits
    log_probability: LogProbability = ()
    few: Sequence[Few] = ()


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
      streams: read-out -> "video", "subtitles" or "audio" alone -> its scores.
      right_distractors: read-out -> "whole" or "answers only" -> its scores where all
        wrong candidates are right answers of other questions.
    """

    kinds: Sequence[str]
    clips: Sequence[str]
    ids: Sequence[str]
    chance: float
    counts: dict[str, int] = dataclasses.field(default_factory=dict)
    unanswered: dict[str, int] = dataclasses.field(default_factory=dict)
    read_outs: dict[str, Scores]
    floors: dict[str, dict[str, Scores]] = dataclasses.field(default_factory=dict)
    streams: dict[str, dict[str, Scores]] = dataclasses.field(default_factory=dict)
    right_distractors: dict[str, dict[str, Scores]] = dataclasses.field(
        default_factory=dict
    )


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
OPTIONAL = ("questions", "left_out", "records", "unknown", "l2", "dev_loss", "few")
OPTIONAL += ("log_probability", "l2_of_fold", "streams", "right_distractors", "inside")
OPTIONAL += ("macro_f1", "predicted", "texts", "parts")
SIDES = ("inside", "outside")  # heads of `Inside`
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
    return {k: v for k, v in fields if k not in OPTIONAL or v not in (None, {}, (), [])}


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
    """The scores of `as_json`; KeyError, TypeError or AttributeError: of no such."""
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
    if "inside" in fields:
        sides = {n: LabelHead(**_with_few(content["inside"][n])) for n in SIDES}
        fields["inside"] = Inside(**content["inside"] | sides)
    if "texts" in fields:
        fields["texts"] = OfTexts(**content["texts"])
    read_outs = [name for name in content if name not in OF_LABEL]
    if not read_outs:
        raise KeyError("read-outs of a label")
    heads = {name: LabelHead(**_with_few(content[name])) for name in read_outs}
    return Label(heads=heads, **fields)


def _questions(content: Mapping[str, Any]) -> Questions:
    parts: dict[str, Any] = {"read_outs": _scores(content["read_outs"])}
    for view in ("floors", "streams", "right_distractors"):
        parts[view] = {n: _scores(x) for n, x in content.get(view, {}).items()}
    return Questions(**dict(content) | parts)


def _scores(content: Mapping[str, Any]) -> dict[str, Scores]:
    return {name: Scores(**_with_few(entry)) for name, entry in content.items()}


def _with_few(content: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a head, scores of fewer labels among them."""
    few = [Few(**entry) for entry in content.get("few", ())]
    return dict(content) | ({"few": few} if few else {})
