"""The values that a page shows, and its strips of frames, from clips and masks."""

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from mmdiffmask import grid as grids
from mmdiffmask import statistics
from mmdiffmask.masking import summary as mask_summary
from mmdiffmask.report import compare, curves, pictures
from mmdiffmask.training.read_outs import clips

UNTRAINED = "untrained network"
START = "before training"
FRAME_PX = 400  # wide: the frame that a page opens with


class ReadOut(NamedTuple):
    """Scores of the same features.

    Attributes:
      linear: accuracy of a linear head.
      near: of nearest neighbours.
      log_probability: mean of the right class's by the linear head; None where a
        version before did not note it.
    """

    linear: statistics.Score
    near: statistics.Score
    log_probability: float | None = None


@dataclasses.dataclass(frozen=True)
class ProbeScores:
    """One label of one row.

    Attributes:
      read_outs: name of the features -> accuracies, all on the same clips.
    """

    read_outs: dict[str, ReadOut]

    @property
    def main(self) -> ReadOut:
        """The read-out that rows are compared by."""
        return self.read_outs[clips.ordered(self.read_outs)[0]]

    @property
    def others(self) -> dict[str, ReadOut]:
        """How a page names it beside a number -> each other read-out."""
        names = clips.ordered(self.read_outs)[1:]
        return {clips.words(name).short: self.read_outs[name] for name in names}


@dataclasses.dataclass(frozen=True)
class ComparedRow:
    """A row of the comparison: a line of the table.

    Attributes:
      name: its strategy's label, or what it is that hides nothing.
      description: the setting that makes it.
      steps: training steps of the checkpoint that was scored; 0 for `none`.
      masks: what its masks were made of; None where nothing was hidden.
      probes: label -> accuracies.
      is_uniform: whether it hides all things alike: others are held against it.
    """

    name: str
    description: str
    steps: int
    masks: mask_summary.MaskSummary | None
    probes: dict[str, ProbeScores]
    is_uniform: bool = False


@dataclasses.dataclass(frozen=True)
class RetrievalTask:
    """Finding the hidden cell among candidates: one set of held-out masks.

    Attributes:
      masks: label of the strategy whose held-out masks every row was scored on.
      cells: of `history.CELLS`: all cells touched by the mask, those wholly hidden, or
        the touched ones with only the same clip's cells as candidates.
      candidates: among how many cells the right one had to be found, mean.
      chance: of guessing.
      scores: row or floor (`start`, "copy") -> retrieval@1.
      start: which of `scores` is that of the weights that training began with: the
        row that was not trained, UNTRAINED or START.
    """

    masks: str
    cells: str
    candidates: float
    chance: float
    scores: dict[str, statistics.Score]
    start: str = UNTRAINED


class FurtherCell(NamedTuple):
    """A row's number on a further measure as text, and what stands below it."""

    value: str
    notes: tuple[str, ...]


class FurtherColumn(NamedTuple):
    """A measure under another rule, such as fewer labels.

    Attributes:
      measure: a label, or a read-out of questions.
      rule: what is different.
      cells: row -> its number; rows without one are left out.
    """

    measure: str
    rule: str
    cells: dict[str, FurtherCell]


@dataclasses.dataclass(frozen=True)
class ExampleRow:
    """One row's strip of frames.

    Attributes:
      name: its title.
      note: what was hidden.
      picture: a JPEG of all frames.
      frame: a JPEG of the frame that the page opens with.
    """

    name: str
    note: str
    picture: bytes
    frame: bytes


@dataclasses.dataclass(frozen=True)
class Example:
    """One clip with the masks of every row."""

    clip: str
    rows: tuple[ExampleRow, ...]


