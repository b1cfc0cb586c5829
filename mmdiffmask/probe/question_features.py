"""Frozen features of questions: the joint output at MASK, towers run once a window."""

import functools
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from mmdiffmask import config
from mmdiffmask.data import ahead, loader, questions, video
from mmdiffmask.grid import PatchGrid
from mmdiffmask.models.reserve import joining, layers
from mmdiffmask.models.reserve import model as reserve
from mmdiffmask.probe import features, ties
from mmdiffmask.training.family import Params
from mmdiffmask.types import Array, Pixels

SPAN = "span"  # of the feature that all views share


class Windows(NamedTuple):
    """Distinct windows; `patches` is None where no view shows frames."""

    patches: Pixels[Array, "w t n p"] | None
    spectrogram: Float[Array, "w t s 60 65"]
    is_frame_valid: Bool[Array, "w t"]


class Seen(NamedTuple):
    """What the towers make of windows: pooled cells and sound tokens."""

    cells: Float[Array, "w t k d"] | None
    sound: Float[Array, "w m 6 d"]
    is_frame_valid: Bool[Array, "w t"]


class Rows(NamedTuple):
    """Questions: the window of each, all its sequences, its candidates' spans."""

    window: Int[Array, " q"]
    sequences: questions.Tokens
    spans: Int[Array, "q c 15"]


class Group(NamedTuple):
    """A full batch of windows, and the questions on them in batches."""

    windows: Windows
    rows: list[tuple[list[str], Rows]]  # with the example ids of the real ones


def check_params(params: Any, read_outs: Sequence[str]) -> None:
    """Checks that the checkpoint kept what a read-out needs.

    Raises:
      ValueError: if `match` is asked for without head or span encoder.
    """
    missing = [name for name in ("head", "span_encoder") if name not in params]
    if "match" in read_outs and missing:
        raise ValueError(
            f"probe.read_outs=match compares texts, but the checkpoint has no"
            f" {' and no '.join(missing)} (finetuned ones drop them); ask for answer"
            " or clip, or start from a pretrained checkpoint"
        )


def groups(
    records: Iterable[Any],
    encode: questions.Encode,
    data: config.Data,
    size: int,
    views: Sequence[str],
    read_outs: Sequence[str],
) -> Generator[Group, None, None]:
    """Records as arrays of fixed shapes.

    Args:
      records: the records, those that share a window behind one another.
      encode: text -> token ids.
      data: grid and length of the sequences.
      size: windows of a group, and questions of a batch.
      views: names of `questions.VIEWS`.
      read_outs: "match", "answer" or both.
    """
    has_frames = any(questions.VIEWS[view].has_frames for view in views)
    grid = PatchGrid(data.rows, data.cols)
    for windows, placed in questions.by_window(records, size):
        rows = []
        for start in range(0, len(placed), size):
            part = placed[start : start + size]
            batch_rows = [
                Rows(
                    np.array(window, np.int32),
                    questions.sequences(
                        record, encode, data.text_length, views, read_outs
                    ),
                    questions.spans(record, encode),
                )
                for record, window in part
            ]
            ids = [record.example_id for record, _ in part]
            rows.append((ids, _fill(batch_rows, size)))
        show = functools.partial(_window, grid=grid, has_frames=has_frames)
        yield Group(_fill(list(ahead.in_order(show, windows)), size), rows)


def _window(record: Any, grid: PatchGrid, has_frames: bool) -> Windows:
    """One window, without its batch axis; frames are decoded only if they are shown."""
    return Windows(
        video.pictures(record, grid)[0] if has_frames else None,
        np.asarray(record.spectrogram, np.float32),
        np.asarray(record.is_frame_valid, bool),
    )


def _fill(rows: list[Any], size: int) -> Any:
    """The rows as a batch of `size`: the last one again and again at its end."""
    return loader.stack(rows + rows[-1:] * (size - len(rows)))


