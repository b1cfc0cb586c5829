"""A training run made of objects: what the loop is handed."""

import contextlib
import dataclasses
from collections.abc import (
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from typing import Any, NamedTuple, Protocol, runtime_checkable

from jax.sharding import Mesh

from mmdiffmask import config
from mmdiffmask.inputs import Claim
from mmdiffmask.run_folder import RunFolder
from mmdiffmask.training import steps
from mmdiffmask.training.family import Batch, Family, Hidden, Params

Read = Callable[[Batch], Any]  # batch -> `classify.Answers`
# What goes over batches, and may end that by an exception.
Watched = Callable[[Iterable[Any]], Iterable[Any]]
# Reads weights out: lines for the journal, without their step and kind.
Probe = Callable[[Params, Watched], Sequence[Mapping[str, Any]]]


class StopOn(NamedTuple):
    """The held-out number that stops a run and picks its best step.

    Attributes:
      masks: the kind of masks, or of scores that need none.
      metric: its name, over all streams.
      rises: whether more is better.
    """

    masks: str
    metric: str
    rises: bool


@dataclasses.dataclass(frozen=True)
class Job:
    """One run, made of objects (build.py turns settings into them).

    Attributes:
      family: what is trained.
      owner: what the run is, for config.json: all settings, the seed, what it reads.
      settings: of training.
      shapes: of the first weights.
      batch_size: of an update; the order of training follows from it.
      mesh: `mesh.make`.
      start: makes the first weights; called only where no start was saved yet.
      check_clips: checks and says what the clips lack, before a first update; reads
        records, so a run that goes on does not call it.
      hold_batches: training batches that `Family.hold` goes over.
      train_batches: first step -> batches from there on, each with its epoch.
      example_ids: step, from 1 -> ids of the examples of its batch.
      dev_batches: the held-out batches, the same ones at every call.
      draw_masks: the run's own masks; None where the family masks nothing.
      draw_live: draws them in the update, from its attention, instead; None: not so.
      eval_masks: strategy -> batch -> what its held-out masks hide.
      own_masks: the strategy whose dev loss stops the run and picks the best step; a
        name among `eval_masks` unless nothing is masked.
      stop_on: another number that does, in place of the dev loss; None: the loss.
      may_lack: top names of `shapes` that first weights need not have.
      prepare: works out what rows and masks need and what is kept on this machine; a
        run that is not finished calls it before it makes any of them.
      probe: reads the weights out every `settings.probe_every` updates; None: never.
    """

    family: Family
    owner: Claim
    settings: config.Training
    shapes: Params
    batch_size: int
    mesh: Mesh
    start: Callable[[], Params]
    check_clips: Callable[[], None]
    hold_batches: Callable[[], Iterable[Batch]]
    train_batches: Callable[
        [int], contextlib.AbstractContextManager[Iterator[tuple[Batch, int]]]
    ]
    example_ids: Callable[[int], Sequence[str]]
    dev_batches: Callable[[], contextlib.AbstractContextManager[Iterable[Batch]]]
    draw_masks: steps.DrawMasks | None
    eval_masks: dict[str, Callable[[Batch], Hidden]]
    own_masks: str
    may_lack: Collection[str] = ()
    draw_live: steps.DrawLive | None = None
    prepare: Callable[[], None] = lambda: None
    probe: Probe | None = None
    stop_on: StopOn | None = None

    @property
    def rises(self) -> bool:
        """Whether more of the number that stops the run is better."""
        return self.stop_on is not None and self.stop_on.rises

    @property
    def seed(self) -> int:
        """Of the run."""
        return self.owner.seed


@runtime_checkable
class LabelledRows(Protocol):
    """The rows of a split with what is right of each.

    Attributes:
      label: the place of each row's label, or of its question's right answer.
    """

    @property
    def label(self) -> Sequence[int]:
        """See above."""

    def __len__(self) -> int:
        """How many rows there are."""

    def name(self, position: int) -> str:
        """The id of a row."""

    def make_row(self) -> Callable[..., Any]:
        """(position, epoch = 0) -> the row."""


@dataclasses.dataclass(frozen=True)
class Answering:
    """What the weights of a fine-tuned run are asked.

    Attributes:
      labels: names of the labels; () where answers are numbers of candidates.
      batch_size: rows that are read at once.
      read: weights -> batch -> `classify.Answers`.
      splits: held-out split -> its rows.
    """

    labels: tuple[str, ...]
    batch_size: int
    read: Callable[[Params], Read]
    splits: Mapping[str, LabelledRows]


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A run that is ready to train, and what is noted of it afterwards.

    Attributes:
      job: what the loop is handed.
      corpus: what it reads, for a probe.
      clips: "pretraining" and "dev" -> how many clips, or windows of texts.
      masks: the run's folder -> what its masks were made of; None: not told.
      fill_only: gives kinds of held-out masks that hide no box in any clip.
    """

    job: Job
    corpus: Any
    clips: Mapping[str, int]
    masks: Callable[[RunFolder], Any | None] = lambda _: None
    fill_only: Callable[[], Sequence[str]] = tuple
