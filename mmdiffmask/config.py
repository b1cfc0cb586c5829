"""Settings: frozen dataclasses, one per concern, a Python file, and `--set`."""

import dataclasses
import difflib
import hashlib
import json
import pathlib
import re
import runpy
import types
import typing
from typing import Any, Literal


def _at(low: float | int, high: float | int | None = None, **kw) -> dict:
    """Metadata of a number that must lie in [low, high]."""
    return {"metadata": {"low": low, "high": high, **kw}}


def _number(default, low: float | int, high: float | int | None = None):
    return dataclasses.field(default=default, **_at(low, high))


@dataclasses.dataclass(frozen=True)
class Toy:
    """The rendered data set (preprocessing/toy.py)."""

    domain: Literal["general", "people", "objects"] = "people"
    train_clips: int = _number(1500, 1)
    val_clips: int = _number(1500, 1)
    boxed_clips: int = _number(1500, 0)  # of train: detectors run, CPT uses them
    seed: int = _number(0, 0)


@dataclasses.dataclass(frozen=True)
class Data:
    """Windows, grid and sequences (DESIGN section 3)."""

    toy: Toy | None = None  # where no --data is given: the toy set is made
    segments: int = _number(7, 1, 16)
    sub_segments: int = _number(3, 1, 3)  # sound clips of 1.5556 s per segment
    rows: int = _number(12, 2)  # of patches of 16 x 16 pixels, which is fixed
    cols: int = _number(20, 2)
    min_overlap: float = _number(0.0, 0.0, 1.0)  # share of a patch a box must pass
    text_length: int = _number(256, 8)  # tokens of a text or audio stream
    tokenizer: str = "toy"  # "toy" (shipped), "reserve" (looked up), or a JSON file
    dev_share: float = _number(0.1, 0.0, 0.9)  # of TRAIN, by hash of the clip


@dataclasses.dataclass(frozen=True)
class Model:
    """MERLOT-Reserve's sizes (RESERVE.md section 1)."""

    hidden: int = _number(768, 32)
    head_size: int = _number(64, 32)
    vision_layers: int = _number(12, 1)
    audio_layers: int = _number(12, 1)
    span_layers: int = _number(4, 1)
    joint_layers: int = _number(12, 1)
    vocabulary: int = _number(32768, 16)
    scale_init: float = 1.0  # learned log-temperatures start here; small models: 3
    initialiser: Literal["reserve", "lecun"] = "reserve"  # small from scratch: lecun
    centre_pixels: bool = False  # small from scratch: True (TOY section 8)
    dtype: Literal["float32", "bfloat16"] = "float32"  # of computing; weights float32
    remat: bool = False
    checkpoint: str | None = None  # weights to start from; "small" (shipped), a path


# DESIGN section 6. Small models from scratch: initialiser, temperature and centred
# pixels as TOY.md sections 3 and 8 measured.
MODELS = {
    "tiny": Model(
        hidden=64,
        vision_layers=1,
        audio_layers=1,
        span_layers=1,
        joint_layers=1,
        vocabulary=512,
        scale_init=3.0,
        initialiser="lecun",
        centre_pixels=True,
    ),
    "small": Model(
        hidden=128,
        vision_layers=2,
        audio_layers=1,
        span_layers=1,
        joint_layers=2,
        vocabulary=2048,
        scale_init=3.0,
        initialiser="lecun",
        centre_pixels=True,
    ),
    "base": Model(),
    "large": Model(hidden=1024, vision_layers=24, joint_layers=24),
}


@dataclasses.dataclass(frozen=True)
class Masking:
    """What is hidden (DESIGN section 4)."""

    strategy: str = "difference"  # a name of masking.strategies.REGISTRY, or none
    boxes: Literal["body", "face", "object"] = "body"  # the units of box strategies
    mask_unit: Literal["patch", "cell"] = "cell"
    ratio: float = _number(0.25, 0.01, 0.95)  # appendix B: 25 % of the patches
    box_share: float = _number(1.0, 0.0, 1.0)
    selection: Literal["unit", "patch"] = "unit"
    select: Literal["sample", "top"] = "sample"
    fill: Literal["random", "none"] = "random"
    masks: Literal["static", "per_epoch"] = "static"
    anchors: tuple[str, ...] = ("person",)  # section 4: K = 1 for video
    label_embeddings: str | None = None  # .npz of label -> vector; None: label = anchor


