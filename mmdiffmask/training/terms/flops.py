"""FLOP of the matrix products that an update of a MERLOT-Reserve needs.

What the loss asks for, not what a program does: a pass over the same input counts once
however often it is repeated, so rematerialisation does not count. Divided by an
update's seconds and by a machine's rate this is the model FLOP utilisation (MFU).
"""

from mmdiffmask.models.reserve import flops
from mmdiffmask.training.terms import grounding, patches, reserve
from mmdiffmask.training.terms.shared import Objective
from mmdiffmask.types import Sequences, VideoBatch

BACKWARD = 2  # in forward passes
BOTH = 1 + BACKWARD


def update(objective: Objective, batch: VideoBatch) -> dict[str, int]:
    """Part of the model -> FLOP of an update; their sum is the update's.

    Example: `base`, one clip of 7 frames of 12x20 patches, 256 tokens, masked patches
    alone -> 2.364e12 in all.

    Args:
      objective: model, grid, terms.
      batch: only its shapes are read.
    """
    return {
        "vision": _vision(objective, batch),
        "audio": _audio(objective, batch),
        "joint": BOTH * _joint(objective, batch),
        "span": BOTH * _spans(objective, batch) * flops.span(objective.model.settings),
        "heads": _heads(objective, batch),
    }


def _has(objective: Objective, *names: str) -> bool:
    """Whether any of these terms has weight."""
    return any(getattr(objective.terms, name) > 0 for name in names)


def _clips(objective: Objective, batch: VideoBatch) -> int:
    """Clips that Reserve's own terms look at."""
    if not _has(objective, *reserve.TERMS):
        return 0
    return min(objective.reserve.clips or len(batch.patches), len(batch.patches))


def _vision(objective: Objective, batch: VideoBatch) -> int:
    """The masked clip with gradient; the plain one with it only where a term asks."""
    size, (clips, segments, count, _) = objective.model.settings, batch.patches.shape
    frames = clips * segments
    is_hiding = _has(objective, patches.NAME)
    is_late = is_hiding and objective.settings.mask_site == "vit_output"
    is_live = objective.settings.target == "live"
    # Frames of the plain clip that pass gradients on, and that are looked at.
    learned = _clips(objective, batch) * segments
    if _has(objective, *grounding.TERMS):
        learned += batch.cloze.frame.size
    is_target = is_hiding and objective.settings.target_gradient
    learned = frames if is_late or is_target else min(learned, frames)
    seen = frames if is_hiding and is_live else learned
    passes = seen + BACKWARD * learned
    if is_hiding and not is_late:
        passes += BOTH * frames
    if is_hiding and not is_live:
        passes += frames
    total = passes * flops.vision(size, count)
    if is_late and is_live:  # one pass, pooled twice
        total += (BOTH if is_target else 1) * frames * flops.cell_pool(size, count)
    return total


def _audio(objective: Objective, batch: VideoBatch) -> int:
    clips, segments, each = batch.spectrogram.shape[:3]
    is_heard = _has(objective, patches.NAME) and "audio" in objective.settings.streams
    if not is_heard:
        clips = _clips(objective, batch)
    return BOTH * clips * segments * each * flops.audio(objective.model.settings)


def _joint(objective: Objective, batch: VideoBatch) -> int:
    """Of one forward pass."""
    size, (clips, segments) = objective.model.settings, batch.patches.shape[:2]
    cells, total = objective.grid.n_cells, 0
    if _has(objective, patches.NAME):
        lengths = {
            "text": batch.text_tokens.shape[1],
            "audio": batch.audio_tokens.shape[1],
        }
        for stream in objective.settings.streams:
            total += clips * flops.joint(size, lengths[stream] + segments * cells)
    for sequences, has_frames in _sequences(objective, batch):
        groups, length = sequences.tokens.shape[1:]
        seen = segments // groups * cells if has_frames else 0
        each = groups * flops.joint(size, length + seen)
        total += _clips(objective, batch) * each
    if _has(objective, *grounding.TERMS[:1]):
        length, shown = batch.cloze.tokens.shape[1], batch.cloze.frame.shape[1]
        total += clips * flops.joint(size, length + shown * cells)
    return total


def _sequences(objective: Objective, batch: VideoBatch) -> list[tuple[Sequences, bool]]:
    """Reserve's sequences that a term with weight reads; whether they see frames."""
    chosen: list[tuple[Sequences, bool]] = []
    images, sound, spans = (_has(objective, name) for name in reserve.TERMS)
    if images:
        chosen.append((batch.reserve.audio_text_matching, False))
    if sound or spans:
        chosen.append((batch.reserve.text2audio, True))
    if spans:
        chosen.append((batch.reserve.audio2text, True))
        if batch.reserve.random_text is not None:
            chosen.append((batch.reserve.random_text, False))
    return chosen


def _spans(objective: Objective, batch: VideoBatch) -> int:
    """Short texts that are encoded."""
    count = 0
    if _has(objective, reserve.TERMS[2]):
        count += _clips(objective, batch) * batch.reserve.text_spans.shape[1]
    if _has(objective, *grounding.TERMS):
        count += len(objective.vocabulary.spans)
    return count


def _heads(objective: Objective, batch: VideoBatch) -> int:
    """`head`, and what it or the joint output is compared with."""
    size, (clips, segments) = objective.model.settings, batch.patches.shape[:2]
    total = 0
    if _has(objective, patches.NAME):
        rows = clips * objective.slots
        # Targets that take no gradient: one product back instead of two.
        products = BOTH if objective.settings.target_gradient else 2
        each = products * flops.similarities(size, rows, rows)
        total += len(objective.settings.streams) * each
    per_clip = {
        reserve.TERMS[0]: segments,
        reserve.TERMS[1]: segments * batch.spectrogram.shape[2],
    }
    if _has(objective, reserve.TERMS[2]):
        per_clip[reserve.TERMS[2]] = batch.reserve.text_spans.shape[1]
    for name, count in per_clip.items():
        if _has(objective, name):
            rows = _clips(objective, batch) * count
            pair = flops.similarities(size, rows, rows)
            total += BOTH * (flops.head(size, rows) + pair)
    if _has(objective, *grounding.TERMS):
        total += BOTH * _grounded(objective, batch)
    return total


def _grounded(objective: Objective, batch: VideoBatch) -> int:
    """Hidden words, and cells, compared with every entry of the vocabulary."""
    size, entries = objective.model.settings, len(objective.vocabulary.spans)
    named, shown = grounding.TERMS
    rows = batch.cloze.target.size if _has(objective, named) else 0
    if _has(objective, shown):
        rows += batch.cloze.frame.size * objective.grid.n_cells
    return flops.head(size, rows) + flops.similarities(size, rows, entries)
