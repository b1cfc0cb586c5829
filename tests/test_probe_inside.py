"""Eq. 1 measured: which cells are shown on each side, and what heads make of them."""

import dataclasses
import pathlib

import numpy as np
import pytest
from helpers import training_run as tiny

from mmdiffmask import config, configure, pretrain, statistics
from mmdiffmask import grid as grids
from mmdiffmask.data.corpus import Corpus
from mmdiffmask.probe import features, inside, results, table
from mmdiffmask.probe import run as probing

TINY = pathlib.Path(__file__).resolve().parents[1] / "tpu_configs" / "tiny.py"
CELL = grids.cell_of_patch(tiny.GRID)


def boxed_row(boxed_cells):
    """A clip whose patches in these cells of each frame belong to one box."""
    row = tiny.make_row(0)
    frames, patches = row.is_patch_valid.shape
    background = frames + 1
    unit = np.full((frames, patches), background)
    is_box = np.zeros(frames * patches, bool)
    for frame, cells in enumerate(boxed_cells):
        unit[frame, np.isin(CELL, list(cells))] = frame
        is_box[frame] = bool(cells)
    unit[-1, -1] = -1  # a patch that is never masked
    return row._replace(
        unit_of_token=unit.reshape(-1).astype(np.int32),
        is_box_unit=is_box,
        is_patch_valid=np.ones((frames, patches), bool),
        is_frame_valid=np.ones(frames, bool),
    )


def cells_of(is_shown, frame):
    return set(CELL[is_shown[frame]].tolist())


def test_as_many_cells_of_every_frame_on_both_sides():
    frames = tiny.make_row(0).is_frame_valid.shape[0]
    most = set(range(tiny.GRID.n_cells - 1))  # of frame 1: one cell is left outside
    boxed = [{0, 1, 2}, most, *[set()] * (frames - 2)]
    row = boxed_row(boxed)
    shown = inside.choose(row, tiny.GRID, "clip")
    assert cells_of(shown[inside.INSIDE], 0) == {0, 1, 2}
    outside = cells_of(shown[inside.OUTSIDE], 0)
    assert len(outside) == 3 and not outside & {0, 1, 2}
    assert cells_of(shown[inside.OUTSIDE], 1) == {tiny.GRID.n_cells - 1}
    assert len(cells_of(shown[inside.INSIDE], 1)) == 1
    for side in inside.SIDES:
        assert not shown[side][2:].any()
        assert (np.bincount(CELL[shown[side][0]], minlength=1) % 4 == 0).all()
    again = inside.choose(row, tiny.GRID, "clip")
    np.testing.assert_array_equal(again[inside.OUTSIDE], shown[inside.OUTSIDE])
    others = [
        cells_of(inside.choose(row, tiny.GRID, f"clip{i}")[inside.OUTSIDE], 0)
        for i in range(8)
    ]
    assert any(cells != outside for cells in others)


def test_absent_frames_and_padding_are_on_no_side():
    row = boxed_row([{0, 1}, {0, 1}])
    is_valid = row.is_patch_valid.copy()
    is_valid[0] = np.isin(CELL, [1, 2, 3])
    is_frame = row.is_frame_valid.copy()
    is_frame[1] = False
    row = row._replace(is_patch_valid=is_valid, is_frame_valid=is_frame)
    shown = inside.choose(row, tiny.GRID, "clip")
    assert cells_of(shown[inside.INSIDE], 0) == {1}
    assert cells_of(shown[inside.OUTSIDE], 0) <= {2, 3}
    assert not any(shown[side][1].any() for side in inside.SIDES)


@pytest.mark.parametrize("kind, grey", [(np.uint8, 127), (np.float32, 127 / 255)])
def test_what_is_not_shown_is_grey(kind, grey):
    row = boxed_row([{0}])
    row = row._replace(patches=row.patches.astype(kind))
    shown = inside.choose(row, tiny.GRID, "clip")[inside.INSIDE]
    hidden = inside.blanked(row, shown)
    np.testing.assert_array_equal(hidden.patches[shown], row.patches[shown])
    np.testing.assert_allclose(hidden.patches[~shown], grey)
    np.testing.assert_array_equal(hidden.is_patch_valid, shown)


def test_the_side_that_holds_the_label_wins():
    rng = np.random.default_rng(0)
    names = ["a", "b"] * 60
    clip = tuple(f"c{i}" for i in range(120))
    told = np.array([[n == "a", n == "b"] for n in names], np.float32)
    noise = rng.normal(size=(2, 120, 2)).astype(np.float32)
    values = {inside.INSIDE: told + 0.4 * noise[0], inside.OUTSIDE: noise[1]}
    sides = inside.Sides(
        {side: features.Features(clip, {side: x}) for side, x in values.items()},
        {name: {"kind": value} for name, value in zip(clip, names, strict=True)},
        {name: i % 5 for i, name in enumerate(clip)},
    )
    scored = inside.score(config.Probe(fractions=(0.1,)), "kind", sides)
    assert len(scored.clips) == len(scored.inside.is_right) == 120
    assert np.mean(scored.inside.is_right) > 0.8
    assert np.mean(scored.outside.is_right) < 0.65
    assert not scored.inside.few and len(scored.inside.l2_of_fold) == 5
    label = results.Label(
        heads={}, floors=statistics.Floors(0.5, 0.5, 2), clips=[], inside=scored
    )
    key = results.Key(probe={"bootstrap": 300})
    probed = results.Probed(key=key, labels={"kind": label}, step=0)
    line = next(x for x in table.lines(probed).splitlines() if "many cells" in x)
    assert "kind       inside boxes" in line and "difference +" in line
    assert "120 clips" in line and "95 % interval +" in line


def test_it_runs_on_a_start_and_a_strategy_without_boxes_is_refused(
    tiny_records, tmp_path
):
    base = configure.override(configure.load(TINY), ["training.steps=0"])
    settings = dataclasses.replace(
        base.probe, inside_boxes=True, read_outs=("clip",), labels=("action",), folds=3
    )
    experiment = dataclasses.replace(base, probe=settings)
    pretrain.pretrain(experiment, tiny_records, str(tmp_path / "run"), 0)
    probed = probing.probe(experiment, str(tmp_path / "run"))
    sides = probed.labels["action"].inside
    corpus = Corpus.of(tiny_records)
    boxed = {
        entry.clip
        for split in corpus.split_names
        for entry in corpus.entries(split)
        if "body" in entry.boxes.kind
    }
    assert sides.clips and set(sides.clips) <= boxed
    assert len(sides.inside.is_right) == len(sides.clips)
    assert sides.inside.log_probability != sides.outside.log_probability
    assert probing.probe(experiment, str(tmp_path / "run")) == probed
    plain = configure.override(experiment, ["masking.strategy=random"])
    pretrain.pretrain(plain, tiny_records, str(tmp_path / "random"), 0)
    with pytest.raises(ValueError, match="masking.strategy=random has no boxes"):
        probing.probe(plain, str(tmp_path / "random"))
