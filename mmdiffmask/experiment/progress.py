"""The plan of an experiment as text: every run, done or not, and its minutes."""

import statistics
from collections.abc import Mapping, Sequence

from mmdiffmask import config
from mmdiffmask.experiment import runs
from mmdiffmask.experiment.plan import Planned
from mmdiffmask.experiment.result_file import Result
from mmdiffmask.models.reserve import flops
from mmdiffmask.run_files import DATA

# A core's rate where no run was measured yet: an update of `small` on 8 clips of 12x24
# patches took 3.3 processor seconds (docs/speed.md), by the count of `_seconds`.
FLOP_S = 75e9
# Of MiniLM on one thread: an update of 16 windows of 64 pieces took 2.5 processor
# seconds, features of a text .04. Heads of 384 features, two read-outs, a penalty:
# ACL-ARC by five folds with the official test 16 s, ChemProt without folds 10 s; a
# draw of fewer labels, all penalties, 2 s.
PIECE_S, TEXT_S = 2.5 / (16 * 64), 0.04
TEXTS = 2000  # labelled ones, where the files are not here
FOLDED_S, FITTED_S, DRAW_S = 16.0, 10.0, 2.0
BOTH = 3  # passes: a backward one costs twice a forward one
VIEWS = 2  # of the pictures in an update: clean and hidden


def lines(
    planned: Sequence[Planned],
    results: Mapping[Planned, Result],
    clips: int | None = None,
) -> list[str]:
    """A line for each run, and what is left; computes nothing.

    Minutes are measured where the run is done; else those of its row's other runs, or
    of the other rows' scaled by updates, or, where no run is done, a count of FLOP at
    `FLOP_S`.

    Args:
      planned: the runs.
      results: of those that are done.
      clips: of the records; None: as many as the config's own would have. Of texts,
        the distinct ones with a label.
    """
    width = max(len(one.row) for one in planned)
    text = [f"{'row':{width}}  {'seed':>4}  {'CPU minutes':>11}  state"]
    left = 0.0
    for one in planned:
        if one in results:
            minutes, state = _minutes(results[one]), "done"
            kind = "measured" if minutes else "not measured"
        else:
            minutes, kind = _expected(one, results, clips)
            state, left = _state(one), left + minutes
        text.append(
            f"{one.row:{width}}  {one.seed:4}  {minutes:11.1f}  {state} ({kind})"
        )
    done = sum(one in results for one in planned)
    spent = sum(_minutes(results[one]) for one in planned if one in results)
    text.append(
        f"{done} of {len(planned)} runs are done, in {spent:.1f} CPU minutes;"
        f" about {left:.1f} are left ({left / 60:.1f} hours)"
    )
    return text


def _minutes(result: Result) -> float:
    return sum(result.seconds.values()) / 60


def _state(one: Planned) -> str:
    if runs.is_done(one):
        return "trained and probed, no result yet"
    steps, total = runs.steps_done(one.folder), runs.steps_of(one)
    if one.folder.has(DATA):
        return "trained, not probed"
    if not steps:
        return "not begun"
    return f"begun, {steps} updates" + (f" of {total}" if total else "")


def _expected(
    one: Planned, results: Mapping[Planned, Result], clips: int | None
) -> tuple[float, str]:
    """Minutes of a run that is not done, and how they are known."""
    of_row = [_minutes(r) for other, r in results.items() if other.row == one.row]
    if of_row:
        return statistics.median(of_row), "as its row's other seeds"
    shares = [
        _minutes(result) / _seconds(other.settings, clips)
        for other, result in results.items()
        if result.seconds
    ]
    if shares:
        return statistics.median(shares) * _seconds(
            one.settings, clips
        ), "by other rows"
    return _seconds(one.settings, clips) / 60, "estimated"


def _seconds(experiment: config.Experiment, clips: int | None) -> float:
    """Processor seconds of a run by its FLOP, without compiling; at least 1."""
    if isinstance(experiment.data, config.Texts):
        return text_seconds(experiment, TEXTS if clips is None else clips)
    training, toy = experiment.training, experiment.data.toy
    if clips is None:
        clips = toy.train_clips + toy.val_clips if toy is not None else 0
    trained = training.steps * training.batch_size
    if training.steps and training.epochs:
        trained = training.epochs * clips
    views = trained * BOTH * VIEWS + clips
    return max(1.0, views * _clip_flop(experiment) / FLOP_S)


def text_seconds(experiment: config.Experiment, texts: int) -> float:
    """Processor seconds of a run of texts by its word pieces.

    Args:
      experiment: its settings; windows count as full.
      texts: distinct ones with a label.
    """
    training, length = experiment.training, experiment.data.length
    pieces = training.steps * training.batch_size * length
    if training.steps and training.epochs:
        pieces = training.epochs * texts * length
    draws = len(experiment.probe.fractions) * experiment.probe.fraction_draws
    of_penalty = FOLDED_S if experiment.probe.folds else FITTED_S
    heads = of_penalty * len(experiment.probe.l2) + draws * DRAW_S
    return pieces * PIECE_S + texts * TEXT_S + heads


def _clip_flop(experiment: config.Experiment) -> int:
    """FLOP of a clip's frames and of the joint transformer over each stream."""
    data, size = experiment.data, experiment.model
    patches = data.rows * data.cols
    tokens = data.text_length + data.segments * patches // 4
    streams = len(experiment.training.streams)
    vision = data.segments * flops.vision(size, patches)
    return vision + streams * flops.joint(size, tokens)
