"""Command line: python -m preprocessing.beam COMMAND ... [-- PIPELINE OPTIONS].

COMMAND and its flags are those of python -m preprocessing (without --workers and
check); what follows `--` goes to Apache Beam, such as --runner=DataflowRunner. RAW and
OUT must lie on a file system that every worker mounts at the same path: through it
shards, tasks and notes travel, Beam carries nothing but the tasks' names. A run that
was stopped goes on with the same command, here or with the local runner.
"""

import contextlib
import dataclasses
import difflib
import functools
import io
import json
import logging
import os
import pathlib
import pickle
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from mmdiffmask import atomic
from preprocessing import arguments
from preprocessing.work import out_folder, workers

TASKS = "tasks"  # folder in OUT/.work
SHARED = "RAW and OUT must lie on a file system that all workers mount at one path"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; the exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    cut = words.index("--") if "--" in words else len(words)
    ours, flags = words[:cut], words[cut + 1 :]
    if not ours or ours == ["--help"]:
        sys.stdout.write(__doc__)
    problem = _problem(ours)
    if problem:
        return arguments.complain(problem)
    # Heavy, and a wrong command line is told without them.
    from preprocessing import __main__ as local

    try:
        pipeline = _pipeline(flags)
    except ValueError as error:
        return arguments.complain(str(error))
    return local.main(ours, functools.partial(execute, pipeline))


def _problem(words: Sequence[str]) -> str | None:
    """What the local runner would take but Beam cannot."""
    if "check" in words[:1]:
        return "check reads records: python -m preprocessing check DIR"
    if any(word.split("=")[0] == "--workers" for word in words):
        return (
            "--workers is of the local runner; Beam's runners take their own options"
            " after --, such as --direct_num_workers 2"
        )
    return None


