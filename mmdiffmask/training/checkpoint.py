"""Saves and restores runs; keeps the latest and the best step, and the settings.

Of a run's folder: config.json and versions.json (what it is), start/ (first weights
and noise), steps/ (latest and best), metrics.jsonl and times.jsonl (see `loop`).
"""

import dataclasses
import json
import logging
import os
import pathlib
from typing import Any, Literal

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.sharding import Mesh
from orbax.checkpoint import checkpoint_managers

from mmdiffmask import versions
from mmdiffmask.training import mesh as meshes
from mmdiffmask.training import steps
from mmdiffmask.training.family import Params

CONFIG, VERSIONS, STEPS, START = "config.json", "versions.json", "steps", "start"
Which = Literal["best", "last", "start"]
Manager = ocp.CheckpointManager


@dataclasses.dataclass(frozen=True)
class Progress:
    """Where a run stands.

    Attributes:
      step: updates done.
      best_step: the step with the lowest dev loss so far.
      best_loss: that loss; None before the first evaluation.
      bad_evaluations: evaluations since the best one.
      finished: why the run ended ("steps", "early stopping", "no training"), or None.
    """

    step: int = 0
    best_step: int = 0
    best_loss: float | None = None
    bad_evaluations: int = 0
    finished: str | None = None


def check_place(
    run_dir: str | pathlib.Path, settings: dict[str, Any], seed: int
) -> bool:
    """Whether the folder holds this run already; touches nothing.

    Args:
      run_dir: need not exist.
      settings: dotted name -> value (`configure.settings`).
      seed: of the run.

    Raises:
      ValueError: if the folder holds something else, or a run with other settings or
        another seed (the first that differs is named).
    """
    run_dir = pathlib.Path(run_dir)
    if not (run_dir / CONFIG).is_file():
        _check_empty(run_dir)
        return False
    wanted = _content(settings, seed)
    difference = _first_difference(read_json(run_dir / CONFIG), wanted)
    if difference:
        raise ValueError(
            f"{run_dir}: holds a run with {difference}; go on with the same settings,"
            " or choose another --workdir"
        )
    return True


def claim(run_dir: str | pathlib.Path, settings: dict[str, Any], seed: int) -> None:
    """Makes the folder this run's, if it is not yet. Arguments as in `check_place`.

    Raises:
      ValueError: as `check_place`.
    """
    run_dir = pathlib.Path(run_dir)
    if not check_place(run_dir, settings, seed):
        run_dir.mkdir(parents=True, exist_ok=True)
        write_json(run_dir / CONFIG, _content(settings, seed))
    if not (run_dir / VERSIONS).is_file():
        write_json(run_dir / VERSIONS, versions.of_packages())
    elif read_json(run_dir / VERSIONS) != versions.of_packages():
        logging.warning("%s: was begun with other versions of packages", run_dir)


def _content(settings: dict[str, Any], seed: int) -> dict[str, Any]:
    """What config.json holds, as JSON gives it back."""
    return json.loads(json.dumps({"seed": seed, "settings": settings}))


def _check_empty(run_dir: pathlib.Path) -> None:
    """Refuses a folder of something else; a killed claim leaves only its .tmp."""
    if run_dir.exists() and not run_dir.is_dir():
        raise ValueError(f"{run_dir}: is a file; --workdir must be a folder")
    if any(path.name != CONFIG + ".tmp" for path in run_dir.glob("*")):
        raise ValueError(
            f"{run_dir}: holds no run but is not empty; choose another --workdir"
        )


def _first_difference(found: dict, wanted: dict) -> str | None:
    there, here = found.get("settings", {}), wanted["settings"]
    pairs = {"--seed": (found.get("seed"), wanted["seed"])}
    pairs |= {n: (there.get(n), here.get(n)) for n in sorted(there | here)}
    for name, (old, new) in pairs.items():
        if old != new:
            return f"{name}={old}, not {new}"
    return None


def write_json(path: pathlib.Path, content: Any) -> None:
    """Writes a whole file or nothing."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    os.replace(temporary, path)


def read_json(path: pathlib.Path) -> Any:
    """The content of a JSON file.

    Raises:
      ValueError: if the file is damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path}: damaged ({error}); choose another --workdir"
        ) from error


def open_steps(run_dir: str | pathlib.Path) -> ocp.CheckpointManager:
    """The run's checkpoints: the latest step, and the best by dev loss.

    Only a step that improves on all before it is saved with a metric, so the one step
    with the lowest metric is the best. Saving is synchronous: buffers are donated to
    the next step, and the kept steps must not depend on when a thread ran.
    """
    kept = checkpoint_managers.AnyPreservationPolicy(
        [
            checkpoint_managers.LatestN(1),
            checkpoint_managers.BestN(
                get_metric_fn=lambda metrics: metrics["dev_loss"],
                reverse=True,  # the lowest counts
                n=1,
                keep_checkpoints_without_metrics=False,
            ),
        ]
    )
    options = ocp.CheckpointManagerOptions(
        best_fn=lambda metrics: metrics["dev_loss"],
        best_mode="min",
        preservation_policy=kept,
        enable_async_checkpointing=False,
    )
    folder = os.path.abspath(pathlib.Path(run_dir) / STEPS)
    # Named here, as a manager that has not saved an item can not tell of it otherwise.
    handlers = {
        "params": ocp.StandardCheckpointHandler(),
        "optimizer": ocp.StandardCheckpointHandler(),
        "progress": ocp.JsonCheckpointHandler(),
    }
    return ocp.CheckpointManager(folder, options=options, item_handlers=handlers)


