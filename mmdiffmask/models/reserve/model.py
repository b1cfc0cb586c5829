"""MERLOT-Reserve: frames, sound and tokens to vectors of a joint transformer.

Source: reserve.md section 2. Module names are the released checkpoints', so a
checkpoint's `params` is this model's parameter tree.
"""

import functools
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int, PRNGKeyArray

from mmdiffmask import config
from mmdiffmask.grid import PatchGrid
from mmdiffmask.models.reserve import initial, joining, towers
from mmdiffmask.tokens import PAD, SPAN_LENGTH
from mmdiffmask.types import Array, Pixels


class JointOutput(NamedTuple):
    """The joint sequence after final_ln, whole and by part (None: part not given)."""

    seq: Float[Array, "b n d"]
    text: Float[Array, "b l d"] | None
    vision: Float[Array, "b q d"] | None


class Sizes(NamedTuple):
    """Sizes of the inputs that every part is traced with."""

    grid: PatchGrid
    segments: int
    sub_segments: int
    text_length: int


class TokenEncoder(nn.Module):
    """The table of token embeddings, not scaled."""

    settings: config.Model

    @nn.compact
    def __call__(self, tokens: Int[Array, "*b l"]) -> Float[Array, "*b l d"]:
        """Looks tokens up."""
        return nn.Embed(
            self.settings.vocabulary,
            self.settings.hidden,
            dtype=jnp.dtype(self.settings.dtype),
        )(tokens)


class Reserve(nn.Module):
    """The whole model; its methods are called through `apply`.

    Example: `Reserve(settings).apply({"params": params}, patches, PatchGrid(12, 20),
    method="vision")` -> `towers.Tower`.
    """

    settings: config.Model

    def setup(self):
        """Names the parts."""
        size = self.settings
        self.vision_encoder = towers.VisionTower(size)
        self.audio_encoder = towers.AudioTower(size)
        self.span_encoder = towers.SpanTower(size)
        self.token_encoder = TokenEncoder(size)
        self.joint_transformer = towers.encoder(size, size.joint_layers, has_cls=False)
        self.head = nn.Dense(size.hidden, dtype=jnp.dtype(size.dtype))
        self.contrastive_scales = self.param(
            "contrastive_scales", nn.initializers.ones, (3,)
        )

    def vision(
        self,
        patches: Pixels[Array, "*b n p"],
        grid: PatchGrid,
        is_masked: Bool[Array, "*b n"] | None = None,
        replacement: Float[Array, "*b n d"] | None = None,
    ) -> towers.Tower:
        """Encodes frames, some of their patches hidden: see `towers.VisionTower`."""
        return self.vision_encoder(patches, grid, is_masked, replacement)

    def embed_patches(self, patches: Pixels[Array, "*b n p"]) -> Float[Array, "*b n d"]:
        """Patch embeddings, before CLS, LayerNorm and layers."""
        return self.vision_encoder.embed(patches)

    def vision_with_attention(
        self, patches: Pixels[Array, "*b n p"], grid: PatchGrid
    ) -> tuple[towers.Tower, Float[Array, "*b n"]]:
        """Encodes frames; the last layer's attention of CLS to each patch as well."""
        return self.vision_encoder.with_attention(patches, grid)

    def audio(self, spectrogram: Float[Array, "*b 60 65"]) -> towers.Tower:
        """Encodes pieces of sound: see `towers.AudioTower`."""
        return self.audio_encoder(spectrogram)

    def embed_tokens(self, tokens: Int[Array, "*b l"]) -> Float[Array, "*b l d"]:
        """Token embeddings."""
        return self.token_encoder(tokens)

    def span(self, tokens: Int[Array, "*b l"]) -> Float[Array, "*b d"]:
        """One vector per text of at most 15 tokens, 0 = padding."""
        return self.span_encoder(self.token_encoder(tokens), tokens != PAD)

    def project(self, x: Float[Array, "*b d"]) -> Float[Array, "*b d"]:
        """`head`: joint outputs as the contrastive objectives compare them."""
        return self.head(x)

    def scales(self) -> Float[Array, " 3"]:
        """`contrastive_scales`: log-temperatures of the audio, text and span terms."""
        return self.contrastive_scales

    def join(
        self,
        text: joining.TextPart | None = None,
        vision: joining.VisionPart | None = None,
        grid: PatchGrid | None = None,
        length: int | None = None,
        video_of_segment: Int[Array, "b z"] | None = None,
    ) -> joining.Joined:
        """Builds joint sequences of text, vision or both: see `joining.join`.

        Args:
          text: the text part, or None.
          vision: the vision part, or None.
          grid: of the vision part's frames; needed where there is one.
          length: pad to this many positions; None: no padding.
          video_of_segment: which video each segment comes from.
        """
        parts = []
        if text is not None:
            parts.append(joining.text_part(self.token_encoder(text.tokens), text))
        if vision is not None:
            dtype = jnp.dtype(self.settings.dtype)
            parts.append(joining.vision_part(vision, grid, dtype))
        return joining.join(parts, length, video_of_segment)

    def encode_joint(self, joined: joining.Joined) -> Float[Array, "b n d"]:
        """The joint transformer alone, after final_ln."""
        encoded = self.joint_transformer(
            joined.x, joined.coordinates, attend=joined.attend
        )
        return encoded.seq

    def joint(
        self,
        text: joining.TextPart | None = None,
        vision: joining.VisionPart | None = None,
        grid: PatchGrid | None = None,
        length: int | None = None,
        video_of_segment: Int[Array, "b z"] | None = None,
    ) -> JointOutput:
        """`join`, then the joint transformer, the output split into its parts."""
        seq = self.encode_joint(self.join(text, vision, grid, length, video_of_segment))
        end = 0 if text is None else text.tokens.shape[1]
        of_text = None if text is None else seq[:, :end]
        if vision is None:
            return JointOutput(seq, of_text, vision=None)
        count = vision.cells.shape[1] * vision.cells.shape[2]
        return JointOutput(seq, of_text, seq[:, end : end + count])

    def run_all(
        self,
        patches: Pixels[Array, "b t n p"],
        grid: PatchGrid,
        spectrogram: Float[Array, "b t s 60 65"],
        tokens: Int[Array, "b l"],
    ) -> tuple[Array, ...]:
        """Runs every part once, as `init` needs; nothing else calls it."""
        cells = self.vision(patches, grid).seq_attnpool
        sound = self.audio(spectrogram).seq_attnpool
        sound = sound.reshape(len(sound), -1, *sound.shape[-2:])
        text = joining.TextPart(tokens, audio_spans=sound)
        seq = self.joint(text, joining.VisionPart(cells), grid).seq
        span = self.span(tokens[:, :SPAN_LENGTH])
        return self.project(seq), span, self.scales()


