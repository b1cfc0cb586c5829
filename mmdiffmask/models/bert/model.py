"""BERT and RoBERTa (Devlin et al. 2019, Liu et al. 2019): word pieces to vectors.

One module; its parts are called by method, so that a tree of parameters needs only
the parts that are called. `bert.names` maps the tree to Hugging Face's names.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Bool, Float, Int, PRNGKeyArray

from mmdiffmask.models import activations, backward, blocks, dropout, norms
from mmdiffmask.models.bert.settings import BertSettings
from mmdiffmask.types import Array


class Pieces(NamedTuple):
    """Texts as word pieces; `kind` is the token type, None: all are of kind 0.

    `position` are rows of the position table, None: as the family counts.
    """

    ids: Int[Array, "b n"]
    is_valid: Bool[Array, "b n"]
    kind: Int[Array, "b n"] | None = None
    position: Int[Array, "b n"] | None = None


class Embeddings(nn.Module):
    """Sums of three tables' rows, normed."""

    settings: BertSettings

    def setup(self):
        """Three tables and a norm."""
        size = self.settings
        spread = nn.initializers.normal(size.initial_spread)
        self.word = self.param("word", spread, (size.vocabulary, size.hidden))
        self.position = self.param("position", spread, (size.positions, size.hidden))
        self.kind = self.param("kind", spread, (size.kinds, size.hidden))
        self.norm = norms.LayerNorm(jnp.dtype(size.dtype), size.epsilon)

    def __call__(
        self, pieces: Pieces, key: PRNGKeyArray | None = None
    ) -> Float[Array, "b n d"]:
        """Embeds texts; `key` is of dropout.

        As in PyTorch, the row of padding takes no gradient from being looked up.

        Raises:
          ValueError: if texts are longer than there are positions.
        """
        size, ids = self.settings, pieces.ids
        if ids.shape[1] > size.longest:
            raise ValueError(
                f"texts of {ids.shape[1]} word pieces: at most {size.longest} can be"
                " read"
            )
        position = pieces.position
        if position is None:
            position = positions(ids, size)
        kind = jnp.zeros_like(ids) if pieces.kind is None else pieces.kind
        fixed = size.pad if size.family == "roberta" else None
        x = _rows(self.word, ids, size.pad) + _rows(self.kind, kind)
        x = self.norm(x + _rows(self.position, position, fixed))
        return dropout.drop(key, x, size.hidden_dropout)


def positions(ids: Int[Array, "b n"], settings: BertSettings) -> Int[Array, "b n"]:
    """The position of each piece.

    BERT counts from 0. RoBERTa counts real pieces from `pad` + 1, and padding, wherever
    it stands, is at `pad`.
    """
    if settings.family == "bert":
        return jnp.broadcast_to(jnp.arange(ids.shape[1])[None], ids.shape)
    is_real = ids != settings.pad
    return jnp.where(is_real, jnp.cumsum(is_real, axis=1), 0) + settings.pad


def _rows(
    table: Float[Array, "v d"], index: Int[Array, "b n"], fixed: int | None = None
) -> Float[Array, "b n d"]:
    """Rows of a table, of which number `fixed` takes no gradient."""
    rows = table[index]
    if fixed is None:
        return rows
    return jnp.where((index == fixed)[..., None], lax.stop_gradient(rows), rows)


class MlmHead(nn.Module):
    """Vectors to logits of word pieces."""

    settings: BertSettings

    @nn.compact
    def __call__(
        self, x: Float[Array, "b k d"], table: Float[Array, "v d"]
    ) -> Float[Array, "b k v"]:
        """Logits; a tied decoder is `table`, that of the word pieces.

        BERT's head has the blocks' activation, RoBERTa's exact gelu whatever they have.
        """
        size, dtype = self.settings, jnp.dtype(self.settings.dtype)
        name = size.activation if size.family == "bert" else "gelu"
        x = nn.Dense(
            size.hidden, dtype=dtype, dot_general=backward.product, name="dense"
        )(x)
        x = activations.by_name(name).value(x)
        x = norms.LayerNorm(dtype, size.epsilon, name="norm")(x)
        bias = self.param("bias", nn.initializers.zeros, (size.vocabulary,))
        if not size.is_tied:
            spread = nn.initializers.normal(size.initial_spread)
            table = self.param("decoder", spread, table.shape)
        logits = jnp.einsum("bkd,vd->bkv", x, table.astype(dtype))
        return logits + bias.astype(dtype)[None, None]


