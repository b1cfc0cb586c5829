"""How a run's tasks are done: by how many workers, how strictly, with what shown.

Records and tracks do not depend on any of it.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from preprocessing.work import workers

Note = tuple[str, dict[str, Any]]  # of a finished task: (its file's name, its content)
# (a function that does a task, the tasks) -> their notes, as they come.
Execute = Callable[[Callable[[Any], Note], Sequence[Any]], Iterator[Note]]


@dataclasses.dataclass(frozen=True)
class Execution:
    """How a run is executed.

    Attributes:
      worker_count: processes, one thread each; None = one a core; 0 = this process, for
        debugging and without a deadline.
      strict: anything that is skipped is an error.
      bar: shows progress on stderr.
      deadline_s: what a clip may take, beside its length times `clips.DEADLINE_SHARE`.
      execute: has the tasks done elsewhere; None = by workers of this machine.
    """

    worker_count: int | None = None
    strict: bool = False
    bar: bool = True
    deadline_s: float = workers.DEADLINE_S
    execute: Execute | None = None

    @property
    def processes(self) -> int:
        """How many worker processes; 0 = this process does the work."""
        if self.worker_count is None:
            return workers.default_count()
        return self.worker_count
