"""TVQA: records to sequences, the read-out at MASK, its loss (reserve.md section 3)."""

import types
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.golden import tfrecord
from benchmarks.golden.folder import Golden, fast_jit
from mmdiffmask import grid
from mmdiffmask.data import questions
from mmdiffmask.grid import PatchGrid
from mmdiffmask.models.reserve import joining
from mmdiffmask.models.reserve import model as reserve_model
from mmdiffmask.tokens import MASK, START

RECORDS = "tvqa.tfrecord"
TALL = 4 / 3  # frames as tall as this, or taller, are turned on their side


class Batch(NamedTuple):
    """b questions: frames, sound, and c candidates in two streams.

    Sequences are (token, segment) pairs, as the folder has them.
    """

    images: jax.Array  # (b, t, n, p)
    audio_clips: jax.Array  # (b, t, s, 60, 65)
    audio_seqs: jax.Array  # (b, c, l, 2)
    text_seqs: jax.Array  # (b, c, l, 2)
    labels: jax.Array  # (b,)


def batch(golden: Golden) -> Batch:
    """The folder's questions."""
    z = golden.arrays("tvqa")
    names = ("images", "audio_clips", "audio_seqs", "textonly_seqs", "labels")
    return Batch(*(z[name] for name in names))


def logits(
    model: reserve_model.Reserve, params: dict, batch: Batch, grid: PatchGrid
) -> jax.Array:
    """(2, b, c) float32: scores of the candidates from sound, and from subtitles.

    Args:
      model: its settings say how it computes.
      params: the model's, and `proj/kernel`.
      batch: the questions; both streams of all candidates run as one batch.
      grid: of the images.
    """
    encoder = {name: leaf for name, leaf in params.items() if name != "proj"}

    def call(method: str, *args):
        return model.apply({"params": encoder}, *args, method=method)

    size, answers, length, _ = batch.audio_seqs.shape
    count = 2 * size * answers

    def spread(x: jax.Array):  # one row per stream, example and answer
        wide = jnp.broadcast_to(x[None, :, None], (2, size, answers, *x.shape[1:]))
        return wide.reshape(count, *x.shape[1:])

    cells = call("vision", batch.images, grid).seq_attnpool
    sound = call("audio", batch.audio_clips).seq_attnpool
    sound = sound.reshape(size, -1, *sound.shape[-2:])
    streams = jnp.stack([batch.audio_seqs, batch.text_seqs])
    tokens, segment = jnp.moveaxis(streams.reshape(count, length, 2), -1, 0)
    frames = jnp.arange(1, cells.shape[1] + 1)[None]
    vision = joining.VisionPart(
        spread(cells), jnp.broadcast_to(frames, (count, cells.shape[1]))
    )
    text = joining.TextPart(tokens, segment, spread(sound))
    seq = call("joint", text, vision, grid).text
    at = (tokens == MASK).argmax(axis=1)
    read = seq[jnp.arange(count), at] @ params["proj"]["kernel"].astype(seq.dtype)
    return read.astype(jnp.float32).reshape(2, size, answers)


