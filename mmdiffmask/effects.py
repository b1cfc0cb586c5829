"""Settings that would have no effect on these records: found before training."""

import collections
import difflib
import logging
from collections.abc import Iterable, Sequence
from typing import Any

import jax
import numpy as np

from mmdiffmask import config, examples, label_leak, masks
from mmdiffmask.data import tokenizers, video
from mmdiffmask.data.records import index
from mmdiffmask.masking import anchors, strategies, tables
from mmdiffmask.tokens import TOKENS_PER_SOUND

SHOWN = 8  # labels named in a message


def check_text_length(data: config.Data, training: config.Training) -> None:
    """Checks that the sound of a clip fits into its stream.

    Raises:
      ValueError: with the length that is needed.
    """
    if "audio" not in training.streams:
        return
    sound = TOKENS_PER_SOUND * data.sub_segments * data.segments
    encode = tokenizers.load(data.tokenizer).encode_plain
    least = sound + len(encode("0 to 100")) + 1  # START; the question comes on top
    if data.text_length < least:
        raise ValueError(
            f"data.text_length={data.text_length} cuts off sound: {data.segments}"
            f" segments of {data.sub_segments} pieces are {sound} tokens, {least} with"
            " the time before them, and a question's tokens come on top; set"
            f" data.text_length={least} or more, or training.streams=text"
        )


def check_clips(
    experiment: config.Experiment,
    entries: Sequence[index.Entry],
    clips: Sequence[int],
    dev: Sequence[int],
) -> None:
    """Checks and says what the records lack; the index tells it alone.

    Args:
      experiment: the settings.
      entries: of the train split.
      clips: one position of each clip that is trained on.
      dev: of the held-out clips.

    Raises:
      ValueError: as `check_boxes`, or as `label_leak.check`.
    """
    check_boxes(experiment, entries, clips)
    label_leak.check(experiment, (entries[i] for i in clips))
    rows = (entries[i] for i in dev)
    tell_of_cut_sound(experiment.data, experiment.training, rows)
    tell_of_fill(kinds_without_boxes(experiment, entries, dev))


def tell_of_cut_sound(
    data: config.Data, training: config.Training, rows: Iterable[Any]
) -> None:
    """Says of how many records the question pushes sound out of its stream."""
    if "audio" not in training.streams:
        return
    encode = tokenizers.load(data.tokenizer).encode_plain
    sound = TOKENS_PER_SOUND * data.sub_segments * data.segments
    has_answer = training.gold_answer
    needed = [len(video.option(record, encode, has_answer)) + sound for record in rows]
    cut = sum(length > data.text_length for length in needed)
    if cut:
        logging.warning(
            "data.text_length=%d cuts off sound behind the question of %d of %d dev"
            " clips; none with data.text_length=%d",
            data.text_length,
            cut,
            len(needed),
            max(needed),
        )


def fit_batch(batch_size: int, n_clips: int, noun: str = "clips") -> int:
    """The batch size, or less where there are fewer clips: no clip twice in a batch.

    Args:
      batch_size: that is wanted.
      n_clips: that are trained on.
      noun: what messages call them.

    Raises:
      ValueError: if there are fewer clips than devices.
    """
    devices = jax.device_count()
    most = n_clips // devices * devices
    if most < 1:
        raise ValueError(
            f"{n_clips} training {noun} are fewer than {devices} devices; add {noun}"
        )
    if batch_size > most:
        logging.warning(
            "training.batch_size lowered from %d to %d: there are only %d training %s",
            batch_size,
            most,
            n_clips,
            noun,
        )
    return min(batch_size, most)


def check_ids(experiment: config.Experiment, chosen: examples.Chosen) -> None:
    """Checks that files by example id hold every example that is masked by them.

    Raises:
      ValueError: naming the first that lacks.
    """
    masking = experiment.masking
    for setting, table in tables.of_settings(masking).items():
        is_own = strategies.find(masking.strategy).file == setting
        positions = (*(chosen.train if is_own else ()), *chosen.dev_clips)
        table.check_ids(chosen.entries[i].example_id for i in positions)


def check_boxes(
    experiment: config.Experiment, entries: Any, positions: Sequence[int]
) -> None:
    """Checks that a box strategy has something to draw in the training clips.

    Looks until every anchor was seen; where label embeddings are given one drawable
    box is enough. Anchors that no box carries beside others that some do are told in a
    warning.

    Args:
      experiment: its strategy, box kind, anchors and overlap.
      entries: of the train split.
      positions: one of each clip that is trained on.

    Raises:
      ValueError: if every mask would be fill; says what the boxes are instead.
    """
    masking = experiment.masking
    strategy = strategies.find(masking.strategy)
    # A start that is not trained is scored on its strategy's held-out masks as well.
    if not strategy.units.boxes or not experiment.terms.patches:
        return
    is_by_label = strategy.is_anchored and masking.label_embeddings is None
    seen = _look(
        (entries[i].boxes for i in positions),
        strategy,
        masking,
        experiment.data.min_overlap,
        examples.embeddings_of(masking),
        is_one_enough=not is_by_label,
    )
    if not seen.is_drawable:
        raise ValueError(_nothing_to_draw(seen, experiment, len(positions)))
    if masking.box_share == 0:
        logging.warning("masking.box_share=0: all masks are fill, no box is drawn")
    lacking = [name for name in masking.anchors if name not in seen.carried]
    if lacking and is_by_label:
        logging.warning(
            "masking.anchors: no %s box carries %s, so that has no effect; %s",
            strategy.units.kind,
            " or ".join(map(repr, lacking)),
            _labels(seen.labels, lacking),
        )


