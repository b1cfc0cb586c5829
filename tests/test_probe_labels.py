"""Label names and values with blanks; clips of val that train has seen."""

import logging

import pytest

from mmdiffmask.data import label_names as labels
from mmdiffmask.data.records import splits
from mmdiffmask.probe import clips, features

ROWS = {
    "a": {" tone": "sad ", "mood (0-5)": "3", "rating": " ", "caf\u00e9": "x"},
    "b": {" tone": "glad", "rating": "good"},
}


@pytest.mark.parametrize("asked", [" tone", "tone", "tone  "])
def test_cases_of_names_with_blanks(asked):
    assert labels.of_clips(ROWS, asked) == {"a": "sad", "b": "glad"}


def test_cases_of_empty_labels_and_unicode_forms():
    assert labels.of_clips(ROWS, "rating") == {"a": "", "b": "good"}
    assert labels.of_clips(ROWS, "mood (0-5)") == {"a": "3", "b": ""}
    assert labels.of_clips(ROWS, "cafe\u0301")["a"] == "x"
    with pytest.raises(ValueError, match="'raiting'.*did you mean 'rating'"):
        labels.of_clips(ROWS, "raiting")
    with pytest.raises(ValueError, match="is empty"):
        labels.of_clips({"a": {"rating": " "}}, "rating")
    with pytest.raises(ValueError, match="none at all"):
        labels.find("x", [])


def test_names_that_differ_in_blanks_alone_need_an_exact_one():
    assert labels.find("tone", ["tone", " tone"]) == "tone"
    assert labels.find(" tone", ["tone", " tone"]) == " tone"
    with pytest.raises(ValueError, match="may be 'tone ' or ' tone'"):
        labels.find("tone", ["tone ", " tone"])


def test_cases_of_a_clip_in_both_splits(caplog):
    split = splits.Split((0,), (1,), ("a", "b"), ("film", "other"))
    with pytest.raises(ValueError, match="1 of 2 clips .* both train and val.* b:"):
        splits.check_apart(split, {"c": "new", "b": "new"})
    with caplog.at_level(logging.WARNING):
        assert splits.check_apart(split, {"c": "new", "d": "newer"}) == 0
        assert not caplog.records
        assert splits.check_apart(split, {"c": "new", "d": "film"}) == 1
    assert "1 of 2 clips of val are of a group" in caplog.text


def test_cases_of_a_label_with_one_class():
    train = features.Features(("a", "b"), {})
    rows = {"a": {"tone": " sad"}, "b": {"tone": "sad"}, "v": {"tone": "glad"}}
    assert "every clip of train is 'sad'" in clips.why_left_out("tone", train, rows)
    assert clips.why_left_out("tone", train, rows | {"b": {"tone": "glad"}}) == ""
    assert clips.why_left_out("tone", train, rows | {"b": {"tone": " "}}) != ""
