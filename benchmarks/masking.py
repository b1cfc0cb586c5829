"""Masks per second of every strategy, and what they take of a training step.

    python -m benchmarks.masking [--grids 12x20,18x32] [--batch 64] [--rounds 5]

makes the units of a batch of made-up clips (7 frames, 14 boxes, pictures as bytes) as a
run's input does, and draws their masks as its step does, on one core. In each round
every strategy runs once, one after the other, so that all meet the same load. Printed
are masks per processor second (the best of all rounds), the same in units of the first
strategy's, and the share of a training step: of `small` with 12x24 patches and a batch
of 8, STEP_CPU_S processor seconds as `benchmarks.cpt_step` measured them, scaled by the
patches of the grid. The exit status is 1 where a strategy takes more than LIMIT of it.
Pictures are decoded and records read in any case, so neither is counted; `other-clip`
reads a second record, which `benchmarks.input` times. Attention is made up: what it
takes itself is for `benchmarks.attention_cost`.
"""

import argparse
import contextlib
import functools
import os
import sys
import time
import types
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Bool, PRNGKeyArray

from benchmarks import commands
from mmdiffmask import config
from mmdiffmask import grid as grids
from mmdiffmask.masking import budget, clips, sampling, strategies, tables, units
from mmdiffmask.types import Boxes, MaskInputs

FRAMES, BOXES = 7, 14
STEP_CPU_S, STEP_CLIPS, STEP_PATCHES = 3.3, 8, 12 * 24
LIMIT = 0.02  # of a step


class Rate(NamedTuple):
    """Of one strategy on one grid."""

    masks_per_s: float  # of one core's time
    units_share: float  # of that time, making units; drawing is the remainder
    step_share: float  # of a training step's processor time


def clip(grid: grids.PatchGrid, number: int) -> types.SimpleNamespace:
    """A made-up record: boxes of every kind, pictures as bytes."""
    rng = np.random.default_rng(number)
    width, height = grid.width_px, grid.height_px
    size = rng.uniform(0.1, 0.6, (BOXES, 2)) * [width, height]
    corner = rng.uniform(0, 0.8, (BOXES, 2)) * [width, height]
    boxes = Boxes(
        frame=np.arange(BOXES) % FRAMES,
        xyxy_px=np.concatenate([corner, corner + size], 1),
        kind=tuple(rng.choice(["body", "face", "object"], BOXES)),
        label=("person",) * BOXES,
        score=np.ones(BOXES),
        track=np.arange(BOXES) % 2,
        source=("made up",) * BOXES,
    )
    fit = grids.fit_frame(grid, width, height)
    shape = FRAMES, grid.n_patches, 3 * grid.patch_px**2
    return types.SimpleNamespace(
        example_id=f"clip {number}",
        boxes=boxes,
        covered_share=grids.covered_share(grid, grids.fit_boxes(fit, boxes.xyxy_px)),
        frames=(b"",) * FRAMES,
        is_frame_valid=np.ones(FRAMES, bool),
        patches=rng.integers(0, 256, shape, dtype=np.uint8),
        attention=rng.gamma(1.0, size=shape[:2]).astype(np.float32),
    )


def by_id(
    grid: grids.PatchGrid, masking: config.Masking, batch: int
) -> dict[str, tables.Table]:
    """Scores and masks of the clips as a user's files have them."""
    rng, place = np.random.default_rng(0), {f"clip {i}": i for i in range(batch)}
    scores = rng.random((batch, FRAMES, grid.n_patches))
    layout = clips.layout_of(grid, FRAMES, masking.mask_unit)
    n_tokens = len(layout.position)
    n_hidden = budget.most_tokens(masking.ratio, n_tokens)
    drawn = rng.random((batch, n_tokens)).argsort(1) < n_hidden
    masks = drawn[:, layout.token_of_patch].reshape(scores.shape)
    pairs = (("scores", scores), ("masks", masks))
    return {name: tables.Table("", name, place, values, None) for name, values in pairs}