@dataclasses.dataclass(frozen=True)
class Reserve:
    """Reserve's own objective (RESERVE.md section 4), and grounding at small scale."""

    target_share: float = _number(0.25, 0.0, 0.5)  # of sub-segments; twice: text, sound
    spans: int = _number(14, 1)  # most masked spans of an example
    word_share: float = _number(0.8, 0.0, 1.0)  # clips next to a target as words
    heard_share: float = _number(0.5, 0.0, 1.0)  # matching by sound, else by words
    cut_share: float = _number(0.1, 0.0, 1.0)  # groups cut into two videos
    random_text: str | None = None  # a text file, a paragraph a line; None: left out
    random_spans: int = _number(38, 1)  # masked in it
    clips: int = _number(0, 0)  # of a batch, for the three terms; 0: all of them
    # Weights of the terms; 0 leaves the term and its sequences out.
    imgs_to_audio: float = _number(1.0, 0.0)
    text_to_audio: float = _number(1.0, 0.0)
    stuff_to_span: float = _number(1.0, 0.0)
    patches: float = _number(1.0, 0.0)  # with objective reserve+patches
    closed_span: float = _number(0.0, 0.0)  # grounding, TOY.md section 3
    pooled_cells: float = _number(0.0, 0.0)  # grounding, TOY.md section 3
    # The closed vocabulary of the grounding terms: "toy", or a JSON file.
    words: str | None = None
    cloze_frames: int = _number(1, 1)  # of each clip, drawn anew each epoch
    cloze_masks: int = _number(3, 1)  # words hidden in a narration
    # Share of cloze texts that are a training question with its answer hidden: only
    # for pretraining a start, never in continued pretraining (DESIGN section 5).
    cloze_questions: float = _number(0.0, 0.0, 1.0)


@dataclasses.dataclass(frozen=True)
class Training:
    """Continued pretraining (DESIGN section 5)."""

    objective: Literal["patches", "reserve", "reserve+patches"] = "patches"
    optimiser: Literal["adamw", "reserve", "reserve_finetune"] = "adamw"
    steps: int = _number(10_000, 0)
    batch_size: int = _number(32, 2)
    lr: float = _number(5e-6, 0.0, 1.0)  # Table 4, CPT multimodal
    warmup_steps: int = _number(100, 0)
    b2: float = _number(0.98, 0.0, 1.0)
    eps: float = _number(1e-6, 0.0, 1.0)
    weight_decay: float = _number(0.1, 0.0, 1.0)
    decay_to: Literal["initial", "zero", "none"] = "initial"
    mask_site: Literal["patch_embedding", "vit_output"] = "patch_embedding"
    target: Literal["live", "initial"] = "live"
    streams: tuple[Literal["text", "audio"], ...] = ("text", "audio")
    eval_every: int = _number(100, 1)
    eval_clips: int = _number(256, 1)  # of dev, the first by id
    noise_clips: int = _number(512, 1)  # of train: statistics of the replacing noise
    patience: int = _number(3, 1)  # evaluations without a better dev loss
    early_stopping: bool = True
    save_every: int = _number(100, 1)


@dataclasses.dataclass(frozen=True)
class Probe:
    """Linear heads on frozen features (DESIGN section 7)."""

    read_outs: tuple[Literal["clip", "match", "answer"], ...] = ("clip",)
    labels: tuple[str, ...] = ("action", "object", "shirt")  # columns of labels.csv
    # Kinds of questions to tell apart in the tables, each "name=regular expression".
    kinds: tuple[str, ...] = ("all=",)
    questions: int = _number(100_000, 10)  # most of train that heads are fitted on
    eval_questions: int = _number(100_000, 10)  # most of val, the first by id
    floors: bool = True  # also without frames, sound, subtitles, question; untrained
    link: Literal["softmax", "sigmoid"] = "softmax"  # released code; paper's text
    # Of these the penalty is chosen on dev.
    l2: tuple[float, ...] = _number((1e-4, 1e-3, 1e-2, 1e-1, 1.0), 1e-9)
    neighbours: int = _number(10, 1)
    batch_size: int = _number(32, 1)
    checkpoint: Literal["best", "last"] = "best"  # last: after a fixed number of steps
    bootstrap: int = _number(2000, 100)  # resamples of clips for the 95 % interval


# Kinds of the toy set's questions, for `Probe.kinds`.
TOY_KINDS = (
    "object=^Which ",
    "colour=^What is the colour",
    "doing=^What is the person",
    "who=^Who is ",
    "scene=^Where ",
    "topic=^What does ",
    "speaker=^Who talks ",
)


@dataclasses.dataclass(frozen=True)
class Experiment:
    """Everything a run depends on but its seed."""

    name: str
    data: Data = Data()
    model: Model = Model()
    masking: Masking = Masking()
    training: Training = Training()
    reserve: Reserve = Reserve()
    probe: Probe = Probe()
    compare: tuple[str, ...] = ("none", "random", "difference")  # rows of the demo
    report_clips: int = _number(4, 1)


