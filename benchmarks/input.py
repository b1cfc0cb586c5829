"""Rows per second that records give, by the number of threads, and by another reader.

    python -m benchmarks.input DATA [--workers 1,2] [--rounds 5] [--rows 64]

makes rows of DATA's train split as a training run does, in batches of 8, without a
model. In each round every reader runs once, one after the other, so that all meet the
same load. Printed are the best rate of all rounds, that rate in units of the fewest
workers', the median over rounds of the same ratio within a round, and the least
processor time a row. Where other programs fill the cores no ratio says anything.

`ours` is `data.ahead.in_order`. `grain` is MapDataset's reader with as many threads
and as much ahead; it runs where the package is installed (pip install grain==0.2.18),
and its rows are compared with ours.
"""

import argparse
import contextlib
import importlib.util
import itertools
import sys
import time
from collections.abc import Callable, Generator, Iterator
from typing import NamedTuple

import jax
import numpy as np

from mmdiffmask import build, config, examples
from mmdiffmask.data import ahead, loader
from mmdiffmask.data.corpus import Corpus
from mmdiffmask.types import VideoBatch

BATCH = 8
MakeRow = Callable[[int], VideoBatch]
Rows = Generator[VideoBatch, None, None]


class Cost(NamedTuple):
    """Of one pass over the rows."""

    rows_per_s: float
    cpu_ms: float  # a row, summed over threads


def row_maker(records_dir: str) -> tuple[MakeRow, int]:
    """Position in the train split -> its row, and how many there are."""
    experiment = build.adopt(config.Experiment("input"), records_dir)
    source = Corpus.of(records_dir).source("train")
    return examples.make_row(experiment.data, experiment.masking, source), len(source)


def ours(make_row: MakeRow, positions: list[int], workers: int) -> Rows:
    """Rows in order from our threads."""
    return ahead.in_order(make_row, positions, workers)


def of_grain(make_row: MakeRow, positions: list[int], workers: int) -> Rows:
    """Rows in order from grain's threads, as many ahead."""
    import grain

    options = grain.ReadOptions(num_threads=workers, prefetch_buffer_size=2 * workers)
    rows = grain.MapDataset.source(positions).map(make_row).to_iter_dataset(options)
    yield from rows


def readers() -> dict[str, Callable[[MakeRow, list[int], int], Rows]]:
    """Those that can run here."""
    has_grain = importlib.util.find_spec("grain") is not None
    return {"ours": ours} | ({"grain": of_grain} if has_grain else {})


def batches(rows: Iterator[VideoBatch]) -> Iterator[VideoBatch]:
    """The rows stacked."""
    while part := list(itertools.islice(rows, BATCH)):
        yield loader.stack(part)


def measure(rows: Rows, count: int) -> Cost:
    """Reads all rows in batches and throws them away."""
    wall, cpu = time.perf_counter(), time.process_time()
    with contextlib.closing(rows):
        for _ in batches(rows):
            pass
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return Cost(count / wall, 1000 * cpu / count)


def check_same(make_row: MakeRow, positions: list[int], workers: list[int]) -> None:
    """Checks that all readers give the rows of a plain loop.

    Raises:
      ValueError: naming the reader that does not.
    """
    plain = loader.stack([make_row(i) for i in positions])
    for name, reader in readers().items():
        for count in workers:
            rows = loader.stack(list(reader(make_row, positions, count)))
            if not jax.tree.all(jax.tree.map(np.array_equal, rows, plain)):
                raise ValueError(f"{name} with {count} workers gives other rows")


def table(costs: dict[tuple[str, int], list[Cost]]) -> Iterator[str]:
    """A line for each reader and number of workers."""
    fewest = min(count for _, count in costs)
    yield "reader   workers  rows/s      x  median x  cpu ms"
    for (name, workers), rounds in costs.items():
        rates = np.array([cost.rows_per_s for cost in rounds])
        base = np.array([cost.rows_per_s for cost in costs[name, fewest]])
        cpu_ms = min(cost.cpu_ms for cost in rounds)
        yield (
            f"{name:8}{workers:8d}{rates.max():8.1f}{rates.max() / base.max():7.2f}"
            f"{np.median(rates / base):10.2f}{cpu_ms:8.1f}"
        )


def main(arguments: list[str] | None = None) -> int:
    """Prints the table; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.input")
    parser.add_argument("data", metavar="DATA", help="a folder of records")
    parser.add_argument("--workers", default="1,2")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=64, help="of a round")
    options = parser.parse_args(arguments)
    workers = [int(count) for count in options.workers.split(",")]
    try:
        make_row, length = row_maker(options.data)
        check_same(make_row, list(range(min(length, BATCH))), workers)
    except ValueError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    positions = [i % length for i in range(options.rows)]
    costs: dict[tuple[str, int], list[Cost]] = {}
    for _ in range(options.rounds):
        for count, (name, reader) in itertools.product(workers, readers().items()):
            cost = measure(reader(make_row, positions, count), len(positions))
            costs.setdefault((name, count), []).append(cost)
    print(f"{ahead.worker_count()} workers by default; {len(positions)} rows a round")
    print("\n".join(table(costs)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
