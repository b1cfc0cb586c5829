"""Draws one record's tracks, units and masks of the strategies into a PNG."""

import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from mmdiffmask import config, configure, examples, masks, types
from mmdiffmask.data.corpus import Corpus
from mmdiffmask.data.records import shards
from mmdiffmask.masking import scorers, strategies, strategy_settings, units
from mmdiffmask.report import contact, pictures, weighing

SETTINGS = ("masking.", "data.min_overlap")  # of --set, by how they begin


def draw(
    records_dir: str,
    example_id: str | None,
    out: str,
    assignments: Sequence[str] = (),
) -> pathlib.Path:
    """Writes a PNG of one record under the default settings and seed 0.

    Args:
      records_dir: a folder of records.
      example_id: None: the first record.
      out: the PNG to write; its folder must exist.
      assignments: settings in the form of --set.

    Returns:
      The absolute path of the PNG.

    Raises:
      ValueError: if there is no such record, a setting is wrong or none of `SETTINGS`,
        or the PNG cannot be written.
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
    chosen = _check(assignments)
    experiment = configure.override(experiment, list(assignments))
    strategy_settings.check_files(experiment.masking)
    strategy_settings.check_use([experiment.masking])
    names = _shown(record, experiment.masking.strategy if chosen else None)
    batches = masks.bare_batches(experiment, source, [position], names, 0)
    hidden = {
        strategies.label(name): masks.of_batch(experiment, name, batch, 0).is_masked[0]
        for name, batch in batches.items()
    }
    shown = _units(names[-1], batches[names[-1]])
    notes = _notes(experiment, record)
    image = contact.draw(manifest.grid, record, shown, hidden, notes)
    path.write_bytes(pictures.to_png(image))
    return path.resolve()


def _units(name: str, batch: types.VideoBatch) -> contact.Units:
    """What a strategy hides as a whole in the batch's one record, and the weights."""
    strategy = strategies.find(name)
    inputs = types.MaskInputs(batch.unit_of_token[0], batch.unit_score[0])
    return contact.Units(
        strategy.units.boxes,
        np.asarray(batch.unit_of_token[0]).reshape(batch.is_patch_valid.shape[1:]),
        np.asarray(batch.is_box_unit[0]),
        weight=np.asarray(strategy.weight(inputs)),
    )


def _notes(experiment: config.Experiment, record: Any) -> list[str]:
    """What Eq. 4 makes of the labels of all boxes, those that are not masked too."""
    masking = experiment.masking
    settings = units.Settings(
        grid=examples.patch_grid(experiment.data),
        masking=masking,
        min_overlap=experiment.data.min_overlap,
        embeddings=examples.embeddings_of(masking),
    )
    weight = scorers.by_anchors(record.boxes, settings)
    return weighing.by_label(record.boxes, weight, masking.anchors)


def _check(assignments: Sequence[str]) -> bool:
    """Whether a strategy is named; refuses settings that change nothing of a sheet."""
    names = [text.partition("=")[0].strip() for text in assignments]
    for name in names:
        if not name.startswith(SETTINGS):
            raise ValueError(
                f"--set {name}: a sheet takes the settings of masking, and"
                " data.min_overlap; the others are those of the records"
            )
    return "masking.strategy" in names


def _shown(record: Any, chosen: str | None) -> tuple[str, ...]:
    """The strategies that are drawn; the last one's units are, too.

    The first without boxes and the chosen one. Units are the chosen one's if it hides
    boxes where they are; else, of the strategies whose labels count, those of the first
    that finds boxes in the record, or of the first.
    """
    rows = strategies.REGISTRY.values()
    alone = next(row.name for row in rows if not row.units.boxes)
    boxed = [row for row in rows if row.is_anchored]
    with_box = [row for row in boxed if set(row.units.boxes) & set(record.boxes.kind)]
    last = (with_box or boxed)[0].name
    if chosen is None:
        return alone, last
    if strategies.find(chosen).units in units.AT_BOXES:
        last = chosen
    names = [name for name in (alone, chosen) if name != last]
    return (*dict.fromkeys(names), last)


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
