"""One record as a picture: its tracks, its units and what strategies would hide."""

import pathlib
from typing import Any

import numpy as np

from mmdiffmask import config, examples
from mmdiffmask.data import records
from mmdiffmask.report import contact, pictures


def draw(records_dir: str, example_id: str | None, out: str) -> pathlib.Path:
    """Writes a PNG of one record under the default settings and seed 0.

    Args:
      records_dir: a folder of records.
      example_id: None: the first record.
      out: the PNG to write; its folder must exist.

    Returns:
      The absolute path of the PNG.

    Raises:
      ValueError: if there is no such record, or the PNG can not be written.
    """
    path = pathlib.Path(out)
    if path.suffix.lower() != ".png" or not path.parent.is_dir() or path.is_dir():
        raise ValueError(f"--out {out}: needs a .png file in a folder that exists")
    manifest = records.read_manifest(records_dir)
    source, position = _find(records_dir, example_id)
    record = source[position]
    experiment = config.Experiment(
        "inspect",
        data=config.Data(
            segments=manifest.segments,
            sub_segments=manifest.sub_segments,
            rows=manifest.grid.rows,
            cols=manifest.grid.cols,
        ),
    )
    masks, kind = {}, _kind(record)
    for name in ("random", "difference"):
        made, batch = examples.masks_of(experiment, source, [position], name, kind, 0)
        masks[name] = made.is_masked[0]
    units = contact.Units(
        kind,
        np.asarray(batch.unit_of_token[0]).reshape(made.is_masked[0].shape),
        np.asarray(batch.is_box_unit[0]),
    )
    image = contact.draw(manifest.grid, record, units, masks)
    path.write_bytes(pictures.to_png(image))
    return path.resolve()


def _kind(record: Any) -> str:
    """Whose units are drawn: bodies, else what there is."""
    found = set(record.boxes.kind)
    return next((kind for kind in ("body", "object", "face") if kind in found), "body")


def _find(records_dir: str, example_id: str | None) -> tuple[records.Source, int]:
    """The split that has the record, and its position there."""
    tried = []
    for split in records.splits(records_dir):
        source = examples.open_split(records_dir, split)
        for i in range(len(source)):
            name = source[i].example_id
            if example_id in (None, name):
                return source, i
            tried.append(name)
    some = ", ".join(tried[:3]) or "none"
    raise ValueError(
        f"--id {example_id}: no such record in {records_dir}; it has {len(tried)}:"
        f" {some}, ..."
    )
