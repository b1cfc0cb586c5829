"""Worker processes of one thread each that end when the run that started them does.

A decoder that hangs or crashes in C cannot be stopped from within its process. So a
worker says which item (a clip) it begins; the run knows whom to blame when a worker
dies or takes too long, and goes on with a new one.
"""

import collections
import contextlib
import dataclasses
import math
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import Any

# Set before a worker imports anything: thread counts are read at import.
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "JAX_PLATFORMS": "cpu",
    "NPROC": "1",  # XLA else starts a thread a core and hands operations about
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
}
DEADLINE_S = 600  # what an item may take
POLL_S = 0.2
MAX_STEP_S = 5.0  # a longer pause was this process stopped: no item's fault
KILLED = "a worker process died in it twice (out of memory, or the decoder crashed)"

_report: Callable[[tuple[str, Any]], None] = lambda message: None  # noqa: E731


def begin(item: str, deadline_s: float) -> None:
    """Tells the run which item is begun and how long it may take."""
    _report(("begin", (item, deadline_s)))


def lengthen(seconds: float) -> None:
    """Gives the item that was begun more time."""
    _report(("lengthen", seconds))


def tick(items: int) -> None:
    """Tells the run that so many items more are done."""
    _report(("tick", items))


def default_count() -> int:
    """As many workers as this process may use cores."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


GiveUp = Callable[[Any, str, str], None]  # (task, item, reason)
OnTick = Callable[[int], None]  # (items more)
Work = Callable[[Any], Any]  # (task), its answer


def run(
    function: Work,
    tasks: Sequence[Any],
    workers: int,
    on_tick: OnTick,
    give_up: GiveUp,
) -> Iterator[Any]:
    """What `function` gives for each task, as they finish.

    An item that takes too long is given up at once. One in which a worker dies is
    tried again when nothing else runs, and given up if that happens there too.

    Args:
      function: importable by name, so that a worker finds it.
      tasks: what it is called with.
      workers: processes; 0 = this one (for debugging; without a deadline).
      on_tick: called here with what the workers passed to `tick`; less than 0 where
        items are to be done again.
      give_up: sees to it that `function` leaves an item of a task out from now on.

    Raises:
      ValueError: if a worker died outside of any item.
    """
    if workers == 0 or not tasks:
        yield from _run_here(function, tasks, on_tick)
        return
    waiting = collections.deque(_Job(task) for task in tasks)
    pool = _Pool(function, on_tick, give_up)
    try:
        yield from pool.results(waiting, min(workers, len(tasks)))
        yield from pool.results(pool.again, 1)
    finally:
        pool.close()


def _run_here(function: Work, tasks: Sequence[Any], on_tick: OnTick) -> Iterator[Any]:
    global _report
    before = _report
    _report = lambda message: message[0] == "tick" and on_tick(message[1])  # noqa: E731
    try:
        yield from map(function, tasks)
    finally:
        _report = before


@dataclasses.dataclass
class _Job:
    """A task, and in which items how many workers died over it."""

    task: Any
    deaths: collections.Counter = dataclasses.field(default_factory=collections.Counter)


class _Worker:
    """A process, the job it has and the item it is in."""

    def __init__(self):
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        with _environment(ONE_THREAD):
            self.process = context.Process(target=_work, args=(theirs,), daemon=True)
            self.process.start()
        theirs.close()  # so that its death ends the pipe
        self.job: _Job | None = None
        self.rest()

    def rest(self) -> None:
        """It is in no item."""
        self.item, self.left_s, self.allowed_s = None, math.inf, math.inf

    def take(self, function: Work, job: _Job) -> None:
        """Hands it a job."""
        self.job, self.ticks = job, 0
        with contextlib.suppress(OSError):  # died at its start: seen when it is read
            self.pipe.send((function, job.task))

    def kill(self) -> None:
        """Ends it, whatever it does."""
        self.process.kill()
        self.process.join()
        self.pipe.close()


class _Pool:
    """Workers, what they say, and what is to be done when one is lost."""

    def __init__(self, function: Work, on_tick: OnTick, give_up: GiveUp):
        self._function, self._on_tick, self._give_up = function, on_tick, give_up
        self._workers: list[_Worker] = []
        self.again: collections.deque[_Job] = collections.deque()

    def results(self, waiting: collections.deque[_Job], size: int) -> Iterator[Any]:
        """Works off what waits, with at most so many workers."""
        for worker in self._workers[size:]:
            worker.kill()
        del self._workers[size:]
        before = time.monotonic()
        while waiting or self._busy():
            self._hand_out(waiting, size)
            pipes = {worker.pipe: worker for worker in self._busy()}
            for pipe in multiprocessing.connection.wait(list(pipes), POLL_S):
                yield from self._listen(pipes[pipe])
            now = time.monotonic()
            for worker in self._busy():
                worker.left_s -= min(now - before, MAX_STEP_S)
                if worker.left_s < 0:
                    waiting.appendleft(self._overdue(worker))
            before = now

    def _busy(self) -> list[_Worker]:
        return [worker for worker in self._workers if worker.job is not None]

    def _hand_out(self, waiting: collections.deque[_Job], size: int) -> None:
        while waiting and len(self._busy()) < size:
            idle = [worker for worker in self._workers if worker.job is None]
            if not idle:
                idle = [_Worker()]
                self._workers += idle
            idle[0].take(self._function, waiting.popleft())

    def _listen(self, worker: _Worker) -> Iterator[Any]:
        """Takes one message; yields the result if it is one."""
        try:
            kind, value = worker.pipe.recv()
        except (EOFError, OSError):
            self._died(worker)
            return
        if kind == "begin":
            worker.item, worker.allowed_s = value
            worker.left_s = worker.allowed_s
        elif kind == "lengthen":
            worker.left_s += value
            worker.allowed_s += value
        elif kind == "tick":
            worker.rest()
            worker.ticks += value
            self._on_tick(value)
        elif kind == "failed":
            raise value
        else:
            worker.job = None
            yield value

    def _lost(self, worker: _Worker) -> _Job:
        """Ends a worker; its job, of which nothing is done."""
        worker.kill()
        self._workers.remove(worker)
        if worker.ticks:
            self._on_tick(-worker.ticks)
        return worker.job

    def _overdue(self, worker: _Worker) -> _Job:
        job = self._lost(worker)
        reason = f"took longer than {worker.allowed_s:.0f} s and was given up"
        self._give_up(job.task, worker.item, reason)
        return job

    def _died(self, worker: _Worker) -> None:
        job = self._lost(worker)
        if worker.item is None:
            raise ValueError(
                "a worker process was killed (out of memory?); run again to go on,"
                " with fewer --workers"
            )
        job.deaths[worker.item] += 1
        if job.deaths[worker.item] > 1:
            self._give_up(job.task, worker.item, KILLED)
        self.again.append(job)

    def close(self) -> None:
        """Ends all workers."""
        for worker in self._workers:
            worker.kill()


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


def _work(pipe: multiprocessing.connection.Connection) -> None:
    """What a worker does: task by task, until the run closes the pipe.

    The function comes with the task: it imports much, and before that the worker must
    know how to end with its parent.
    """
    _start(pipe)
    while True:
        try:
            function, task = pipe.recv()
        except EOFError:
            return
        try:
            answer = "done", function(task)
        except MemoryError:
            os._exit(1)  # as if the system had killed it: the item is tried alone
        except Exception as error:
            answer = "failed", _portable(error)
        pipe.send(answer)


def _portable(error: Exception) -> Exception:
    """The error with its traceback, as one that another process can read."""
    if type(error).__module__ != "builtins":
        error = RuntimeError(f"{type(error).__name__}: {error}")
    error.add_note(traceback.format_exc())
    return error


def _start(pipe: multiprocessing.connection.Connection) -> None:
    """Runs first in each worker."""
    global _report
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C: end without a traceback
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _report = pipe.send
    import cv2

    cv2.setNumThreads(1)


def _end_with_parent() -> None:
    """A killed parent cannot stop its workers, and they would wait for it forever."""
    parent = multiprocessing.parent_process()
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)
