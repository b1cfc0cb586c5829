"""Settings of the probe: what is scored, and how heads are fitted."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Literal

from mmdiffmask import ranges

LEAST_FOLDS = (
    3  # one is scored, one chooses the penalty, heads are fitted on the others
)
_number = ranges.number


# Kinds of the toy set's questions.
TOY_KINDS = (
    "object=^Which ",
    "colour=^What is the colour",
    "doing=^What is the person",
    "who=^Who is ",
    "scene=^Where ",
    "topic=^What does ",
    "speaker=^Who talks ",
)
# Presets of `Probe.kinds`: by the word that a question begins with.
KINDS = {
    "toy": TOY_KINDS,
    "tvqa": (
        r"what=^\W*what",
        r"who=^\W*who",
        r"where=^\W*where",
        r"why=^\W*why",
        r"how=^\W*how",
        "others=",
    ),
    "social-iq": (
        r"how=^\W*how",
        r"why=^\W*why",
        r"what=^\W*what",
        r"who=^\W*who",
        # is, are, was, were, do, does, did, has, have, had, can, could, will, would
        r"yes or no=^\W*(is|are|was|were|do|does|did|ha[sd]|have|can|[cw]ould|will)\b",
        "others=",
    ),
}


@dataclasses.dataclass(frozen=True)
class Probe:
    """Linear heads on frozen features (design.md section 7)."""

    read_outs: tuple[Literal["clip", "match", "answer"], ...] = ("clip",)
    labels: tuple[str, ...] = ("action", "object", "shirt")  # columns of labels.csv
    # Kinds of questions to tell apart in the tables, each "name=regular expression", or
    # a name of KINDS; a question is of the first that fits.
    kinds: tuple[str, ...] = ("all=",)
    questions: int = _number(100_000, 10)  # most of train that heads are fitted on
    eval_questions: int = _number(100_000, 10)  # most of val, the first by id
    # 0: heads are fitted on train. N: on the held-out clips (val) without a fold, which
    # they score; each of N folds is scored once, and train's clips are not read.
    folds: int = _number(0, 0)
    # Heads also on such shares of the labels, (0.01, 0.1) for 1 % and 10 %; each share
    # is drawn several times, by hash, the smaller within the larger.
    fractions: tuple[float, ...] = _number((), 1e-6, 1.0, empty=True)
    fraction_draws: int = _number(3, 1, 100)
    # Questions also with one stream alone beside question and answers.
    streams: tuple[Literal["video", "subtitles", "audio"], ...] = dataclasses.field(
        default=(), metadata={"empty": True}
    )
    # Questions also with right answers of other questions in place of the wrong ones.
    right_distractors: bool = False
    # Labels also from cells inside boxes (of masking.strategy) alone, and from as many
    # outside: Eq. 1 of the paper, measured.
    inside_boxes: bool = False
    floors: bool = True  # also without frames, sound, subtitles, question; untrained
    link: Literal["softmax", "sigmoid"] = "softmax"  # released code; paper's text
    # Of these the penalty is chosen on dev.
    # Infinite: a head that knows the classes' frequencies and nothing else.
    l2: tuple[float, ...] = _number((1e-4, 1e-3, 1e-2, 1e-1, 1.0), 1e-9, math.inf)
    neighbours: int = _number(10, 1)
    batch_size: int = _number(32, 1)
    checkpoint: Literal["best", "last"] = "best"  # last: after a fixed number of steps
    bootstrap: int = _number(2000, 100)  # resamples of clips for the 95 % interval


def kinds(entries: Sequence[str]) -> tuple[str, ...]:
    """The entries of `Probe.kinds` with presets written out."""
    return tuple(kind for entry in entries for kind in KINDS.get(entry, (entry,)))


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
