"""Encoders of text: a folder of reference values for each model, whatever its name.

A folder with a config.json holds weights (`mlm`, `cls`: safetensors or torch's form, in
one file or in shards), inputs.npz, outputs.npz and scalars.json; one with a texts.json
is read by `bert_texts`.
"""

import functools
import pathlib
import re
from collections.abc import Iterator

import jax
import numpy as np

from benchmarks.golden import bert_texts, bert_training, folder
from benchmarks.golden.bert_case import INPUTS, KINDS, Case
from benchmarks.golden.compare import Row, largest
from mmdiffmask.models import weight_folder
from mmdiffmask.models.bert import checkpoints
from mmdiffmask.models.bert import settings as bert_settings
from mmdiffmask.types import Array

RELATIVE = 1e-5  # of the largest magnitude, or of a least one
LEAST, LEAST_GRADIENT = 1.0, 0.1
WEIGHTS = ("*.safetensors", "*.bin", "*.pt", "*.pth")
_MASKED = r"^head_mask[_/:.]|[_/:.]head_mask(?=$|[_/:.])"

Verdicts = Iterator[tuple[str, list[Row]]]


def rows(golden: pathlib.Path) -> Verdicts:
    """The verdict on every array of every subfolder; none if it was not compared.

    Raises:
      ValueError: if the folder is missing, or what it holds cannot be read.
    """
    if not golden.is_dir():
        raise ValueError(f"{golden}: no such folder")
    folders = sorted(path for path in golden.iterdir() if path.is_dir())
    folders = [path for path in folders if not path.name.startswith(".")]
    marks = (weight_folder.CONFIG, bert_texts.TEXTS)
    is_single = any((golden / name).is_file() for name in marks)
    for path in [golden] if is_single else folders:
        if (path / bert_texts.TEXTS).is_file():
            yield from bert_texts.rows(path)
        elif (path / weight_folder.CONFIG).is_file():
            yield from _model(path)
        else:
            yield path.name, []


def _model(path: pathlib.Path) -> Verdicts:
    """Everything that a model's folder holds but its inputs."""
    try:
        case = Case(path)
        for array in sorted(case.inputs.keys() - set(INPUTS)):
            yield f"{path.name}/inputs/{array}", []
        ours = _outputs(case)
        for array, theirs in case.outputs.items():
            row = f"{path.name}/outputs/{array}"
            yield row, [_verdict(row, ours[array], theirs)] if array in ours else []
        yield from bert_training.rows(case, path.name)
        yield from _other_files(case)
    except KeyError as error:
        raise ValueError(f"{path}: lacks {error}") from error


def _outputs(case: Case) -> dict[str, np.ndarray]:
    """Every output by name; where names speak of a head mask, with and without it."""
    mask = case.inputs.get("head_mask")
    masked = _of_all_kinds(case, mask)
    if mask is None or not any(re.search(_MASKED, name) for name in case.outputs):
        return masked
    arrays = _of_all_kinds(case, None)
    for name in case.outputs:
        inner = re.sub(_MASKED, "", name)
        if inner != name and inner in masked:
            arrays[name] = masked[inner]
    return arrays


def _of_all_kinds(case: Case, head_mask: Array | None) -> dict[str, np.ndarray]:
    """Outputs and gradients of both heads' models.

    Names without a prefix are the masked-LM model's; what that lacks, the other's.
    """
    arrays, plain = {}, {}
    for kind in KINDS:
        checkpoint = case.checkpoints[kind]
        if checkpoint is None:
            continue
        run = folder.fast_jit(functools.partial(case.run, kind))
        outputs = jax.device_get(run(checkpoint.params, head_mask))
        arrays |= {f"{kind}_{name}": x for name, x in outputs.items()}
        plain = outputs | plain
        if any(f"grad_{kind}:" in name for name in case.outputs):
            grads = bert_training.gradients(case, kind, head_mask)
            arrays |= {f"grad_{kind}:{name}": x for name, x in grads.items()}
    return plain | arrays


def _verdict(name: str, ours: np.ndarray, theirs: np.ndarray) -> Row:
    """Whether an array is as near as float32 allows."""
    ours = np.asarray(ours)
    if ours.shape != theirs.shape:
        return Row(name, np.inf, 0.0, f"shape {ours.shape}, not {theirs.shape}")
    least = LEAST_GRADIENT if "grad_" in name else LEAST
    size = max(least, float(np.abs(theirs).max(initial=0.0)))
    return Row(name, largest(ours, theirs), RELATIVE * size)


def _other_files(case: Case) -> Verdicts:
    """Arrays in other files, and weights again in another form."""
    name = case.folder.name
    for path in sorted(case.folder.glob("*.npz")):
        if path.stem not in ("inputs", "outputs"):
            arrays = folder.read_arrays(path)
            yield from ((f"{name}/{path.stem}/{array}", []) for array in arrays)
    used = [checkpoints.arrays_of(x) for x in case.checkpoints.values() if x]
    for path in sorted(p for form in WEIGHTS for p in case.folder.glob(form)):
        stem = path.name.split(".")[0]
        if re.search(r"-\d+-of-\d+$", stem) or path in _read_files(case):
            continue
        other = _arrays(case, path)
        same = next((x for x in used if x.keys() == other.keys()), None)
        row = f"{name}/{path.name}"
        worst = max((largest(other[k], x) for k, x in (same or {}).items()), default=0)
        yield row, [] if same is None else [Row(row, float(worst), 0.0)]


def _arrays(case: Case, path: pathlib.Path) -> dict[str, np.ndarray]:
    """The arrays of a file of weights, if they fit the folder's config.json."""
    config = weight_folder.read_config(case.folder)
    settings = bert_settings.from_config(config, str(case.folder))
    arrays = weight_folder.read_file(path)
    fitted = checkpoints.fit(arrays, str(path), settings, config)
    return checkpoints.arrays_of(fitted)


def _read_files(case: Case) -> set[pathlib.Path]:
    """The files that the weights were read from."""
    stems = [(kind,) for kind in KINDS] + [weight_folder.STEMS]
    places = (weight_folder.find(case.folder, stem) for stem in stems)
    return {path for path in places if path is not None}
