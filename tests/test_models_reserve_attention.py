"""[CLS] attention of the vision tower, restated in numpy and held against golden data.

The restatement is right if it gives the reference implementation's output of a layer's
attention; then the model's [CLS] row of the last layer must be the restatement's.
"""

import numpy as np
import pytest
from helpers.model_tools import fast_jit

from benchmarks.golden import folder
from mmdiffmask.models.reserve import model as reserve

HEAD = 64


@pytest.fixture(scope="module")
def golden(shared):
    return folder.Golden(shared / "golden/reserve")


def norm(x, params):
    mean, sd = x.mean(-1, keepdims=True), np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    return (x - mean) / sd * params["scale"] + params["bias"]


def position_scale(rows, cols):
    """Of [CLS] at 0 and of the patches, centred and without 0: (n + 1, 64)."""

    def centred(count):
        steps = np.arange(count) - count // 2
        return np.where(steps >= 0, steps + 1, steps) / (max(rows, cols) + 1)

    at = [(row, col) for row in centred(rows) for col in centred(cols)]
    at = np.array([(0.0, 0.0), *at])
    frequency = 5.0 ** (np.arange(8) / 7)
    angle = (np.pi * at[:, :, None] * frequency).reshape(len(at), 16)
    scale = np.ones((len(at), HEAD))
    scale[:, 0:32:2] = np.sin(angle) - np.cos(angle)
    scale[:, 1:32:2] = np.sin(angle) + np.cos(angle)
    return scale


def attention(x, layer, scale):
    """Weights (h, n, n) and output (n, d) of one layer's attention over x (n, d)."""
    qkv = layer["attention_layer"]["qkv"]
    normed = norm(x, layer["pre_attn_ln"])
    every = np.einsum("nd,dhs->nhs", normed, qkv["kernel"]) + qkv["bias"]
    query, key, value = np.split(every, 3, axis=1)
    logits = np.einsum(
        "ihs,jhs->hij", query * scale[:, None], key * scale[:, None]
    ) / np.sqrt(HEAD)
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    mixed = np.einsum("hij,jhs->ihs", weights, value)
    kernel = layer["attention_layer"]["attn_proj"]["kernel"]
    return weights, np.einsum("ihs,hsd->id", mixed, kernel)


def test_attention_of_cls_is_the_formula_on_golden_data(golden):
    arrays, grid = golden.arrays("vision"), golden.grid
    params = golden.params["vision_encoder"]["transformer"]
    scale = position_scale(grid.rows, grid.cols)
    first, output = attention(arrays["inter_pre_ln"][0], params["layer_00"], scale)
    np.testing.assert_allclose(output, arrays["inter_layer_00_attn"][0], atol=2e-5)
    # What goes into the last layer is golden as well.
    last, _ = attention(arrays["inter_layer_00"][0], params["layer_01"], scale)
    expected = last.mean(0)[0, 1:]

    def run(params):
        network = reserve.Reserve(golden.model.settings)
        method = "vision_with_attention"
        return network.apply({"params": params}, arrays["images"], grid, method=method)

    tower, found = fast_jit(run)(golden.params)
    np.testing.assert_allclose(found[0], expected, atol=1e-6)
    assert np.abs(first.mean(0)[0, 1:] - expected).max() > 1e-3  # not another layer's
    assert np.abs(last[0, 0, 1:] - expected).max() > 1e-3  # nor one head's
    assert expected.sum() == pytest.approx(1 - last.mean(0)[0, 0])
    np.testing.assert_allclose(tower.seq, arrays["seq"], atol=2e-5)
    np.testing.assert_allclose(tower.seq_attnpool, arrays["seq_attnpool"], atol=2e-5)
