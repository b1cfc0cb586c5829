"""Settings from files and command lines: loaded, overridden, checked."""

import dataclasses
import difflib
import math
import pathlib
import re
import runpy
import typing
from collections.abc import Mapping
from typing import Any, Literal

from mmdiffmask import config, probe_settings, values


def load(path: str | pathlib.Path) -> config.Experiment:
    """The `get_config()` of a Python file.

    Raises:
      ValueError: if the file is missing, does not run, or holds no `get_config`
        that returns an `Experiment`.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: no such config file")
    try:
        get_config = runpy.run_path(str(path)).get("get_config")
        experiment = get_config() if callable(get_config) else None
    except (Exception, SystemExit) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        hint = _nearest_keyword(error)
        raise ValueError(f"{path}: does not run as a config: {reason}{hint}") from error
    if not isinstance(experiment, config.Experiment):
        raise ValueError(
            f"{path}: needs a function get_config() that returns config.Experiment"
        )
    try:
        check(experiment)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return experiment


def _nearest_keyword(error: BaseException) -> str:
    """For a keyword that no dataclass has: the setting that it looks like."""
    match = re.search(r"unexpected keyword argument '(\w+)'", str(error))
    if not isinstance(error, TypeError) or not match:
        return ""
    keyword = match[1]
    for name, instead in config.RENAMED.items():
        if name.split(".")[-1] == keyword:
            return f"; no such setting any more; {instead}"
    names = [name.split(".")[-1] for name in settings(config.Experiment("x"))]
    nearest = difflib.get_close_matches(keyword, names, n=1, cutoff=0.0)
    return f"; did you mean {nearest[0]}?"


def override(
    experiment: config.Experiment, assignments: list[str]
) -> config.Experiment:
    """The experiment with `section.name=value` settings replaced, checked again.

    Raises:
      ValueError: for a name that does not exist (with the nearest that does), a value
        of another type, or one out of its range.
    """
    for assignment in assignments:
        name, sign, text = assignment.partition("=")
        if not sign:
            raise ValueError(f"--set {assignment}: write it as name=value")
        experiment = _replace(experiment, name.strip(), name.strip().split("."), text)
    check(experiment)
    return experiment


def resize(experiment: config.Experiment, name: str) -> config.Experiment:
    """The experiment with the model of that name; how it is computed stays.

    What stays is `config.NO_SIZES`: where its weights come from, their type, and
    whether activations are kept.

    Raises:
      ValueError: for an unknown name, with the nearest known one.
    """
    if name not in config.MODELS:
        near = difflib.get_close_matches(name, config.MODELS, 1, 0.0)
        raise ValueError(
            f"--model {name}: must be one of {', '.join(config.MODELS)};"
            f" did you mean {near[0]}?"
        )
    kept = {field: getattr(experiment.model, field) for field in config.NO_SIZES}
    model = dataclasses.replace(config.MODELS[name], **kept)
    return dataclasses.replace(experiment, model=model)


def rows(experiment: config.Experiment) -> dict[str, config.Experiment]:
    """The rows of the comparison: name -> the experiment with the row's settings.

    A row is "name: setting=value; setting=value" in the form of --set.

    Raises:
      ValueError: for a row of another form, a name twice, or a setting that does not
        exist.
    """
    experiments: dict[str, config.Experiment] = {}
    for row in experiment.rows:
        name, sign, changes = (part.strip() for part in row.partition(":"))
        if not sign or not re.fullmatch(r"[\w][\w .%+()-]*", name):
            raise ValueError(
                f"row {row!r}: write it as 'name: setting=value; setting=value'"
            )
        if name in experiments:
            raise ValueError(f"row {name}: stands twice in rows")
        assignments = [part.strip() for part in changes.split(";") if part.strip()]
        for item in assignments:
            if (setting := item.partition("=")[0].strip()) in ("rows", "contrasts"):
                raise ValueError(f"row {name}: cannot change {setting}")
        experiments[name] = override(experiment, assignments)
    return experiments


def _replace(node: Any, full_name: str, path: list[str], text: str) -> Any:
    hints = typing.get_type_hints(type(node))
    if message := _renamed(full_name, text):
        raise ValueError(message)
    if path[0] not in hints:
        raise ValueError(_unknown(full_name, node, path[0]))
    value = getattr(node, path[0])
    if len(path) > 1:
        if not dataclasses.is_dataclass(value):
            raise ValueError(f"--set {full_name}: {path[0]} has no settings inside")
        new = _replace(value, full_name, path[1:], text)
    elif dataclasses.is_dataclass(value):
        names = ", ".join(f"{full_name}.{f.name}" for f in dataclasses.fields(value))
        raise ValueError(f"--set {full_name}: name one of its settings: {names}")
    else:
        new = values.parse(full_name, hints[path[0]], text)
        _check_choice(full_name, hints[path[0]], new)
    return dataclasses.replace(node, **{path[0]: new})


def _renamed(full_name: str, text: str) -> str:
    """What to set instead of a setting of earlier versions; "" for other names."""
    assignment = f"{full_name}={text.strip()}"
    instead = config.RENAMED.get(assignment) or config.RENAMED.get(full_name)
    return f"--set {assignment}: no such setting any more; {instead}" if instead else ""


def _unknown(full_name: str, node: Any, name: str) -> str:
    prefix = full_name[: full_name.rfind(name)] if "." in full_name else ""
    known = [prefix + field.name for field in dataclasses.fields(node)]
    everything = known + list(settings(config.Experiment("x")))
    nearest = difflib.get_close_matches(full_name, everything, n=1, cutoff=0.0)
    return f"--set {full_name}: no such setting; did you mean {nearest[0]}?"


def settings(node: Any, prefix: str = "") -> dict[str, Any]:
    """All settings by their dotted names."""
    value_of_name = {}
    for field in dataclasses.fields(node):
        value = getattr(node, field.name)
        if dataclasses.is_dataclass(value):
            value_of_name |= settings(value, f"{prefix}{field.name}.")
        else:
            value_of_name[prefix + field.name] = value
    return value_of_name


def from_settings(stored: dict[str, Any]) -> config.Experiment:
    """The experiment that `settings` took apart, also after a trip through JSON.

    Raises:
      ValueError: if a setting is missing or unknown: other code wrote them.
    """
    return _gather(config.Experiment, stored, "")


def _gather(kind: type, stored: dict[str, Any], prefix: str) -> Any:
    hints, arguments = typing.get_type_hints(kind), {}
    for field in dataclasses.fields(kind):
        name, hint = prefix + field.name, hints[field.name]
        inner = [
            a for a in (hint, *typing.get_args(hint)) if dataclasses.is_dataclass(a)
        ]
        if name in stored:
            value = stored[name]
            is_list = isinstance(value, list)
            arguments[field.name] = tuple(value) if is_list else value
        elif inner and any(key.startswith(name + ".") for key in stored):
            arguments[field.name] = _gather(inner[0], stored, name + ".")
        else:
            raise ValueError(f"setting {name} is missing: written by another version")
    return kind(**arguments)


def check(experiment: config.Experiment) -> None:
    """Checks every setting against its choices and its range.

    Raises:
      ValueError: naming the setting, the value found and what is allowed.
    """
    _check_node(experiment, "")
    if experiment.model.hidden % experiment.model.head_size:
        raise ValueError(
            f"model.hidden={experiment.model.hidden} must be a multiple of"
            f" model.head_size={experiment.model.head_size}"
        )
    for side in ("rows", "cols"):
        value = getattr(experiment.data, side)
        if value % 2:
            raise ValueError(f"data.{side}={value} must be even: cells are 2x2 patches")
    probe_settings.check(experiment.probe)
    masks = experiment.masking.masks
    if masks not in config.MASKS and not masks.endswith(".npz"):
        near = difflib.get_close_matches(masks, config.MASKS, n=1, cutoff=0.0)
        raise ValueError(
            f"masking.masks={masks}: must be one of {', '.join(config.MASKS)}, or an"
            f" .npz file of masks; did you mean {near[0]}?"
        )


def _check_node(node: Any, prefix: str) -> None:
    hints = typing.get_type_hints(type(node))
    for field in dataclasses.fields(node):
        name, value = prefix + field.name, getattr(node, field.name)
        hint = _present(hints[field.name], value)
        if dataclasses.is_dataclass(hint):
            _check_section(name, hint, value)
            _check_node(value, name + ".")
            continue
        if value is None and hint is None:
            continue
        if value == () and field.metadata.get("empty"):
            continue
        _check_type(name, hint, value)
        _check_choice(name, hint, value)
        for number in value if isinstance(value, tuple) else (value,):
            _check_range(name, number, field.metadata)


def _present(hint: Any, value: Any) -> Any:
    """The type that a value must have; None if it is missing and may be."""
    kinds = typing.get_args(hint)
    if type(None) not in kinds:
        return hint
    return None if value is None else next(k for k in kinds if k is not type(None))


def _check_section(name: str, kind: type, value: Any) -> None:
    if not isinstance(value, kind):
        shown = f"{value!r:.60}" if not isinstance(value, type) else "the class itself"
        raise ValueError(
            f"{name} is {shown}: must be a section, config.{kind.__name__}(...)"
        )


def _check_range(name: str, number: Any, limits: Mapping[str, Any]) -> None:
    """Numbers within their limits; infinite only where these say so."""
    if isinstance(number, str | bool) or number is None:
        return
    low, high = limits.get("low"), limits.get("high")
    below = low is not None and not number >= low  # so that NaN is out of range
    if below or (high is not None and number > high):
        allowed = f"from {low} to {high}" if high is not None else f"at least {low}"
        raise ValueError(f"{name}={number} is out of range: must be {allowed}")
    if not math.isfinite(number) and high != math.inf:
        raise ValueError(f"{name}={number}: must be a finite number")


def _check_type(name: str, hint: Any, value: Any) -> None:
    """Plain values of the annotated type; a whole number does as a float."""
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) is tuple:
        if not isinstance(value, tuple) or not value:
            raise ValueError(f"{name}={value!r}: must be a tuple, not empty")
        for item in value:
            _check_type(name, arguments[0], item)
    elif hint in (int, float, bool, str):
        kinds = (int, float) if hint is float else (hint,)
        is_switch = isinstance(value, bool)
        if not isinstance(value, kinds) or is_switch != (hint is bool):
            raise ValueError(f"{name}={value!r}: must be of type {hint.__name__}")


def _check_choice(name: str, hint: Any, value: Any) -> None:
    if typing.get_origin(hint) is tuple:
        for item in value:
            _check_choice(name, typing.get_args(hint)[0], item)
    if typing.get_origin(hint) is Literal and value not in typing.get_args(hint):
        choices = typing.get_args(hint)
        near = difflib.get_close_matches(str(value), choices, n=1, cutoff=0.0)
        raise ValueError(
            f"{name}={value}: must be one of {', '.join(choices)};"
            f" did you mean {near[0]}?"
        )
