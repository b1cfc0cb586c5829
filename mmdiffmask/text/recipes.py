"""What masks of a corpus are drawn from: anchors, similarities, counts of its words."""

import dataclasses
import hashlib
import pathlib
from collections.abc import Callable, Mapping, Sequence

from mmdiffmask.data import texts as corpora
from mmdiffmask.data import tokenizer_files
from mmdiffmask.masking import anchors as anchor_lib
from mmdiffmask.masking import text_strategies, web_counts
from mmdiffmask.models.bert.checkpoints import Params
from mmdiffmask.text import (
    counting,
    encoders,
    entities,
    excess,
    labelled,
    selective,
    word_weights,
)


@dataclasses.dataclass(frozen=True)
class Sources:
    """Where the weights of words come from.

    Attributes:
      anchors: the words themselves; (): those that TF-ICF proposes for the corpus.
      k: how many it is to propose.
      max_candidates: how many frequent words compete; None: all, Eq. 2 as written.
      unseen: what becomes of words without a count in the background: `anchors.UNSEEN`.
      background: a file of counts or of texts (`background_counts`); None: the web's.
      vectors: as `word_weights.vectors`.
      reduce: "nearest" or "centroid" of the anchors.
      encoder: as `encoders.load`: by which words are like their text, or
        whose attention counts.
      layer: of the encoder, for attention; -1: the last.
      spans: as `entities.load`: where entities are from; None: nowhere.
      labelled: files of labelled texts; (): the corpus's.
      label_field: of their objects.
      reference: as `encoders.load`: whose loss at words the encoder's is set against;
        None: there is none.
    """

    anchors: tuple[str, ...] = ()
    k: int = 20
    max_candidates: int | None = 200
    unseen: str = "drop"
    background: str | None = None
    vectors: str | None = None
    reduce: str = "nearest"
    encoder: str | None = None
    layer: int = -1
    spans: str | None = None
    labelled: tuple[str, ...] = ()
    label_field: str = "label"
    reference: str | None = None


def background_counts(path: str | None) -> Mapping[str, int]:
    """Word -> count in the general corpus.

    Args:
      path: .tsv: a word and its count a line; another file: texts, whose words are
        counted (each distinct text once); None: the counts of the web.

    Raises:
      ValueError: if it is missing or holds neither.
    """
    if path is None:
        return web_counts.load()
    if pathlib.Path(path).suffix.lower() != ".tsv":
        return counting.count([path]).words.counts
    if not pathlib.Path(path).is_file():
        raise ValueError(f"{path}: is missing (--background)")
    counts: dict[str, int] = {}
    for number, line in enumerate(
        pathlib.Path(path).read_text(encoding="utf-8").splitlines(), 1
    ):
        word, _, count = line.partition("\t")
        if not count.strip().isdecimal():
            if number == 1:  # names of the columns
                continue
            raise ValueError(
                f"{path}, line {number}: needs a word, a tab and a count; found"
                f" {line[:40]!r}"
            )
        counts[word.lower()] = counts.get(word.lower(), 0) + int(count)
    return counts


def choose(counts: Mapping[str, int], sources: Sources) -> tuple[str, ...]:
    """The anchors: those that are named, or those that TF-ICF proposes.

    Raises:
      ValueError: if there is none, or a setting cannot be.
    """
    if sources.anchors:
        return sources.anchors
    if sources.k < 1:
        raise ValueError(f"{sources.k} anchors: must be at least 1")
    scored = anchor_lib.tf_icf(
        counts,
        background_counts(sources.background),
        sources.k,
        sources.max_candidates,
        unseen=sources.unseen,
    )
    return tuple(word for word, _ in scored)


@dataclasses.dataclass(frozen=True)
class Corpus:
    """A corpus that masks are drawn of.

    Attributes:
      paths: its files.
      pieces: the tokenizer that its windows are made by; None: words alone count.
      are_marked: False: signs around entities are taken out of its texts.
      state: where the pass over it saves its progress.
      others: files whose texts have masks and entities too; no word of them counts.
      text_field: of the files' objects.
    """

    paths: Sequence[str]
    pieces: tokenizer_files.Pieces | None = None
    are_marked: bool = True
    state: pathlib.Path | None = None
    others: Sequence[str] = ()
    text_field: str = "text"

    @property
    def tokenizer(self) -> str:
        """The tokenizer's fingerprint; "" where there is none."""
        return "" if self.pieces is None else self.pieces.fingerprint


