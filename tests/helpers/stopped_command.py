"""Runs `mmdiffmask` so that it is stopped at one moment of one stage.

As a program: `python stopped_command.py HOW STAGE CALL MOMENT COMMAND...`. MOMENT
seconds after STAGE is entered for the CALLth time (from 0), the process gets the signal
HOW. With HOW = FULL no file may grow beyond MOMENT bytes from then on, as on a full
disk. HOW = NONE stops nothing.
"""

import functools
import os
import resource
import signal
import sys
import threading

from mmdiffmask import __main__ as command_line
from mmdiffmask.probe import feature_parts
from mmdiffmask.training import checkpoint, evaluate, journal

FULL, NONE = "FULL", "NONE"
# Where a stage begins: stage -> whose function of that name.
STAGES = {
    "note": (journal.Journal, "note"),
    "start": (checkpoint, "save_start"),
    "save": (checkpoint, "save"),
    "evaluation": (evaluate, "masked"),
    "part": (feature_parts, "_write"),
}
EXTRACTION = "extraction"  # within `feature_parts.cached`
PART = 8  # clips or questions of a part: tiny records make several


def stop(how: str, moment: float) -> None:
    """Does to this process what HOW and MOMENT say."""
    if how == FULL:
        _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(moment), most))
        return
    number = getattr(signal, f"SIG{how}")
    timer = threading.Timer(moment, os.kill, (os.getpid(), number))
    timer.daemon = True
    timer.start()


def at_call(function, number: int, action):
    """The function; `action` is called as its call of that number begins."""
    calls = iter(range(number + 1))

    @functools.wraps(function)
    def counted(*arguments, **options):
        if next(calls, None) == number:
            action()
        return function(*arguments, **options)

    return counted


def prepare(how: str, stage: str, call: int, moment: float) -> None:
    """Sees to it that the stop comes."""
    cached = feature_parts.cached
    action = functools.partial(stop, how, moment)

    def in_parts(folder, key, names, compute, **options):
        if (stage, how != NONE) == (EXTRACTION, True):
            compute = at_call(compute, call, action)
        return cached(folder, key, names, compute, **options, size=PART)

    feature_parts.cached = in_parts
    if how != NONE and stage != EXTRACTION:
        holder, name = STAGES[stage]
        setattr(holder, name, at_call(getattr(holder, name), call, action))


if __name__ == "__main__":
    how, stage, call, moment = sys.argv[1:5]
    prepare(how, stage, int(call), float(moment))
    sys.exit(command_line.main(sys.argv[5:]))
