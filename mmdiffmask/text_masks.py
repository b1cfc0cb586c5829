"""Masks of windows of texts: a run's own, and held-out ones looked up by window."""

import dataclasses
import functools
import threading
from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Bool, Int, UInt32

from mmdiffmask import config, text_examples
from mmdiffmask.data import tokenizer_files
from mmdiffmask.data.text_corpus import TextCorpus
from mmdiffmask.masking import text_strategies, words
from mmdiffmask.models.bert.checkpoints import Params
from mmdiffmask.text import masks, recipes
from mmdiffmask.text_examples import EVAL_SEED, Windows
from mmdiffmask.types import HiddenPieces, TextBatch

AT_ONCE = 256  # texts whose windows are drawn at once
# Which pieces of a window are hidden, and its pieces with those replaced.
Drawn = tuple[Bool[np.ndarray, " n"], Int[np.ndarray, " n"]]


def held_out_names(experiment: config.Experiment) -> tuple[str, ...]:
    """The strategies of held-out masks; the run's own is among them.

    Raises:
      ValueError: for an unknown name.
    """
    masking = experiment.masking
    names = (*masking.held_out, masking.strategy)
    return tuple(text_strategies.find(name).name for name in dict.fromkeys(names))


class Recipes:
    """How a run's strategies draw; what words are scored from is read once for each."""

    def __init__(
        self,
        experiment: config.Experiment,
        corpus: TextCorpus,
        pieces: tokenizer_files.Pieces,
        start: Callable[[], Params] | None = None,
    ):
        """Reads nothing yet.

        Args:
          experiment: the settings.
          corpus: whose words and anchors count.
          pieces: the tokenizer.
          start: as of `recipes.settings`.
        """
        self._masking, self._names = experiment.masking, held_out_names(experiment)
        self._corpus, self._pieces = corpus, pieces
        self._encoder, self._start = experiment.model.checkpoint, start
        self._scores = functools.cache(self._read)
        self.choice = masks.vocabulary(pieces, experiment.masking.replacement)

    def of(self, name: str, seed: int, draws: int = 1) -> masks.Recipe:
        """The recipe of a strategy.

        Args:
          name: of the strategy.
          seed: of the masks.
          draws: how many masks a window has.

        Raises:
          ValueError: if something that it needs is missing.
        """
        return masks.Recipe(
            text_strategies.find(name),
            self._scores(name)[0],
            seed,
            self._masking.ratio,
            self._masking.replacement,
            draws,
        )

    @functools.cached_property
    def anchors(self) -> tuple[str, ...]:
        """The anchors, where a strategy of the run goes by them; else ()."""
        for name in self._names:
            if text_strategies.find(name).is_anchored:
                return self._scores(name)[1]
        return ()

    def _read(self, name: str) -> tuple[text_strategies.Settings, tuple[str, ...]]:
        masking, corpus = self._masking, self._corpus
        sources = recipes.Sources(
            anchors=masking.anchors,
            k=masking.anchor_count,
            background=masking.background,
            vectors=masking.label_embeddings,
            reduce=masking.similarity,
            encoder=self._encoder,
            layer=masking.attention_layer,
            spans=masking.spans,
            label_field=corpus.data.label_field,
            reference=masking.reference,
        )
        of_corpus = recipes.Corpus(
            corpus.paths("train"),
            self._pieces,
            are_marked=corpus.data.markers == "kept",
            others=(*corpus.paths("dev"), *corpus.paths("test")),
            text_field=corpus.data.text_field,
        )
        strategy = text_strategies.find(name)
        return recipes.settings(strategy, of_corpus, sources, self._start)


