"""The scores of a run, packed: without names of clips, which a checksum stands for.

Items (clips of a label, questions) stand in the order of their clips' names, whatever
order they were scored in, so a position says which clip it is. Two runs that were
scored on other clips have other checksums, and so other names when they are read.
"""

import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmdiffmask.experiment import packed
from mmdiffmask.probe import results
from mmdiffmask.training.read_outs import clips as read_outs

LOGS = "log_probability"
BESIDE = ("floors", "streams", "right_distractors")  # of questions, beside their scores
INSIDE = "inside"  # of a label, beside its heads
# How fine log-probabilities may be kept, in steps of a nat (0: not at all), and which
# of these names are kept: the first that fits is taken.
FINE, ROUGH = (1000, 500, 200, 100), (100, 50, 20, 10, 0)
WAYS = (
    *itertools.product(FINE, [(*BESIDE, INSIDE)]),
    *itertools.product(ROUGH, [(INSIDE,)]),
    *itertools.product(ROUGH, [()]),
)
DIGITS = 6


def pack(
    probed: results.Probed, per_nat: int, kept: Sequence[str] = WAYS[0][1]
) -> dict[str, Any]:
    """The scores as JSON, answers and log-probabilities as strings.

    Settings of the probe are left out, as those of the run hold them. Of a label only
    the read-out that rows are compared by keeps its log-probabilities, and of questions
    those that are asked whole.

    Args:
      probed: the scores.
      per_nat: how fine log-probabilities are kept; 0: not at all.
      kept: names of what questions and labels keep beside their scores.
    """
    content = results.as_json(probed)
    content["key"] = {k: content["key"][k] for k in ("weights", "numbers", "manifest")}
    questions = content.get("questions")
    named = [entry["clips"] for entry in content["labels"].values()]
    named += [questions["clips"]] if questions else []
    names = sorted({name for each in named for name in each})
    place = {name: i for i, name in enumerate(names)}
    content["clips"] = {"n": len(names), "sha256": _checksum(names)}
    for entry in content["labels"].values():
        sides = entry.pop(INSIDE, None)
        _keep_first(entry)
        texts = entry.pop("texts", None)
        order = _sort_label(entry, place)
        if texts is not None:
            entry["texts"] = _texts(texts, order)
            for head in (entry[name] for name in _heads(entry)):
                head["few"] = _columns(head.pop("few", ()))
        if sides and INSIDE in kept:
            entry[INSIDE] = _sides(sides)
    if questions:
        for name in BESIDE:
            for entry in questions.get(name, {}).values():
                for scores in entry.values():
                    scores.pop(LOGS, None)
            if name not in kept:
                questions.pop(name, None)
        _sort_questions(questions, place)
    return _packed(content if per_nat else _without_logs(content), per_nat or 1000)


def _keep_first(label: dict[str, Any]) -> None:
    heads = _heads(label)
    for name in read_outs.ordered(heads)[1:]:
        label[name].pop(LOGS, None)


def _sort_label(label: dict[str, Any], place: Mapping[str, int]) -> np.ndarray:
    """Its clips as those of all that it has, its scores in their order."""
    numbers = np.array([place[name] for name in label.pop("clips")], int)
    order = np.argsort(numbers, kind="stable")
    _reorder(label, order)
    has_label = np.zeros(len(place), bool)
    has_label[numbers] = True
    label["clips"] = packed.pack_bits(has_label)
    return order


def _heads(label: Mapping[str, Any]) -> list[str]:
    return [name for name in label if name not in results.OF_LABEL]