def settings(
    strategy: text_strategies.TextStrategy,
    corpus: Corpus,
    sources: Sources,
    start: Callable[[], Params] | None = None,
) -> tuple[text_strategies.Settings, tuple[str, ...]]:
    """What the strategy scores words from, and the anchors if it goes by them.

    Args:
      strategy: nothing is read that it does not need.
      corpus: whose masks are drawn.
      sources: of the weights.
      start: makes the weights that a run starts from, an MLM head among them; None:
        the encoder has one.

    Raises:
      ValueError: if something that it needs is missing.
    """
    fields, anchors = {}, ()
    for need in strategy.needs:
        if need == "anchors":
            fields["similarity"], anchors = _similarity(corpus, sources)
        elif need == "counts":
            words = counting.count(corpus.paths, is_per_text=True, state=corpus.state)
            fields["n_texts"] = words.words.distinct
            fields["texts_with"] = words.words.texts_with
        elif need == "attention":
            encoder = encoders.load(sources.encoder)
            fields[need] = encoders.Attention(encoder, corpus.tokenizer, sources.layer)
        elif need == "likeness":
            fields[need] = encoders.Likeness(encoders.load(sources.encoder))
        elif need == "entities":
            fields[need] = _entities(strategy, corpus, sources)
        elif need == "reference":
            encoder = encoders.load(sources.encoder)
            if start is not None:
                encoder = encoders.of_start(encoder, start())
            fields["excess"] = excess.load(encoder, sources.reference, corpus.tokenizer)
        else:
            kind = {"importance": selective.Importance, "gain": selective.Gain}[need]
            texts = corpora.Texts(
                sources.labelled or corpus.paths,
                sources.label_field,
                corpus.are_marked,
                corpus.text_field,
            )
            encoder = encoders.load(sources.encoder)
            classifier = labelled.load(texts, sources.label_field, encoder)
            fields[need] = kind(classifier, corpus.tokenizer)
    return text_strategies.Settings(**fields), anchors


def _similarity(
    corpus: Corpus, sources: Sources
) -> tuple[word_weights.Similarity, tuple[str, ...]]:
    """Of words to the anchors, and these."""
    counts = {}
    vectors = word_weights.vectors(sources.vectors, corpus.pieces)  # before the pass
    if not sources.anchors:
        counts = counting.count(corpus.paths, state=corpus.state).words.counts
    words = choose(counts, sources)
    return word_weights.Similarity(words, vectors, sources.reduce), words


def _entities(
    strategy: text_strategies.TextStrategy, corpus: Corpus, sources: Sources
) -> entities.Entities:
    if sources.spans is None:
        raise ValueError(
            f"{strategy.label} hides entities; name a file of them with --spans FILE"
            " (docs/entities.md), or --spans markers where << >> and [[ ]] stand around"
            " them"
        )
    texts = corpora.Texts((*corpus.paths, *corpus.others), text_field=corpus.text_field)
    return entities.load(sources.spans, texts, corpus.are_marked)


# By an encoder.
_READ = {"attention", "likeness", "importance", "gain", "reference"}


def fingerprint(
    strategy: text_strategies.TextStrategy, sources: Sources
) -> dict[str, str]:
    """What the files of the sources hold, by their names."""
    paths = [sources.background, sources.vectors, *sources.labelled]
    paths += [None if sources.spans == entities.MARKERS else sources.spans]
    result = {}
    for path in [pathlib.Path(path) for path in paths if path is not None]:
        file = path / "model.safetensors" if path.is_dir() else path
        with open(file, "rb") as opened:
            result[str(path)] = hashlib.file_digest(opened, "sha256").hexdigest()
    if _READ & {*strategy.needs}:
        result["encoder"] = encoders.load(sources.encoder).fingerprint
    if "reference" in strategy.needs:
        result["reference"] = encoders.load(sources.reference).fingerprint
    return result
