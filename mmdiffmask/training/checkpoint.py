"""Saves and restores the weights of runs with Orbax; keeps the latest and best step.

Of a run's folder: start/ (first weights and noise), steps/ (the latest, with all that
going on needs, and the weights of the best) and what `saved` notes of them. Nothing
that is lost or damaged is replaced by something else.
"""

import contextlib
import dataclasses
import os
from collections.abc import Collection, Iterator
from typing import Any, Literal

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.sharding import Mesh

from mmdiffmask.models.reserve import orbax_folder
from mmdiffmask.run_files import START, STEPS
from mmdiffmask.run_folder import RunFolder
from mmdiffmask.training import mesh as meshes
from mmdiffmask.training import saved, steps, trees
from mmdiffmask.training.family import Params

Which = Literal["best", "last", "start"]
Manager = ocp.CheckpointManager
OPTIMIZER, PROGRESS = "optimizer", "progress"  # of a step, beside its weights


@dataclasses.dataclass(frozen=True)
class Progress:
    """Where a run stands.

    Attributes:
      step: updates done.
      best_step: the step with the best score so far, mostly the lowest dev loss.
      best_loss: that score; None before the first evaluation.
      bad_evaluations: evaluations since the best one.
      finished: why the run ended ("steps", "early stopping", "no training"), or None.
      is_scored: whether the evaluation that is due at `step` is done.
    """

    step: int = 0
    best_step: int = 0
    best_loss: float | None = None
    bad_evaluations: int = 0
    finished: str | None = None
    is_scored: bool = True


@contextlib.contextmanager
def open_steps(run: RunFolder) -> Iterator[Manager]:
    """The run's checkpoints; `save` keeps the latest and the best by dev loss.

    Orbax deletes nothing and starts no thread: which steps are kept must not depend on
    when a thread ran (`writer` has one, outside of this).
    """
    options = ocp.CheckpointManagerOptions(enable_async_checkpointing=False)
    # Named here, as a manager that has not saved an item knows nothing of it otherwise.
    handlers = {
        orbax_folder.PARAMS: ocp.StandardCheckpointHandler(),
        OPTIMIZER: ocp.StandardCheckpointHandler(),
        PROGRESS: ocp.JsonCheckpointHandler(),
    }
    with orbax_folder.plain(run.path) as folder:
        with ocp.CheckpointManager(
            folder / STEPS, options=options, item_handlers=handlers
        ) as manager:
            yield manager


def _run(manager: Manager) -> RunFolder:
    return RunFolder(os.path.realpath(manager.directory.parent))


def save(manager: Manager, state: steps.TrainState, progress: Progress) -> None:
    """Saves the state of `progress.step`, then deletes what has no use any more.

    A killed call leaves the step before as it was. Of a step that is saved already,
    notes the progress alone: it was evaluated since.
    """
    if progress.step not in manager.all_steps():
        items: dict[str, Any] = {
            orbax_folder.PARAMS: ocp.args.StandardSave(state.params),
            PROGRESS: ocp.args.JsonSave(dataclasses.asdict(progress)),
        }
        if not progress.finished:
            items[OPTIMIZER] = ocp.args.StandardSave(state.opt_state)
        manager.save(progress.step, args=ocp.args.Composite(**items), force=True)
        manager.wait_until_finished()
    _note(manager, progress)
    tidy(manager, progress)


def _note(manager: Manager, progress: Progress) -> None:
    kept, noted = (START, _part(progress.best_step)), dataclasses.asdict(progress)
    saved.note(_run(manager), _part(progress.step), kept, **noted)


def tidy(manager: Manager, progress: Progress) -> None:
    """Deletes all steps but the latest and the best, and moments without use.

    Only a run that goes on from a step needs the moments there, so the best step keeps
    weights alone, and so does the last one of a finished run.
    """
    for step in list(manager.all_steps()):
        if step not in (progress.step, progress.best_step):
            manager.delete(step)
        elif step != progress.step or progress.finished:
            saved.drop(_run(manager), _part(step), OPTIMIZER)


def _part(step: int) -> str:
    return f"{STEPS}/{step}"


def read_progress(manager: Manager) -> Progress | None:
    """Where the run stands; None before its first save.

    Raises:
      ValueError: if its latest or its best step is lost, or cannot be read.
    """
    folder, step = _run(manager), manager.latest_step()
    noted = saved.progress(folder)
    noted_step = noted.get("step", -1)
    if (-1 if step is None else step) < noted_step:
        raise saved.lost(folder, _part(noted_step))
    if step is None:
        return None
    saved.check(folder, _part(step), is_quick=True)
    if noted_step == step:
        progress = Progress(**noted)
    else:  # killed between saving it and noting it
        items = ocp.args.Composite(**{PROGRESS: ocp.args.JsonRestore()})
        with saved.explained(folder, _part(step)):
            progress = Progress(**manager.restore(step, args=items)[PROGRESS])
    if progress.best_step not in manager.all_steps():
        raise saved.lost(folder, _part(progress.best_step))
    if noted_step < step:
        _note(manager, progress)
    return progress