def draw(
    some: Windows, recipe: masks.Recipe, choice: words.Vocabulary
) -> list[list[Drawn]]:
    """The masks of each window, in the order of their draws.

    They are those of `mmdiffmask masks export`: of seed, strategy and text alone.

    Args:
      some: the windows.
      recipe: how to draw.
      choice: what stands in for hidden pieces.
    """
    drawn: list[list[Drawn]] = [[] for _ in range(len(some))]
    position = {
        pair: i
        for i, pair in enumerate(
            zip(some.place.tolist(), some.number.tolist(), strict=True)
        )
    }
    for places, masked in _drawn(some, recipe, choice):
        pair = (places[masked.place.text], masked.place.window)
        if pair in position:
            drawn[position[pair]].append((masked.is_masked, masked.ids))
    return drawn


def _drawn(
    some: Windows, recipe: masks.Recipe, choice: words.Vocabulary
) -> Iterator[tuple[list[int], masks.Masked]]:
    """(places of some texts, a mask of one of their windows), of all texts."""
    all_places = list(dict.fromkeys(some.place.tolist()))
    for first in range(0, len(all_places), AT_ONCE):
        places = all_places[first : first + AT_ONCE]
        texts = [some.texts[i].text for i in places]
        cut = some.layout.pieces.windows(texts, some.layout.length)
        for masked in masks.of_texts(texts, cut, recipe, choice):
            yield places, masked


class OwnMasks:
    """A run's own masks of the windows that it is trained on, drawn when first needed.

    Static, or another draw each epoch: those of `masks export --draws`.
    """

    def __init__(
        self,
        some: Windows,
        recipes_of: Recipes,
        masking: config.Masking,
        seed: int,
        epochs: int,
    ):
        """Draws nothing yet.

        Args:
          some: the windows.
          recipes_of: the run's.
          masking: which strategy, and whether masks are static.
          seed: of the run.
          epochs: that the run begins.
        """
        self._is_static = masking.masks == "static"
        draws = 1 if self._is_static else epochs
        self._lock = threading.Lock()  # rows are made by several threads

        @functools.cache
        def every() -> list[list[Drawn]]:
            recipe = recipes_of.of(masking.strategy, seed, draws)
            return draw(some, recipe, recipes_of.choice)

        self._every = every

    def prepare(self) -> None:
        """Draws them."""
        with self._lock:
            self._every()

    def draw(self, position: int, epoch: int) -> Drawn:
        """The mask of a window in an epoch."""
        with self._lock:
            return self._every()[position][0 if self._is_static else epoch]


@dataclasses.dataclass(frozen=True)
class HeldOutPieces:
    """Masks of the held-out windows, made once, looked up by window."""

    example_hash: UInt32[np.ndarray, " e"]
    hidden: HiddenPieces

    def draw(self, batch: TextBatch) -> HiddenPieces:
        """The masks of the batch's windows; nothing for rows that are not real."""
        hashes = np.asarray(batch.example_hash)
        is_same = self.example_hash[None, :] == hashes[:, None]
        is_known = is_same.any(1)[:, None]
        mask, shown = (field[is_same.argmax(1)] for field in self.hidden)
        shown = np.where(is_known, shown, np.asarray(batch.input_ids))
        return HiddenPieces(mask & is_known, shown)


def held_out(
    experiment: config.Experiment, some: Windows, recipes_of: Recipes
) -> dict[str, Callable[[TextBatch], HiddenPieces]]:
    """Strategy -> its masks of a batch of held-out windows: the same for every run.

    They are drawn when the first batch asks for them.
    """

    @functools.cache
    def of(name: str) -> HeldOutPieces:
        rows = text_examples.make_row(some)
        drawn = draw(some, recipes_of.of(name, EVAL_SEED), recipes_of.choice)
        padded = []
        for i, ((mask, shown),) in enumerate(drawn):
            ids = rows(i).input_ids
            padded.append(text_examples.pad(mask, shown, layout=some.layout, ids=ids))
        hidden = HiddenPieces(*map(np.stack, zip(*padded, strict=True)))
        hashes = [some.hash(i) for i in range(len(some))]
        return HeldOutPieces(np.array(hashes, np.uint32), hidden)

    def masks_of(name: str, batch: TextBatch) -> HiddenPieces:
        return of(name).draw(batch)

    names = held_out_names(experiment)
    return {name: functools.partial(masks_of, name) for name in names}