def execute(
    pipeline: Any,
    write: Callable[[Any], tuple[str, dict[str, Any]]],
    tasks: Sequence[Any],
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Runs `write` on each task in a pipeline, then reads the notes.

    Args:
      pipeline: an empty one of Beam's.
      write: importable by name; writes a shard and its note.
      tasks: `shards.Task`s; none = the pipeline is not started.

    Raises:
      ValueError: if the run failed, or its notes cannot be seen from here.
    """
    if tasks:
        _run_pipeline(pipeline, [_put_task(write, task) for task in tasks])
    for task in tasks:
        if not task.note.is_file():
            raise ValueError(
                f"{task.out}: no note of shard {task.file} came back; {SHARED}"
            )
        yield task.note.name, json.loads(task.note.read_text(encoding="utf-8"))


def _put_task(write: Callable[[Any], Any], task: Any) -> str:
    """Puts a task where workers read it; its path.

    Tasks hold all questions of their clips: TVQA's would be 70 MB in the pipeline
    itself, and Dataflow refuses more than 10.
    """
    task = _anywhere(task)
    path = task.note.parent / TASKS / f"{task.note.stem}.pickle"
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic.write(path, pickle.dumps((write, task, out_folder.versions())))
    task.note.unlink(missing_ok=True)  # of a shard that is damaged, or to be mended
    return str(path)


def _anywhere(task: Any) -> Any:
    """The task with absolute paths: workers start in other folders."""
    absolute = os.path.abspath
    files = ("boxes", "nanodet", "yolox", "appearance")
    named = {name: getattr(task.finder, name, None) for name in files}
    finder = task.finder
    if any(named.values()):
        paths = {name: absolute(file) for name, file in named.items() if file}
        finder = dataclasses.replace(finder, **paths)
    clips = [dataclasses.replace(c, raw=absolute(c.raw)) for c in task.clips]
    return dataclasses.replace(
        task, out=absolute(task.out), clips=tuple(clips), finder=finder
    )


def write_task(path: str) -> str:
    """Does what a task file says, in a process of one thread; its path. In a worker.

    Beam may run several bundles in threads of one process: the libraries below would
    share its lock, and a decoder's crash would take all of them along.

    Raises:
      ValueError: if the task cannot be read, or its run has other libraries.
    """
    try:
        content = pathlib.Path(path).read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror} on a worker; {SHARED}") from error
    write, task, versions = pickle.loads(content)
    for name, wanted in versions.items():
        if out_folder.versions()[name] != wanted:
            raise ValueError(
                f"a worker has {name} {out_folder.versions()[name]}, not {wanted} as"
                " the machine that started the run; install"
                " requirements/beam.txt on both"
            )
    raw = task.clips[0].raw
    if not os.path.isdir(raw):  # else every clip would count as unreadable
        raise ValueError(f"{raw}: no such folder on a worker; {SHARED}")
    from preprocessing.work import shards  # heavy

    for _ in workers.run(
        write,
        [task],
        workers=1,
        on_tick=lambda clips: None,
        give_up=shards.give_up,
    ):
        pass
    return path


def _pipeline(flags: Sequence[str]) -> Any:
    """An empty pipeline.

    Raises:
      ValueError: if Beam is not installed or does not take the options.
    """
    try:
        import apache_beam
        from apache_beam.options import pipeline_options
    except ImportError as error:
        raise ValueError(
            f"Apache Beam is missing ({error}); it needs an environment of its own:"
            " pip install --no-deps -r requirements/beam.txt"
        ) from error
    # Where to watch the job is told as information.
    logging.getLogger("apache_beam.runners.dataflow").setLevel(logging.INFO)
    # What it warns of twice, `_require_known` refuses.
    logging.getLogger(pipeline_options.__name__).setLevel(logging.ERROR)
    usage = io.StringIO()
    try:
        with contextlib.redirect_stderr(usage):  # argparse's usage: a screen of it
            options = pipeline_options.PipelineOptions(list(flags))
            options.get_all_options()  # reads them, which else the run would do
            pipeline = apache_beam.Pipeline(options=options)
            _require_known(options, flags)  # a runner may bring options of its own
        return pipeline
    except SystemExit:
        reason = usage.getvalue().strip().splitlines()[-1].split("error: ")[-1]
        raise ValueError(f"{reason}; see docs/beam.md") from None
    except (ValueError, ImportError) as error:  # no such runner; one not installed
        raise ValueError(f"{error}; see docs/beam.md") from error


def _require_known(options: Any, flags: Sequence[str]) -> None:
    """Raises ValueError for what is no option: Beam by itself leaves it out."""
    parsers: list[Any] = []
    options.get_all_options(add_extra_args_fn=parsers.append)
    known, unknown = parsers[0].parse_known_args(list(flags))
    if unknown:
        names = [f"--{name}" for name in vars(known)]
        near = difflib.get_close_matches(
            unknown[0].split("=")[0], names, n=1, cutoff=0.8
        )
        hint = f"; do you mean {near[0]}?" if near else ""
        raise ValueError(f"{unknown[0]}: is no option of Beam's{hint}")


def _run_pipeline(pipeline: Any, paths: Sequence[str]) -> None:
    import apache_beam

    names = pipeline | "tasks" >> apache_beam.Create(list(paths))
    spread = names | "spread" >> apache_beam.Reshuffle()  # else one worker fuses all
    spread | "write shards" >> apache_beam.Map(write_task)
    try:
        state = pipeline.run().wait_until_finish()
    except Exception as error:  # each of Beam's runners has its own
        raise ValueError(_failed(str(error))) from error
    if state not in (None, "DONE"):
        raise ValueError(_failed(f"its state is {state}"))


def _failed(message: str) -> str:
    """A sentence from what may be a worker's whole traceback."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ValueError: ")]
    last = (errors or lines or ["no reason given"])[-1]
    reason = last.removeprefix("ValueError: ").split(" [while running")[0]
    return (
        f"the pipeline failed: {reason}; shards that are done stay, the same command"
        " goes on"
    )


if __name__ == "__main__":
    # By its importable name: workers look functions up by it.
    from preprocessing import beam

    sys.exit(beam.main())