@functools.cache
def program(
    is_box: bool,
    is_whole: bool,
    weight: strategies.Weight,
    select: str,
    hint: float,
) -> Callable[..., sampling.Mask]:
    """Draws a batch's masks; strategies that draw alike share what is compiled."""
    kind = units.Units("", units.patches, is_box, is_whole)
    row = strategies.Strategy("", "", kind, None, weight, select, hint=hint)

    def one(
        key: PRNGKeyArray,
        inputs: MaskInputs,
        is_box_unit: Bool[Array, " q"],
        layout: clips.Layout,
    ) -> sampling.Mask:
        return clips.mask_clip(key, inputs, is_box_unit, layout, row, config.Masking())

    return jax.jit(jax.vmap(one, (0, 0, 0, None)))


@contextlib.contextmanager
def one_core() -> Iterator[None]:
    """Keeps the process on one of its cores."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def spent(work: Callable[[], object]) -> float:
    """Processor seconds that a call takes."""
    start = time.process_time()
    jax.block_until_ready(work())
    return time.process_time() - start


def measure(grid: grids.PatchGrid, batch: int, rounds: int) -> dict[str, Rate]:
    """Strategy -> its rate on a grid, best of all rounds."""
    masking = config.Masking()
    records = [clip(grid, i) for i in range(batch)]
    settings = units.Settings(
        grid,
        masking,
        min_overlap=0.0,
        tables=by_id(grid, masking, batch),
        pictures=lambda record: record.patches,
        lend=lambda record, kinds: records[(records.index(record) + 1) % batch],
        attention=lambda record: record.attention,
    )
    is_valid = np.ones((FRAMES, grid.n_patches), bool)
    layout = clips.layout_of(grid, FRAMES, masking.mask_unit)
    keys = jax.random.split(jax.random.key(0), batch)

    def make(row: strategies.Strategy) -> units.ClipUnits:
        of_clips = [row.clip_units(record, is_valid, settings) for record in records]
        return units.ClipUnits(*map(np.stack, zip(*of_clips, strict=True)))

    def draw(row: strategies.Strategy, made_units: units.ClipUnits) -> sampling.Mask:
        kind = row.units
        run = program(kind.is_box, kind.is_whole, row.weight, row.select, row.hint)
        inputs = MaskInputs(made_units.unit_of_token, made_units.unit_score)
        return run(keys, inputs, made_units.is_box_unit, layout)

    rows = list(strategies.REGISTRY.values())
    of_row = {row.name: make(row) for row in rows}
    for row in rows:
        jax.block_until_ready(draw(row, of_row[row.name]))  # compiles
    making = {row.name: [] for row in rows}
    drawing = {row.name: [] for row in rows}
    for _ in range(rounds):
        for row in rows:
            making[row.name].append(spent(functools.partial(make, row)))
            drawn = functools.partial(draw, row, of_row[row.name])
            drawing[row.name].append(spent(drawn))
    step_s = STEP_CPU_S / STEP_CLIPS * grid.n_patches / STEP_PATCHES  # a clip
    return {
        name: rate(min(making[name]), min(drawing[name]), batch, step_s)
        for name in making
    }


def rate(making_s: float, drawing_s: float, batch: int, step_s: float) -> Rate:
    """From processor seconds of a batch, and those of a step per clip."""
    total = making_s + drawing_s
    return Rate(batch / total, making_s / total, total / batch / step_s)


def table(rates: dict[str, Rate]) -> list[str]:
    """A line for each strategy."""
    first = next(iter(rates.values()))
    lines = ["strategy            masks/s      x  making units  of a step"]
    for name, one in rates.items():
        lines.append(
            f"{name:18}{one.masks_per_s:9.0f}{one.masks_per_s / first.masks_per_s:7.2f}"
            f"{one.units_share:14.0%}{one.step_share:11.2%}"
        )
    return lines


def main(arguments: list[str] | None = None) -> int:
    """Prints a table for each grid; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.masking")
    parser.add_argument("--grids", default="12x20,18x32")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args(arguments)

    def work() -> int:
        slow = []
        for text in options.grids.split(","):
            rows, _, cols = text.partition("x")
            grid = grids.PatchGrid(int(rows), int(cols))
            rates = measure(grid, options.batch, options.rounds)
            print(f"{grid}, batch {options.batch}\n" + "\n".join(table(rates)))
            slow += [
                f"{name} at {grid}"
                for name, one in rates.items()
                if one.step_share >= LIMIT
            ]
        print(f"above {LIMIT:.0%} of a step: {', '.join(slow) or 'none'}")
        return int(bool(slow))

    with one_core():
        return commands.status(parser.prog, work)


if __name__ == "__main__":
    sys.exit(main())
