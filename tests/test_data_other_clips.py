"""Which clip lends its boxes: the next by hash that has some, never the clip itself."""

import hashlib
import types

import hypothesis
import pytest
from hypothesis import strategies as st

from mmdiffmask.data import corpus as corpora
from mmdiffmask.data import other_clips
from mmdiffmask.data.records import shards
from mmdiffmask.data.records.index import BoxKinds

CLIPS = st.lists(
    st.tuples(
        st.sampled_from("abcdefgh"),
        st.sets(st.sampled_from(["body", "face"])),
        st.sampled_from([0.2, 0.9]),
    ),
    min_size=1,
    max_size=12,
)


class FakeCorpus(corpora.Corpus):
    """Entries with boxes; a folder of records is not needed for their order."""

    def __init__(self, rows):
        self.rows = rows

    def entries(self, split):
        assert split == "train"
        return tuple(
            types.SimpleNamespace(
                clip=clip,
                boxes=BoxKinds(
                    tuple(sorted(kinds)), ("x",) * len(kinds), (1,) * len(kinds),
                    (most,) * len(kinds),
                ),
            )
            for clip, kinds, most in self.rows
        )  # fmt: skip


class FakeSource(shards.Source):
    """Records by position."""

    folder, split = "records", "train"

    def __init__(self, rows):
        self.records = [
            types.SimpleNamespace(clip=row[0], at=i) for i, row in enumerate(rows)
        ]

    def __getitem__(self, position):
        return self.records[position]


@hypothesis.settings(deadline=None)
@hypothesis.given(CLIPS)
def test_another_clip_lends_and_never_the_own_one(rows):
    corpus = FakeCorpus(rows)
    source = FakeSource(rows)
    lenders = {c for c, kinds, most in rows if "body" in kinds and most > 0.5}
    with pytest.MonkeyPatch.context() as patch:
        fake = types.SimpleNamespace(of=lambda folder: corpus)
        patch.setattr(other_clips, "Corpus", fake)
        for record in source.records:
            lender = other_clips.next_with_boxes(source, record, ["body"], 0.5)
            others = sorted(lenders - {record.clip}, key=digest)
            if not others:
                assert lender is None
                continue
            after = [clip for clip in others if digest(clip) > digest(record.clip)]
            assert lender.clip == (after or others)[0] != record.clip
            first = next(
                i
                for i, (clip, kinds, most) in enumerate(rows)
                if clip == lender.clip and "body" in kinds and most > 0.5
            )
            assert lender.at == first


def digest(clip):
    return hashlib.sha256(clip.encode()).hexdigest()
