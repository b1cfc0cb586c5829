"""The command that measures a start makes records that serve, and reads none."""

from benchmarks import start
from mmdiffmask.data.corpus import Corpus
from mmdiffmask.data.records import index


def test_a_start_reads_no_record(tmp_path, capsys):
    assert start.main(["--questions", "240", "--records", str(tmp_path)]) == 0
    *starts, _ = capsys.readouterr().out.splitlines()
    assert len(starts) == 2
    assert all(" 0 records read, 240 questions chosen" in line for line in starts)
    corpus = Corpus(tmp_path / "240")
    for split in corpus.split_names:
        source = corpus.source(split)
        for entry, record in zip(corpus.entries(split), source, strict=True):
            assert entry == index.of_record(record, entry.source)
