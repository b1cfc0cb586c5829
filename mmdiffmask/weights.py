"""Reads, describes and converts checkpoints: official files, Orbax folders, runs."""

import collections
import difflib
import hashlib
import json
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from etils import epath

from mmdiffmask import config, run_files
from mmdiffmask.models.reserve import (
    checkpoints,
    official_file,
    official_writer,
    orbax_folder,
    sizes,
)
from mmdiffmask.run_folder import RunFolder
from mmdiffmask.training import checkpoint

CHOICES = {
    "all": checkpoints.PARTS,
    "body": checkpoints.BODY,
    "finetuned": checkpoints.FINETUNED,
}


def read(
    name_or_path: str | os.PathLike, which: checkpoint.Which = "best"
) -> official_file.Stored:
    """What a checkpoint holds: as `checkpoints.read`, or a run's weights.

    Args:
      name_or_path: official file, Orbax folder, run, or name of a shipped checkpoint.
      which: of a run.

    Raises:
      ValueError: naming the path, what was expected and what was found.
    """
    path = checkpoints.resolve(name_or_path)
    if not is_run(path):
        return checkpoints.read(path)
    folder = RunFolder(path)
    params = checkpoint.load_params(folder, which)
    return official_file.Stored(checkpoint.step_of(folder, which), params)


def is_run(path: str | os.PathLike) -> bool:
    """Whether a folder is that of a run; one of an encoder has another config.json.

    One that is damaged counts as a run's: what reads it says so.
    """
    if "://" in str(path) or not RunFolder(path).has(run_files.CONFIG):
        return False
    try:
        content = json.loads(RunFolder(path).at(run_files.CONFIG).read_bytes())
    except ValueError:
        return True
    return not isinstance(content, dict) or "hidden_size" not in content


def fingerprint(params: Any) -> str:
    """The sha256 of weights: names, types, shapes and bytes of their arrays."""
    digest = hashlib.sha256()
    for name, leaf in sorted(official_file.flatten(params).items()):
        leaf = np.asarray(leaf)
        digest.update(f"{name} {leaf.dtype.name} {leaf.shape}\n".encode())
        digest.update(np.ascontiguousarray(leaf).tobytes())
    return digest.hexdigest()


def fingerprint_of(name_or_path: str, which: checkpoint.Which = "best") -> str | None:
    """`fingerprint` of a checkpoint as in `read`; None where there is nothing.

    The same weights have the same one, in whatever file, folder or run they lie.

    Raises:
      ValueError: as `read`.
    """
    path = checkpoints.resolve(name_or_path)
    try:
        is_there = epath.Path(path).exists()
    except ImportError:  # a bucket without its package: reading it says so
        return None
    return fingerprint(read(path, which).params) if is_there else None


def load(
    name_or_path: str | os.PathLike,
    settings: config.Model,
    parts: Sequence[str] = checkpoints.PARTS,
    tokens: int | None = None,
    which: checkpoint.Which = "best",
) -> checkpoints.Params:
    """A checkpoint's parameters for the model of the settings, float32 numpy arrays.

    Args:
      name_or_path: as in `read`.
      settings: the model's sizes.
      parts: as in `checkpoints.fit`.
      tokens: entries of the tokenizer that goes with the model, if known.
      which: of a run.

    Raises:
      ValueError: as `checkpoints.fit` and `read`.
    """
    stored = read(name_or_path, which)
    return checkpoints.fit(stored.params, str(name_or_path), settings, parts, tokens)


def load_stored(
    name_or_path: str | os.PathLike,
    settings: config.Model,
    tokens: int | None = None,
    which: checkpoint.Which = "best",
) -> official_file.Stored:
    """As `load`, with the step: the parts that the checkpoint has, at least the body.

    Args: as of `load`.

    Raises:
      ValueError: as `load`.
    """
    stored = read(name_or_path, which)
    parts = [
        part
        for part in checkpoints.PARTS
        if part in stored.params or part in checkpoints.BODY
    ]
    params = checkpoints.fit(stored.params, str(name_or_path), settings, parts, tokens)
    return official_file.Stored(stored.step, params)


def inspect(path: str, size: str | None = None) -> str:
    """What a checkpoint holds, in lines of text.

    Args:
      path: as in `read`.
      size: name of a size that it must have; None: any.

    Raises:
      ValueError: if it cannot be read, or is not of that size.
    """
    stored = read(path)
    if size is not None:
        parts = [part for part in checkpoints.PARTS if part in stored.params]
        checkpoints.fit(stored.params, path, _named(size), parts)
    leaves = official_file.flatten(stored.params)
    types = sorted({leaf.dtype.name for leaf in leaves.values()})
    count, arrays = collections.Counter(), collections.Counter()
    for name, leaf in leaves.items():
        count[name.split("/")[0]] += leaf.size
        arrays[name.split("/")[0]] += 1
    lines = [
        f"{path}: {_kind(path)}",
        *_bytes(path, stored),
        f"step {stored.step}; optimizer state: {_optimizer(stored.opt_state)}",
        f"types of parameters: {', '.join(types)}",
        *(f"  {p:20} {count[p]:>13,} in {arrays[p]:>3} arrays" for p in sorted(count)),
        f"  {'total':20} {count.total():>13,} in {len(leaves):>3} arrays",
        *_size_lines(path, stored),
    ]
    return "\n".join(lines)