def init(
    key: PRNGKeyArray,
    settings: config.Model,
    grid: PatchGrid,
    segments: int,
    sub_segments: int,
    text_length: int,
    initialiser: initial.Initialiser = "reserve",
    mean_patch: Float[Array, " p"] | None = None,
) -> initial.Params:
    """Float32 parameters of every part (reserve.md section 2.7).

    The values depend on key and settings alone: there are no position parameters, so
    one set serves every grid and length. The other sizes are those that every part is
    traced with, so that what does not fit together shows before a run.

    Departs: `initialiser` "lecun" and `mean_patch` are for small models from scratch.
    Reserve's own kernels are narrow for H 128 and learn more slowly (reserve.md section
    9.1); of `mean_patch` see `initial.centre_pixels`.

    Args:
      key: decides every value.
      settings: the model's sizes; `scale_init` is where log-temperatures start.
      grid: the patch grid.
      segments: frames per clip.
      sub_segments: pieces of sound per segment.
      text_length: tokens of a text or audio stream.
      initialiser: of all kernels but those of attention pools (LeCun always).
      mean_patch: mean of each value of a patch, over training data.
    """
    sizes = Sizes(grid, segments, sub_segments, text_length)
    params = _init(key, settings, sizes, initialiser)
    return params if mean_patch is None else initial.centre_pixels(params, mean_patch)


@functools.partial(jax.jit, static_argnums=(1, 2, 3))
def _init(
    key: PRNGKeyArray,
    settings: config.Model,
    sizes: Sizes,
    initialiser: initial.Initialiser,
) -> initial.Params:
    inputs = (
        jnp.zeros((1, sizes.segments, sizes.grid.n_patches, towers.PATCH_VALUES)),
        sizes.grid,
        jnp.zeros((1, sizes.segments, sizes.sub_segments, 60, 65)),
        jnp.ones((1, sizes.text_length), int),
    )
    model = Reserve(settings)
    shapes = jax.eval_shape(lambda: model.init(key, *inputs, method="run_all"))
    return initial.draw(key, shapes["params"], settings.scale_init, initialiser)