def losses(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """(2,): mean cross-entropy of each stream; the loss is their sum."""
    labels = jnp.broadcast_to(labels[None], logits.shape[:2])
    each = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    return each.mean(axis=1)


def tvqa(golden: Golden) -> dict:
    """Everything of the file: records, read-out, loss, predictions, bfloat16."""
    z, inputs = golden.arrays("tvqa"), batch(golden)
    audio, text = _logits(golden, inputs)
    half_audio, half_text = _logits(golden.in_dtype("bfloat16", "bfloat16"), inputs)
    loss_audio, loss_text = losses(jnp.stack([audio, text]), inputs.labels)
    arrays = {
        "logits_from_audio_bf16": half_audio,
        "logits_from_text_bf16": half_text,
        "loss_audio": loss_audio,
        "loss_text": loss_text,
        "loss": loss_audio + loss_text,
        "pred_preds_joint": (jax.nn.softmax(audio) + jax.nn.softmax(text)).argmax(-1),
    }
    for stream, scores in (("audio", audio), ("text", text)):
        best = scores.argmax(axis=-1)
        arrays |= {
            f"logits_from_{stream}": scores,
            f"pred_logprobs_{stream}": jax.nn.log_softmax(scores),
            f"pred_preds_{stream}": best,
            f"is_right_{stream}": (best == inputs.labels).mean(),
        }
    return {**arrays, **from_records(golden, z)}


def _logits(golden: Golden, inputs: Batch) -> jax.Array:
    kernel = jnp.asarray(golden.arrays("tvqa")["proj_kernel"])
    kind = golden.params["contrastive_scales"].dtype
    params = {**golden.params, "proj": {"kernel": kernel.astype(kind)}}
    run = fast_jit(lambda params, x: logits(golden.model, params, x, golden.grid))
    return run(params, inputs)


def from_records(golden: Golden, z: dict) -> dict:
    """What the reference's parser makes of its records.

    Its JPEG decoder uses another integer transform than ours, so pictures and sound
    are compared where the folder gives them decoded (the first frame of the first
    record) and where there are none; the other values come out masked.
    """
    if not (golden.folder / RECORDS).is_file():
        return {}  # so that its arrays are named as not compared
    records = list(tfrecord.examples(golden.folder / RECORDS))
    sequences = [_sequences(golden, record, z) for record in records]
    images, audio = _frames(golden, records, z)
    return {
        "id": np.array([record["id"][0].decode() for record in records]),
        "magic_number": np.array([r["magic_number"][0] for r in records], np.float32),
        "num_frames": np.array([record["num_frames"][0] for record in records]),
        "labels": np.array([record["qa_label"][0] for record in records]),
        "textonly_seqs": np.stack([_pairs(s[0]) for s in sequences]),
        "audio_seqs": np.stack([_pairs(s[1]) for s in sequences]),
        "images": images,
        "audio_clips": audio,
    }


def _pairs(both: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    return np.stack(both, axis=-1)


def _sequences(
    golden: Golden, record: dict, z: dict
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Tokens and segments (c, l) of the candidates, from subtitles and from sound."""
    length, encode = z["audio_seqs"].shape[2], golden.tokenizer.encode_plain
    question = _question(golden, record, z)
    streams = []
    for view in ("subtitles", "sound"):
        one = [
            questions.sequence(question, encode, length, questions.VIEWS[view], answer)
            for answer in question.answers
        ]
        tokens = np.stack([each.tokens for each in one])
        streams.append((tokens, np.stack([each.segment for each in one])))
    return streams[0], streams[1]


def _question(golden: Golden, record: dict, z: dict) -> types.SimpleNamespace:
    """The reference's record with its texts, as `questions.sequence` reads one.

    The reference has the tokens of sound that is not there too, so all of it counts.
    """
    decode = golden.tokenizer.decode
    _, segments, sub_segments, *_ = z["audio_clips"].shape
    start = record["qa_query"].index(START)
    return types.SimpleNamespace(
        span_percent=decode(record["qa_query"][:start]).split(" to "),
        question=decode(record["qa_query"][start + 1 :]),
        answers=[
            decode(record[f"qa_choice_{i}"]) for i in range(z["audio_seqs"].shape[1])
        ],
        subtitles=[decode(record[f"c{i:02d}/sub"]) for i in range(segments)],
        spectrogram=np.zeros((segments, sub_segments, 0, 0)),
        is_audio_valid=np.ones(segments, bool),
    )


def _frames(golden: Golden, records: list, z: dict) -> tuple:
    """Images and sound clips, masked where the JPEG decoders differ."""
    images = np.ma.masked_all(z["images"].shape, np.float32)
    audio = np.ma.masked_all(z["audio_clips"].shape, np.float32)
    for i, record in enumerate(records):
        missing = slice(record["num_frames"][0], None)
        images[i, missing], audio[i, missing] = 0.0, 0.0
    images[0, 0] = frame_patches(golden, z["decoded_image_c00"])
    spectrogram = z["decoded_spec_c00"] / np.float32(records[0]["magic_number"][0])
    audio[0, 0] = spectrogram.reshape(audio.shape[2:])
    audio[..., -1] = 1.0  # the playback speed, everywhere
    return images, audio


def frame_patches(golden: Golden, picture: np.ndarray) -> np.ndarray:
    """Patches of a TVQA frame; a tall one is turned, with grey bars left and right."""
    if picture.shape[0] < TALL * picture.shape[1]:
        return patches(golden.grid, picture)
    turned = np.rot90(picture)
    # The bars are 0.5, which is no byte: half of black ones and half of white ones.
    bars = [
        np.pad(turned, ((0, 0), (4, 4), (0, 0)), constant_values=value)
        for value in (0, 255)
    ]
    return sum(patches(golden.grid, bar) for bar in bars) / 2.0


def patches(patch_grid: grid.PatchGrid, picture: np.ndarray) -> np.ndarray:
    """A picture of bytes, fitted into the grid and cut into patches."""
    fit = grid.fit_frame(patch_grid, picture.shape[1], picture.shape[0])
    return grid.to_patches(patch_grid, grid.fit_image(patch_grid, fit, picture))