def encoder(
    network: reserve.Reserve, grid: PatchGrid, n_answers: int, has_match: bool
) -> Callable[[Any, Windows], Callable[[Rows], dict[str, Array]]]:
    """The read-outs of a model, jitted.

    Args:
      network: the model.
      grid: the patch grid.
      n_answers: sequences with a candidate per question and view (0: no `answer`).
      has_match: whether a sequence of `match` stands before them.

    Returns:
      (params, windows) -> (rows, is_shown) -> "match" (q, v, d), unit-normalised head
      outputs; "answer" (q, v, c, d), joint outputs; "span" (q, c, d), unit-normalised.
      `is_shown` tells for each view whether it sees the frames.
    """

    def call(params: Params, *args: Any, method: str) -> Any:
        return network.apply({"params": params}, *args, method=method)

    @jax.jit
    def look(params: Params, windows: Windows) -> Seen:
        count, frames, clips = windows.spectrogram.shape[:3]
        wave = windows.spectrogram.reshape(count, frames * clips, 60, 65)
        sound = call(params, wave, method="audio").seq_attnpool
        cells = None
        if windows.patches is not None:
            cells = call(params, windows.patches, grid, method="vision").seq_attnpool
        return Seen(cells, sound, windows.is_frame_valid)

    @jax.jit
    def read(params: Params, seen: Seen, rows: Rows) -> dict[str, Array]:
        at_mask = _at_mask(functools.partial(call, params), grid, seen, rows)
        result = {}
        if has_match:
            spans = call(params, rows.spans, method="span")
            result[SPAN] = layers.unit_normalize(spans)
            heads = call(params, at_mask[:, :, 0], method="project")
            result["match"] = layers.unit_normalize(heads)
        if n_answers:
            result["answer"] = at_mask[:, :, int(has_match) :]
        return result

    def start(params: Params, windows: Windows) -> Callable[[Rows], dict[str, Array]]:
        seen = look(params, windows)
        return lambda rows: read(params, seen, rows)

    return start


def _at_mask(
    call: Callable[..., Any], grid: PatchGrid, seen: Seen, rows: Rows
) -> Float[Array, "q v a d"]:
    """Joint outputs at MASK; all sequences of all questions are one batch.

    Frames have segments 1..t, as text and sound have; frames that are not there are
    looked at by nobody.
    """
    lead = rows.sequences.tokens.shape[:-1]
    each = lead[1] * lead[2]
    window = jnp.repeat(jnp.asarray(rows.window), each)
    tokens, segment, pointer = (
        jnp.asarray(x).reshape(-1, x.shape[-1]) for x in rows.sequences[:3]
    )
    text = joining.TextPart(tokens, segment, seen.sound[window], pointer)
    vision = None
    if seen.cells is not None:
        frames = seen.cells.shape[1]
        segment = jnp.broadcast_to(
            jnp.arange(1, frames + 1)[None], (len(window), frames)
        )
        vision = joining.VisionPart(
            seen.cells[window], segment, jnp.asarray(seen.is_frame_valid)[window]
        )
    joined = call(text, vision, grid, method="joint").text
    mask_at = jnp.asarray(rows.sequences.mask_at).reshape(-1, 1, 1)
    return jnp.take_along_axis(joined, mask_at, 1).reshape(*lead, -1)


def extract(
    start: Callable[[Params, Windows], Callable[[Rows], dict[str, Array]]],
    params: Any,
    make_groups: Callable[[], Generator[Group, None, None]],
    views: Sequence[str],
) -> features.Features:
    """Runs the frozen encoder over all questions.

    Args:
      start: of `encoder`.
      params: the checkpoint's; only read.
      make_groups: see `groups`; decoded ahead in a thread.
      views: the sequences' views, in their order.

    Returns:
      one row per question, named by its example id: "match/VIEW" (e, d),
      "answer/VIEW" (e, c, d) and "span" (e, c, d), float32.

    Raises:
      ValueError: if a feature is not finite.
    """
    ids: list[str] = []
    parts: dict[str, list[np.ndarray]] = {}
    with ahead.Prefetch(make_groups, 2) as stream:
        for group in stream:
            read = start(params, group.windows)
            for names, rows in group.rows:
                for name, value in read(rows).items():
                    vectors = np.asarray(value, np.float32)[: len(names)]
                    vectors = _same_for_same(name, vectors, rows)
                    _check_finite(name, names, vectors)
                    for key, vector in _by_view(name, vectors, views):
                        parts.setdefault(key, []).append(vector)
                ids.extend(names)
    vectors = {key: np.concatenate(part) for key, part in parts.items()}
    return features.Features(tuple(ids), vectors)


def _same_for_same(name: str, vectors: np.ndarray, rows: Rows) -> np.ndarray:
    """Candidates with the same tokens get the same features, bit for bit."""
    if name == SPAN:
        return ties.same_for_same(vectors, rows.spans[: len(vectors)])
    if name != "answer":
        return vectors
    # The last ones: the sequence of `match`, if there is one, stands before them.
    tokens = rows.sequences.tokens[: len(vectors), :, -vectors.shape[2] :]
    return ties.same_for_same(vectors, tokens)


def _by_view(
    name: str, vectors: np.ndarray, views: Sequence[str]
) -> Iterator[tuple[str, np.ndarray]]:
    if name == SPAN:
        yield name, vectors
        return
    for i, view in enumerate(views):
        yield f"{name}/{view}", vectors[:, i]


def _check_finite(name: str, ids: Sequence[str], vectors: np.ndarray) -> None:
    is_finite = np.isfinite(vectors).reshape(len(vectors), -1).all(1)
    if not is_finite.all():
        raise ValueError(
            f"feature {name} of question {ids[int(np.argmin(is_finite))]} is not"
            " finite: the checkpoint or the record is broken"
        )