@dataclasses.dataclass(frozen=True)
class RunSummary:
    """Everything the page says.

    Attributes:
      title: of the page.
      data: what the clips are, one sentence of plain words.
      start: what continued pretraining started from, as "started from ...".
      is_random_start: whether that was random weights.
      has_replay_terms: rows that hide something go on with the start's own terms.
      anchors: the words that say what is special about the new video.
      rows: the table, `none` first.
      floors: label -> what needs no features.
      retrieval: tasks, each with every row.
      comparisons: every pair of rows on every label.
      questions: read-outs of questions, if they were asked.
      panels: curves.
      examples: the first clips by id.
      clips: what -> how many clips ("pretraining", "train", "dev", "val").
      skipped: raw files that could not be used.
      seed: of the whole run.
      settings: dotted name -> value as text.
      versions: package -> version.
      times: stage -> seconds.
      not_shown: further limits of this run, a sentence each.
      further: scores of the probe on fewer labels, single streams and so on.
    """

    title: str
    data: str
    start: str
    is_random_start: bool
    has_replay_terms: bool
    anchors: tuple[str, ...]
    rows: tuple[ComparedRow, ...]
    floors: dict[str, statistics.Floors]
    retrieval: tuple[RetrievalTask, ...]
    comparisons: tuple[compare.Comparison, ...]
    questions: tuple[compare.QuestionTable, ...]
    panels: tuple[curves.Panel, ...]
    examples: tuple[Example, ...]
    clips: dict[str, int]
    skipped: int
    seed: int
    settings: dict[str, str]
    versions: dict[str, str]
    times: dict[str, float]
    not_shown: tuple[str, ...] = ()
    further: tuple[FurtherColumn, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Of the rows, in their order."""
        return tuple(row.name for row in self.rows)

    @property
    def uniform(self) -> tuple[str, ...]:
        """The rows that hide all things alike."""
        return tuple(row.name for row in self.rows if row.is_uniform)

    @property
    def plain(self) -> tuple[str, ...]:
        """The rows that hide nothing: `none` and `replay`."""
        return tuple(row.name for row in self.rows if row.masks is None)

    @property
    def features(self) -> tuple[clips.Words, ...]:
        """What labels are read out of, the one that rows are compared by first."""
        cells = [cell for row in self.rows for cell in row.probes.values()]
        names = {name for cell in cells for name in cell.read_outs}
        return tuple(map(clips.words, clips.ordered(names)))


def make_example(
    grid: grids.PatchGrid,
    clip: pictures.Clip,
    masks: Mapping[str, Bool[np.ndarray, "t n"]],
    unit_of_token: Int[np.ndarray, " q"],
    is_box_unit: Bool[np.ndarray, " u"],
) -> Example:
    """Draws a clip under every row's mask and says what each mask was made of.

    Args:
      grid: the patch grid.
      clip: frames and boxes.
      masks: row -> hidden patches; a strip of the boxes is added before them.
      unit_of_token: BOX units of the clip's patches, see `summarise_masks`.
      is_box_unit: which units are boxes.
    """
    is_valid = pictures.valid_patches(grid, clip)
    is_valid |= unit_of_token.reshape(is_valid.shape) >= 0  # padding that is hidden
    shown = _most_hidden(masks, len(clip.frames))

    def row(
        name: str,
        note: str,
        is_hidden: Bool[np.ndarray, "t n"] | None = None,
        with_labels: bool = False,
    ) -> ExampleRow:
        strip = pictures.draw_strip(grid, clip, is_hidden, with_labels)
        of_frame = None if is_hidden is None else is_hidden[shown]
        size = max(grid.patch_px, round(FRAME_PX / grid.cols))
        frame = pictures.draw_frame(grid, clip, shown, of_frame, with_labels, size)
        return ExampleRow(name, note, pictures.to_jpeg(strip), pictures.to_jpeg(frame))

    boxes = pictures.count_boxes(clip.boxes)
    rows = [row("what was found", boxes, with_labels=True)]
    for name, is_hidden in masks.items():
        counts = mask_summary.summarise_masks(
            grid,
            is_hidden[None],
            is_valid[None],
            unit_of_token[None],
            is_box_unit[None],
        )
        rows.append(row(name, _mask_note(counts), is_hidden))
    return Example(clip.name, tuple(rows))


def _most_hidden(masks: Mapping[str, Bool[np.ndarray, "t n"]], frames: int) -> int:
    """The frame that all masks together hide most of; the first of those alike."""
    hidden = np.zeros(frames, int)
    for is_hidden in masks.values():
        hidden += is_hidden.sum(axis=1)
    return int(np.argmax(hidden))


def _mask_note(counts: mask_summary.MaskSummary) -> str:
    if not counts.hidden_patches:
        return "nothing hidden"
    parts = (
        (counts.whole_box, "in boxes hidden whole"),
        (counts.cut_box, "in boxes hidden in part"),
        (counts.fill, "outside boxes"),
    )
    shares = ", ".join(f"{100 * share:.0f} % {part}" for share, part in parts)
    return (
        f"{counts.hidden_patches:.0f} patches hidden"
        f" ({100 * counts.hidden_share:.0f} % of the picture), in"
        f" {counts.cells_touched:.0f} of {counts.cells:.0f} cells: {shares}"
    )
