"""Weights per unit and the registry."""

import numpy as np
import pytest

from mmdiffmask import config
from mmdiffmask.masking import strategies, strategy_settings
from mmdiffmask.types import MaskInputs

INPUTS = MaskInputs(
    unit_of_token=np.array([0, 0, 1, -1]),
    unit_score=np.array([0.5, 0.0, 0.0, 0.0], np.float32),
)


def test_weights():
    assert strategies.uniform(INPUTS).tolist() == [1, 1, 1, 1]
    assert strategies.by_score(INPUTS).tolist() == [0.5, 0, 0, 0]
    np.testing.assert_allclose(
        strategies.by_inverse_score(INPUTS), [2, 1e6, 1e6, 1e6], 1e-5
    )


def test_registry_names_its_rows():
    assert all(name == row.name for name, row in strategies.REGISTRY.items())
    labels = [row.label for row in strategies.REGISTRY.values()]
    assert len(set(labels)) == len(labels)
    boxes = {
        name: row.units.boxes
        for name, row in strategies.REGISTRY.items()
        if row.is_anchored
    }
    assert boxes == {
        "difference": ("body",),
        "difference-face": ("face",),
        "difference-object": ("object",),
    }
    assert all(
        row.units.boxes for row in strategies.REGISTRY.values() if row.units.is_box
    )
    assert all(row.origin for row in strategies.REGISTRY.values())
    assert strategies.label("difference") == "Difference-Masking (bodies)"
    assert strategies.label("of another version") == "of another version"
    with pytest.raises(ValueError, match="did you mean difference"):
        strategies.find("diference")


@pytest.mark.parametrize(
    "strategy, expected",
    [
        ("random", ("random", "difference")),
        ("difference", ("random", "difference")),
        ("difference-object", ("random", "difference", "difference-object")),
    ],
)
def test_own_strategy_is_always_held_out(strategy, expected):
    masking = config.Masking(strategy=strategy, held_out=("random", "difference"))
    assert strategy_settings.held_out(masking) == expected


def test_held_out_strategies_are_known():
    with pytest.raises(ValueError, match="masking.held_out=fases: must"):
        strategy_settings.held_out(config.Masking(held_out=("random", "fases")))


def test_masks_without_boxes_are_held_against_the_first_boxes():
    masking = config.Masking(held_out=("random", "difference-face", "difference"))
    assert strategy_settings.with_boxes("random", masking) == "difference-face"
    assert strategy_settings.with_boxes("difference", masking) == "difference"
    alone = config.Masking(held_out=("random",))
    assert strategy_settings.with_boxes("random", alone) == "random"
