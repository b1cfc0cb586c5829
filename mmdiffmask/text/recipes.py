"""What masks of a corpus are drawn from: anchors, similarities, counts of its words."""

import dataclasses
import hashlib
import pathlib
from collections.abc import Mapping, Sequence

from mmdiffmask.data import tokenizer_files
from mmdiffmask.masking import anchors as anchor_lib
from mmdiffmask.masking import text_strategies, web_counts
from mmdiffmask.text import counting, word_weights


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
    """

    anchors: tuple[str, ...] = ()
    k: int = 20
    max_candidates: int | None = 200
    unseen: str = "drop"
    background: str | None = None
    vectors: str | None = None
    reduce: str = "nearest"


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


def settings(
    strategy: text_strategies.TextStrategy,
    paths: Sequence[str],
    sources: Sources,
    pieces: tokenizer_files.Pieces | None = None,
    state: pathlib.Path | None = None,
) -> tuple[text_strategies.Settings, tuple[str, ...]]:
    """What the strategy scores words from, and the anchors if it goes by them.

    Args:
      strategy: nothing is read that it does not need.
      paths: the corpus's files.
      sources: of the weights.
      pieces: of a checkpoint whose input embeddings are the vectors.
      state: where the pass over the corpus saves its progress.

    Raises:
      ValueError: if something that it needs is missing.
    """
    if strategy.is_counted:
        words = counting.count(paths, is_per_text=True, state=state).words
        return (
            text_strategies.Settings(
                n_texts=words.distinct, texts_with=words.texts_with
            ),
            (),
        )
    if not strategy.is_anchored:
        return text_strategies.Settings(), ()
    counts = {}
    vectors = word_weights.vectors(sources.vectors, pieces)  # before the long pass
    if not sources.anchors:
        counts = counting.count(paths, state=state).words.counts
    words = choose(counts, sources)
    similarity = word_weights.Similarity(words, vectors, sources.reduce)
    return text_strategies.Settings(similarity=similarity), words


def fingerprint(sources: Sources) -> dict[str, str]:
    """What the files of the sources hold, by their names."""
    paths = [p for p in (sources.background, sources.vectors) if p is not None]
    result = {}
    for path in map(pathlib.Path, paths):
        file = path / "model.safetensors" if path.is_dir() else path
        with open(file, "rb") as opened:
            result[str(path)] = hashlib.file_digest(opened, "sha256").hexdigest()
    return result
