"""Equation 1 as a measurement: what cells inside boxes tell, and as many outside.

Each clip is seen twice: its frames are blank but for cells inside boxes, then but for
as many cells outside them. Heads on both are scored on the same clips, all that have
boxes, by folds. Paper: Eq. 1.
"""

import dataclasses
import functools
import hashlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool

from mmdiffmask import config, examples, versions
from mmdiffmask import grid as grids
from mmdiffmask.data import label_names, loader
from mmdiffmask.data.corpus import Corpus
from mmdiffmask.masking import strategies
from mmdiffmask.probe import encoders, features, folds, label_heads, results
from mmdiffmask.probe.frozen import Frozen
from mmdiffmask.training import mesh as meshes
from mmdiffmask.training.read_outs import clips as read_outs
from mmdiffmask.types import VideoBatch

INSIDE, OUTSIDE = "inside boxes", "outside boxes"
SIDES = (INSIDE, OUTSIDE)
FOLDS = 5  # where probe.folds says nothing
BLANK = 127 / 255  # of every colour: grey


def choose(
    row: VideoBatch, grid: grids.PatchGrid, name: str
) -> dict[str, Bool[np.ndarray, "t n"]]:
    """The patches that are shown of a clip on each side.

    In every frame as many cells outside boxes as inside: the hash of the clip's name
    draws them from the side that has more. A cell with any patch of a box is inside;
    cells without picture are on no side.

    Args:
      row: one clip, with its units.
      grid: of its frames.
      name: of the clip.
    """
    frames, patches = row.is_patch_valid.shape
    is_picture = row.is_patch_valid & row.is_frame_valid[:, None]
    unit = row.unit_of_token.reshape(frames, patches)
    is_boxed = (unit >= 0) & row.is_box_unit[np.maximum(unit, 0)] & is_picture
    cell = grids.cell_of_patch(grid)
    shown = {side: np.zeros((frames, patches), bool) for side in SIDES}
    for frame in range(frames):
        seen = np.unique(cell[is_picture[frame]])
        boxed = np.unique(cell[is_boxed[frame]])
        kept = {INSIDE: boxed, OUTSIDE: np.setdiff1d(seen, boxed)}
        count = min(map(len, kept.values()))
        for side, cells in kept.items():
            order = sorted(cells.tolist(), key=functools.partial(_place, name, frame))
            is_kept = np.isin(cell, order[:count])
            shown[side][frame] = is_kept & is_picture[frame]
    return shown


def _place(name: str, frame: int, cell: int) -> bytes:
    return hashlib.sha256(f"{name} frame {frame} cell {cell}".encode()).digest()


def blanked(row: VideoBatch, is_shown: Bool[np.ndarray, "t n"]) -> VideoBatch:
    """The clip with every other patch blank, and no part of what is averaged."""
    patches = np.array(row.patches)
    is_bytes = patches.dtype == np.uint8
    patches[~is_shown] = round(255 * BLANK) if is_bytes else BLANK
    return row._replace(patches=patches, is_patch_valid=is_shown)


class Sides(NamedTuple):
    """Features of the clips that have cells on both sides, by side.

    Attributes:
      features: side -> the first read-out of each clip, by the side's name.
      labels: clip -> its labels.
      fold_of_clip: clip -> its fold.
    """

    features: Mapping[str, features.Features]
    labels: Mapping[str, Mapping[str, str]]
    fold_of_clip: Mapping[str, int]


