"""What masks by attention cost: the ways that are timed do what they are named for."""

import numpy as np
import pytest

from benchmarks import attention_cost, cpt_programs
from benchmarks.reserve_speed import Cost

pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.mark.long
def test_live_and_apart_are_one_update_and_start_is_another():
    experiment = attention_cost.settings("tiny", 2, cpt_programs.QUICK)
    calls = attention_cost.ways(experiment)
    assert list(calls) == ["start", "live", "apart", "attention"]
    for _ in range(2):  # each goes on from its last state
        losses = {name: float(calls[name]()[1]["loss"]) for name in list(calls)[:3]}
        assert losses["live"] == pytest.approx(losses["apart"], rel=1e-5)
        assert losses["start"] != pytest.approx(losses["live"], rel=1e-5)
    attention = np.asarray(calls["attention"]())
    assert attention.shape == (2, 2, 24) and (attention > 0).all()


def test_a_table_says_seconds_and_parts_of_the_first():
    costs = {"start": Cost(2.0, 4.0), "live": Cost(2.2, 4.0), "attention": Cost(0.5, 1)}
    lines = attention_cost.table(costs, clips=10)
    assert lines[2].split() == ["live", "2.200", "4.000", "1.100", "1.000"]
    assert lines[-1] == "attention of a clip: 100.0 ms of processors"


def test_a_batch_of_one_is_refused(capsys):
    with pytest.raises(SystemExit):
        attention_cost.main(["--clips", "1"])
    assert "--clips must be at least 2" in capsys.readouterr().err
