"""Labels and weights on a sheet: as words, beside the units, and under settings."""

import cv2
import numpy as np
import pytest

from mmdiffmask import __main__ as command_line
from mmdiffmask import grid as grids
from mmdiffmask import types
from mmdiffmask.data.corpus import Corpus
from mmdiffmask.report import contact, inspect, weighing

GRID = grids.PatchGrid(4, 6, 16)


def boxes(*rows):
    """Rows of (kind, label)."""
    n = len(rows)
    return types.Boxes(
        frame=np.zeros(n, int),
        xyxy_px=np.zeros((n, 4)),
        kind=tuple(kind for kind, _ in rows),
        label=tuple(label for _, label in rows),
        score=np.ones(n),
        track=np.full(n, -1),
        source=("true",) * n,
    )


def test_labels_are_listed_with_their_weights_the_greatest_first():
    seen = boxes(
        ("object", "cup"),
        ("body", "person"),
        ("object", "tv"),
        ("object", "cup"),
        ("object", "chair"),
    )
    weight = np.array([0.0, 1.0, 0.251, 0.0, 0.002])
    lines = weighing.by_label(seen, weight, ("person", "sofa"))
    assert lines == [
        "Weight of a unit by its label (Eq. 4), anchors person, sofa:",
        "    body: person 1.00 (1 box)",
        "    object: tv 0.25 (1 box), chair 2e-03 (1 box), cup 0.00 (2 boxes)",
    ]
    assert weighing.by_label(boxes(), np.zeros(0), ("person",)) == []


def test_a_unit_is_called_as_its_box():
    seen = boxes(("object", "cup"), ("object", "tv"))
    told = weighing.tags(seen, {0: 1, 4: 0}, np.array([0.5, 0, 0, 0, 1.0]))
    assert told == {0: "tv 0.50", 4: "cup 1.00"}


def test_tags_stand_beside_their_units():
    ground = np.full((GRID.rows * 40, GRID.cols * 40, 3), 90, np.uint8)
    place = np.full(GRID.n_patches, -1)
    place[[14, 15]] = 3  # row 2, columns 2 and 3
    colours = {3: (0, 158, 115), 7: (200, 0, 0)}
    drawn = weighing.write(ground, GRID, place, {3: "cup 1.00", 7: "x"}, colours)
    is_changed = (drawn != 90).any(-1)
    assert is_changed.sum() > 200
    rows, _ = np.nonzero(is_changed)
    assert 50 < rows.min() and rows.max() < 80, "above the unit, which is left free"
    assert (drawn == colours[3]).all(-1).any()
    assert (weighing.write(ground, GRID, place, {}, colours) == ground).all()


@pytest.fixture
def written(monkeypatch):
    """What a sheet says in its notes, its tags and its headings."""
    kept = {"tags": set()}
    draw, write = contact.draw, weighing.write

    def keep(grid, record, units, masks, notes=()):
        kept.update(notes=list(notes), masks=list(masks), kinds=units.kinds)
        return draw(grid, record, units, masks, notes)

    def keep_tags(image, grid, unit_of_patch, tags, colours):
        kept["tags"] |= set(tags.values())
        return write(image, grid, unit_of_patch, tags, colours)

    monkeypatch.setattr(contact, "draw", keep)
    monkeypatch.setattr(weighing, "write", keep_tags)
    return kept


def boxed(records_dir):
    """The id of a record with persons."""
    entries = Corpus.of(records_dir).entries("train")
    source = Corpus.of(records_dir).source("train")
    return next(
        entry.example_id
        for i, entry in enumerate(entries)
        if "person" in source[i].boxes.label
    )


@pytest.mark.long
def test_a_sheet_shows_labels_and_weights(tiny_records, tmp_path, written):
    example_id, out = boxed(tiny_records), str(tmp_path / "a.png")
    inspect.draw(tiny_records, example_id, out)
    assert written["kinds"] == ("body",) and written["tags"] == {"person 1.00"}
    assert any(line.startswith("    body: person 1.00") for line in written["notes"])
    first = cv2.imread(out)
    written["tags"].clear()
    inspect.draw(tiny_records, example_id, out, ["masking.anchors=ball"])
    assert written["tags"] == {"person 0.00"}
    assert "anchors ball" in written["notes"][0]
    assert (cv2.imread(out).shape != first.shape) or (cv2.imread(out) != first).any()


@pytest.mark.slow
def test_a_strategy_that_is_named_is_shown(tiny_records, tmp_path, written):
    example_id, out = boxed(tiny_records), str(tmp_path / "a.png")
    inspect.draw(tiny_records, example_id, out, ["masking.strategy=difference-face"])
    assert written["kinds"] == ("face",)
    assert written["masks"][-1] == "Difference-Masking (faces)"
    inspect.draw(tiny_records, example_id, out, ["masking.strategy=random"])
    assert written["kinds"] == ("body",) and written["masks"][0] == "random masking"


def test_units_are_shown_where_boxes_are(tiny_records, tmp_path, written):
    example_id, out = boxed(tiny_records), str(tmp_path / "a.png")
    inspect.draw(tiny_records, example_id, out, ["masking.strategy=any-box"])
    assert written["kinds"] == ("body", "object")
    inspect.draw(tiny_records, example_id, out, ["masking.strategy=moved"])
    assert written["kinds"] == ("body",)
    assert written["masks"][1] == "boxes elsewhere in their frame (bodies)"
    assert written["masks"][2] == "Difference-Masking (bodies)"


def test_vectors_of_labels_weigh_them(tiny_records, tmp_path, written):
    """Eq. 3: the cosine of the label's vector with the anchor's."""
    np.savez(tmp_path / "v.npz", person=[3.0, 4.0], ball=[1.0, 0.0])
    inspect.draw(
        tiny_records,
        boxed(tiny_records),
        str(tmp_path / "a.png"),
        ["masking.anchors=ball", f"masking.label_embeddings={tmp_path / 'v.npz'}"],
    )
    assert written["tags"] == {"person 0.60"}


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("data.cols=4", "a sheet takes the settings of masking"),
        ("masking.anchor=cup", "did you mean masking.anchors"),
        ("masking.strategy=differnce", "did you mean difference"),
        ("masking.label_embeddings=none.npz", "no such file"),
        ("masking.strategy=file-scores", "reads a file: name it with masking.scores"),
        ("masking.scores=s.npz", "reads no such file"),
        ("masking.strategy=mst", "need the weights that a run starts from"),
    ],
)
def test_wrong_settings_are_one_sentence(tiny_records, tmp_path, capsys, setting, said):
    out = tmp_path / "a.png"
    words = ["inspect", tiny_records, "--out", str(out), "--set", setting]
    assert command_line.main(words) == 2
    told = capsys.readouterr().err
    assert said in told and len(told.splitlines()) == 1 and not out.exists()
