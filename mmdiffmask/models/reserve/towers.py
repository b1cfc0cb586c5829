"""Vectors of frames, of sound and of short texts: the joint transformer's input.

Source: reserve.md sections 2.3 to 2.5.
"""

from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Bool, Float

from mmdiffmask import config
from mmdiffmask import grid as grids
from mmdiffmask.grid import PatchGrid
from mmdiffmask.models.reserve import layers, positions
from mmdiffmask.tokens import SPAN_LENGTH, TOKENS_PER_SOUND
from mmdiffmask.types import Array, Pixels

PATCH_VALUES = 16 * 16 * 3  # of a patch: pixels x colours
POOL = 2  # patches per side of a pooled cell
AUDIO_FRAMES = 60  # spectrogram frames of a piece of sound
AUDIO_CHANNELS = 65  # 64 log-mel values and the playback speed
AUDIO_PATCH = 2  # frames per token before pooling
AUDIO_POOL = 5  # tokens per pooled token


class Tower(NamedTuple):
    """What a tower gives, per picture or piece of sound.

    `cls` is projected, `seq` the last layer's sequence, `seq_attnpool` that sequence
    pooled by attention (2x2 patches, or 5 sound tokens): the joint transformer's input.
    """

    cls: Float[Array, "*b d"]
    seq: Float[Array, "*b n d"]
    seq_attnpool: Float[Array, "*b k d"]


def encoder(
    settings: config.Model,
    count: int,
    has_cls: bool = True,
) -> layers.Encoder:
    """A stack of `count` layers of the model's size."""
    return layers.Encoder(
        hidden=settings.hidden,
        head_size=settings.head_size,
        layers=count,
        dtype=jnp.dtype(settings.dtype),
        has_cls=has_cls,
        remat=settings.remat,
    )