def restore(manager: Manager, shapes: steps.TrainState, mesh: Mesh) -> steps.TrainState:
    """The latest state, on the mesh; nothing else is put there meanwhile.

    Args:
      manager: of the run's steps.
      shapes: `steps.state_shapes`; arrays do as well.
      mesh: where the arrays go.

    Raises:
      ValueError: if the saved arrays have other names, shapes or types, or are lost.
    """
    step, folder = manager.latest_step(), _run(manager)
    saved.check(folder, _part(step))
    with saved.explained(folder, _part(step)):
        stored = trees.of_metadata(manager.item_metadata(step)[orbax_folder.PARAMS])
    trees.check_same(stored, shapes.params, folder.at(STEPS))
    everywhere = meshes.replicated(mesh)
    cut = meshes.spread(shapes.opt_state, mesh)
    targets = {
        orbax_folder.PARAMS: trees.abstract(shapes.params, everywhere),
        OPTIMIZER: jax.tree.map(trees.abstract, shapes.opt_state, cut),
    }
    args = {name: ocp.args.StandardRestore(tree) for name, tree in targets.items()}
    with saved.explained(folder, _part(step)):
        items = manager.restore(step, args=ocp.args.Composite(**args))
    count = jax.device_put(np.int32(step), everywhere)
    return steps.TrainState(items[orbax_folder.PARAMS], items[OPTIMIZER], count)


def save_start(run: RunFolder, params: Params, values: dict[str, Any]) -> None:
    """Saves first weights and what is held beside them; whole or not at all.

    Raises:
      ValueError: if they cannot be written.
    """
    try:
        with (
            orbax_folder.plain(run.path) as folder,
            ocp.StandardCheckpointer() as saver,
        ):
            saver.save(folder / START, {"start": params, **values}, force=True)
    except Exception as error:  # of any kind: Orbax calls many libraries
        raise ValueError(
            f"{run}: the start could not be saved ({saved.cause_of(error)}): mend that,"
            " and run the same command again"
        ) from error
    saved.note(run, START)


def restore_start(
    run: RunFolder, params: Params, mesh: Mesh, may_lack: Collection[str] = ()
) -> tuple[Params, dict[str, Any]] | None:
    """First weights, cut over the mesh, and what is held beside them, on it whole.

    None before they are saved.

    Args:
      run: its folder.
      params: the model's weights or their shapes, to check against.
      mesh: where the arrays go.
      may_lack: top names of `params` that the run need not have.

    Raises:
      ValueError: if the saved model is of another size, or was lost.
    """
    saved.check(run, START)
    if not run.at(START).is_dir():
        return None
    with orbax_folder.plain(run.path) as folder, ocp.StandardCheckpointer() as saver:
        with saved.explained(run, START):
            stored = trees.of_metadata(saver.metadata(folder / START))
        trees.check_same(stored["start"], params, run.at(START), may_lack)
        target = trees.abstract(stored, meshes.replicated(mesh))
        cut = meshes.spread(stored["start"], mesh)
        target["start"] = jax.tree.map(trees.abstract, stored["start"], cut)
        with saved.explained(run, START):
            values = saver.restore(folder / START, target)
            return values.pop("start"), values


def step_of(run: RunFolder, which: Which) -> int:
    """The step whose weights `load_params` gives; 0 for the start.

    Raises:
      ValueError: if the run has no checkpoint yet or any more, or its latest or best
        is lost.
    """
    if saved.is_removed(run):
        raise ValueError(
            f"{run}: its weights were removed once its result was written; train it"
            " again in another --workdir (mmdiffmask experiment --keep keeps them)"
        )
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
    step = step_of(run, which)
    part = START if which == "start" else _part(step)
    saved.check(run, part)
    if not run.at(part).is_dir():
        raise ValueError(f"{run}: no checkpoint yet; run mmdiffmask pretrain")
    here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    item = part if which == "start" else f"{part}/{orbax_folder.PARAMS}"
    with orbax_folder.plain(run.path) as folder, ocp.StandardCheckpointer() as saver:
        with saved.explained(run, item):
            stored = trees.of_metadata(saver.metadata(folder / item))
            target = trees.abstract(stored, here)
            params = saver.restore(folder / item, target)
    params = params["start"] if which == "start" else params
    if not steps.is_finite(params):
        raise ValueError(
            f"{run}: the weights in {item} are not finite, so nothing can be told"
            " from them; train again with other settings in another --workdir"
        )
    return params
