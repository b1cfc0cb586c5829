"""What is timed, and the command's lines."""

import json
import re

import jax

from benchmarks import reserve_speed


def test_the_full_size_is_the_published_one():
    case = reserve_speed.vision_case("base", 4, 12, 20)
    assert sum(x.size for x in jax.tree.leaves(case.params)) == 88_583_424
    assert [x.shape for x in case.inputs] == [(4, 240, 768)]
    loss = jax.eval_shape(reserve_speed.loss_of(case), case.params, *case.inputs)
    assert loss.shape == ()


def test_joint_case_has_a_loss():
    case = reserve_speed.joint_case("tiny", 2, 9)
    loss = jax.eval_shape(reserve_speed.loss_of(case), case.params, *case.inputs)
    assert loss.shape == ()


def test_medians_are_by_column():
    costs = [reserve_speed.Cost(1.0, 9.0), reserve_speed.Cost(2.0, 8.0)]
    costs.append(reserve_speed.Cost(3.0, 1.0))
    assert reserve_speed.median(costs) == reserve_speed.Cost(2.0, 8.0)


def test_quick_prints_every_figure(capsys, monkeypatch):
    monkeypatch.setattr(
        reserve_speed, "peak_mib", lambda *_: {"before": 10.0, "peak": 20.0}
    )
    assert reserve_speed.main(["--quick", "--repeat", "1"]) == 0
    text = capsys.readouterr().out
    assert "plain [964,768]x[768,3072]" in text
    for name, cost in reserve_speed.PASSES.items():
        (of_pass,) = re.findall(
            rf"^{re.escape(name)}:(.*?)(?=^\S|\Z)", text, re.M | re.S
        )
        flops = cost * reserve_speed.cases(True)[0].flops
        assert f"{flops / 1e9:.1f} GFLOP" in of_pass
        for figure in ("wall", "processor", "compiling", "buffers", "20 MiB at the"):
            assert figure in of_pass


def test_memory_of_a_pass_is_json(capsys):
    assert reserve_speed.main(["--quick", "--memory-of", "0", "forward"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert 0 < found["before"] <= found["peak"]
