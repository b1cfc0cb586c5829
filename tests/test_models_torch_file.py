"""Files of torch in both forms, and what is refused in them."""

import io
import os
import pickle
import zipfile

import numpy as np
import pytest
from helpers import torch_pickles

from mmdiffmask.models import torch_file


def read(content):
    return torch_file.read(io.BytesIO(content), "w.bin")


@pytest.mark.parametrize("form", torch_pickles.FORMS)
def test_arrays_come_back(form):
    rng = np.random.default_rng(0)
    whole = rng.normal(size=(3, 4)).astype(np.float32)
    arrays = {
        "kernel": whole,
        "turned": rng.normal(size=(5, 2)).astype(np.float32).T,
        "half": rng.normal(size=7).astype(np.float16),
        "double": rng.normal(size=(2, 1, 3)),
        "ids": np.arange(6)[None],
        "number": np.array(2.5, np.float32),
        "empty": np.zeros((0, 3), np.float32),
        "brain": (whole.view(np.uint32) >> 16).astype(np.uint16),
    }
    result = read(torch_pickles.FORMS[form](arrays))
    assert list(result) == list(arrays)
    for name in arrays.keys() - {"brain"}:
        assert result[name].dtype == arrays[name].dtype
        np.testing.assert_array_equal(result[name], arrays[name])
    assert result["brain"].dtype == np.float32
    np.testing.assert_allclose(result["brain"], whole, rtol=2**-7)


class Harm:
    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (self.folder,)


@pytest.mark.parametrize("form", torch_pickles.FORMS)
def test_a_pickle_that_names_anything_else_is_refused(form, tmp_path):
    content = torch_pickles.FORMS[form]({"a": Harm(str(tmp_path / "made"))})
    with pytest.raises(ValueError, match=r"^w\.bin is no .*mkdir is not allowed in it"):
        read(content)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("form", torch_pickles.FORMS)
@pytest.mark.parametrize("value", [3, "text", {"b": 1}])
def test_what_is_no_tensor_is_refused(form, value):
    arrays = {"a": np.zeros(2, np.float32), "step": value}
    with pytest.raises(ValueError, match="'step' in it is no tensor"):
        read(torch_pickles.FORMS[form](arrays))


@pytest.mark.parametrize("shape", [(3, 2), (5,), (2**40,)])
def test_a_tensor_past_its_values_is_refused(shape, monkeypatch):
    plain = torch_pickles._Tensor

    def longer(storage, offset, _, stride):
        return plain(storage, offset, shape, (0,) * len(shape))

    monkeypatch.setattr(torch_pickles, "_Tensor", longer)
    with pytest.raises(ValueError, match="reaches past its values"):
        read(torch_pickles.zipped({"a": np.zeros(4, np.float32)}))


@pytest.mark.parametrize("form", torch_pickles.FORMS)
def test_files_that_break_off_are_refused(form):
    content = torch_pickles.FORMS[form]({"a": np.zeros(400, np.float32)})
    for size in (1, 40, len(content) // 2, len(content) - 3):
        with pytest.raises(ValueError, match=r"w\.bin is no torch state dict"):
            read(content[:size])


def test_other_files_are_refused():
    for content in (b"", b"PK", b"text", pickle.dumps(1, 2), pickle.dumps([1], 2)):
        with pytest.raises(ValueError, match=r"w\.bin is no torch state dict"):
            read(content)
    with pytest.raises(ValueError, match="as before torch 1.6"):
        read(pickle.dumps(1, 2))
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("a/data.pkl", pickle.dumps([1, 2], 2))
    with pytest.raises(ValueError, match="something else than names with tensors"):
        read(stream.getvalue())
