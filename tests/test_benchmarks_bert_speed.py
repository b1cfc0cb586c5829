"""The encoder's speed program, and that its plain formulas give the same numbers."""

import dataclasses
import functools

import jax
import numpy as np
import pytest

from benchmarks import bert_speed

pytestmark = pytest.mark.usefixtures("quick_compilation")

SMALL = dataclasses.replace(bert_speed.QUICK, layers=1)
passes = functools.cache(bert_speed.passes)  # compiled once for both tests


@pytest.mark.long
def test_prints_every_pass(capsys, monkeypatch):
    monkeypatch.setattr(bert_speed, "QUICK", SMALL)
    monkeypatch.setattr(bert_speed, "passes", passes)
    assert bert_speed.main(["--quick", "--repeat", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line[:15].strip() for line in lines[2:6]] == [
        "forward",
        "gradient",
        "plain forward",
        "plain gradient",
    ]
    assert lines[-1].endswith("gate 3.3")


@pytest.mark.long
def test_plain_differentiation_gives_the_same_gradient():
    calls = passes(SMALL)
    loss, grads = calls["gradient"]()
    plain, expected = calls["plain gradient"]()
    np.testing.assert_allclose(loss, plain, rtol=1e-5)
    np.testing.assert_allclose(loss, calls["forward"](), rtol=1e-6)
    assert jax.tree.structure(grads) == jax.tree.structure(expected)
    pairs = zip(jax.tree.leaves(grads), jax.tree.leaves(expected), strict=True)
    for one, other in pairs:
        largest = float(np.abs(other).max())
        np.testing.assert_allclose(one, other, atol=1e-7 + 1e-4 * largest)
