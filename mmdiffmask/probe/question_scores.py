"""Scores of the question read-outs from their features, with a head for each."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int

from mmdiffmask import config
from mmdiffmask.data import questions
from mmdiffmask.probe import (
    choices,
    features,
    fewer,
    folded,
    question_features,
    results,
    ties,
)

ZERO_SHOT = "zero-shot"


def score(
    sets: Mapping[str, features.Features],
    chosen: Mapping[str, Sequence[questions.Question]],
    read_outs: Sequence[str],
    streams: tuple[str, str],
    settings: config.Probe,
    fold_of_clip: Mapping[str, int],
) -> dict[str, results.Scores]:
    """Read-out -> scores on val; `zero-shot` wherever match features are.

    Args:
      sets: features of train, of dev and of val; with folds of val alone.
      chosen: the questions of each.
      read_outs: "match", "answer" or both.
      streams: what the audio and the text stream hold, names of `questions.VIEWS`.
      settings: penalties and link.
      fold_of_clip: clip of val -> its fold; empty without folds.
    """
    result: dict[str, results.Scores] = {}
    for read_out in read_outs:
        parts = {
            name: part(frozen, read_out, streams, chosen[name])
            for name, frozen in sets.items()
        }
        if read_out == "match":
            scores = choices.zero_shot(parts["val"].features)
            right = parts["val"].right
            result[ZERO_SHOT] = results.Scores(
                is_right=ties.as_json(ties.hits(scores, right)),
                log_probability=ties.logs_as_json(ties.log_probability(scores, right)),
            )
        fold = None
        if fold_of_clip:
            clip_of = {question.example_id: question.clip for question in chosen["val"]}
            fold = np.array([fold_of_clip[clip_of[name]] for name in sets["val"].clip])
        head = _Head(settings, parts, {n: s.clip for n, s in sets.items()}, fold)
        result[read_out] = head.scores()
    return result


@dataclasses.dataclass(frozen=True)
class _Head:
    """A head of one read-out, on all labels or fewer.

    Attributes:
      settings: penalties, link, fractions.
      parts: train, dev and val; with folds val alone.
      ids: of the questions of each.
      fold: of each question of val; None without folds.
    """

    settings: config.Probe
    parts: Mapping[str, choices.Questions]
    ids: Mapping[str, Sequence[str]]
    fold: Int[np.ndarray, " e"] | None

    def scores(self) -> results.Scores:
        """On all labels, with the scores on fewer."""
        settings = self.settings
        if self.fold is None:
            scored = choices.probe(**self.parts, l2=settings.l2, link=settings.link)
            penalty = {"l2": scored.l2}
        else:
            val = self.parts["val"]
            scored = folded.answers(val, self.fold, settings.l2, settings.link)
            penalty = {"l2_of_fold": list(scored.l2)}
        return results.Scores(
            **penalty,
            dev_loss={str(k): v for k, v in scored.dev_loss.items()},
            is_right=ties.as_json(scored.is_right),
            log_probability=ties.logs_as_json(scored.log_probability),
            few=fewer.scored(settings, self._few),
        )

    def _few(self, fraction: float, number: int) -> fewer.Scored:
        settings = self.settings
        least = {"dev": fewer.LEAST_DEV}
        drawn = {
            name: np.flatnonzero(
                fewer.draw(ids, fraction, number, least=least.get(name, 1))
            )
            for name, ids in self.ids.items()
        }
        if self.fold is not None:
            is_drawn = np.isin(np.arange(len(self.fold)), drawn["val"])
            scored = folded.answers(
                self.parts["val"],
                self.fold,
                settings.l2,
                link=settings.link,
                is_drawn=is_drawn,
            )
            return fewer.Scored(
                len(drawn["val"]), scored.is_right, scored.log_probability
            )
        train, dev = (self.parts[name].some(drawn[name]) for name in ("train", "dev"))
        scored = choices.probe(
            train, dev, self.parts["val"], l2=settings.l2, link=settings.link
        )
        return fewer.Scored(
            len(drawn["train"]), scored.is_right, scored.log_probability
        )


@dataclasses.dataclass(frozen=True)
class Streams:
    """Candidates' features (e, c, 2, d), put together where a stretch is asked for.

    Attributes:
      streams: features of the audio and of the text stream, (e, c, d), or (e, d) where
        candidates are told apart by `span` alone.
      span: of each candidate, (e, c, d), multiplied in; None: there is nothing to.
    """

    streams: tuple[np.ndarray, np.ndarray]
    span: np.ndarray | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """(e, c, 2, d)."""
        count, candidates, width = (
            self.streams[0] if self.span is None else self.span
        ).shape
        return count, candidates, len(self.streams), width

    def __getitem__(
        self, part: slice | Int[np.ndarray, " k"]
    ) -> Float[np.ndarray, "k c z d"]:
        """The features of some questions."""
        parts = [stream[part].astype(np.float32) for stream in self.streams]
        if self.span is not None:
            span = self.span[part].astype(np.float32)
            parts = [values[:, None] * span for values in parts]
        return np.stack(parts, axis=2)


def part(
    frozen: features.Features,
    read_out: str,
    streams: tuple[str, str],
    chosen: Sequence[questions.Question],
) -> choices.Questions:
    """Candidates' features: audio stream, text stream."""
    audio, text = (frozen.vectors[f"{read_out}/{view}"] for view in streams)
    # The product is made chunk by chunk: the cache holds its factors.
    span = frozen.vectors[question_features.SPAN] if read_out == "match" else None
    right = {question.example_id: question.right for question in chosen}
    return choices.Questions(
        Streams((audio, text), span), np.array([right[name] for name in frozen.clip])
    )