class RobertaClassifier(nn.Module):
    """RoBERTa's classifier, which has a dense layer of its own."""

    settings: BertSettings

    @nn.compact
    def __call__(
        self, x: Float[Array, "b d"], key: PRNGKeyArray | None
    ) -> Float[Array, "b c"]:
        """Vectors of the first piece to logits."""
        size, keys = self.settings, dropout.split(key, "before", "behind")
        dtype, rate = jnp.dtype(size.dtype), _classifier_rate(size)
        x = dropout.drop(keys["before"], x, rate)
        x = jnp.tanh(nn.Dense(size.hidden, dtype=dtype, name="dense")(x))
        x = dropout.drop(keys["behind"], x, rate)
        return nn.Dense(size.labels, dtype=dtype, name="output")(x)


def _classifier_rate(settings: BertSettings) -> float:
    rate = settings.classifier_dropout
    return settings.hidden_dropout if rate is None else rate


class Bert(nn.Module):
    """The encoder with its heads; its methods are called through `apply`.

    Example: `Bert(settings).apply({"params": params}, pieces)` -> `blocks.Encoding`.
    """

    settings: BertSettings

    def setup(self):
        """Names the parts."""
        size, dtype = self.settings, jnp.dtype(self.settings.dtype)
        self.embeddings = Embeddings(size)
        self.encoder = blocks.Stack(size.block(), size.layers, size.remat)
        self.pooler = nn.Dense(size.hidden, dtype=dtype)
        self.mlm = MlmHead(size)
        if size.family == "bert":
            self.classifier = nn.Dense(size.labels, dtype=dtype)
        else:
            self.classifier = RobertaClassifier(size)

    def __call__(
        self,
        pieces: Pieces,
        head_mask: Float[Array, "layers h"] | None = None,
        key: PRNGKeyArray | None = None,
        every_layer: bool = False,
    ) -> blocks.Encoding:
        """The last hidden states of texts.

        Args:
          pieces: the texts.
          head_mask: what each head's output is multiplied by.
          key: of dropout; None: nothing is dropped.
          every_layer: whether each layer's states and attention are wanted too.
        """
        keys = dropout.split(key, "embeddings", "encoder")
        x = self.embeddings(pieces, keys["embeddings"])
        bias = blocks.key_bias(pieces.is_valid)
        return self.encoder(x, bias, head_mask, keys["encoder"], every_layer)

    def pool(self, seq: Float[Array, "b n d"]) -> Float[Array, "b d"]:
        """The first piece's vector through the pooler's dense layer and tanh."""
        return jnp.tanh(self.pooler(seq[:, 0]))

    def predict(self, x: Float[Array, "b k d"]) -> Float[Array, "b k v"]:
        """Logits of word pieces, of any of the last hidden states (see `take`)."""
        return self.mlm(x, self.embeddings.word)

    def classify(
        self, seq: Float[Array, "b n d"], key: PRNGKeyArray | None = None
    ) -> Float[Array, "b c"]:
        """Logits of labels from the last hidden states; `key` is of dropout."""
        size = self.settings
        if size.family == "roberta":
            return self.classifier(seq[:, 0], key)
        pooled = dropout.drop(key, self.pool(seq), _classifier_rate(size))
        return self.classifier(pooled)


def take(seq: Float[Array, "b n d"], place: Int[Array, "b k"]) -> Float[Array, "b k d"]:
    """The vectors at some places of each text: logits of all of them cost more."""
    return jnp.take_along_axis(seq, place[..., None], axis=1)


def init(
    key: PRNGKeyArray, settings: BertSettings, shapes: dict[str, tuple[int, ...]]
) -> dict[str, Float[Array, "..."]]:
    """Initial parameters by path: a normal draw, norms' scales 1, all biases 0.

    Args:
      key: decides every value.
      settings: the model.
      shapes: of `names.shapes`.
    """
    params = {}
    for number, path in enumerate(sorted(shapes)):
        shape, last = shapes[path], path.rsplit("/")[-1]
        if last == "scale":
            params[path] = jnp.ones(shape)
        elif last == "bias":
            params[path] = jnp.zeros(shape)
        else:
            noise = jax.random.normal(jax.random.fold_in(key, number), shape)
            params[path] = settings.initial_spread * noise
    return params
