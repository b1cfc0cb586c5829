"""Recomputes the arrays of a folder of MERLOT-Reserve reference values.

One function per .npz file; each gives the arrays it can compute from the file's
inputs. The folder's read-me says where the values came from.
"""

import json
import pathlib

import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
from model_tools import fast_jit

from mmdiffmask import config
from mmdiffmask.models import joining, layers, positions, reserve


class Golden:
    """A folder: its parameters, model and grid, and calls into the model."""

    def __init__(self, folder: pathlib.Path, dtype: str = "float32"):
        found = json.loads((folder / "config.json").read_text())
        sizes = found["model"]
        self.folder = folder
        self.rows, self.cols = sizes["output_grid"]
        self.model = reserve.Reserve(
            config.Model(
                hidden=sizes["hidden_size"],
                head_size=found["size_per_head"],
                vision_layers=sizes["vit_num_layers"],
                audio_layers=sizes["audio_num_layers"],
                span_layers=sizes["span_num_layers"],
                joint_layers=sizes["joint_num_layers"],
                vocabulary=found["vocab_size"],
                dtype=dtype,
            )
        )
        stored = flax.serialization.msgpack_restore((folder / "tiny").read_bytes())
        self.params = jax.tree.map(lambda x: x.astype(np.float32), stored["params"])
        self.compiled = {}
        self.tolerances = json.loads((folder / "tolerances.json").read_text())

    def arrays(self, name: str) -> dict[str, np.ndarray]:
        with np.load(self.folder / f"{name}.npz") as file:
            return dict(file)

    def call(self, method, *args, static=(), **kwargs):
        """One of the model's methods; `static` are arguments after the first."""
        if (method, static) not in self.compiled:

            def run(params, first, *rest, **kwargs):
                args = (first, *static, *rest)
                return self.model.apply(
                    {"params": params}, *args, method=method, **kwargs
                )

            self.compiled[method, static] = fast_jit(run)
        return self.compiled[method, static](self.params, *args, **kwargs)

    def vision(self, patches):
        return self.call("vision", patches, static=(self.rows, self.cols))

    def joint(self, text, cells=None, segment=None, length=None, videos=None):
        """(joined, seq); cells (b, t * k, d) as the reference has them."""
        vision = None
        if cells is not None:
            shape = (len(cells), -1, self.rows * self.cols // 4, cells.shape[-1])
            vision = joining.VisionPart(jnp.reshape(cells, shape), segment)
        sizes = (self.rows, self.cols, length)
        joined = self.call(_join, text, vision, videos, static=sizes)
        return joined, self.call("encode_joint", joined)


def _join(model, text, rows, cols, length, vision, videos):
    return model.join(text, vision, rows, cols, length, videos)


def rotary(golden: Golden) -> dict:
    return fast_jit(lambda: _rotary(golden))()


def _rotary(golden: Golden) -> dict:
    z, found = golden.arrays("rotary"), {}
    for name in z:
        kind, _, size = name.rpartition("_")
        if kind == "coords1d_centered":
            found[name] = positions.centred(int(size))
        elif kind == "coords2d":
            found[name] = positions.grid_coordinates(*map(int, size.split("x")))
        elif kind == "sin_in":
            angle = jnp.repeat(positions.angles(z[name]), 2, axis=-1)
            both = jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=-3)
            found[f"sinusoids_{size}"] = both
            scale = positions.position_scale(z[name], z["apply_in_1d"].shape[-1])
            scale = jnp.broadcast_to(
                scale, (*z[f"apply_in_{size}"].shape[:-2], scale.shape[-1])
            )
            found[f"apply_out_{size}"] = z[f"apply_in_{size}"] * scale[..., None, :]
    row, col, segment, token = (
        z[f"mm_{k}"] for k in ("h", "w", "segment_idx", "token_idx")
    )
    zero = np.zeros_like(row)
    found["mm_coords_all"] = positions.joint_coordinates(row, col, segment, token)
    found["mm_coords_text"] = positions.joint_coordinates(zero, zero, segment, token)
    found["mm_coords_image"] = positions.joint_coordinates(row, col, segment, zero)
    return found


def misc(golden: Golden) -> dict:
    z = golden.arrays("misc")
    return {
        "gelu_out": layers.gelu(z["gelu_in"]),
        "unit_normalize_out": layers.unit_normalize(z["unit_normalize_in"]),
    }


def vision(golden: Golden) -> dict:
    images = golden.arrays("vision")["images"]
    grid = (golden.rows, golden.cols)

    def run(params):
        return golden.model.apply(
            {"params": params},
            *(images, *grid),
            method="vision",
            capture_intermediates=True,
            mutable=["intermediates"],
        )

    out, inside = fast_jit(run)(golden.params)
    inside = inside["intermediates"]["vision_encoder"]["transformer"]
    first = inside["layer_00"]
    return {
        **out._asdict(),
        "inter_embedding": golden.call("embed_patches", images[:1]),
        "inter_pre_ln": inside["pre_ln"]["__call__"][0][:1],
        "inter_layer_00_attn": first["attention_layer"]["__call__"][0][0][:1],
        "inter_layer_00": first["__call__"][0][0][:1],
    }