def cells_of(x: Float[Array, "b n d"], grid: PatchGrid) -> Float[Array, "b k 4 d"]:
    """Groups row-major patches into 2x2 cells: upper left, upper right, lower ones."""
    batch, _, hidden = x.shape
    sides = (grid.rows // POOL, POOL, grid.cols // POOL, POOL)
    blocks = x.reshape(batch, *sides, hidden)
    return blocks.transpose(0, 1, 3, 2, 4, 5).reshape(batch, -1, POOL**2, hidden)


class VisionTower(nn.Module):
    """Frames as patches -> CLS, patch and cell vectors."""

    settings: config.Model

    def setup(self):
        """Names are the released checkpoints'."""
        size, dtype = self.settings, jnp.dtype(self.settings.dtype)
        self.embedding = nn.Dense(size.hidden, dtype=dtype)
        self.transformer = encoder(size, size.vision_layers)
        self.seq_attnpool = layers.AttentionPool(size.hidden, size.head_size, dtype)

    def embed(self, patches: Pixels[Array, "*b n p"]) -> Float[Array, "*b n d"]:
        """The patch embeddings alone; noise replaces those of hidden patches."""
        return self.embedding(grids.unit_values(patches))

    def __call__(
        self,
        patches: Pixels[Array, "*b n p"],
        grid: PatchGrid,
        is_masked: Bool[Array, "*b n"] | None = None,
        replacement: Float[Array, "*b n d"] | None = None,
    ) -> Tower:
        """Encodes frames of a grid of patches.

        Args:
          patches: (patch row, patch column, channel) row-major.
          grid: of each frame.
          is_masked: patches whose embedding is replaced before the first layer, so
            that no other patch can see what they show (design.md section 5).
          replacement: what they are replaced by; read only where masked.
        """
        encoded = self._encode(patches, grid, is_masked, replacement)
        return self._tower(encoded, patches.shape[:-2], grid)

    def with_attention(
        self, patches: Pixels[Array, "*b n p"], grid: PatchGrid
    ) -> tuple[Tower, Float[Array, "*b n"]]:
        """As `__call__` with nothing hidden, and how much CLS takes of each patch.

        These are the attention weights of the frame's own CLS in the last layer, mean
        over heads, float32. They are of single patches: 2x2 of them are pooled only
        behind the last layer. The share that CLS keeps for itself is left out, so a
        frame's sum is less than 1. Paper: g_att of Eq. 6 and 7.
        """
        encoded, lead = self._encode(patches, grid), patches.shape[:-2]
        weights = encoded.weights[:, :, 0, 1:].astype(jnp.float32).mean(axis=1)
        tower = self._tower(encoded, lead, grid)
        return tower, weights.reshape(*lead, grid.n_patches)

    def _tower(
        self, encoded: layers.Encoded, lead: tuple[int, ...], grid: PatchGrid
    ) -> Tower:
        """What the last layer gives, the cells pooled, with the batch's axes."""
        pooled = self.seq_attnpool(cells_of(encoded.seq, grid))
        return Tower(
            cls=encoded.cls.reshape(*lead, -1),
            seq=encoded.seq.reshape(*lead, *encoded.seq.shape[1:]),
            seq_attnpool=pooled.reshape(*lead, *pooled.shape[1:]),
        )

    def _encode(
        self,
        patches: Pixels[Array, "*b n p"],
        grid: PatchGrid,
        is_masked: Bool[Array, "*b n"] | None = None,
        replacement: Float[Array, "*b n d"] | None = None,
    ) -> layers.Encoded:
        is_even = grid.rows % POOL == 0 == grid.cols % POOL
        if patches.shape[-2] != grid.n_patches or not is_even:
            raise ValueError(
                f"frames of {patches.shape[-2]} patches do not fill a grid of"
                f" {grid}, whose sides must be even"
            )
        x = self.embed(patches)
        if is_masked is not None:
            x = jnp.where(is_masked[..., None], replacement.astype(x.dtype), x)
        x = x.reshape(-1, grid.n_patches, self.settings.hidden)
        at = positions.grid_coordinates(grid.rows, grid.cols, x.dtype)
        return self.transformer(x, at[None])


class AudioTower(nn.Module):
    """Pieces of 1.5556 s of sound as log-mel frames -> CLS, 30 and 6 vectors."""

    settings: config.Model

    def setup(self):
        """Names are the released checkpoints'."""
        size, dtype = self.settings, jnp.dtype(self.settings.dtype)
        # A convolution whose stride is its width is one product per pair of frames.
        self.embedding = nn.DenseGeneral(size.hidden, axis=(-2, -1), dtype=dtype)
        self.transformer = encoder(size, size.audio_layers)
        self.seq_attnpool = layers.AttentionPool(size.hidden, size.head_size, dtype)

    def __call__(self, spectrogram: Float[Array, "*b 60 65"]) -> Tower:
        """Encodes frames of 64 log-mel values and, last, the playback speed."""
        lead, hidden = spectrogram.shape[:-2], self.settings.hidden
        count = AUDIO_FRAMES // AUDIO_PATCH
        pairs = spectrogram.reshape(-1, count, AUDIO_PATCH, AUDIO_CHANNELS)
        x = self.embedding(pairs)
        time = positions.centred(count, x.dtype) / jnp.asarray(count, x.dtype)
        encoded = self.transformer(x, time[None, :, None])
        pooled = self.seq_attnpool(
            encoded.seq.reshape(-1, TOKENS_PER_SOUND, AUDIO_POOL, hidden)
        )
        return Tower(
            cls=encoded.cls.reshape(*lead, hidden),
            seq=encoded.seq.reshape(*lead, count, hidden),
            seq_attnpool=pooled.reshape(*lead, TOKENS_PER_SOUND, hidden),
        )


class SpanTower(nn.Module):
    """Embedded short texts -> one vector each."""

    settings: config.Model

    def setup(self):
        """Names are the released checkpoints'."""
        size = self.settings
        self.transformer = encoder(size, size.span_layers)

    def __call__(
        self, x: Float[Array, "*b n d"], is_valid: Bool[Array, "*b n"]
    ) -> Float[Array, "*b d"]:
        """The projected CLS of each span; a span of padding alone is allowed."""
        *lead, length, hidden = x.shape
        if length > SPAN_LENGTH:
            raise ValueError(
                f"a text span has {length} tokens; at most {SPAN_LENGTH} fit: cut it"
            )
        steps = jnp.arange(1, length + 1).astype(jnp.dtype(self.settings.dtype))
        encoded = self.transformer(
            x.reshape(-1, length, hidden),
            (steps / (SPAN_LENGTH + 1))[None, :, None],
            is_valid.reshape(-1, length),
        )
        return encoded.cls.reshape(*lead, hidden)
