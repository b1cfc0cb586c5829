"""The joint transformer over text, sound and frames, and the zero-shot interface.

Rows of padding come out masked: they look at nothing and are never read.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from benchmarks.golden.folder import Golden
from mmdiffmask.models.reserve import joining, layers


def joint_full(golden: Golden) -> dict:
    """Text, sound, frames of two videos, and padding."""
    z = golden.arrays("joint_full")
    joined, seq = golden.joint(
        joining.TextPart(
            z["tokens"], z["token_segment_idx"], z["audio_spans"], z["audio_pointers"]
        ),
        z["vision_input"],
        length=int(z["padding_len"]),
        videos=z["video_src_idx"],
    )
    head = golden.call("project", seq)
    return {
        "x": joined.x,
        **_arrays(joined, seq),
        "head": _without_padding(head, joined.attend),
    }


def joint_text(golden: Golden) -> dict:
    """Text alone, AUDIOSPAN a word like others."""
    z = golden.arrays("joint_text")
    text = joining.TextPart(z["tokens"], z["token_segment_idx"])
    return _arrays(*golden.joint(text))


def joint_text_nosegment(golden: Golden) -> dict:
    """Text without segments; the sequence of the first row."""
    text = joining.TextPart(golden.arrays("joint_full")["tokens"])
    arrays = _arrays(*golden.joint(text))
    return {**arrays, "seq": arrays["seq"][:1]}


def joint_text_vision(golden: Golden) -> dict:
    """Text and frames of the first row."""
    z = golden.arrays("joint_full")
    text = joining.TextPart(z["tokens"][:1], z["token_segment_idx"][:1])
    return _arrays(*golden.joint(text, z["vision_input"][:1]))


def _arrays(joined: joining.Joined, seq: Float[Array, "b n d"]) -> dict:
    return {
        "rotary_coords": joined.coordinates,
        "attention_mask": joined.attend,
        "seq": _without_padding(seq, joined.attend),
    }


def _without_padding(
    x: Float[Array, "*b n d"], attend: Bool[Array, "*b n n"]
) -> np.ma.MaskedArray:
    """Rows that look at nothing are masked."""
    is_padding = ~np.asarray(attend).any(axis=-1)
    x = np.asarray(x)
    return np.ma.array(x, mask=np.broadcast_to(is_padding[..., None], x.shape))


def embed_video(golden: Golden) -> dict:
    """Text positions of a video, with and without sound, and with a frame encoded."""
    z = golden.arrays("embed_video")
    cells = golden.vision(z["images"]).seq_attnpool
    sound = golden.call("audio", z["audio_clips"]).seq_attnpool
    tokens, part = z["tokens"][None], z["subseg_idxs"][None]

    def embed(cells: Float[Array, "t k d"], *sound):
        text = joining.TextPart(tokens, part // 3, *sound)
        joined, seq = golden.joint(text, cells.reshape(1, -1, cells.shape[-1]))
        head = layers.unit_normalize(golden.call("project", seq))
        length = tokens.shape[1]
        return _without_padding(head[0, :length], joined.attend[0, :length])

    later = golden.vision(z["images"][1:]).seq_attnpool
    return {
        "imgseq": cells,
        "audioseq": sound,
        "out": embed(cells, sound[None], part),
        "out_noaudio": embed(cells),
        "out_prompt": embed(jnp.concatenate([cells[:1], later])),
    }
