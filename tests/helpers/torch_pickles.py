"""Files as torch writes them, written without torch."""

import collections
import io
import pickle
import sys
import types
import zipfile

import numpy as np

MAGIC = 0x1950A86A20F9469CFC6C
STORAGES = {"f4": "FloatStorage", "f2": "HalfStorage", "f8": "DoubleStorage"}
STORAGES |= {"i8": "LongStorage", "u2": "BFloat16Storage"}  # halves stand for those


class _Storage:
    """What the pickler writes as a persistent id."""

    def __init__(self, key, kind, count):
        self.key, self.kind, self.count = key, kind, count


class _Tensor:
    """Pickles as a call of torch's function."""

    def __init__(self, storage, offset, shape, stride):
        self.arguments = (storage, offset, shape, stride, False)

    def __reduce__(self):
        rebuild = sys.modules["torch._utils"]._rebuild_tensor_v2
        return rebuild, (*self.arguments, collections.OrderedDict())


class _Pickler(pickle.Pickler):
    is_legacy = False

    def persistent_id(self, value):
        if not isinstance(value, _Storage):
            return None
        kind = getattr(sys.modules["torch"], value.kind)
        views = (None,) if self.is_legacy else ()
        return ("storage", kind, value.key, "cpu", value.count, *views)


def _modules():
    """Modules with torch's names, for as long as something is pickled."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    for name in STORAGES.values():
        setattr(torch, name, type(name, (), {"__module__": "torch"}))

    def _rebuild_tensor_v2(*arguments):
        raise AssertionError("only named")

    _rebuild_tensor_v2.__module__ = "torch._utils"
    _rebuild_tensor_v2.__qualname__ = "_rebuild_tensor_v2"
    utils._rebuild_tensor_v2 = _rebuild_tensor_v2
    torch._utils = utils
    return {"torch": torch, "torch._utils": utils}


def _dump(value, is_legacy):
    stream = io.BytesIO()
    before = {name: sys.modules.get(name) for name in _modules()}
    sys.modules |= _modules()
    try:
        pickler = _Pickler(stream, 2)
        pickler.is_legacy = is_legacy
        pickler.dump(value)
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module
    return stream.getvalue()


def _state(arrays):
    """Tensors in columns where that is how an array lies; storages by key."""
    state, storages = collections.OrderedDict(), {}
    for number, (name, value) in enumerate(arrays.items()):
        if isinstance(value, np.ndarray):
            flat = value.ravel(order="K")
            stride = tuple(s // value.itemsize for s in value.strides)
            kind = STORAGES[value.dtype.str[1:]]
            storage = _Storage(str(number), kind, flat.size)
            storages[str(number)] = flat
            value = _Tensor(storage, 0, value.shape, stride)
        state[name] = value
    state._metadata = collections.OrderedDict({"": {"version": 1}})
    return state, storages


def zipped(arrays):
    """The bytes of a file of torch 1.6 or later."""
    state, storages = _state(arrays)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("weights/data.pkl", _dump(state, is_legacy=False))
        archive.writestr("weights/byteorder", b"little")
        for key, flat in storages.items():
            archive.writestr(f"weights/data/{key}", flat.tobytes())
        archive.writestr("weights/version", b"3\n")
    return stream.getvalue()


def legacy(arrays):
    """The bytes of a file of an older torch."""
    state, storages = _state(arrays)
    system = {"protocol_version": 1001, "little_endian": True}
    head = b"".join(pickle.dumps(part, 2) for part in (MAGIC, 1001, system))
    body = _dump(state, is_legacy=True) + pickle.dumps(list(storages), 2)
    for flat in storages.values():
        body += flat.size.to_bytes(8, "little") + flat.tobytes()
    return head + body


FORMS = {"zip": zipped, "legacy": legacy}
