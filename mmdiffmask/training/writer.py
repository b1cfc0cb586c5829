"""Saves a run's states while training goes on: copied to the host, written beside."""

import logging
import threading
import types

from mmdiffmask.training import checkpoint, saved, steps, trees


class Writer:
    """Writes one state at a time in a thread; leaving the `with` block waits for it.

    Steps donate the state's arrays to the next one, so a state is copied before its
    writing begins. What could not be written is an error of the next save, or of the
    block's end.
    """

    def __init__(self, manager: checkpoint.Manager):
        self._manager = manager
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None

    def save(self, state: steps.TrainState, progress: checkpoint.Progress) -> None:
        """Takes a copy of the state and returns; one is held at a time.

        Raises:
          ValueError: if the state before could not be saved.
        """
        self.wait()
        copied = trees.to_host(state)
        # A daemon: a second signal ends the program, and the step before stays whole.
        self._thread = threading.Thread(
            target=self._write, args=(copied, progress), daemon=True, name="save"
        )
        self._thread.start()

    def _write(self, state: steps.TrainState, progress: checkpoint.Progress) -> None:
        try:
            checkpoint.save(self._manager, state, progress)
        except Exception as error:  # of any kind: Orbax calls many libraries
            cause = saved.cause_of(error)
            self._error = ValueError(
                f"step {progress.step} could not be saved ({cause}); the step that"
                " was saved before stands: mend that, and run the same command again"
            )
            self._error.__cause__ = error

    def wait(self) -> None:
        """Returns when all is on the disk.

        Raises:
          ValueError: if it could not be saved.
        """
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def __enter__(self) -> "Writer":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        _: types.TracebackType | None,
    ) -> None:
        try:
            self.wait()
        except ValueError as failed:
            if isinstance(error, Exception):
                logging.error("%s", failed)  # beside the one that is raised
            else:
                raise