class _SeenBoxes:
    """What was seen of boxes so far."""

    def __init__(self):
        self.kinds: collections.Counter[str] = collections.Counter()
        self.labels: collections.Counter[str] = collections.Counter()
        self.carried: set[str] = set()
        self.most_covered = 0.0
        self.is_similar = self.is_drawable = False


def _look(
    rows: Iterable[index.BoxKinds],
    strategy: strategies.Strategy,
    masking: config.Masking,
    min_overlap: float,
    embeddings: dict[str, np.ndarray] | None,
    is_one_enough: bool,
) -> _SeenBoxes:
    """Looks at boxes until one can be drawn, or one of each anchor."""
    seen = _SeenBoxes()
    for boxes in rows:
        for name, count in zip(boxes.kind, boxes.count, strict=True):
            seen.kinds[name] += count
        kinds = strategy.units.boxes
        boxes = boxes.take([i for i, name in enumerate(boxes.kind) if name in kinds])
        if not boxes.kind:
            continue
        labels = anchors.labels_of(boxes, masking.anchors, embeddings)
        for name, count in zip(labels, boxes.count, strict=True):
            seen.labels[name] += count
        covered = np.asarray(boxes.most_covered, np.float64)
        similar = np.ones(len(labels), bool)
        if strategy.is_anchored:
            similarity = anchors.label_similarity(
                labels, masking.anchors, embeddings, masking.similarity
            )
            similar = similarity > 0
        drawable = similar & (covered > min_overlap)
        seen.most_covered = max(seen.most_covered, float(covered.max()))
        seen.is_similar |= bool(similar.any())
        seen.is_drawable |= bool(drawable.any())
        seen.carried.update(labels[i] for i in np.flatnonzero(drawable))
        is_known = is_one_enough or seen.carried >= set(masking.anchors)
        if seen.is_drawable and is_known:
            break
    return seen


def _nothing_to_draw(
    seen: _SeenBoxes, experiment: config.Experiment, clips: int
) -> str:
    """Why every mask would be fill, and what to do."""
    masking = experiment.masking
    kind = " or ".join(strategies.find(masking.strategy).units.boxes)
    effect = (
        f"masking.strategy={masking.strategy} would hide nothing but random fill in the"
        f" {clips} training clips"
    )
    if not seen.kinds:
        return (
            f"{effect}: their records have no box at all; make them with boxes, or set"
            " masking.strategy=random"
        )
    if not seen.labels:
        kinds = ", ".join(f"{name} ({n})" for name, n in seen.kinds.most_common())
        return f"{effect}, as no box is of kind {kind}; kinds there are {kinds}"
    if not seen.is_similar:
        names = ", ".join(map(repr, masking.anchors))
        why = "no box carries it"
        if masking.label_embeddings is not None:
            why = "no box has a label like it"
        return (
            f"masking.anchors {names}: {why}, so {effect};"
            f" {_labels(seen.labels, masking.anchors)}"
        )
    return (
        f"data.min_overlap={experiment.data.min_overlap}: no {kind} box covers"
        f" more than that share of a patch, so {effect}; the most that one covers is"
        f" {seen.most_covered:.2f}"
    )


def _labels(labels: collections.Counter[str], wanted: Sequence[str]) -> str:
    """The labels that there are, and the one that was probably meant."""
    shown = [f"{name} ({n})" for name, n in labels.most_common(SHOWN)]
    shown += ["..."] * (len(labels) > SHOWN)
    by_small = {name.casefold(): name for name in reversed(list(labels))}
    for name in wanted:
        near = difflib.get_close_matches(name.casefold(), by_small, 1, 0.6)
        if near:
            meant = by_small[near[0]]
            return f"labels there are {', '.join(shown)}; did you mean {meant!r}?"
    return f"labels there are {', '.join(shown)}"


def kinds_without_boxes(
    experiment: config.Experiment, entries: Any, positions: Sequence[int]
) -> list[str]:
    """Strategies whose held-out masks are fill alone: no clip has a box to draw.

    Args:
      experiment: its anchors and overlap.
      entries: of the train split.
      positions: of the held-out clips.
    """
    fill_only: list[str] = []
    masking, overlap = experiment.masking, experiment.data.min_overlap
    embeddings = examples.embeddings_of(masking)
    for name in masks.held_out_names(experiment):
        strategy = strategies.find(name)
        if strategy.units.boxes:
            rows = (entries[i].boxes for i in positions)
            seen = _look(
                rows, strategy, masking, overlap, embeddings, is_one_enough=True
            )
            fill_only += [] if seen.is_drawable else [name]
    return fill_only


def tell_of_fill(kinds: Sequence[str]) -> None:
    """Says which held-out masks are no test of what their name says."""
    if kinds:
        logging.warning(
            "held-out masks of kind %s hide random patches: no dev clip has a box for"
            " them that can be drawn",
            " and ".join(kinds),
        )
