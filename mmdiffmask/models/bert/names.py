"""Hugging Face's names of a model's arrays, and where each stands in our tree.

A path is the names of a tree joined by "/"; its first is the part: embeddings,
encoder, pooler, mlm, classifier or next_sentence (BERT's second task of pretraining:
read and written, never called).
"""

from typing import NamedTuple

from mmdiffmask.models.bert.settings import BertSettings
from mmdiffmask.models.shapes import Shapes

BODY = ("embeddings", "encoder")  # every file has them
HEADS = ("pooler", "mlm", "classifier", "next_sentence")

_TABLES = {"word": "word", "position": "position", "kind": "token_type"}
_DENSE = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "attention_output": "attention.output.dense",
    "intermediate": "intermediate.dense",
    "output": "output.dense",
}
_NORMS = {"attention_norm": "attention.output.LayerNorm"}
_NORMS["output_norm"] = "output.LayerNorm"
# Part or layer of a head -> its name in a file; `mlm` alone is the bias of logits.
_HEADS = {
    "bert": {
        "mlm/dense": "cls.predictions.transform.dense",
        "mlm/norm": "cls.predictions.transform.LayerNorm",
        "mlm/decoder": "cls.predictions.decoder",
        "mlm": "cls.predictions",
        "classifier": "classifier",
        "next_sentence": "cls.seq_relationship",
    },
    "roberta": {
        "mlm/dense": "lm_head.dense",
        "mlm/norm": "lm_head.layer_norm",
        "mlm/decoder": "lm_head.decoder",
        "mlm": "lm_head",
        "classifier/dense": "classifier.dense",
        "classifier/output": "classifier.out_proj",
    },
}
UNREAD_BIAS = "mlm/unread_bias"
# Counters that old files hold beside the weights.
COUNTERS = ("embeddings.position_ids", "embeddings.token_type_ids")


class Entry(NamedTuple):
    """An array: its name in a file, its shape there, and whether ours is transposed."""

    name: str
    shape: tuple[int, ...]
    is_transposed: bool = False

    @property
    def tree_shape(self) -> tuple[int, ...]:
        """Its shape in our tree."""
        return self.shape[::-1] if self.is_transposed else self.shape


Entries = dict[str, Entry]  # by path


class Style(NamedTuple):
    """How a file names what others name otherwise.

    Attributes:
      prefix: before embeddings, encoder and pooler: "bert.", "roberta." or nothing.
      has_unread_bias: the logits' bias is the decoder's, and the head's stands beside
        it unread: so transformers 5 has a decoder that is not tied.
    """

    prefix: str = ""
    has_unread_bias: bool = False


class MlmNames(NamedTuple):
    """What an MLM head has in files: its decoder's kernel and bias, its own bias."""

    kernel: str
    decoder_bias: str
    bias: str


def prefix(settings: BertSettings) -> str:
    """What stands before the names of embeddings, encoder and pooler beside heads."""
    return f"{settings.family}."


def mlm(settings: BertSettings) -> MlmNames:
    """The names that may repeat each other or the table."""
    label = _HEADS[settings.family]
    name = label["mlm/decoder"]
    return MlmNames(f"{name}.weight", f"{name}.bias", f"{label['mlm']}.bias")


def classifier(settings: BertSettings) -> str:
    """The name of the biases of the classifier's logits, one for each label."""
    label = _HEADS[settings.family]
    return f"{label.get('classifier/output') or label['classifier']}.bias"


def entries(settings: BertSettings, style: Style) -> Entries:
    """Every array that a model with all heads has in a file of that style."""
    prefix = style.prefix
    hidden = settings.hidden
    rows = {"word": settings.vocabulary, "position": settings.positions}
    rows["kind"] = settings.kinds
    arrays = {
        f"embeddings/{table}": Entry(
            f"{prefix}embeddings.{name}_embeddings.weight", (rows[table], hidden)
        )
        for table, name in _TABLES.items()
    }
    arrays |= _norm("embeddings/norm", f"{prefix}embeddings.LayerNorm", hidden)
    for layer in range(settings.layers):
        path, name = f"encoder/layer_{layer:02d}", f"{prefix}encoder.layer.{layer}"
        for part, label in _DENSE.items():
            inner = settings.intermediate if part == "output" else hidden
            outer = settings.intermediate if part == "intermediate" else hidden
            arrays |= _dense(f"{path}/{part}", f"{name}.{label}", inner, outer)
        for part, label in _NORMS.items():
            arrays |= _norm(f"{path}/{part}", f"{name}.{label}", hidden)
    arrays |= _dense("pooler", f"{prefix}pooler.dense", hidden, hidden)
    return arrays | _heads(settings, style)


def _heads(settings: BertSettings, style: Style) -> Entries:
    label, hidden = _HEADS[settings.family], settings.hidden
    arrays = _dense("mlm/dense", label["mlm/dense"], hidden, hidden)
    arrays |= _norm("mlm/norm", label["mlm/norm"], hidden)
    name, rows = mlm(settings), (settings.vocabulary,)
    arrays["mlm/bias"] = Entry(name.bias, rows)
    if style.has_unread_bias:
        arrays["mlm/bias"] = Entry(name.decoder_bias, rows)
        arrays[UNREAD_BIAS] = Entry(name.bias, rows)
    if not settings.is_tied:
        arrays["mlm/decoder"] = Entry(name.kernel, (*rows, hidden))
    wide = {"classifier/dense": hidden, "next_sentence": 2}
    for part, name in label.items():
        if not part.startswith("mlm"):
            width = wide.get(part, settings.labels)
            arrays |= _dense(part, name, hidden, width)
    return arrays


def _dense(path: str, name: str, inner: int, outer: int) -> Entries:
    """Files keep kernels as (out, in)."""
    return {
        f"{path}/kernel": Entry(f"{name}.weight", (outer, inner), is_transposed=True),
        f"{path}/bias": Entry(f"{name}.bias", (outer,)),
    }


def _norm(path: str, name: str, width: int) -> Entries:
    return {
        f"{path}/scale": Entry(f"{name}.weight", (width,)),
        f"{path}/bias": Entry(f"{name}.bias", (width,)),
    }


def today(name: str) -> str:
    """The name that an array of an old file has by now."""
    for old, new in ((".gamma", ".weight"), (".beta", ".bias")):
        if name.endswith(old):
            return name.removesuffix(old) + new
    return name


def shapes(settings: BertSettings, parts: tuple[str, ...] = BODY + HEADS) -> Shapes:
    """Path -> shape in our tree of every parameter of some parts."""
    arrays = entries(settings, Style())
    return {
        path: entry.tree_shape
        for path, entry in arrays.items()
        if path.split("/")[0] in parts
    }
