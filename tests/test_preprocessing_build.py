"""Records of the toy set in one call, and settings that are refused."""

import pytest
from helpers import raw_trees

from mmdiffmask.data.records import check, shards
from preprocessing import build, items

SETTINGS = items.Settings(raw_trees.GRID, sub_segments=1)


def test_toy_is_rendered_and_becomes_records(tmp_path):
    pytest.importorskip("preprocessing.toy")
    sizes = {"domain": "people", "train_clips": 3, "val_clips": 1, "seed": 3}
    options = {"finder": None, "worker_count": 0, "bar": False}
    raw, out = tmp_path / "raw", tmp_path / "out"
    build.build_toy(raw, out, SETTINGS, **sizes, **options)
    summary = check.check(out)
    assert summary.records["train"] == 3 * summary.records["val"] > 0
    source = shards.open_split(out, "train")
    for i in range(len(source)):
        record = source[i]
        assert record.group == record.clip
        assert set(record.labels) >= {"action", "object", "shirt"}
        assert record.is_frame_valid.sum() >= 5
        assert record.is_audio_valid.any()
        assert any(record.subtitles)
        assert len(record.answers) == 5
        assert 0 <= record.answer_index < 5

    # More clips lie in RAW than are asked for: the first ones become records.
    fewer = sizes | {"train_clips": 2}
    build.build_toy(raw, tmp_path / "fewer", SETTINGS, **fewer, **options)
    made = shards.open_split(tmp_path / "fewer", "train")
    assert {made[i].clip for i in range(len(made))} == {
        source[i].clip for i in range(len(made))
    }
    with pytest.raises(ValueError, match="limits"):
        build.build_toy(raw, out, SETTINGS, **fewer, **options)


def test_toy_looks_at_out_before_it_renders(tmp_path):
    pytest.importorskip("preprocessing.toy")
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="holds other files"):
        build.build_toy(
            tmp_path / "raw", tmp_path, SETTINGS, train_clips=1, val_clips=1
        )
    assert not (tmp_path / "raw").exists()


def test_people_are_looked_for_by_default(tmp_path):
    pytest.importorskip("preprocessing.boxes.people")
    raw_trees.write_video(tmp_path / "raw/a.mp4", 2.0)
    options = {"worker_count": 0, "bar": False}
    manifest = build.build_video(
        tmp_path / "raw", tmp_path / "out", SETTINGS, **options
    )
    assert manifest.settings["boxes"]["bodies"] == "ssdlite"
    assert manifest.settings["boxes"]["tracks"] == "both"
    assert manifest.counts["boxed clips"] == 1
