"""Settings of the probe: what is scored, and how heads are fitted."""

import dataclasses
import math
from typing import Literal

from mmdiffmask import ranges

LEAST_FOLDS = (
    3  # one is scored, one chooses the penalty, heads are fitted on the others
)
_number = ranges.number


@dataclasses.dataclass(frozen=True)
class Probe:
    """Linear heads on frozen features (design.md section 7)."""

    read_outs: tuple[Literal["clip", "match", "answer"], ...] = ("clip",)
    labels: tuple[str, ...] = ("action", "object", "shirt")  # columns of labels.csv
    # Kinds of questions to tell apart in the tables, each "name=regular expression".
    kinds: tuple[str, ...] = ("all=",)
    questions: int = _number(100_000, 10)  # most of train that heads are fitted on
    eval_questions: int = _number(100_000, 10)  # most of val, the first by id
    # 0: heads are fitted on train. N: on the held-out clips (val) without a fold, which
    # they score; each of N folds is scored once, and train's clips are not read.
    folds: int = _number(0, 0)
    floors: bool = True  # also without frames, sound, subtitles, question; untrained
    link: Literal["softmax", "sigmoid"] = "softmax"  # released code; paper's text
    # Of these the penalty is chosen on dev.
    # Infinite: a head that knows the classes' frequencies and nothing else.
    l2: tuple[float, ...] = _number((1e-4, 1e-3, 1e-2, 1e-1, 1.0), 1e-9, math.inf)
    neighbours: int = _number(10, 1)
    batch_size: int = _number(32, 1)
    checkpoint: Literal["best", "last"] = "best"  # last: after a fixed number of steps
    bootstrap: int = _number(2000, 100)  # resamples of clips for the 95 % interval


def check(probe: Probe) -> None:
    """Checks what a single setting's limits do not say.

    Raises:
      ValueError: naming the setting.
    """
    if 0 < probe.folds < LEAST_FOLDS:
        raise ValueError(
            f"probe.folds={probe.folds}: must be 0, for heads that are fitted on train,"
            f" or at least {LEAST_FOLDS}: one fold is scored, one chooses the penalty,"
            " heads are fitted on others"
        )


# Kinds of the toy set's questions, for `Probe.kinds`.
TOY_KINDS = (
    "object=^Which ",
    "colour=^What is the colour",
    "doing=^What is the person",
    "who=^Who is ",
    "scene=^Where ",
    "topic=^What does ",
    "speaker=^Who talks ",
)
