"""Scores and masks from files by example id: what they must be, and what they do."""

import dataclasses

import numpy as np
import pytest

from mmdiffmask import config, grid
from mmdiffmask.masking import strategies, strategy_settings, tables, units
from tests.helpers import clip_records

GRID, T = grid.PatchGrid(6, 10), 2
SHAPE = (T, GRID.n_patches)


def write(path, **arrays):
    np.savez(path, **arrays)
    return str(path)


def scores(n=1, **changes):
    rng = np.random.default_rng(0)
    arrays = {"ids": np.array([f"example {i}" for i in range(n)])}
    return arrays | {"scores": rng.random((n, *SHAPE)).astype(np.float32)} | changes


def clip_units(name, path, is_valid=None, **changes):
    """The units of example 0 under a strategy that reads a file."""
    row = strategies.find(name)
    masking = config.Masking(strategy=name, **{row.file: path}, **changes)
    strategy_settings.check_files(masking)
    strategy_settings.check_use([masking])
    by_id = tables.of_settings(masking)
    by_id[row.file].check_shape(GRID, T)
    record, _ = clip_records.make(GRID, 0, T)
    is_valid = np.ones(SHAPE, bool) if is_valid is None else is_valid
    settings = units.Settings(GRID, masking, 0.0, tables=by_id)
    return row.clip_units(record, is_valid, settings)


def test_scores_are_those_of_the_example(tmp_path):
    arrays = scores(3)
    arrays["ids"] = arrays["ids"][::-1]
    path = write(tmp_path / "s.npz", **arrays)
    clip = clip_units("file-scores", path, mask_unit="patch")
    np.testing.assert_allclose(clip.unit_score, arrays["scores"][2].reshape(-1))


def test_any_numbers_serve_where_the_top_is_taken(tmp_path):
    value = np.linspace(-3, 2, T * GRID.n_patches).reshape(1, *SHAPE)
    path = write(tmp_path / "s.npz", **scores(scores=value))
    clip = clip_units("file-scores", path, mask_unit="patch", select="top")
    assert (np.diff(clip.unit_score) > 0).all()
    assert clip.unit_score.min() == 0 and clip.unit_score.max() == 1
    with pytest.raises(ValueError, match="example 0 has the score -3; units are drawn"):
        clip_units("file-scores", path, mask_unit="patch")


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"ids": np.array([[1]])}, "'ids' must be a list of example ids as text"),
        ({"ids": np.array(["a", "a"])}, "id 'a' stands there twice"),
        ({"scores": np.zeros(SHAPE)}, r"has shape \(2, 60\), but 1 ids need \(1, fram"),
        ({"scores": np.zeros((1, 2, 48))}, r"values of shape \(2, 48\), but 2 frames"),
        ({"scores": np.full((1, *SHAPE), np.nan)}, "of 'example 0' are not all finite"),
        ({"scores": np.full((1, *SHAPE), "x")}, "has type <U1; needs numbers"),
        (
            {"grid": np.array([10, 6])},
            "is for a grid of 10x6, but the records have 6x10",
        ),
    ],
)
def test_a_wrong_array_is_one_sentence(tmp_path, changes, message):
    path = write(tmp_path / "s.npz", **scores(**changes))
    with pytest.raises(ValueError, match=message) as raised:
        clip_units("file-scores", path)
    assert "s.npz (masking.scores): " in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_wrong_file_is_one_sentence(tmp_path):
    with pytest.raises(ValueError, match=r"no.npz: no such file \(masking.scores\)"):
        clip_units("file-scores", str(tmp_path / "no.npz"))
    text = tmp_path / "text.npz"
    text.write_text("no archive")
    with pytest.raises(ValueError, match="not an .npz file of arrays"):
        clip_units("file-scores", str(text))
    path = write(tmp_path / "s.npz", ids=np.array(["a"]), values=np.zeros(3))
    with pytest.raises(ValueError, match="no array 'scores'; its arrays: ids, values"):
        clip_units("file-scores", path)
    objects = write(tmp_path / "o.npz", ids=np.array([{}]), scores=np.zeros(3))
    with pytest.raises(ValueError, match="not an .npz file of arrays"):
        clip_units("file-scores", objects)


