"""Records of a page with their boxes, and with what each row's masks hide."""

from collections.abc import Sequence

import numpy as np

from mmdiffmask import config, examples, masks
from mmdiffmask.attention import StartAttention
from mmdiffmask.data.records import shards
from mmdiffmask.masking import strategy_settings
from mmdiffmask.report import pictures, summary


def draw(
    experiment: config.Experiment,
    source: shards.Source,
    positions: Sequence[int],
    rows: dict[str, str],
    seed: int,
    start: StartAttention | None = None,
) -> tuple[summary.Example, ...]:
    """Some records with their boxes and their masks.

    Args:
      experiment: its grid, mask unit, budget.
      source: a split.
      positions: in the split.
      rows: row name -> strategy.
      seed: of the masks.
      start: for strategies by attention: that of the first weights.
    """
    if not rows:
        return ()
    boxes = strategy_settings.with_boxes(next(iter(rows.values())), experiment.masking)
    names = dict.fromkeys((boxes, *rows.values()))
    batches = masks.bare_batches(
        experiment, source, positions, tuple(names), seed, start
    )
    hidden = {
        row: masks.of_batch(experiment, name, batches[name], seed).is_masked
        for row, name in rows.items()
    }
    shown = batches[boxes]
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
