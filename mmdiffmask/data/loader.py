"""Batches on devices, from rows in an order that seed and step decide."""

import contextlib
import dataclasses
import functools
import itertools
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Int

from mmdiffmask import grid, seeds
from mmdiffmask.data import ahead

AHEAD = 2  # batches that are made before they are needed
Arrays = Any  # a row, or a batch of them: a NamedTuple, with `unit_of_token`
MakeRow = Callable[[int], Arrays]
MakeEpochRow = Callable[[int, int], Arrays]


@dataclasses.dataclass(frozen=True)
class HostSlice:
    """Which rows of every global batch this host makes: a run of equal length."""

    index: int = 0
    count: int = 1

    def of(self, items: Sequence | np.ndarray) -> Sequence | np.ndarray:
        """This host's part.

        Raises:
          ValueError: if the hosts cannot share the items equally.
        """
        if len(items) % self.count:
            raise ValueError(
                f"a batch of {len(items)} cannot be shared by {self.count} hosts;"
                " choose training.batch_size as a multiple of their number"
            )
        size = len(items) // self.count
        return items[self.index * size : (self.index + 1) * size]


def order_at(
    seed: int, step: int, batch_size: int, n_examples: int
) -> Int[np.ndarray, " b"]:
    """The examples of a step: a pure function, so resuming needs no loader state.

    Epochs are permutations laid behind each other and cut into batches, so every
    example comes once per epoch and none is dropped; a batch may span two epochs.

    Raises:
      ValueError: if there are no examples.
    """
    if n_examples < 1:
        raise ValueError("no example to train on: the data set or its split is empty")
    place = step * batch_size + np.arange(batch_size)
    epoch = epochs_at(step, batch_size, n_examples)
    result = np.zeros(batch_size, np.int64)
    for e in np.unique(epoch):
        permutation = _permutation(seed, int(e), n_examples)
        result[epoch == e] = permutation[place[epoch == e] % n_examples]
    return result


@functools.lru_cache(maxsize=2)  # a batch may span two epochs
def _permutation(seed: int, epoch: int, n_examples: int) -> Int[np.ndarray, " e"]:
    permutation = seeds.generator(seed, epoch).permutation(n_examples)
    permutation.flags.writeable = False
    return permutation


def epochs_at(step: int, batch_size: int, n_examples: int) -> Int[np.ndarray, " b"]:
    """The epoch of each example of a step."""
    return (step * batch_size + np.arange(batch_size)) // n_examples


def epoch_at(step: int, batch_size: int, n_examples: int) -> int:
    """The epoch in which the batch of a step begins, from 0."""
    return step * batch_size // n_examples


def stack(rows: Sequence[Arrays]) -> Arrays:
    """Rows, tuples of arrays of one kind, as a batch.

    Pixels are bytes if they are in every row, else floats (`video.pictures`).
    """
    return jax.tree.map(_stack_field, *rows)


def _stack_field(*values: Any) -> np.ndarray:
    if len({np.asarray(value).dtype for value in values}) > 1:
        values = tuple(grid.unit_values(value) for value in values)
    return np.stack(values)


def blank(row: Arrays) -> Arrays:
    """A row that only fills up a batch: nothing valid, nothing to mask, not real."""
    zeros = jax.tree.map(np.zeros_like, row)
    return zeros._replace(unit_of_token=np.full_like(row.unit_of_token, -1))


def to_devices(batch: Arrays, sharding: jax.sharding.Sharding | None) -> Arrays:
    """This host's rows as global arrays of that sharding; None: left in numpy."""
    if sharding is None:
        return batch
    put = jax.make_array_from_process_local_data
    return jax.tree.map(lambda field: put(sharding, np.asarray(field)), batch)


def train_batches(
    make_row: MakeEpochRow,
    n_examples: int,
    batch_size: int,
    seed: int,
    *,
    start_step: int = 0,
    stop_step: int | None = None,
    host: HostSlice = HostSlice(),  # noqa: B008  frozen
    sharding: jax.sharding.Sharding | None = None,
) -> ahead.Prefetch:
    """Training batches from `start_step` on, without end or up to `stop_step`.

    Args:
      make_row: index of an example, in [0, n_examples), and epoch -> its row.
      n_examples: how many there are.
      batch_size: global, over all hosts.
      seed: of the order.
      start_step: 0, or the step that a resumed run goes on with.
      stop_step: the first step without a batch.
      host: this host's share of every batch.
      sharding: where the global arrays go; None leaves this host's numpy rows.

    Returns:
      An iterator to use in a `with` block, which ends its threads.
    """

    def parts() -> Iterator[list[tuple[int, int]]]:
        endless = itertools.count(start_step)
        for step in endless if stop_step is None else range(start_step, stop_step):
            examples = host.of(order_at(seed, step, batch_size, n_examples))
            epochs = host.of(epochs_at(step, batch_size, n_examples))
            yield list(zip(examples.tolist(), epochs.tolist(), strict=True))

    return _batches(lambda item: make_row(*item), parts, sharding)


def batches_from(
    make_row: MakeEpochRow,
    n_examples: int,
    batch_size: int,
    seed: int,
    *,
    stop_step: int,
    sharding: jax.sharding.Sharding,
) -> Callable[[int], contextlib.AbstractContextManager[Iterator[tuple[Arrays, int]]]]:
    """First step -> a context of (batch, epoch) pairs from there on.

    Arguments as of `train_batches`.
    """

    @contextlib.contextmanager
    def batches(first: int) -> Iterator[Iterator[tuple[Arrays, int]]]:
        stream = train_batches(
            make_row,
            n_examples,
            batch_size,
            seed,
            start_step=first,
            stop_step=stop_step,
            sharding=sharding,
        )
        with stream:
            yield (
                (batch, epoch_at(step, batch_size, n_examples))
                for step, batch in enumerate(stream, first)
            )

    return batches


def eval_batches(
    make_row: MakeRow,
    examples: Sequence[int],
    batch_size: int,
    *,
    host: HostSlice = HostSlice(),  # noqa: B008  frozen
    sharding: jax.sharding.Sharding | None = None,
) -> ahead.Prefetch:
    """The examples once, in order; the last batch filled with rows `is_real` False.

    As `train_batches`; `examples` are the indices to make, `make_row` takes no epoch.
    """

    @functools.cache
    def empty() -> Arrays:
        return blank(make_row(int(examples[0])))

    def parts() -> Iterator[list[int]]:
        for start in range(0, len(examples), batch_size):
            part = [int(i) for i in examples[start : start + batch_size]]
            yield host.of(part + [-1] * (batch_size - len(part)))

    return _batches(lambda i: empty() if i < 0 else make_row(i), parts, sharding)


def _batches(
    make_row: Callable[[Any], Arrays],
    make_parts: Callable[[], Iterator[Sequence[Any]]],
    sharding: jax.sharding.Sharding | None,
) -> ahead.Prefetch:
    """Batches of the parts' rows, made ahead; rows are begun across parts."""

    def batches() -> Generator[Arrays, None, None]:
        parts = make_parts()
        first = next(parts, None)
        if first is None:
            return
        items = itertools.chain(first, itertools.chain.from_iterable(parts))
        with contextlib.closing(ahead.in_order(make_row, items)) as rows:
            while batch := list(itertools.islice(rows, len(first))):
                yield to_devices(stack(batch), sharding)

    return ahead.Prefetch(batches, AHEAD)
