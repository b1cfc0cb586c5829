"""What detectors took: noted beside the records, which are the same, and shown."""

import collections
import dataclasses
import json

import pytest
from helpers import raw_trees

from mmdiffmask.data.records import manifest, seconds
from preprocessing.boxes import people


@dataclasses.dataclass(frozen=True)
class Slow(raw_trees.EachFrame):
    """Says that every clip took it half a second."""

    seconds: dict = dataclasses.field(default_factory=dict)

    def __call__(self, clip, looks):
        self.seconds["red"] = self.seconds.get("red", 0.0) + 0.5
        return super().__call__(clip, looks)


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    folder = tmp_path_factory.mktemp("seconds")
    raw_trees.write_tvqa(folder / "raw", train=2, val=1)
    raw_trees.make(folder / "raw", folder / "plain")
    return folder


def test_seconds_lie_beside_the_same_records(raw, tmp_path):
    """Two shards; one finder each, which travels to where the work is done."""
    slow = Slow(raw_trees.RED_FINDER.function)
    raw_trees.make(raw / "raw", tmp_path / "out", finder=slow)
    noted = seconds.read(tmp_path / "out")
    assert noted.keys() == {"red"} and noted["red"] >= 1.5
    plain, timed = (
        manifest.identity(path) for path in (raw / "plain", tmp_path / "out")
    )
    assert plain == timed and seconds.read(raw / "plain") == {}
    assert not (raw / "plain" / seconds.NAME).exists()


def test_a_damaged_file_is_one_sentence(tmp_path):
    for text in ("{", "[1]", '{"red": "x"}'):
        (tmp_path / seconds.NAME).write_text(text)
        with pytest.raises(ValueError, match="seconds.json: is damaged .* delete it"):
            seconds.read(tmp_path)


def test_what_is_no_detector_is_not_timed():
    spent = collections.Counter()
    for name in ("file", "none", "mtcnn", "mtcnn", people.TRACKS):
        with people._timed(spent, name):
            sum(range(1000))
    assert spent.keys() == {"mtcnn", "tracks"} and min(spent.values()) > 0
    assert json.loads(seconds.text(spent)).keys() == spent.keys()