def _columns(few: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Scores of fewer labels with their names once: of texts there are many draws."""
    names = list(dict.fromkeys(name for one in few for name in one))
    return {"names": names, "each": [[one.get(x) for x in names] for one in few]}


def _texts(texts: dict[str, Any], order: np.ndarray) -> dict[str, Any]:
    """Classes, groups and floors of rows of texts, in the order of the scores."""
    classes = texts.pop("classes")
    names = sorted(set(texts["groups"]))
    place = {name: i for i, name in enumerate(names)}
    texts["groups"] = [place[name] for name in texts["groups"]]
    _reorder(texts, order)
    texts["groups"] = packed.pack_whole(texts["groups"])
    return texts | {"classes": tuple(classes), "group_names": _checksum(names)}


def _sides(sides: dict[str, Any]) -> dict[str, Any]:
    """Which clips each side is right on, by the linear heads; clips of train and val.

    They are others than the label's, so a checksum of their own stands for them.
    """
    names = sides["clips"]
    _reorder(sides, np.argsort(np.array(names, str), kind="stable"))
    for name in results.SIDES:
        sides[name] |= {"is_right_knn": []}
        sides[name].pop(LOGS, None)
    return sides | {"clips": {"n": len(names), "sha256": _checksum(sorted(names))}}


def _sort_questions(questions: dict[str, Any], place: Mapping[str, int]) -> None:
    """Its questions by clip and id; kinds as numbers, ids as a checksum."""
    numbers = [place[name] for name in questions["clips"]]
    order = np.array(
        sorted(range(len(numbers)), key=lambda i: (numbers[i], questions["ids"][i])),
        int,
    )
    _reorder(questions, order)
    clip = np.sort(np.array(numbers, np.int64))
    kinds = list(dict.fromkeys(questions["kinds"]))
    of_each = np.array([kinds.index(name) for name in questions["kinds"]], np.int64)
    questions["clips"] = packed.pack_ints(np.diff(clip, prepend=0))
    questions["kinds"] = {"names": kinds, "each": packed.pack_ints(of_each)}
    ids = questions["ids"]
    questions["ids"] = {"n": len(ids), "sha256": _checksum(ids)}


def _reorder(node: dict[str, Any], order: np.ndarray) -> None:
    """Every list in it that has an entry for each item, in another order."""
    for name, value in node.items():
        if isinstance(value, dict):
            _reorder(value, order)
        elif isinstance(value, list | tuple) and len(value) == len(order):
            node[name] = [value[i] for i in order]


def _without_logs(node: Any) -> Any:
    if not isinstance(node, dict):
        return node
    return {name: _without_logs(v) for name, v in node.items() if name != LOGS}


def _packed(node: Any, per_nat: int, name: str = "") -> Any:
    """Answers and log-probabilities as strings; single numbers of few digits."""
    if isinstance(node, dict):
        return {key: _packed(value, per_nat, key) for key, value in node.items()}
    if isinstance(node, list | tuple):
        is_long = len(node) >= packed.SHORTEST
        is_numbers = all(x is None or isinstance(x, int | float) for x in node)
        if is_long and is_numbers and (name == LOGS or packed.is_exact(node)):
            return packed.pack(node, per_nat)
        if is_long and all(type(x) is int for x in node):
            return packed.pack_whole(node)
        return [_packed(value, per_nat) for value in node]
    return float(f"{node:.{DIGITS}g}") if isinstance(node, float) else node


def _checksum(names: Sequence[str]) -> str:
    return hashlib.sha256(json.dumps(list(names)).encode()).hexdigest()[:16]


def unpack(content: Mapping[str, Any], probe: Mapping[str, Any]) -> results.Probed:
    """The scores that `pack` packed; clips and questions have numbers for names.

    Args:
      content: what it gave.
      probe: settings of the probe, name -> value.

    Raises:
      ValueError: if a string is damaged.
      KeyError: if a part is missing; TypeError or AttributeError if it is another.
    """
    content = _unpacked(content)
    names = _numbered(**content.pop("clips"))
    for label in content["labels"].values():
        has_label = packed.unpack_bits(label["clips"], len(names))
        label["clips"] = [n for n, has in zip(names, has_label, strict=True) if has]
        if texts := label.get("texts"):
            checksum = texts.pop("group_names")
            texts["groups"] = [f"{checksum} {i:06}" for i in texts["groups"]]
            for head in (label[name] for name in _heads(label)):
                few = head["few"]
                head["few"] = [
                    dict(zip(few["names"], values, strict=True))
                    for values in few["each"]
                ]
        if sides := label.get(INSIDE):
            sides["clips"] = _numbered(**sides["clips"])
    if questions := content.get("questions"):
        ids, kinds = questions["ids"], questions["kinds"]
        steps = packed.unpack_ints(questions["clips"], ids["n"])
        questions["clips"] = [names[i] for i in np.cumsum(steps)]
        of_each = packed.unpack_ints(kinds["each"], ids["n"])
        questions["kinds"] = [kinds["names"][i] for i in of_each]
        questions["ids"] = _numbered(**ids)
    content["key"] = content["key"] | {"probe": dict(probe)}
    return results.from_json(content)


def _numbered(n: int, sha256: str) -> list[str]:
    """Names for so many that the checksum stands for."""
    return [f"{sha256} {i:06}" for i in range(n)]


def _unpacked(node: Any) -> Any:
    if packed.is_packed(node):
        return packed.unpack(node)
    if isinstance(node, dict):
        return {name: _unpacked(value) for name, value in node.items()}
    return [_unpacked(value) for value in node] if isinstance(node, list) else node