def test_examples_that_lack_are_named(tmp_path):
    table = tables.load(write(tmp_path / "s.npz", **scores(2)), "scores")
    table.check_ids(["example 0", "example 1"])
    with pytest.raises(ValueError, match="lacks 4 of the .*: 'a', 'b', 'c', ...; it"):
        table.check_ids(["a", "b", "example 1", "c", "d"])
    with pytest.raises(ValueError, match="has no example 'a'"):
        table.of("a")


def test_a_file_that_was_written_again_is_read_again(tmp_path):
    path = write(tmp_path / "s.npz", **scores())
    assert tables.load(path, "scores") is tables.load(path, "scores")
    write(tmp_path / "s.npz", **scores(2))
    assert len(tables.load(path, "scores").place) == 2


def masks(tmp_path, hidden):
    arrays = {"ids": np.array(["example 0"]), "masks": hidden[None]}
    return write(tmp_path / "m.npz", **arrays)


def cells(*chosen):
    """The mask that hides these 2x2 cells of a clip of 30."""
    is_cell = np.isin(np.arange(T * 15), chosen).reshape(T, 3, 5)
    return is_cell.repeat(2, 1).repeat(2, 2).reshape(SHAPE)


EIGHT = range(8)  # round(0.25 * 30)


def test_masks_are_used_as_they_are(tmp_path):
    hidden = cells(*range(0, 16, 2))
    clip = clip_units("file-masks", masks(tmp_path, hidden))
    score = clip.unit_score[clip.unit_of_token]
    np.testing.assert_array_equal(score, hidden.reshape(-1))


@pytest.mark.parametrize(
    "hidden, message",
    [
        (
            cells(*range(9)),
            "hides 9 of 30 cells, but masking.ratio=0.25 hides 8; .*3000",
        ),
        (
            ~cells(*EIGHT),
            "hides 22 of 30 cells where 8 are to be; it seems turned round",
        ),
        (cells(*EIGHT).astype(int), "'masks' has type int64; must be bool, True = hid"),
        (cells(*EIGHT) & (np.arange(60) > 0), "hides parts of 2x2 cells; hide whole"),
    ],
)
def test_masks_that_cannot_serve_are_one_sentence(tmp_path, hidden, message):
    path = masks(tmp_path, hidden)
    with pytest.raises(ValueError, match=message) as raised:
        clip_units("file-masks", path)
    assert "m.npz (masking.masks): " in str(raised.value)


def test_what_shows_no_picture_is_not_hidden(tmp_path):
    is_valid = np.ones(SHAPE, bool)
    is_valid[:, -10:] = False  # half of the last row of cells
    path = masks(tmp_path, cells(10, *range(7)))
    with pytest.raises(ValueError, match="hides 2 patches that show no picture"):
        clip_units("file-masks", path, is_valid)
    path = masks(tmp_path, cells(10, *range(7)) & is_valid)
    clip = clip_units("file-masks", path, is_valid)
    assert clip.unit_score.sum() == 8


def test_a_strategy_and_its_file_come_together():
    base = config.Masking()
    strategy_settings.check_files(base)
    strategy_settings.check_use([base])
    by_file = dataclasses.replace(base, strategy="file-masks", masks="m.npz")
    strategy_settings.check_files(by_file)
    lacks = dataclasses.replace(base, strategy="file-scores")
    message = "file-scores reads a file: .* masking.scores=FILE"
    with pytest.raises(ValueError, match=message):
        strategy_settings.check_files(lacks)
    for changes, message in (
        ({"masks": "m.npz"}, "masks=m.npz: masking.strategy=difference .*=file-masks"),
        ({"scores": "s.npz"}, "scores=s.npz: .* set masking.strategy=file-scores"),
    ):
        useless = dataclasses.replace(base, **changes)
        with pytest.raises(ValueError, match=message):
            strategy_settings.check_use([base, useless])
        strategy_settings.check_use([useless, by_file, lacks])  # for another row
