"""Saves and restores the weights of runs with Orbax; keeps the latest and best step.

Of a run's folder: start/ (first weights and noise), steps/ (latest and best) and what
`saved` notes of them. Nothing that is lost or damaged is replaced by something else.
"""

import contextlib
import dataclasses
import os
from collections.abc import Iterator
from typing import Any, Literal

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.sharding import Mesh
from orbax.checkpoint import checkpoint_managers

from mmdiffmask.models.reserve import orbax_folder
from mmdiffmask.run_files import START, STEPS
from mmdiffmask.run_folder import RunFolder
from mmdiffmask.training import mesh as meshes
from mmdiffmask.training import saved, steps
from mmdiffmask.training.family import Params

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


@contextlib.contextmanager
def open_steps(run: RunFolder) -> Iterator[ocp.CheckpointManager]:
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
    # Named here, as a manager that has not saved an item cannot tell of it otherwise.
    handlers = {
        "params": ocp.StandardCheckpointHandler(),
        "optimizer": ocp.StandardCheckpointHandler(),
        "progress": ocp.JsonCheckpointHandler(),
    }
    with orbax_folder.plain(run.path) as folder:
        with ocp.CheckpointManager(
            folder / STEPS, options=options, item_handlers=handlers
        ) as manager:
            yield manager


def _run(manager: ocp.CheckpointManager) -> RunFolder:
    return RunFolder(os.path.realpath(manager.directory.parent))


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
    _note(manager, progress)


def _note(manager: ocp.CheckpointManager, progress: Progress) -> None:
    kept = [START, *map(_part, manager.all_steps())]
    values = dataclasses.asdict(progress)
    saved.note(_run(manager), _part(progress.step), kept, **values)


def _part(step: int) -> str:
    return f"{STEPS}/{step}"


def read_progress(manager: ocp.CheckpointManager) -> Progress | None:
    """Where the run stands; None before its first save.

    Raises:
      ValueError: if its latest or its best step is lost, or cannot be read.
    """
    folder, step = _run(manager), manager.latest_step()
    noted = saved.progress(folder).get("step", -1)
    if (-1 if step is None else step) < noted:
        raise saved.lost(folder, _part(noted))
    if step is None:
        return None
    saved.check(folder, _part(step), is_quick=True)
    items = ocp.args.Composite(progress=ocp.args.JsonRestore())
    with saved.told(folder, _part(step)):
        progress = Progress(**manager.restore(step, args=items)["progress"])
    if progress.best_step not in manager.all_steps():
        raise saved.lost(folder, _part(progress.best_step))
    if noted < step:  # killed between saving it and noting it
        _note(manager, progress)
    return progress


def restore(
    manager: ocp.CheckpointManager, like: steps.TrainState, mesh: Mesh
) -> steps.TrainState:
    """The latest state, in the shapes of `like`, on the mesh.

    Raises:
      ValueError: if the saved arrays have other names, shapes or types, or are lost.
    """
    step, folder = manager.latest_step(), _run(manager)
    saved.check(folder, _part(step))
    with saved.told(folder, _part(step)):
        saved_params = _tree(manager.item_metadata(step)["params"])
    check_same(saved_params, like.params, folder.at(STEPS))
    target = _abstract((like.params, like.opt_state), meshes.replicated(mesh))
    with saved.told(folder, _part(step)):
        items = manager.restore(
            step,
            args=ocp.args.Composite(
                params=ocp.args.StandardRestore(target[0]),
                optimizer=ocp.args.StandardRestore(target[1]),
            ),
        )
    count = jax.device_put(np.int32(step), meshes.replicated(mesh))
    return steps.TrainState(items["params"], items["optimizer"], count)


def save_start(run: RunFolder, params: Params, values: dict[str, Any]) -> None:
    """Saves first weights and what is held beside them; whole or not at all."""
    with orbax_folder.plain(run.path) as folder, ocp.StandardCheckpointer() as saver:
        saver.save(folder / START, {"start": params, **values}, force=True)
    saved.note(run, START)


def restore_start(
    run: RunFolder, params: Params, mesh: Mesh
) -> tuple[Params, dict[str, Any]] | None:
    """First weights and what is held beside them, on the mesh; None before that.

    Args:
      run: its folder.
      params: the model's weights or their shapes, to check against.
      mesh: where the arrays go.

    Raises:
      ValueError: if the saved model is of another size, or was lost.
    """
    saved.check(run, START)
    if not run.at(START).is_dir():
        return None
    with orbax_folder.plain(run.path) as folder, ocp.StandardCheckpointer() as saver:
        with saved.told(run, START):
            shapes = _tree(saver.metadata(folder / START))
        check_same(shapes["start"], params, run.at(START))
        target = _abstract(shapes, meshes.replicated(mesh))
        with saved.told(run, START):
            values = saver.restore(folder / START, target)
            return values.pop("start"), values


def step_of(run: RunFolder, which: Which) -> int:
    """The step whose weights `load_params` gives; 0 for the start.

    Raises:
      ValueError: if the run has no checkpoint yet, or its latest or best is lost.
    """
    if which == "start":
        return 0
    progress = None
    if saved.parts(run) or run.at(STEPS).is_dir():
        with open_steps(run) as manager:
            progress = read_progress(manager)
    if progress is None:
        raise ValueError(f"{run}: no checkpoint yet; run mmdiffmask pretrain")
    return progress.best_step if which == "best" else progress.step


def load_params(run: RunFolder, which: Which = "best") -> Params:
    """The weights of a run, on the default device, whatever they were trained on.

    Args:
      run: its folder.
      which: "best" (lowest dev loss), "last", or "start" (before any update).

    Raises:
      ValueError: if the folder holds no run, the run has no checkpoint yet, or the one
        that is asked for is lost, damaged, or not finite.
    """
    run.check_run()
    part = START if which == "start" else _part(step_of(run, which))
    saved.check(run, part)
    if not run.at(part).is_dir():
        raise ValueError(f"{run}: no checkpoint yet; run mmdiffmask pretrain")
    here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    item = part if which == "start" else f"{part}/{orbax_folder.PARAMS}"
    with orbax_folder.plain(run.path) as folder, ocp.StandardCheckpointer() as saver:
        with saved.told(run, item):
            target = _abstract(_tree(saver.metadata(folder / item)), here)
            params = saver.restore(folder / item, target)
    params = params["start"] if which == "start" else params
    if not steps.is_finite(params):
        raise ValueError(
            f"{run}: the weights in {item} are not finite, so nothing can be told"
            " from them; train again with other settings in another --workdir"
        )
    return params


def check_same(stored: Any, wanted: Any, where: Any) -> None:
    """Compares names, shapes and types of two trees of arrays.

    Orbax casts types silently and explains shapes at length.

    Raises:
      ValueError: naming the first array that differs.
    """
    there, here = _shapes(stored), _shapes(wanted)
    for name in sorted(there | here):
        if there.get(name) != here.get(name):
            raise ValueError(
                f"{where}: the checkpoint's {name} is {there.get(name, 'absent')}, the"
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
