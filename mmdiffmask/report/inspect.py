"""Draws one record's tracks, units and masks of the strategies into a PNG."""

import pathlib
from typing import Any

import numpy as np

from mmdiffmask import config, masks
from mmdiffmask.data.corpus import Corpus
from mmdiffmask.data.records import shards
from mmdiffmask.masking import strategies
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
      ValueError: if there is no such record, or the PNG cannot be written.
    """
    path = pathlib.Path(out)
    if path.suffix.lower() != ".png" or not path.parent.is_dir() or path.is_dir():
        raise ValueError(f"--out {out}: needs a .png file in a folder that exists")
    corpus = Corpus.of(records_dir)
    manifest = corpus.manifest
    source, position = _find(corpus, example_id)
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
    names = _shown(record)
    batches = masks.bare_batches(experiment, source, [position], names, 0)
    hidden = {
        strategies.label(name): masks.of_batch(experiment, name, batch, 0).is_masked[0]
        for name, batch in batches.items()
    }
    shown = batches[names[-1]]
    units = contact.Units(
        strategies.find(names[-1]).units.kind,
        np.asarray(shown.unit_of_token[0]).reshape(shown.is_patch_valid.shape[1:]),
        np.asarray(shown.is_box_unit[0]),
    )
    image = contact.draw(manifest.grid, record, units, hidden)
    path.write_bytes(pictures.to_png(image))
    return path.resolve()


def _shown(record: Any) -> tuple[str, ...]:
    """The strategies that are drawn; the last one's units are, too.

    The first without boxes; of those whose labels count the first that finds boxes in
    the record, else the first.
    """
    rows = strategies.REGISTRY.values()
    alone = next(row.name for row in rows if not row.units.boxes)
    boxed = [row for row in rows if row.is_anchored]
    with_box = [row for row in boxed if set(row.units.boxes) & set(record.boxes.kind)]
    return (alone, (with_box or boxed)[0].name)


def _find(corpus: Corpus, example_id: str | None) -> tuple[shards.Source, int]:
    """The split that has the record, and its position there."""
    ids: list[str] = []
    for split in corpus.split_names:
        for i, entry in enumerate(corpus.entries(split)):
            if example_id in (None, entry.example_id):
                return corpus.source(split), i
            ids.append(entry.example_id)
    some = ", ".join(ids[:3]) or "none"
    raise ValueError(
        f"--id {example_id}: no such record in {corpus.folder}; it has {len(ids)}:"
        f" {some}, ..."
    )