def encode(frozen: Frozen, corpus: Corpus) -> Sides:
    """Both sides of every clip of train and val that has boxes, from the cache.

    Args:
      frozen: the encoder; its strategy says which boxes count.
      corpus: its records.

    Raises:
      ValueError: if the strategy or every clip has no box, or there are fewer clips
        than folds.
    """
    name = frozen.experiment.masking.strategy
    kinds = set(strategies.find(name).units.boxes)
    if not kinds:
        raise ValueError(
            f"probe.inside_boxes: masking.strategy={name} has no boxes, so nothing is"
            " inside; name one that has, as masking.strategy=difference"
        )
    parts, labels, groups = [], {}, {}
    for split in ("train", "val"):
        entries = corpus.entries(split)
        positions = [
            i
            for i in corpus.first_of_clips(split)
            if kinds & set(entries[i].boxes.kind)
        ]
        if positions:
            parts.append(_with_cells(_encode(frozen, corpus, split, positions)))
        for i in positions:
            labels[entries[i].clip] = entries[i].labels
            groups[entries[i].clip] = entries[i].group
    if not any(part[INSIDE].clip for part in parts):
        raise ValueError(
            f"probe.inside_boxes: no clip of {corpus.folder} has a box of kind"
            f" {' or '.join(sorted(kinds))} ({name}); run detectors on them"
        )
    clips = [clip for part in parts for clip in part[INSIDE].clip]
    joined = {
        side: features.Features(
            tuple(clips),
            {side: np.concatenate([part[side].vectors[side] for part in parts])},
        )
        for side in SIDES
    }
    count = frozen.experiment.probe.folds or FOLDS
    fold_of_clip = folds.deal({clip: groups[clip] for clip in clips}, count)
    return Sides(joined, labels, fold_of_clip)


def _encode(
    frozen: Frozen, corpus: Corpus, split: str, positions: Sequence[int]
) -> Mapping[str, features.Features]:
    """Side -> features of the clips of some records."""
    experiment, source = frozen.experiment, corpus.source(split)
    names = [corpus.entries(split)[i].clip for i in positions]
    name_of = dict(zip(positions, names, strict=True))
    grid = examples.patch_grid(experiment.data)
    plain = examples.make_row(experiment.data, experiment.masking, source)

    def extract(side: str, part: slice, note: features.Note) -> features.Features:
        def row(position: int, epoch: int = 0) -> VideoBatch:
            clip = plain(position, epoch)
            return blanked(clip, choose(clip, grid, name_of[position])[side])

        size, cut = frozen.batch_size, meshes.by_example(frozen.devices.mesh)
        with loader.eval_batches(row, positions[part], size, sharding=cut) as batches:
            named = features.named(names[part], batches)
            encoder = encoders.of_clips(experiment)
            return features.extract(encoder, frozen.params, named, note)

    settings = (repr(experiment.masking), versions.number("records", "training"))
    return {
        side: frozen.features(
            f"{split} {side}", names, functools.partial(extract, side), *settings
        )
        for side in SIDES
    }


def _with_cells(sides: Mapping[str, features.Features]) -> dict[str, features.Features]:
    """The first read-out of the clips that have cells on both sides.

    The mean over no cell is 0 everywhere, which no other clip's is.
    """
    first = read_outs.ordered(next(iter(sides.values())).vectors)[0]
    vectors = {side: part.vectors[first] for side, part in sides.items()}
    has_cells = [i for i, x in enumerate(vectors[INSIDE]) if np.any(x != 0)]
    clips = tuple(sides[INSIDE].clip[i] for i in has_cells)
    return {
        side: features.Features(clips, {side: x[np.array(has_cells, int)]})
        for side, x in vectors.items()
    }


def score(settings: config.Probe, label: str, sides: Sides) -> results.Inside:
    """Both sides' scores of one label on the same clips, by folds of them.

    Raises:
      ValueError: as `label_heads.by_folds`.
    """
    whole = dataclasses.replace(settings, fractions=())
    of_clip = label_names.of_clips(sides.labels, label)
    heads = {
        side: label_heads.by_folds(
            whole, label, of_clip, sides.fold_of_clip, side, [part]
        )
        for side, part in sides.features.items()
    }
    clips = [clip for clip in sides.features[INSIDE].clip if of_clip[clip]]
    return results.Inside(inside=heads[INSIDE], outside=heads[OUTSIDE], clips=clips)