def save(
    manager: ocp.CheckpointManager, state: steps.TrainState, progress: Progress
) -> None:
    """Saves the state of `progress.step`; as the best one if it is."""
    is_best = progress.best_step == progress.step
    manager.save(
        progress.step,
        args=ocp.args.Composite(
            params=ocp.args.StandardSave(state.params),
            optimizer=ocp.args.StandardSave(state.opt_state),
            progress=ocp.args.JsonSave(dataclasses.asdict(progress)),
        ),
        metrics={"dev_loss": progress.best_loss or 0.0} if is_best else None,
        force=True,
    )
    manager.wait_until_finished()


def read_progress(manager: ocp.CheckpointManager) -> Progress | None:
    """Where the run stands; None before its first save."""
    step = manager.latest_step()
    if step is None:
        return None
    items = ocp.args.Composite(progress=ocp.args.JsonRestore())
    return Progress(**manager.restore(step, args=items)["progress"])


def restore(
    manager: ocp.CheckpointManager, like: steps.TrainState, mesh: Mesh
) -> steps.TrainState:
    """The latest state, in the shapes of `like`, on the mesh.

    Raises:
      ValueError: if the saved arrays have other names, shapes or types.
    """
    step = manager.latest_step()
    found = manager.item_metadata(step)
    check_same(_tree(found["params"]), like.params, manager.directory)
    target = _abstract((like.params, like.opt_state), meshes.replicated(mesh))
    items = manager.restore(
        step,
        args=ocp.args.Composite(
            params=ocp.args.StandardRestore(target[0]),
            optimizer=ocp.args.StandardRestore(target[1]),
        ),
    )
    count = jax.device_put(np.int32(step), meshes.replicated(mesh))
    return steps.TrainState(items["params"], items["optimizer"], count)


def save_start(
    run_dir: str | pathlib.Path, params: Params, values: dict[str, Any]
) -> None:
    """Saves first weights and what is held beside them; whole or not at all."""
    folder = os.path.abspath(pathlib.Path(run_dir) / START)
    with ocp.StandardCheckpointer() as saver:
        saver.save(folder, {"start": params, **values}, force=True)


def restore_start(
    run_dir: str | pathlib.Path, params: Params, mesh: Mesh
) -> tuple[Params, dict[str, Any]] | None:
    """First weights and what is held beside them, on the mesh; None before that.

    Args:
      run_dir: of the run.
      params: the model's weights or their shapes, to check against.
      mesh: where the arrays go.

    Raises:
      ValueError: if the saved model is of another size.
    """
    folder = pathlib.Path(os.path.abspath(run_dir)) / START
    if not folder.is_dir():
        return None
    with ocp.StandardCheckpointer() as saver:
        found = _tree(saver.metadata(folder))
        check_same(found["start"], params, folder)
        target = _abstract(found, meshes.replicated(mesh))
        values = saver.restore(folder, target)
        return values.pop("start"), values


def load_params(run_dir: str | pathlib.Path, which: Which = "best") -> Params:
    """The weights of a run, on the default device, whatever they were trained on.

    Args:
      run_dir: of the run.
      which: "best" (lowest dev loss), "last", or "start" (before any update).

    Raises:
      ValueError: if the folder holds no run or the run has no checkpoint yet.
    """
    run_dir = pathlib.Path(run_dir)
    if not (run_dir / CONFIG).is_file():
        raise ValueError(f"{run_dir}: no run here; start one with mmdiffmask pretrain")
    here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    if which == "start" and (run_dir / START).is_dir():
        folder = os.path.abspath(run_dir / START)
        with ocp.StandardCheckpointer() as saver:
            target = _abstract(_tree(saver.metadata(folder)), here)
            return saver.restore(folder, target)["start"]
    with open_steps(run_dir) as manager:
        step = manager.best_step() if which == "best" else manager.latest_step()
        if step is None or which == "start":
            raise ValueError(f"{run_dir}: no checkpoint yet; run mmdiffmask pretrain")
        target = _abstract(_tree(manager.item_metadata(step)["params"]), here)
        items = ocp.args.Composite(params=ocp.args.StandardRestore(target))
        return manager.restore(step, args=items)["params"]


def check_same(found: Any, wanted: Any, place: Any) -> None:
    """Compares names, shapes and types of two trees of arrays.

    Orbax casts types silently and explains shapes at length.

    Raises:
      ValueError: naming the first array that differs.
    """
    there, here = _shapes(found), _shapes(wanted)
    for name in sorted(there | here):
        if there.get(name) != here.get(name):
            raise ValueError(
                f"{place}: the checkpoint's {name} is {there.get(name, 'absent')}, the"
                f" model's {here.get(name, 'absent')}; use its own settings"
            )


def _shapes(tree: Any) -> dict[str, str]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): (
            f"{np.dtype(leaf.dtype).name}{list(leaf.shape)}"
        )
        for path, leaf in leaves
    }


def _tree(metadata: Any) -> Any:
    """A tree of saved arrays' shapes and types, from what Orbax tells of an item."""
    tree = getattr(metadata, "tree", metadata)
    tree = getattr(metadata, "item_metadata", tree)
    return getattr(tree, "tree", tree)


def _abstract(tree: Any, sharding: jax.sharding.Sharding) -> Any:
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), tree
    )
