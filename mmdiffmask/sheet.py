"""One record as a picture: its boxes and what each strategy would hide."""

import pathlib

import numpy as np

from mmdiffmask import config, examples
from mmdiffmask.data import records
from mmdiffmask.report import pictures


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
    masks = {}
    for name, boxes in (("random", "body"), ("difference", "body")):
        made, _ = examples.masks_of(experiment, source, [position], name, boxes, 0)
        masks[name] = made.is_masked[0]
    image = pictures.clip_sheet(manifest.grid, pictures.decode(record), masks)
    path.write_bytes(pictures.to_png(np.asarray(image)))
    return path.resolve()


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
