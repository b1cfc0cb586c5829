"""Records of a page with their boxes, and with what each row's masks hide."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from mmdiffmask import config, examples, masks, types
from mmdiffmask.attention import StartAttention
from mmdiffmask.data.records import shards
from mmdiffmask.masking import strategy_settings
from mmdiffmask.report import pictures, summary


def draw(
    experiment: config.Experiment,
    source: shards.Source,
    positions: Sequence[int],
    rows: Mapping[str, config.Masking],
    seed: int,
    start: StartAttention | None = None,
) -> tuple[summary.Example, ...]:
    """Some records with their boxes and their masks.

    Args:
      experiment: its grid and overlap.
      source: a split.
      positions: in the split.
      rows: row name -> its masking.
      seed: of the masks.
      start: for strategies by attention: that of the first weights.
    """
    if not rows:
        return ()

    def batch_of(name: str, masking: config.Masking) -> types.VideoBatch:
        changed = dataclasses.replace(experiment, masking=masking)
        batches = masks.bare_batches(changed, source, positions, (name,), seed, start)
        return batches[name]

    hidden = {}
    for row, masking in rows.items():
        name, batch = masking.strategy, batch_of(masking.strategy, masking)
        changed = dataclasses.replace(experiment, masking=masking)
        hidden[row] = masks.of_batch(changed, name, batch, seed).is_masked
    first = next(iter(rows.values()))
    boxes = strategy_settings.with_boxes(first.strategy, first)
    shown = batch_of(boxes, first)
    grid = examples.patch_grid(experiment.data)
    return tuple(
        summary.make_example(
            grid,
            pictures.decode(source[position]),
            {name: is_masked[i] for name, is_masked in hidden.items()},
            np.asarray(shown.unit_of_token[i]),
            np.asarray(shown.is_box_unit[i]),
        )
        for i, position in enumerate(positions)
    )
