"""The benchmark of readers: what it compares, and the table that it prints."""

import re
import time

import numpy as np
import pytest

from benchmarks import input as benchmark
from mmdiffmask.data import ahead
from mmdiffmask.types import VideoBatch


def make_row(i):
    time.sleep(0.01)
    return VideoBatch(**dict.fromkeys(VideoBatch._fields, np.full(3, i, np.int32)))


def test_two_workers_are_faster_where_rows_wait(monkeypatch, capsys):
    monkeypatch.setattr(benchmark, "row_maker", lambda records_dir: (make_row, 5))
    monkeypatch.setattr(benchmark, "readers", lambda: {"ours": benchmark.ours})
    assert benchmark.main(["DATA", "--workers", "1,4", "--rows", "24"]) == 0
    lines = [re.split(r" +", x) for x in capsys.readouterr().out.splitlines()[2:]]
    assert [line[:2] for line in lines] == [["ours", "1"], ["ours", "4"]]
    assert float(lines[0][3]) == 1.0 and float(lines[1][3]) > 1.5


def test_a_reader_of_another_order_is_refused(monkeypatch, capsys):
    def turned(make_row, positions, workers):
        return ahead.in_order(make_row, positions[::-1], workers)

    monkeypatch.setattr(benchmark, "row_maker", lambda records_dir: (make_row, 5))
    monkeypatch.setattr(benchmark, "readers", lambda: {"turned": turned})
    assert benchmark.main(["DATA"]) == 2
    assert "turned with 1 workers gives other rows" in capsys.readouterr().err


def test_folders_without_records_are_named(tmp_path, capsys):
    assert benchmark.main([str(tmp_path)]) == 2
    assert str(tmp_path) in capsys.readouterr().err


@pytest.mark.parametrize("name", benchmark.readers())
def test_readers_give_rows_in_order(name):
    rows = benchmark.readers()[name](make_row, [3, 1, 4], 2)
    assert [int(row.example_hash[0]) for row in rows] == [3, 1, 4]
