"""The benchmark of masks: its table, and the gate that it keeps."""

import os

import pytest

from benchmarks import masking as benchmark
from mmdiffmask.masking import strategies


def test_rates_are_of_one_core_s_time_and_of_a_step():
    one = benchmark.rate(making_s=0.3, drawing_s=0.1, batch=8, step_s=2.0)
    assert one.masks_per_s == pytest.approx(20)
    assert one.units_share == pytest.approx(0.75)
    assert one.step_share == pytest.approx(0.025)


def test_a_slow_strategy_is_named(monkeypatch, capsys):
    names = ("random", "motion", "file-masks", "attnmask-hint")
    few = {name: strategies.find(name) for name in names}
    monkeypatch.setattr(strategies, "REGISTRY", few)
    cores = os.sched_getaffinity(0)
    words = ["--grids", "6x10", "--batch", "4", "--rounds", "2"]
    monkeypatch.setattr(benchmark, "LIMIT", 1.0)
    assert benchmark.main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "6x10, batch 4" and lines[-1].endswith("of a step: none")
    assert [line.split()[0] for line in lines[2:-1]] == list(few)
    assert lines[2].split()[2] == "1.00"
    monkeypatch.setattr(benchmark, "LIMIT", 0.0)
    assert benchmark.main(words) == 1
    assert "random at 6x10, motion at 6x10" in capsys.readouterr().out
    assert os.sched_getaffinity(0) == cores
