"""Worker processes of one thread each that end when the run that started them does."""

import concurrent.futures
import contextlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import process
from typing import Any

# Set before a worker imports anything: thread counts are read at import.
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "JAX_PLATFORMS": "cpu",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
}
POLL_S = 0.2

_tick: Callable[[int], None] = lambda clips: None  # noqa: E731  (set in each worker)


def tick(clips: int) -> None:
    """Tells the run that so many clips more are done."""
    _tick(clips)


def default_count() -> int:
    """As many workers as this process may use cores."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run(
    function: Callable[[Any], Any],
    tasks: Sequence[Any],
    workers: int,
    on_tick: Callable[[int], None],
) -> Iterator[Any]:
    """What `function` gives for each task, as they finish.

    Args:
      function: importable by name, so that a worker finds it.
      tasks: what it is called with.
      workers: processes; 0 = this one (for debugging).
      on_tick: called here with what the workers passed to `tick`.

    Raises:
      ValueError: if a worker was killed.
    """
    if workers == 0 or not tasks:
        yield from _run_here(function, tasks, on_tick)
        return
    context = multiprocessing.get_context("spawn")
    ticks = context.SimpleQueue()
    with (
        _environment(ONE_THREAD),
        concurrent.futures.ProcessPoolExecutor(
            min(workers, len(tasks)), context, _start, (ticks,)
        ) as pool,
    ):
        waiting = {pool.submit(function, task) for task in tasks}
        try:
            while waiting:
                done, waiting = concurrent.futures.wait(
                    waiting, POLL_S, concurrent.futures.FIRST_COMPLETED
                )
                while not ticks.empty():
                    on_tick(ticks.get())
                for future in done:
                    yield future.result()
        except process.BrokenProcessPool as error:
            raise ValueError(
                "a worker process was killed (out of memory?); run again to go on,"
                " with fewer --workers"
            ) from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _run_here(function, tasks, on_tick) -> Iterator[Any]:
    global _tick
    before, _tick = _tick, on_tick
    try:
        yield from map(function, tasks)
    finally:
        _tick = before


@contextlib.contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _start(ticks) -> None:
    """Runs first in each worker."""
    global _tick
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C: end without a traceback
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _tick = ticks.put
    import cv2

    cv2.setNumThreads(1)


def _end_with_parent() -> None:
    """A killed parent can not stop its workers, and they would wait for it forever."""
    parent = multiprocessing.parent_process()
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)