def _kind(path: str) -> str:
    path = checkpoints.resolve(path)
    if is_run(path):
        return "a run of mmdiffmask, its best step"
    is_folder = epath.Path(path).is_dir()
    return "an Orbax folder" if is_folder else "an official file (msgpack)"


def _length(path: str) -> int | None:
    """Bytes of a file; a folder has no such number."""
    target = epath.Path(checkpoints.resolve(path))
    return None if target.is_dir() else target.stat().length


def _bytes(path: str, stored: official_file.Stored) -> list[str]:
    """The size of a file, and what the format gives for its names and shapes."""
    n_bytes = _length(path)
    if n_bytes is None:
        return []
    has_optimizer = _optimizer(stored.opt_state) == "Adam's"
    wanted = official_writer.size(stored.params, stored.step, has_optimizer)
    verdict = "as" if n_bytes == wanted else f"not the {wanted:,} that"
    return [f"{n_bytes:,} bytes, {verdict} the format gives for its names and shapes"]


def _optimizer(state: Any) -> str:
    if state is None:
        return "none"
    adam = state.get("0") if isinstance(state, dict) else None
    is_known = isinstance(adam, dict) and set(adam) == {"count", "mu", "nu"}
    return "Adam's" if is_known else "of another layout, not read"


def _size_lines(path: str, stored: official_file.Stored) -> list[str]:
    """Which named size the parameters have, and how an official file would differ."""
    model_sizes = sizes.of_params(stored.params)
    if not model_sizes:
        return ["sizes: not a MERLOT-Reserve model"]
    lines = [f"sizes: {sizes.describe(model_sizes)}"]
    absent = [part for part in checkpoints.PARTS if part not in stored.params]
    if absent:
        lines.append(f"without {', '.join(absent)}")
    name, differ = sizes.nearest(model_sizes)
    if name in sizes.OFFICIAL and not differ:
        plain = sizes.official_bytes(config.MODELS[name])
        with_state = sizes.official_bytes(config.MODELS[name], has_optimizer=True)
        is_size = "has" if _length(path) in (plain, with_state) else "has not"
        lines.append(
            f"{is_size} the size of an official {name} file: {plain:,} bytes, with"
            f" optimizer {with_state:,}"
        )
    return lines


def _named(size: str) -> config.Model:
    if size not in config.MODELS:
        near = difflib.get_close_matches(size, config.MODELS, n=1, cutoff=0.0)
        raise ValueError(
            f"--size {size}: must be one of {', '.join(config.MODELS)}; did you mean"
            f" {near[0]}?"
        )
    return config.MODELS[size]


def convert_official(
    path: str, out: str, size: str | None = None, parts: str = "all"
) -> str:
    """Writes an official file's parameters, as stored, into an Orbax folder.

    Args:
      path: official file.
      out: folder to make.
      size: name of the size it must have; None: whatever its shapes say.
      parts: a key of `CHOICES`; the rest is left out.

    Returns:
      What was done.

    Raises:
      ValueError: if the parameters are not whole, or `out` exists.
    """
    stored, kept = read(path), CHOICES[parts]
    model_sizes = sizes.of_params(stored.params)
    if size is None and not model_sizes:
        raise ValueError(f"{path}: holds no MERLOT-Reserve model; see weights inspect")
    settings = _named(size) if size is not None else sizes.to_settings(model_sizes)
    checkpoints.fit(stored.params, path, settings, kept)
    params = {part: stored.params[part] for part in sorted(kept)}
    orbax_folder.write(out, params, stored.step)
    left = [part for part in sorted(stored.params) if part not in kept]
    left += [] if stored.opt_state is None else ["optimizer state"]
    return (
        f"{out}: {', '.join(params)} of step {stored.step}"
        + (f"; left out: {', '.join(left)}" if left else "")
        + f"; train from it with --set model.checkpoint={out}"
    )


def export(path: str, out: str, which: checkpoint.Which = "best") -> str:
    """Writes the weights of a run or a folder as an official file.

    Args:
      path: as in `read`.
      out: file to write.
      which: of a run.

    Returns:
      What was done.

    Raises:
      ValueError: if there are no weights, `out` exists, or float16 cannot hold them.
    """
    if epath.Path(out).exists():
        raise ValueError(f"{out}: exists already; name a file to be made")
    stored = read(path, which)
    model_sizes = sizes.of_params(stored.params)
    if not model_sizes:
        raise ValueError(f"{path}: holds no MERLOT-Reserve model; see weights inspect")
    official_writer.write(out, stored.params, stored.step)
    length = epath.Path(out).stat().length
    described = sizes.describe(model_sizes)
    return f"{out}: step {stored.step}, {length:,} bytes, {described}"
