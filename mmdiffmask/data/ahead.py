"""Work done ahead in threads: calls in a fixed order, and a generator's items.

Records are decoded, resized and tokenised with the interpreter's lock let go, so
several threads make rows at once; their number changes nothing but the time.
"""

import collections
import concurrent.futures
import contextlib
import itertools
import os
import queue
import threading
from collections.abc import Callable, Generator, Iterable
from typing import Any

MOST_WORKERS = 8  # a sixth of a row holds the lock: design.md section 2


def worker_count() -> int:
    """Threads that make rows: one for each core that this process may use."""
    has_affinity = hasattr(os, "sched_getaffinity")  # Linux
    cores = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
    return min(MOST_WORKERS, cores)


def in_order(
    function: Callable[[Any], Any], items: Iterable[Any], workers: int | None = None
) -> Generator[Any, None, None]:
    """`function` of each item, in the items' order, from several threads.

    At most two items a thread are begun before they are needed. An error comes where
    its item's result would, the first in order if there are several; what was begun
    after it is thrown away. Closing the generator ends the threads and waits for them.

    Args:
      function: must bear to be called by threads at once.
      items: read by the thread that reads the results.
      workers: threads; None: `worker_count`.
    """
    count = workers or worker_count()
    items = iter(items)
    pool = concurrent.futures.ThreadPoolExecutor(count, thread_name_prefix="rows")
    try:
        first = itertools.islice(items, 2 * count)
        begun = collections.deque(pool.submit(function, item) for item in first)
        while begun:
            result = begun.popleft().result()
            following = itertools.islice(items, 1)
            begun.extend(pool.submit(function, item) for item in following)
            yield result
    finally:
        pool.shutdown(cancel_futures=True)


class Prefetch:
    """Runs a generator in a background thread, a few items ahead.

    An error in the thread is raised where the item would have come. Leaving the
    `with` block, or `close`, ends the thread, also in the middle of the items.
    """

    _END = object()

    def __init__(
        self, make_items: Callable[[], Generator[Any, None, None]], ahead: int
    ):
        self._queue: queue.Queue = queue.Queue(max(1, ahead))
        self._is_closed = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(make_items,), daemon=True, name="batches"
        )
        self._thread.start()

    def _run(self, make_items: Callable[[], Generator[Any, None, None]]) -> None:
        try:
            with contextlib.closing(make_items()) as items:
                for item in items:
                    if not self._put((item, None)):
                        return
            self._put((self._END, None))
        except BaseException as error:  # handed to the consumer, whatever it is
            self._put((self._END, error))

    def _put(self, item: Any) -> bool:
        while not self._is_closed.is_set():
            try:
                self._queue.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def __iter__(self) -> "Prefetch":
        return self

    def __next__(self) -> Any:
        if self._is_closed.is_set():
            raise StopIteration
        item, error = self._queue.get()
        if item is not self._END:
            return item
        self.close()
        if error is not None:
            raise error
        raise StopIteration

    def __enter__(self) -> "Prefetch":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stops the thread and waits for it."""
        self._is_closed.set()
        self._thread.join()
