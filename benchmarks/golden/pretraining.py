"""Reserve's own objective: its pairs, its losses, and losses over several devices."""

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.golden.folder import Golden, fast_jit
from mmdiffmask.models.reserve import towers
from mmdiffmask.training import contrast
from mmdiffmask.training.terms import reserve as reserve_terms
from mmdiffmask.types import ReserveBatch, Sequences

KINDS = ("text2audio", "audio2text", "audio_text_matching", "random_text")


def batch(z: dict) -> ReserveBatch:
    """The sequences of pretrain.npz."""
    kinds = {
        kind: Sequences(
            z[f"batch/{kind}"],
            z[f"batch/{kind}/audio_ptr"],
            z[f"batch/{kind}/text_ptr"],
        )
        for kind in KINDS
        if f"batch/{kind}" in z
    }
    spans, video = z["batch/text_spans"], z["batch/video_src_index"]
    return ReserveBatch(
        **{kind: kinds.get(kind) for kind in KINDS},
        text_spans=spans,
        video_of_segment=video,
    )


def terms(golden: Golden, params: dict) -> dict[str, contrast.Pairs]:
    """The pairs of each term, every frame and sound real, as in the reference."""
    z = golden.arrays("pretrain")
    sequences = batch(z)
    examples, segments = sequences.video_of_segment.shape
    images = z["batch/images"].reshape(
        examples, segments, -1, z["batch/images"].shape[-1]
    )
    sound = z["batch/audio_clips"]
    sound = sound.reshape(examples, -1, towers.AUDIO_FRAMES, sound.shape[-1])

    def call(method: str, *args):
        return golden.model.apply({"params": params}, *args, method=method)

    return reserve_terms.forward(
        golden.model,
        params,
        sequences,
        call("vision", images, golden.grid),
        call("audio", sound),
        jnp.ones(images.shape[:2], bool),
        jnp.ones(sound.shape[:2], bool),
        golden.grid,
    )


def loss(golden: Golden, params: dict) -> jax.Array:
    """The sum of the three terms: what the pretraining optimiser lowers."""
    return sum(contrast.loss(term) for term in terms(golden, params).values())


def pretrain(golden: Golden) -> dict:
    """Pairs of one device, their losses; spans in the order of their index."""
    pairs_of = fast_jit(lambda params: terms(golden, params))(golden.params)
    values = {name: contrast.loss(term) for name, term in pairs_of.items()}
    info = values | _by_source(pairs_of["stuff_to_span"])
    arrays = {f"loss_info/{name}": value for name, value in info.items()}
    arrays["loss"] = sum(values.values())
    for name, term in pairs_of.items():
        is_row = np.asarray(term.is_row)
        arrays[f"out/{name}/x"] = term.x[is_row]
        arrays[f"out/{name}/y"] = term.y[is_row]
        extra = np.asarray(term.is_candidate) & ~is_row
        arrays[f"out/{name}/y_extra"] = term.y[extra]
    spans = pairs_of["stuff_to_span"]
    index = np.flatnonzero(spans.is_row)
    arrays["out/stuff_to_span/span_index"] = index
    arrays["out/stuff_to_span/_sources"] = spans.source[index]
    return arrays


def _by_source(spans: contrast.Pairs) -> dict:
    return {
        f"_stuff_to_span_from_{source}": contrast.loss_from(spans, number)
        for number, source in enumerate(reserve_terms.SOURCES)
    }


def contrastive_loss(golden: Golden) -> dict:
    """Losses of given vectors over several devices, whose rows are one global batch.

    A device's loss is the mean over its own rows; the candidates are everybody's.
    """
    z = golden.arrays("contrastive_loss")
    total, info = 0.0, {}
    for name in reserve_terms.TERMS:
        devices = len(z[f"{name}/x"])
        forth, back = contrast.row_losses(_given(z, name))
        each = ((forth + back) / 2)[: z[f"{name}/x"][..., 0].size]
        each = each.reshape(devices, -1)
        info[f"info/{name}"] = each.mean()
        total = total + each.mean(axis=1)
    # The last term is that of spans; its rows by where they were predicted from.
    for number, source in enumerate(reserve_terms.SOURCES):
        is_from = z["stuff_to_span/_sources"] == number
        mean = (each * is_from).sum(axis=1) / (is_from.sum(axis=1) + 1e-5)
        info[f"info/_stuff_to_span_from_{source}"] = mean.mean()
    return {**info, "loss_per_device": total, "loss_mean": total.mean()}


def _given(z: dict, name: str) -> contrast.Pairs:
    """All devices' vectors; extra negatives stand behind, in rows that are no pair."""
    x, y = (z[f"{name}/{side}"].reshape(-1, z[f"{name}/x"].shape[-1]) for side in "xy")
    extra = z.get(f"{name}/y_extra", np.zeros((0, x.shape[-1]), x.dtype))
    extra = extra.reshape(-1, x.shape[-1])
    is_row = np.arange(len(x) + len(extra)) < len(x)
    return contrast.Pairs(
        jnp.asarray(np.concatenate([x, np.zeros_like(extra)])),
        jnp.asarray(np.concatenate([y, extra])),
        jnp.asarray(is_row),
        jnp.ones(len(is_row), bool),
    )
