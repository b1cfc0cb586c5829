"""A folder of reference values of an encoder: its weights, inputs and outputs."""

import functools
import json
import pathlib
from typing import Any

import numpy as np

from benchmarks.golden import folder
from mmdiffmask.models.bert import checkpoints, losses, model
from mmdiffmask.types import Array

# What a file of weights is called, also in names of arrays -> the head it must have.
KINDS = {"mlm": "mlm", "cls": "classifier"}
# The head's method, and the input that holds its labels.
TASKS = {"mlm": ("predict", "mlm_labels"), "cls": ("classify", "class_labels")}
# Heads that a loss does not read.
UNREAD = {
    ("mlm", "bert"): ("pooler", "classifier", "next_sentence"),
    ("mlm", "roberta"): ("pooler", "classifier"),
    ("cls", "bert"): ("mlm", "next_sentence"),
    ("cls", "roberta"): ("mlm", "pooler"),
}
PIECES = ("input_ids", "attention_mask", "token_type_ids", "position_ids")
INPUTS = (*PIECES, "head_mask", "mlm_labels", "class_labels")


class Case:
    """A model with its arrays.

    Attributes:
      folder: where it lies.
      inputs: of inputs.npz.
      outputs: of outputs.npz.
      scalars: of scalars.json; empty without one.
    """

    def __init__(self, path: pathlib.Path):
        self.folder = path
        self.inputs = folder.read_arrays(path / "inputs.npz")
        self.outputs = folder.read_arrays(path / "outputs.npz")
        scalars = path / "scalars.json"
        self.scalars = json.loads(scalars.read_text()) if scalars.is_file() else {}
        self.checkpoints = {kind: self._load(kind) for kind in KINDS}

    def _load(self, kind: str) -> checkpoints.Checkpoint | None:
        """The weights of a kind; None where there are none."""
        needed = (KINDS[kind],)
        if any(self.folder.glob(f"{kind}.*")):
            return checkpoints.load(self.folder, needed, stem=kind)
        if (self.folder / kind).is_dir():
            return checkpoints.load(self.folder / kind, needed)
        if any(self.folder.glob("*model.*")):
            whole = checkpoints.load(self.folder)
            return whole if kind == "mlm" or KINDS[kind] in whole.params else None
        return None

    def pieces(self) -> model.Pieces:
        """The inputs as the model takes them."""
        ids, mask, kind, position = (self.inputs.get(name) for name in PIECES)
        is_valid = np.ones(ids.shape, bool) if mask is None else mask > 0
        return model.Pieces(ids, is_valid, kind, position)

    def run(
        self, kind: str, params: checkpoints.Params, head_mask: Array | None = None
    ) -> dict[str, Any]:
        """What the model of a kind gives, by the names that arrays have."""
        settings = self.checkpoints[kind].settings
        call = functools.partial(model.Bert(settings).apply, {"params": params})
        encoded = call(self.pieces(), head_mask, every_layer=True)
        method, labels = TASKS[kind]
        arrays = {"last_hidden_state": encoded.seq}
        arrays["position_ids"] = model.positions(self.inputs["input_ids"], settings)
        arrays |= {f"hidden_{i}": x for i, x in enumerate(encoded.states)}
        arrays |= {f"attention_{i}": x for i, x in enumerate(encoded.attentions)}
        if "pooler" in params:
            arrays["pooler_output"] = call(encoded.seq, method="pool")
        if KINDS[kind] in params:
            arrays["logits"] = call(encoded.seq, method=method)
        if "logits" in arrays and labels in self.inputs:
            arrays["loss"] = losses.cross_entropy(arrays["logits"], self.inputs[labels])
        return arrays
