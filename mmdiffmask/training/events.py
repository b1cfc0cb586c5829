"""A run's numbers as events for TensorBoard: from the journal's lines to scalars."""

import pathlib
import time
from collections.abc import Iterable
from typing import Any

TRAIN, DEV, SPEED = "train", "dev", "speed"  # two folders; what rates are filed under
FLUSH_S = 10.0  # the longest that an event waits for the disk
PROBED = ("accuracy", "log_probability")  # scores of a line of the probe
NO_SCALARS = ("step", "kind", "masks", "stream", "metric")


class Events:
    """Writes two curves' folders, `train` and `dev`, in the folder of the events.

    Events are written by the caller's thread and are on the disk after `flush`. Each
    process writes files of its own. A first event says from which step on the events
    of earlier files are void (TensorBoard's own way), so no step shows twice.
    """

    def __init__(self, folder: pathlib.Path):
        self._folder = folder
        self._writers: dict[str, Any] = {}
        self._flushed_s = 0.0

    @property
    def is_begun(self) -> bool:
        """Whether an earlier process has written some."""
        return self._folder.is_dir()

    def begin(self, first_train: int, first_dev: int) -> None:
        """Opens new files; events from these steps on that lie in others are void."""
        from tensorboardX import event_file_writer  # only where events are wanted

        is_again = self.is_begun
        for name, first in ((TRAIN, first_train), (DEV, first_dev)):
            (self._folder / name).mkdir(parents=True, exist_ok=True)
            # Two starts within a second would take the same name.
            self._writers[name] = event_file_writer.EventsWriter(
                str(self._folder / name / "events"), f".{time.time_ns()}"
            )
            if is_again:
                self._void(name, first)
        self._flushed_s = time.monotonic()

    def _void(self, name: str, first: int) -> None:
        from tensorboardX.proto import event_pb2

        log = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
        event = event_pb2.Event(wall_time=time.time(), step=first, session_log=log)
        self._writers[name].write_event(event)

    def add(self, lines: Iterable[dict[str, Any]]) -> None:
        """Adds lines of metrics.jsonl, an event each."""
        for line in lines:
            if "metric" in line:  # an `evaluate.Row`
                name = "/".join((line["masks"], line["stream"], line["metric"]))
                self._write(DEV, line["step"], {name: line["value"]})
            elif "read_out" in line:  # of the probe
                name = "/".join(("probe", line["label"], line["read_out"]))
                values = {f"{name}/{score}": line[score] for score in PROBED}
                self._write(DEV, line["step"], values)
            else:
                values = {k: v for k, v in line.items() if k not in NO_SCALARS}
                self._write(TRAIN, line["step"], values)
        if time.monotonic() - self._flushed_s > FLUSH_S:
            self.flush()

    def add_rates(self, step: int, lap: dict[str, Any]) -> None:
        """Adds the rates of updates up to a step."""
        self._write(TRAIN, step, {f"{SPEED}/{name}": lap[name] for name in lap})

    def _write(
        self, name: str, step: int, values: dict[str, float | int | None]
    ) -> None:
        from tensorboardX.proto import event_pb2, summary_pb2

        scalars = [
            summary_pb2.Summary.Value(tag=tag, simple_value=value)
            for tag, value in values.items()
            if value is not None
        ]
        summary = summary_pb2.Summary(value=scalars)
        event = event_pb2.Event(wall_time=time.time(), step=step, summary=summary)
        self._writers[name].write_event(event)

    def flush(self) -> None:
        """Returns when all events are on the disk."""
        for writer in self._writers.values():
            writer.flush()
        self._flushed_s = time.monotonic()

    def close(self) -> None:
        """Writes what is left and closes the files."""
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()
