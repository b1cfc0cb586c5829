"""One page of all strategies: what each hides, why, and what it hides of two clips."""

import base64
import dataclasses
import functools
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Any

from mmdiffmask import atomic, config, examples, masks, starts
from mmdiffmask.attention import StartAttention
from mmdiffmask.data.corpus import Corpus
from mmdiffmask.data.records import shards
from mmdiffmask.masking import strategies
from mmdiffmask.report import pictures, templates

CLIPS, SEED = 2, 0


@dataclasses.dataclass(frozen=True)
class Line:
    """What the page says of one strategy.

    Attributes:
      name: in settings.
      label: in reports.
      origin: where the method is from.
      kind: what a unit is.
      units: how units come about.
      weight: how a unit's score becomes its weight.
      score: where the score comes from; "" where there is none.
      select: "sample" or "top".
      missing: why it is not drawn here, a sentence; "": it is.
      cost_ms: processor time of making the units of a clip, if it is drawn.
      strips: JPEGs of the clips under its masks, if it is drawn.
    """

    name: str
    label: str
    origin: str
    kind: str
    units: str
    weight: str
    score: str
    select: str
    missing: str
    cost_ms: float | None = None
    strips: tuple[str, ...] = ()


def write(experiment: config.Experiment, corpus: Corpus, out: str) -> pathlib.Path:
    """Writes the page; nothing in it is loaded from elsewhere.

    Args:
      experiment: its grid, budget, mask unit and anchors; attention is that of its
        checkpoint.
      corpus: the pictures are of its first clips with boxes.
      out: HTML file to write.

    Returns:
      The absolute path of the page.

    Raises:
      ValueError: if the file cannot be one, or the records cannot serve.
    """
    path = pathlib.Path(out)
    if path.suffix != ".html" or not path.parent.is_dir():
        raise ValueError(f"--out {out}: needs an .html file in a folder that exists")
    attention = starts.attention(experiment, corpus, "train", strategies.REGISTRY)
    grid = examples.patch_grid(experiment.data)
    source, positions = corpus.source("train"), _positions(corpus)
    clips = [pictures.decode(source[i]) for i in positions]
    lines = [
        _line(row, experiment, source, positions, clips, attention)
        for row in strategies.REGISTRY.values()
    ]
    page = templates.load("catalogue.html").render(
        lines=lines,
        clips=[
            (clip.name, _jpeg(pictures.draw_strip(grid, clip, with_labels=True)))
            for clip in clips
        ],
        grid=grid,
        masking=experiment.masking,
        start=experiment.model.checkpoint,
        anchors=", ".join(experiment.masking.anchors),
    )
    atomic.write(path, page)
    return path.resolve()


def _positions(corpus: Corpus) -> list[int]:
    """The first clips of train that have boxes; with too few, the first of all."""
    entries, first = corpus.entries("train"), corpus.first_of_clips("train")
    with_box = [i for i in first if entries[i].boxes.kind]
    return (with_box if len(with_box) >= CLIPS else first)[:CLIPS]


def _line(
    row: strategies.Strategy,
    experiment: config.Experiment,
    source: shards.Source,
    positions: Sequence[int],
    clips: Sequence[pictures.Clip],
    attention: StartAttention | None,
) -> Line:
    score = row.score or row.patch_score
    line = Line(
        row.name,
        row.label,
        row.origin,
        row.units.kind,
        units=first_line(row.units.make),
        weight=first_line(row.weight),
        score="" if score is None else first_line(score),
        select=row.select,
        missing=_missing(row, attention),
    )
    if line.missing:
        return line
    batch = masks.bare_batches(
        experiment, source, positions, (row.name,), SEED, attention
    )[row.name]
    hidden = masks.of_batch(experiment, row.name, batch, SEED).is_masked
    grid = examples.patch_grid(experiment.data)
    strips = tuple(
        _jpeg(pictures.draw_strip(grid, clip, is_masked))
        for clip, is_masked in zip(clips, hidden, strict=True)
    )
    settings = examples.unit_settings(
        experiment.data, experiment.masking, source, SEED, attention
    )
    records = [source[i] for i in positions]
    began = time.process_time()
    for record, is_valid in zip(records, batch.is_patch_valid, strict=True):
        row.clip_units(record, is_valid, settings)
    cost_ms = 1000 * (time.process_time() - began) / len(records)
    return dataclasses.replace(line, cost_ms=cost_ms, strips=strips)


def _missing(row: strategies.Strategy, attention: StartAttention | None) -> str:
    """Why a strategy cannot be drawn; "": it can."""
    if row.file is not None:
        return "It reads a file of yours, so there is nothing to show here."
    if row.is_by_attention and attention is None:
        return (
            "It goes by the attention of the weights that a run starts from;"
            " model.checkpoint names none, so there is nothing to show here."
        )
    return ""


def first_line(function: Callable[..., Any]) -> str:
    """The first line of a function's docstring; "" where it has none."""
    if isinstance(function, functools.partial):
        function = function.func
    return (function.__doc__ or "").strip().split("\n")[0]


def _jpeg(image: Any) -> str:
    data = base64.b64encode(pictures.to_jpeg(image)).decode("ascii")
    return f"data:image/jpeg;base64,{data}"
