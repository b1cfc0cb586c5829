"""FLOP of the matrix products of each part of MERLOT-Reserve, one forward pass.

Two for every multiplication with its addition. A backward pass costs twice a forward
one. Norms, softmax, gelu and positions are left out. Against the sums counted on the
reference (tests/test_models_reserve_flops.py) all parts agree within 0.2 %.
"""

from mmdiffmask import config
from mmdiffmask.models.reserve import towers
from mmdiffmask.tokens import SPAN_LENGTH, TOKENS_PER_SOUND


def stack(hidden: int, layers: int, tokens: int) -> int:
    """A transformer stack over one sequence.

    Example: `stack(768, 12, 241)` -> 43.08e9.
    """
    return layers * (24 * tokens * hidden**2 + 4 * tokens**2 * hidden)


def attention_pool(hidden: int, tokens: int, pooled: int) -> int:
    """Keys and values of `tokens`, queries and outputs of `pooled` groups."""
    return 4 * (tokens + pooled) * hidden**2


def vision(size: config.Model, patches: int) -> int:
    """The vision tower over one frame.

    Example: `base` and 240 patches -> 44.07e9.
    """
    embedding = 2 * patches * towers.PATCH_VALUES * size.hidden
    layers = stack(size.hidden, size.vision_layers, patches + 1)
    return layers + embedding + cell_pool(size, patches) + _cls(size)


def cell_pool(size: config.Model, patches: int) -> int:
    """The vision tower's attention pool over one frame."""
    return attention_pool(size.hidden, patches, patches // towers.POOL**2)


def audio(size: config.Model) -> int:
    """The audio tower over one piece of sound.

    Example: `base` -> 5.39e9.
    """
    tokens = towers.AUDIO_FRAMES // towers.AUDIO_PATCH
    values = towers.AUDIO_PATCH * towers.AUDIO_CHANNELS
    embedding = 2 * tokens * values * size.hidden
    layers = stack(size.hidden, size.audio_layers, tokens + 1)
    pool = attention_pool(size.hidden, tokens, TOKENS_PER_SOUND)
    return layers + embedding + pool + _cls(size)


def span(size: config.Model) -> int:
    """The span tower over one short text.

    Example: `base` -> 0.91e9.
    """
    return stack(size.hidden, size.span_layers, SPAN_LENGTH + 1) + _cls(size)


def joint(size: config.Model, tokens: int) -> int:
    """The joint transformer over one sequence.

    Example: `base` and 676 tokens -> 131.7e9.
    """
    return stack(size.hidden, size.joint_layers, tokens)


def head(size: config.Model, positions: int) -> int:
    """`head` at so many positions."""
    return 2 * positions * size.hidden**2


def similarities(size: config.Model, rows: int, columns: int) -> int:
    """The products of each of `rows` vectors with each of `columns`."""
    return 2 * rows * columns * size.hidden


def _cls(size: config.Model) -> int:
    """The projection of a tower's CLS."""
    return 2 * size.hidden**2
