"""The reference's inputs to positions, small functions and outputs of the towers."""

import re

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.golden.folder import Golden, fast_jit
from mmdiffmask.models.reserve import joining, layers, positions
from mmdiffmask.tokens import SPAN_LENGTH
from mmdiffmask.training import half_moments


def rotary(golden: Golden) -> dict:
    """Coordinates of one, two and four axes, sinusoids, and the scaling by them."""
    arrays = golden.arrays("rotary")
    return fast_jit(lambda: _rotary(arrays))()


def _rotary(z: dict) -> dict:
    arrays = {}
    for name in z:
        kind, _, size = name.rpartition("_")
        if kind == "coords1d_centered":
            arrays[name] = positions.centred(int(size))
        elif kind == "coords1d_onebased":
            arrays[name] = _one_based(int(size))
        elif kind == "coords2d":
            rows, cols = map(int, size.split("x"))
            rows, cols = map(int, size.split("x"))
            arrays[name] = positions.grid_coordinates(rows, cols)
        elif kind == "sin_in":
            angle = jnp.repeat(positions.angles(z[name]), 2, axis=-1)
            both = jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=-3)
            arrays[f"sinusoids_{size}"] = both
        elif kind == "apply_in":
            scale = positions.position_scale(z[f"sin_in_{size}"], z[name].shape[-1])
            shape = (*z[name].shape[:-2], scale.shape[-1])
            scale = jnp.broadcast_to(scale, shape)[..., None, :]
            arrays[f"apply_out_{size}"] = z[name] * scale
    row, col, segment, token = (
        z[f"mm_{k}"] for k in ("h", "w", "segment_idx", "token_idx")
    )
    zero = np.zeros_like(row)
    arrays["mm_coords_all"] = positions.joint_coordinates(row, col, segment, token)
    arrays["mm_coords_text"] = positions.joint_coordinates(zero, zero, segment, token)
    arrays["mm_coords_image"] = positions.joint_coordinates(row, col, segment, zero)
    return arrays


def _one_based(count: int) -> jax.Array:
    """1..n: a text part has these, divided by 1024, which is exact."""
    text = joining.TextPart(jnp.ones((1, count), int))
    part = joining.text_part(jnp.zeros((1, count, 1)), text)
    return part.coordinates[0, :, 3] * 1024.0


def misc(golden: Golden) -> dict:
    """GELU, unit length, and the two half precisions."""
    z = golden.arrays("misc")
    brain = half_moments.to_half(z["cast_in_f32"])
    half = half_moments.to_half(z["cast_in_f32"], jnp.float16)
    return {
        "gelu_out": layers.gelu(z["gelu_in"]),
        "unit_normalize_out": layers.unit_normalize(z["unit_normalize_in"]),
        "cast_bf16_bits": np.asarray(brain).view(np.uint16),
        "cast_bf16_back_f32": brain.astype(jnp.float32),
        "cast_f16_bits": np.asarray(half).view(np.uint16),
        "cast_f16_back_f32": half.astype(jnp.float32),
    }


def vision(golden: Golden) -> dict:
    """The vision tower and what is between its parts, of the first image."""
    z = golden.arrays("vision")

    def run(params: dict):
        return golden.model.apply(
            {"params": params},
            z["images"],
            golden.grid,
            method="vision",
            capture_intermediates=True,
            mutable=["intermediates"],
        )

    out, inside = fast_jit(run)(golden.params)
    inside = inside["intermediates"]["vision_encoder"]["transformer"]
    arrays = out._asdict()
    arrays["inter_embedding"] = golden.call("embed_patches", z["images"][:1])
    for name in z:
        match = re.fullmatch(r"inter_(pre_ln|layer_\d\d)(_attn)?", name)
        if match:
            part = inside[match[1]]
            part = part["attention_layer"] if match[2] else part
            arrays[name] = jax.tree.leaves(part["__call__"])[0][:1]
    return arrays


def vision_bf16(golden: Golden) -> dict:
    """The vision tower in bfloat16, its parameters float32 or bfloat16."""
    images = golden.arrays("vision")["images"]
    arrays = {}
    for suffix, dtype in (("", "float32"), ("_bf16params", "bfloat16")):
        out = golden.in_dtype("bfloat16", dtype).vision(images)
        arrays |= {f"{name}{suffix}": x for name, x in out._asdict().items()}
    return arrays


def audio(golden: Golden) -> dict:
    """The audio tower."""
    out = golden.call("audio", golden.arrays("audio")["audio_clips"])
    return {**out._asdict(), "embed_audio_only": layers.unit_normalize(out.cls)}


def span(golden: Golden) -> dict:
    """The token table, the span tower, and answers given as strings."""
    z = golden.arrays("span")
    cls = golden.call("span", z["text_spans"])
    length = SPAN_LENGTH
    labels = np.zeros((len(z["label_space_options"]), length), np.int32)
    for row, option in zip(labels, z["label_space_options"], strict=True):
        ids = golden.tokenizer.encode(str(option))[:length]
        row[: len(ids)] = ids
    options = golden.call("span", labels)
    return {
        "tokens_embedded": golden.call("embed_tokens", z["tokens"]),
        "spans_embedded_first": golden.call("embed_tokens", z["text_spans"])[0],
        "span_cls": cls,
        "embed_text_spans_only": layers.unit_normalize(cls),
        "label_space_tokens": labels,
        "label_space": layers.unit_normalize(options),
    }
