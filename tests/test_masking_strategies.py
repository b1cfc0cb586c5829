"""Weights per unit and the registry."""

import numpy as np
import pytest

from mmdiffmask.masking import strategies
from mmdiffmask.types import MaskInputs

INPUTS = MaskInputs(
    unit_of_token=np.array([0, 0, 1, -1]),
    unit_score=np.array([0.5, 0.0, 0.0, 0.0], np.float32),
    attention=np.array([0.2, 0.4, 0.0, np.nan], np.float32),
)


def test_weights():
    assert strategies.uniform(INPUTS).tolist() == [1, 1, 1, 1]
    assert strategies.by_score(INPUTS).tolist() == [0.5, 0, 0, 0]
    np.testing.assert_allclose(strategies.by_attention(INPUTS), [0.3, 0, 0, 0], 1e-6)
    np.testing.assert_allclose(
        strategies.by_inverse_attention(INPUTS), [1 / 0.3, 1e6, 1e6, 1e6], 1e-5
    )
    with pytest.raises(ValueError, match=r"MaskInputs\.attention"):
        strategies.by_attention(INPUTS._replace(attention=None))


def test_registry_names_its_rows():
    assert all(name == row.name for name, row in strategies.REGISTRY.items())
    assert strategies.find("difference").unit == "box"
    with pytest.raises(ValueError, match="did you mean difference"):
        strategies.find("diference")