def audio(golden: Golden) -> dict:
    out = golden.call("audio", golden.arrays("audio")["audio_clips"])
    return {**out._asdict(), "embed_audio_only": layers.unit_normalize(out.cls)}


def span(golden: Golden) -> dict:
    z = golden.arrays("span")
    cls = golden.call("span", z["text_spans"])
    options = golden.call("span", z["label_space_tokens"])
    return {
        "tokens_embedded": golden.call("embed_tokens", z["tokens"]),
        "spans_embedded_first": golden.call("embed_tokens", z["text_spans"])[0],
        "span_cls": cls,
        "embed_text_spans_only": layers.unit_normalize(cls),
        "label_space": layers.unit_normalize(options),
    }


def joint_full(golden: Golden) -> dict:
    z = golden.arrays("joint_full")
    joined, seq = golden.joint(
        joining.TextPart(
            z["tokens"], z["token_segment_idx"], z["audio_spans"], z["audio_pointers"]
        ),
        z["vision_input"],
        length=int(z["padding_len"]),
        videos=z["video_src_idx"],
    )
    return {
        "x": joined.x,
        "rotary_coords": joined.coordinates,
        "attention_mask": joined.attend,
        "seq": seq,
        "head": golden.call("project", seq),
    }


def joint_text(golden: Golden) -> dict:
    z = golden.arrays("joint_text")
    text = joining.TextPart(z["tokens"], z["token_segment_idx"])
    return _joint_arrays(*golden.joint(text))


def joint_text_nosegment(golden: Golden) -> dict:
    text = joining.TextPart(golden.arrays("joint_full")["tokens"])
    joined, seq = golden.joint(text)
    return {"rotary_coords": joined.coordinates, "seq": seq[:1]}


def joint_text_vision(golden: Golden) -> dict:
    z = golden.arrays("joint_full")
    text = joining.TextPart(z["tokens"][:1], z["token_segment_idx"][:1])
    return _joint_arrays(*golden.joint(text, z["vision_input"][:1]))


def _joint_arrays(joined, seq) -> dict:
    return {
        "rotary_coords": joined.coordinates,
        "attention_mask": joined.attend,
        "seq": seq,
    }


def embed_video(golden: Golden) -> dict:
    z = golden.arrays("embed_video")
    imgseq = golden.vision(z["images"]).seq_attnpool
    audioseq = golden.call("audio", z["audio_clips"]).seq_attnpool
    tokens, part = z["tokens"][None], z["subseg_idxs"][None]

    def embed(images, *sound):
        text = joining.TextPart(tokens, part // 3, *sound)
        _, seq = golden.joint(text, images.reshape(1, -1, images.shape[-1]))
        head = golden.call("project", seq[0, : tokens.shape[1]])
        return layers.unit_normalize(head)

    silent = embed(imgseq)
    return {
        "imgseq": imgseq,
        "audioseq": audioseq,
        "out": embed(imgseq, audioseq[None], part),
        "out_noaudio": silent,
        "out_prompt": silent,  # one picture given encoded, the rest as pixels
    }


def tvqa(golden: Golden) -> dict:
    z = golden.arrays("tvqa")
    batch, answers, length, _ = z["audio_seqs"].shape
    rows = 2 * batch * answers
    cells = golden.vision(z["images"]).seq_attnpool
    sound = golden.call("audio", z["audio_clips"]).seq_attnpool
    sound = sound.reshape(batch, -1, *sound.shape[-2:])

    def spread(x):  # one row per stream, example and answer
        wide = jnp.broadcast_to(x[None, :, None], (2, batch, answers, *x.shape[1:]))
        return wide.reshape(rows, *x.shape[1:])

    streams = np.stack([z["audio_seqs"], z["textonly_seqs"]]).reshape(rows, length, 2)
    tokens = streams[..., 0]
    segment = np.broadcast_to(1 + np.arange(cells.shape[1]), (rows, cells.shape[1]))
    _, seq = golden.joint(
        joining.TextPart(tokens, streams[..., 1], spread(sound)),
        spread(cells.reshape(batch, -1, cells.shape[-1])),
        segment,
    )
    at = (tokens == 3).argmax(axis=1)
    logits = seq[jnp.arange(rows), at] @ z["proj_kernel"].astype(seq.dtype)
    logits = logits.astype(jnp.float32).reshape(2, batch, answers)
    log_probability = jax.nn.log_softmax(logits)
    loss = -log_probability[:, jnp.arange(batch), z["labels"]].mean(axis=1)
    return {
        "logits_from_audio": logits[0],
        "logits_from_text": logits[1],
        "pred_logprobs_audio": log_probability[0],
        "pred_logprobs_text": log_probability[1],
        "loss_audio": loss[0],
        "loss_text": loss[1],
        "loss": loss.sum(),
    }


FILES = {
    function.__name__: function
    for function in (
        rotary,
        misc,
        vision,
        audio,
        span,
        joint_full,
        joint_text,
        joint_text_nosegment,
        joint_text_vision,
        embed_video,
        tvqa,
    )
}
