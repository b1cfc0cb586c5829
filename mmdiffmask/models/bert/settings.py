"""Sizes of a BERT or RoBERTa, from and to the config.json of Hugging Face."""

import dataclasses
from typing import Any, Literal

from mmdiffmask.models import activations, blocks

FAMILIES = ("bert", "roberta")
Config = dict[str, Any]  # what a config.json holds

# Field of `BertSettings` -> key of config.json, and its value where that has none.
_KEYS = {
    "vocabulary": ("vocab_size", None),
    "hidden": ("hidden_size", None),
    "layers": ("num_hidden_layers", None),
    "heads": ("num_attention_heads", None),
    "intermediate": ("intermediate_size", None),
    "positions": ("max_position_embeddings", None),
    "kinds": ("type_vocab_size", 2),
    "activation": ("hidden_act", "gelu"),
    "epsilon": ("layer_norm_eps", 1e-12),
    "hidden_dropout": ("hidden_dropout_prob", 0.1),
    "attention_dropout": ("attention_probs_dropout_prob", 0.1),
    "classifier_dropout": ("classifier_dropout", None),
    "initial_spread": ("initializer_range", 0.02),
    "is_tied": ("tie_word_embeddings", True),
}
_NEEDED = ("vocabulary", "hidden", "layers", "heads", "intermediate", "positions")
_PAD = {"bert": 0, "roberta": 1}
# What would be another model, with the values under which it is this one.
_PLAIN = {
    "position_embedding_type": (None, "absolute"),
    "is_decoder": (None, False),
    "add_cross_attention": (None, False),
    "embedding_size": (None,),
}


@dataclasses.dataclass(frozen=True)
class BertSettings:
    """What a model is like.

    Attributes:
      family: which differ in positions, heads and the activation of the MLM head.
      vocabulary: word pieces.
      hidden: width.
      layers: of the encoder.
      heads: of attention.
      intermediate: width between the two dense layers of a block.
      positions: rows of the position table; RoBERTa's first pad + 1 are never read.
      kinds: of tokens ("token types"): first and second text.
      pad: id of padding.
      labels: of the classifier.
      activation: a name of `activations.ACTIVATIONS`.
      epsilon: of the norms.
      hidden_dropout: rate, for embeddings and for what blocks add.
      attention_dropout: rate, for attention weights.
      classifier_dropout: rate, before the classifier; None: `hidden_dropout`.
      initial_spread: standard deviation of initial kernels and tables.
      is_tied: the MLM head's decoder is the table of word pieces.
      dtype: of computing; parameters are float32.
      remat: blocks are computed again in the backward pass, for memory.
    """

    family: Literal["bert", "roberta"]
    vocabulary: int
    hidden: int
    layers: int
    heads: int
    intermediate: int
    positions: int
    kinds: int = 2
    pad: int = 0
    labels: int = 2
    activation: str = "gelu"
    epsilon: float = 1e-12
    hidden_dropout: float = 0.1
    attention_dropout: float = 0.1
    classifier_dropout: float | None = None
    initial_spread: float = 0.02
    is_tied: bool = True
    dtype: Literal["float32", "bfloat16"] = "float32"
    remat: bool = False

    @property
    def longest(self) -> int:
        """How many pieces a text may have."""
        return self.positions - self.first_position

    @property
    def first_position(self) -> int:
        """The row of the position table that a text's first piece has."""
        return self.pad + 1 if self.family == "roberta" else 0

    def block(self) -> blocks.BlockSizes:
        """What its blocks are like."""
        return blocks.BlockSizes(
            hidden=self.hidden,
            heads=self.heads,
            intermediate=self.intermediate,
            activation=self.activation,
            epsilon=self.epsilon,
            hidden_dropout=self.hidden_dropout,
            attention_dropout=self.attention_dropout,
            dtype=self.dtype,
        )


def from_config(config: Config, name: str) -> BertSettings:
    """The model that a config.json describes.

    Args:
      config: its content.
      name: of the file, for messages.

    Raises:
      ValueError: if it is of another family, lacks a size, or has one that cannot be.
    """
    family = config.get("model_type")
    if family not in FAMILIES:
        raise ValueError(
            f"{name}: model_type is {family!r}, but only {' and '.join(FAMILIES)} can"
            " be read (a file without one may be old: write it in)"
        )
    for key, plain in _PLAIN.items():
        if config.get(key) not in plain:
            raise ValueError(
                f"{name}: {key} is {config[key]!r}, and such a {family} cannot be read"
            )
    values = {
        field: config.get(key, default) for field, (key, default) in _KEYS.items()
    }
    for field in _NEEDED:
        if type(values[field]) is not int or values[field] < 1:
            raise ValueError(
                f"{name}: {_KEYS[field][0]} is {values[field]!r}, not a whole number"
                " from 1"
            )
    for field in ("epsilon", "hidden_dropout", "attention_dropout"):
        value = values[field]
        if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
            raise ValueError(
                f"{name}: {_KEYS[field][0]} is {value!r}, no number from 0"
            )
    pad = config.get("pad_token_id")
    settings = BertSettings(
        family=family,
        pad=_PAD[family] if pad is None else pad,
        labels=_labels(config),
        **values,
    )
    _check(settings, name)
    return settings


def _labels(config: Config) -> int:
    """transformers writes `num_labels` only as the names of labels."""
    return config.get("num_labels") or len(config.get("id2label") or ()) or 2


def _check(settings: BertSettings, name: str) -> None:
    if settings.hidden % settings.heads:
        raise ValueError(
            f"{name}: {settings.heads} attention heads do not divide a hidden_size of"
            f" {settings.hidden}"
        )
    if settings.longest < 1:
        raise ValueError(
            f"{name}: max_position_embeddings is {settings.positions}, which leaves no"
            f" position behind pad_token_id {settings.pad}"
        )
    try:
        activations.by_name(settings.activation)
    except ValueError as error:
        raise ValueError(f"{name}: hidden_act: {error}") from error


def to_config(settings: BertSettings) -> Config:
    """What config.json says of a model that was not read from one."""
    config = {key: getattr(settings, field) for field, (key, _) in _KEYS.items()}
    more = {"pad_token_id": settings.pad, "num_labels": settings.labels}
    return {"model_type": settings.family} | config | more
