"""Settings from files and command lines: loaded, overridden, checked."""

import dataclasses
import difflib
import pathlib
import re
import runpy
import typing
from collections.abc import Mapping
from typing import Any

from mmdiffmask import config, probe_settings, setting_checks, text_settings, values

_VIDEO = config.Experiment("x", data=config.Data(toy=config.Toy()))
_TEXT = config.Experiment("x", data=config.Texts(), model=config.Encoder())


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
    names = [name.split(".")[-1] for name in {**settings(_VIDEO), **settings(_TEXT)}]
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
    if not isinstance(experiment.model, config.Model):
        raise ValueError(
            f"--model {name}: is a model of video; one of texts has the sizes of its"
            " checkpoint: --set model.checkpoint"
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
        setting_checks.check_choice(full_name, hints[path[0]], new)
    return dataclasses.replace(node, **{path[0]: new})


def _renamed(full_name: str, text: str) -> str:
    """What to set instead of a setting of earlier versions; "" for other names."""
    assignment = f"{full_name}={text.strip()}"
    instead = config.RENAMED.get(assignment) or config.RENAMED.get(full_name)
    return f"--set {assignment}: no such setting any more; {instead}" if instead else ""


def _unknown(full_name: str, node: Any, name: str) -> str:
    prefix = full_name[: full_name.rfind(name)] if "." in full_name else ""
    known = [prefix + field.name for field in dataclasses.fields(node)]
    for other in (_VIDEO, _TEXT):
        if full_name in settings(other):
            kind = other.data.family
            return f"--set {full_name}: is a setting of runs of {kind} alone"
    everything = known + list(settings(_VIDEO))
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


def _member(hint: Any, stored: Mapping[str, Any], name: str) -> type | None:
    """The section that a setting is; of several the one that its family names."""
    kinds = [a for a in (hint, *typing.get_args(hint)) if dataclasses.is_dataclass(a)]
    family = stored.get(f"{name}.family", config.ADDED.get(f"{name}.family"))
    for kind in kinds:
        if getattr(kind, "family", family) == family:
            return kind
    return kinds[0] if kinds else None


def _gather(kind: type, stored: dict[str, Any], prefix: str) -> Any:
    hints, arguments = typing.get_type_hints(kind), {}
    for field in dataclasses.fields(kind):
        name, hint = prefix + field.name, hints[field.name]
        inner = _member(hint, stored, name)
        if name in stored:
            value = stored[name]
            is_list = isinstance(value, list)
            arguments[field.name] = tuple(value) if is_list else value
        elif inner and any(key.startswith(name + ".") for key in stored):
            arguments[field.name] = _gather(inner, stored, name + ".")
        else:
            raise ValueError(f"setting {name} is missing: written by another version")
    return kind(**arguments)


def check(experiment: config.Experiment) -> None:
    """Checks every setting against its choices and its range.

    Raises:
      ValueError: naming the setting, the value found and what is allowed.
    """
    setting_checks.check_node(experiment, "")
    text_settings.check_family(settings(experiment), settings(_VIDEO))
    if isinstance(experiment.data, config.Data):
        _check_video(experiment.data, experiment.model, experiment.masking)
    probe_settings.check(experiment.probe)
    masks = experiment.masking.masks
    if masks not in config.MASKS and not masks.endswith(".npz"):
        near = difflib.get_close_matches(masks, config.MASKS, n=1, cutoff=0.0)
        raise ValueError(
            f"masking.masks={masks}: must be one of {', '.join(config.MASKS)}, or an"
            f" .npz file of masks; did you mean {near[0]}?"
        )


def _check_video(
    data: config.Data, model: config.Model, masking: config.Masking
) -> None:
    if not masking.anchors:
        raise ValueError("masking.anchors=(): must be a tuple, not empty")
    if model.hidden % model.head_size:
        raise ValueError(
            f"model.hidden={model.hidden} must be a multiple of"
            f" model.head_size={model.head_size}"
        )
    for side in ("rows", "cols"):
        value = getattr(data, side)
        if value % 2:
            raise ValueError(f"data.{side}={value} must be even: cells are 2x2 patches")