def load(path: str | pathlib.Path) -> Experiment:
    """The `get_config()` of a Python file.

    Raises:
      ValueError: if the file is missing, does not run, or holds no `get_config`
        that returns an `Experiment`.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: no such config file")
    try:
        found = runpy.run_path(str(path)).get("get_config")
        experiment = found() if callable(found) else None
    except Exception as error:
        hint = _nearest_keyword(error)
        raise ValueError(f"{path}: does not run as a config: {error}{hint}") from error
    if not isinstance(experiment, Experiment):
        raise ValueError(
            f"{path}: needs a function get_config() that returns config.Experiment"
        )
    check(experiment)
    return experiment


def _nearest_keyword(error: Exception) -> str:
    """For a keyword that no dataclass has: the setting that it looks like."""
    found = re.search(r"unexpected keyword argument '(\w+)'", str(error))
    if not isinstance(error, TypeError) or not found:
        return ""
    names = [name.split(".")[-1] for name in settings(Experiment("x"))]
    nearest = difflib.get_close_matches(found[1], names, 1, 0.0)
    return f"; did you mean {nearest[0]}?"


def override(experiment: Experiment, assignments: list[str]) -> Experiment:
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


def _replace(node: Any, full_name: str, path: list[str], text: str) -> Any:
    hints = typing.get_type_hints(type(node))
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
        new = _parse(full_name, hints[path[0]], text)
    return dataclasses.replace(node, **{path[0]: new})


def _unknown(full_name: str, node: Any, name: str) -> str:
    prefix = full_name[: full_name.rfind(name)] if "." in full_name else ""
    known = [prefix + field.name for field in dataclasses.fields(node)]
    everything = known + list(settings(Experiment("x")))
    nearest = difflib.get_close_matches(full_name, everything, 1, 0.0)
    return f"--set {full_name}: no such setting; did you mean {nearest[0]}?"


def settings(node: Any, prefix: str = "") -> dict[str, Any]:
    """All settings by their dotted names."""
    found = {}
    for field in dataclasses.fields(node):
        value = getattr(node, field.name)
        if dataclasses.is_dataclass(value):
            found |= settings(value, f"{prefix}{field.name}.")
        else:
            found[prefix + field.name] = value
    return found


def from_settings(values: dict[str, Any]) -> Experiment:
    """The experiment that `settings` took apart, also after a trip through JSON.

    Raises:
      ValueError: if a setting is missing or unknown: other code wrote them.
    """
    return _gather(Experiment, values, "")


def _gather(kind: type, values: dict[str, Any], prefix: str) -> Any:
    hints, found = typing.get_type_hints(kind), {}
    for field in dataclasses.fields(kind):
        name, hint = prefix + field.name, hints[field.name]
        inner = [
            a for a in (hint, *typing.get_args(hint)) if dataclasses.is_dataclass(a)
        ]
        if name in values:
            value = values[name]
            found[field.name] = tuple(value) if isinstance(value, list) else value
        elif inner and any(key.startswith(name + ".") for key in values):
            found[field.name] = _gather(inner[0], values, name + ".")
        else:
            raise ValueError(f"setting {name} is missing: written by another version")
    return kind(**found)


def _parse(name: str, hint: Any, text: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if text.lower() == "none" and type(None) in arguments:
            return None
        return _parse(name, next(a for a in arguments if a is not type(None)), text)
    if origin is tuple:
        items = [item.strip() for item in text.strip("()").split(",") if item.strip()]
        return tuple(_parse(name, arguments[0], item) for item in items)
    if origin is Literal:
        _check_choice(name, hint, text)
        return text
    if hint is bool and text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        if hint is bool:
            raise ValueError
        return hint(text)
    except ValueError:
        kind = {int: "a whole number", float: "a number", bool: "true or false"}
        raise ValueError(f"--set {name}={text}: needs {kind[hint]}") from None


def check(experiment: Experiment) -> None:
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


def _check_node(node: Any, prefix: str) -> None:
    hints = typing.get_type_hints(type(node))
    for field in dataclasses.fields(node):
        name, value = prefix + field.name, getattr(node, field.name)
        if dataclasses.is_dataclass(value):
            _check_node(value, name + ".")
            continue
        _check_type(name, hints[field.name], value)
        _check_choice(name, hints[field.name], value)
        low, high = field.metadata.get("low"), field.metadata.get("high")
        for number in value if isinstance(value, tuple) else (value,):
            _check_range(name, number, low, high)


def _check_range(
    name: str, number: Any, low: float | int | None, high: float | int | None
):
    below = low is not None and not number >= low  # so that NaN is out of range
    if below or (high is not None and number > high):
        limits = f"from {low} to {high}" if high is not None else f"at least {low}"
        raise ValueError(f"{name}={number} is out of range: must be {limits}")


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
        if not isinstance(value, kinds) or (hint is not bool and value is True):
            raise ValueError(f"{name}={value!r}: must be of type {hint.__name__}")


def _check_choice(name: str, hint: Any, value: Any) -> None:
    if typing.get_origin(hint) is tuple:
        for item in value:
            _check_choice(name, typing.get_args(hint)[0], item)
    if typing.get_origin(hint) is Literal and value not in typing.get_args(hint):
        choices = typing.get_args(hint)
        near = difflib.get_close_matches(str(value), choices, 1, 0.0)
        raise ValueError(
            f"{name}={value}: must be one of {', '.join(choices)};"
            f" did you mean {near[0]}?"
        )


def to_json(node: Any) -> str:
    """The settings as JSON, in a fixed order."""
    return json.dumps(dataclasses.asdict(node), indent=1, sort_keys=True)


def fingerprint(*nodes: Any) -> str:
    """12 hex digits that change with any setting of the nodes."""
    text = "\n".join(n if isinstance(n, str) else to_json(n) for n in nodes)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
