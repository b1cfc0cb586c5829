"""Frozen features of questions: records in, one row per question out."""

import functools
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from mmdiffmask import config
from mmdiffmask.data import ahead, loader, questions, video
from mmdiffmask.grid import PatchGrid
from mmdiffmask.probe import features, ties
from mmdiffmask.training.family import Params, ReadQuestions
from mmdiffmask.training.question_batch import ANSWER, SPAN, Rows, Windows


class Group(NamedTuple):
    """A full batch of windows, and the questions on them in batches."""

    windows: Windows
    rows: list[tuple[list[str], Rows]]  # with the example ids of the real ones


def groups(
    records: Iterable[tuple[Any, str]],
    encode: questions.Encode,
    data: config.Data,
    size: int,
    views: Sequence[str],
    read_outs: Sequence[str],
    at_once: int | None = None,
) -> Generator[Group, None, None]:
    """Records as arrays of fixed shapes.

    Args:
      records: each with the key of its window, those that share one behind one
        another.
      encode: text -> token ids.
      data: grid and length of the sequences.
      size: windows of a group, and questions of a batch.
      views: names of `questions.VIEWS`.
      read_outs: "match", "answer" or both.
      at_once: questions of a batch, where these are fewer than `size`.
    """
    at_once = at_once or size
    has_frames = any(questions.VIEWS[view].has_frames for view in views)
    grid = PatchGrid(data.rows, data.cols)
    for windows, placed in questions.by_window(records, size):
        rows = []
        for start in range(0, len(placed), at_once):
            part = placed[start : start + at_once]
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
            rows.append((ids, _fill(batch_rows, at_once)))
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


def extract(
    start: ReadQuestions,
    params: Params,
    make_groups: Callable[[], Generator[Group, None, None]],
    views: Sequence[str],
    cut: Callable[[Any], Any] = lambda batch: batch,
    note: features.Note = int,
) -> features.Features:
    """Runs the frozen encoder over all questions.

    Args:
      start: of `Family.questions`.
      params: the checkpoint's; only read.
      make_groups: see `groups`; decoded ahead in a thread.
      views: the sequences' views, in their order.
      cut: puts windows, and the questions of a batch, on the devices that share them.
      note: is told of questions that are done.

    Returns:
      one row per question, named by its example id: "match/VIEW" (e, d),
      "answer/VIEW" (e, c, d) and "span" (e, c, d), float32.

    Raises:
      ValueError: if a feature is not finite, or the checkpoint lacks what a read-out
        needs.
    """
    ids: list[str] = []
    parts: dict[str, list[np.ndarray]] = {}
    with ahead.Prefetch(make_groups, 2) as stream:
        for group in stream:
            read = start(params, cut(group.windows))
            for names, rows in group.rows:
                for name, value in read(cut(rows)).items():
                    vectors = np.asarray(value, np.float32)[: len(names)]
                    vectors = _same_for_same(name, vectors, rows)
                    _check_finite(name, names, vectors)
                    for key, vector in _by_view(name, vectors, views):
                        parts.setdefault(key, []).append(vector)
                ids.extend(names)
                note(len(names))
    vectors = {key: np.concatenate(part) for key, part in parts.items()}
    return features.Features(tuple(ids), vectors)


def _same_for_same(name: str, vectors: np.ndarray, rows: Rows) -> np.ndarray:
    """Candidates with the same tokens get the same features, bit for bit."""
    if name == SPAN:
        return ties.same_for_same(vectors, rows.spans[: len(vectors)])
    if name != ANSWER:
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
