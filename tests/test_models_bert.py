"""The BERT encoder against recorded hidden states; files of weights that are none."""

import json

import numpy as np
import pytest

from mmdiffmask.models import bert, safetensors


def test_hidden_states_are_the_recorded_ones(shared):
    folder = shared / "golden" / "bert" / "bert_tiny"
    settings = json.loads((folder / "config.json").read_text())
    weights = safetensors.read(folder / "mlm.safetensors")
    inputs, outputs = np.load(folder / "inputs.npz"), np.load(folder / "outputs.npz")
    expected = outputs[f"hidden_{settings['num_hidden_layers']}"]
    for i, attended in enumerate(inputs["attention_mask"]):
        n = int(attended.sum())
        states = bert.encode(
            weights,
            inputs["input_ids"][i, :n],
            settings["num_attention_heads"],
            prefix="bert.",
            types=inputs["token_type_ids"][i, :n],
        )
        np.testing.assert_allclose(states, expected[i, :n], atol=2e-5)
    with pytest.raises(ValueError, match="at most 48"):
        bert.encode(weights, np.zeros(49, int), 4, prefix="bert.")


def write(path, header, values):
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + values)
    return path


def test_a_safetensors_file(tmp_path):
    entry = {"dtype": "F32", "shape": [2, 1], "data_offsets": [4, 12]}
    header = {"__metadata__": {"format": "pt"}, "a": entry}
    values = np.array([9, 1, 2], "<f4").tobytes()
    read = safetensors.read(write(tmp_path / "a.safetensors", header, values))
    assert list(read) == ["a"] and read["a"].tolist() == [[1], [2]]


@pytest.mark.parametrize(
    "change, size",
    [({"data_offsets": [4, 16]}, 12), ({}, 8), ({"dtype": "BF16"}, 12), (None, 12)],
)
def test_a_damaged_safetensors_file_is_named(tmp_path, change, size):
    entry = {"dtype": "F32", "shape": [2, 1], "data_offsets": [4, 12]}
    header = {"a": 3 if change is None else entry | change}
    path = write(tmp_path / "a.safetensors", header, bytes(size))
    with pytest.raises(ValueError, match=r"a\.safetensors: no usable safetensors"):
        safetensors.read(path)
    path.write_bytes(b"no such file")
    with pytest.raises(ValueError, match="no usable"):
        safetensors.read(path)
