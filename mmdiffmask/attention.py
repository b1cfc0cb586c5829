"""[CLS] attention of a run's first weights, of whole splits, kept on this machine.

It is worked out once for the windows of a split, in parts, under a key of the weights,
the records and the grid: rows and seeds that start alike share it. Parts that no row
needs are not made. design.md section 4.5.
"""

import dataclasses
import functools
import io
import pathlib
import zipfile
import zlib
from collections.abc import Callable, Sequence

import jax
import numpy as np
import tqdm
from jax.sharding import Mesh
from jaxtyping import Array, Float

from mmdiffmask import atomic, config, examples, inputs, versions, weights
from mmdiffmask.data import cache, loader
from mmdiffmask.data.records import index, shards
from mmdiffmask.data.records import manifest as manifests
from mmdiffmask.grid import PatchGrid
from mmdiffmask.models.reserve import towers
from mmdiffmask.run_folder import RunFolder
from mmdiffmask.training import checkpoint
from mmdiffmask.training import mesh as meshes
from mmdiffmask.training.family import Params
from mmdiffmask.types import Pixels

SCHEMA = "attention-1"  # change it whenever the same inputs give other numbers
PART = 1024  # windows of a file; TVQA's of `base` take 3.4 MB in float16
_BROKEN = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)


@dataclasses.dataclass(frozen=True, eq=False)
class StartAttention:
    """Record -> each frame's [CLS] attention to its patches, in units of an even share.

    Attributes:
      experiment: the model and the geometry.
      source: the split.
      entries: what its index says of each of its records.
      make_params: makes or hands out the first weights; asked only where they are
        needed.
      sha256: `weights.fingerprint_of` them, where that is known already.
    """

    experiment: config.Experiment
    source: shards.Source
    entries: Sequence[index.Entry]
    make_params: Callable[[], Params]
    sha256: str | None = None
    _of_window: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def __call__(self, record: shards.Record) -> Float[np.ndarray, "t n"]:
        """Of a record among those that were prepared."""
        window = self._window_of_id[record.example_id]
        return self._of_window[window].astype(np.float32)

    def prepare(self, positions: Sequence[int]) -> None:
        """Reads what these records need, and works out what is not there yet.

        A part appears under its name only when it is whole, so what was killed goes on
        at the first part that is missing. Processes that need the same part wait for
        the one that makes it.

        Raises:
          ValueError: if a part is broken, or attention is not finite.
        """
        windows, paths = list(self._first), self._paths
        place = {window: i for i, window in enumerate(windows)}
        wanted = {self.entries[i].window for i in positions} - self._of_window.keys()
        numbers = sorted({place[window] // PART for window in wanted})
        parts = [(paths[i], windows[i * PART : (i + 1) * PART]) for i in numbers]
        missing = [pair for pair in parts if not pair[0].exists()]
        for path, part in parts:
            if (path, part) not in missing:
                self._of_window.update(zip(part, _read(path, part), strict=True))
        if not missing:
            return
        total, params = sum(len(part) for _, part in missing), self.make_params()
        bar = tqdm.tqdm(total=total, unit="clip", desc="attention", leave=False)
        with bar:
            for path, part in missing:
                with atomic.turn(path):
                    if path.exists():  # another row's process has made it meanwhile
                        values = _read(path, part)
                        bar.update(len(part))
                    else:
                        values = self._compute(params, part, bar.update)
                        _write(path, part, values)
                self._of_window.update(zip(part, values, strict=True))

    @functools.cached_property
    def _first(self) -> dict[str, int]:
        """Window -> where it first comes in the split, in this order."""
        first: dict[str, int] = {}
        for i, entry in enumerate(self.entries):
            first.setdefault(entry.window, i)
        return first

    @functools.cached_property
    def _window_of_id(self) -> dict[str, str]:
        return {entry.example_id: entry.window for entry in self.entries}

    @functools.cached_property
    def _paths(self) -> list[pathlib.Path]:
        """The files of all parts."""
        data = self.experiment.data
        digest = self.sha256 or weights.fingerprint(self.make_params())
        parts = [SCHEMA, digest, manifests.identity_of(self.source.manifest)]
        parts += [f"{data.segments} x {data.rows} x {data.cols}"]
        parts += [self.experiment.model.dtype, versions.number("features")]
        # Splits of the same records differ in their windows.
        folder = cache.folder() / "attention" / cache.key(*parts, *self._first)
        count = -(-len(self._first) // PART)
        return [folder / f"{i:05}-of-{count:05}.npz" for i in range(count)]

    def _compute(
        self, params: Params, windows: Sequence[str], note: Callable[[int], object]
    ) -> Float[np.ndarray, "w t n"]:
        """The attention of some windows, in the type that it is kept in."""
        experiment, entries = self.experiment, self.entries
        devices = jax.device_count()
        size = -(-experiment.probe.batch_size // devices) * devices
        mesh = meshes.make(size)
        row = examples.make_row(experiment.data, None, self.source)
        positions = [self._first[window] for window in windows]
        attend = encoder(experiment.model, examples.patch_grid(experiment.data), mesh)
        vision = jax.device_put(params["vision_encoder"], meshes.replicated(mesh))
        is_half = experiment.model.dtype == "bfloat16"
        parts: list[np.ndarray] = []
        cut = meshes.by_example(mesh)
        with loader.eval_batches(row, positions, size, sharding=cut) as batches:
            for batch in batches:
                names = windows[len(parts) * size :][:size]
                values = np.asarray(attend(vision, batch.patches))[: len(names)]
                bad = np.flatnonzero(~np.isfinite(values).all((1, 2)))
                if len(bad):
                    clip = entries[self._first[names[bad[0]]]].clip
                    raise ValueError(
                        f"attention of clip {clip} is not finite: the checkpoint or the"
                        " record is broken"
                    )
                parts.append(values.astype(np.float16 if is_half else np.float32))
                note(len(names))
        return np.concatenate(parts)


def of_run(
    experiment: config.Experiment,
    source: shards.Source,
    entries: Sequence[index.Entry],
    folder: RunFolder,
    owner: inputs.Claim,
) -> StartAttention:
    """That of the first weights that a run has saved.

    Args:
      experiment: the run's settings.
      source: a split.
      entries: its index.
      folder: of the run.
      owner: what the run is.
    """
    return StartAttention(
        experiment,
        source,
        entries,
        make_params=lambda: checkpoint.load_params(folder, "start"),
        sha256=_sha256(owner),
    )


def of_start(
    experiment: config.Experiment,
    chosen: examples.Chosen,
    make_params: Callable[[], Params],
    owner: inputs.Claim,
) -> StartAttention:
    """That of the first weights of a run that has saved none yet.

    Args:
      experiment: the run's settings.
      chosen: its records.
      make_params: makes the weights.
      owner: what the run is.
    """
    return StartAttention(
        experiment, chosen.source, chosen.entries, make_params, _sha256(owner)
    )


def _sha256(owner: inputs.Claim) -> str | None:
    """The fingerprint of the checkpoint that a run starts from; None: it has none."""
    return owner.inputs.get(inputs.START, {}).get("sha256")


@functools.lru_cache(maxsize=4)
def encoder(settings: config.Model, grid: PatchGrid, mesh: Mesh) -> Callable:
    """(vision tower, patches) -> attention (b, t, n), jitted; an even share is 1.

    So float16 holds with 11 bits what is a ten thousandth of that.
    """
    tower = towers.VisionTower(settings)

    def attend(
        vision: Params, patches: Pixels[Array, "b t n p"]
    ) -> Float[Array, "b t n"]:
        method = "with_attention"
        attention = tower.apply({"params": vision}, patches, grid, method=method)[1]
        return attention * grid.n_patches

    same, cut = meshes.replicated(mesh), meshes.by_example(mesh)
    return jax.jit(attend, in_shardings=(same, cut), out_shardings=cut)


def _read(path: pathlib.Path, windows: Sequence[str]) -> np.ndarray:
    """A part; whatever is wrong with it is one sentence."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            if stored["window"].tolist() != list(windows):
                raise ValueError("it holds other windows")
            values = stored["attention"]
            if len(values) != len(windows):
                raise ValueError("rows are missing")
            return values
    except _BROKEN as error:
        raise ValueError(
            f"{path}: broken attention cache ({error}); delete it and run again"
        ) from error


def _write(path: pathlib.Path, windows: Sequence[str], values: np.ndarray) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, window=np.array(windows), attention=values)
    cache.keep(path, buffer.getvalue(), "attention is worked out anew each time")
