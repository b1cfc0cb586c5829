"""What anchors would do on a corpus of texts: lifts, Eq. 1, sentences; as a page."""

import dataclasses
import math
import pathlib
from collections.abc import Iterator, Sequence

from mmdiffmask import anchor_choice, atomic, premise
from mmdiffmask.masking import text_strategies
from mmdiffmask.report import templates
from mmdiffmask.text import bags, counting, lifts, recipes, word_weights

SAMPLE = 20_000  # texts that lifts and Eq. 1 are measured on
WORDS, SENTENCES = 30, 12  # shown


@dataclasses.dataclass(frozen=True)
class Report:
    """All that is said of a corpus.

    Attributes:
      choice: the anchors, with counts.
      sampled: distinct texts that lifts are of.
      similarity: of words to the anchors.
      by_chance: lifts of words hidden at random.
      by_anchors: of words hidden by the anchors.
      sentences: texts with what the anchors' masks hide.
      reduce: "nearest" or "centroid".
      premise: Eq. 1; None: there are no labels.
    """

    choice: anchor_choice.Choice
    sampled: int
    similarity: word_weights.Similarity
    by_chance: lifts.Lifts
    by_anchors: lifts.Lifts
    sentences: list[lifts.Shown]
    reduce: str
    premise: premise.Premise | None

    @property
    def most_hidden(self) -> list[dict]:
        """The words that masks by the anchors hide most often."""
        names = self.by_anchors.most_hidden(WORDS)
        weights = self.similarity(names).tolist()
        return [
            {
                "word": name,
                "count": self.by_anchors.count[name] // lifts.DRAWS,
                "weight": weight,
                "lift": self.by_anchors.lift([name]),
                "by_chance": self.by_chance.lift([name]),
                "is_anchor": name in self.choice.anchors,
            }
            for name, weight in zip(names, weights, strict=True)
        ]

    @property
    def anchor_lifts(self) -> tuple[float, float]:
        """Of all anchors together: by the anchors, at random."""
        words = self.choice.anchors
        return self.by_anchors.lift(words), self.by_chance.lift(words)


def measure(
    paths: Sequence[str],
    sources: recipes.Sources,
    *,
    label_field: str = "label",
    judged: Sequence[str] = (),
    state: pathlib.Path | None = None,
    seed: int = 0,
) -> Report:
    """Counts the words, draws masks by words, and fits heads where there are labels.

    Args:
      paths: files of texts.
      sources: of the words' weights.
      label_field: of the objects; where none has it there is no Eq. 1.
      judged: files of texts that the heads are judged on; (): folds of the same.
      state: where counting saves its progress.
      seed: of all draws.

    Raises:
      ValueError: for whatever a user can get wrong.
    """
    vectors = word_weights.vectors(sources.vectors)
    background = recipes.background_counts(sources.background)
    others = counting.count(judged, label_field, kept=SAMPLE).rows if judged else []
    counted = counting.count(paths, label_field, kept=SAMPLE, state=state)
    if counted.words.short and sources.max_candidates is None:
        raise ValueError(
            "--candidates 0: the corpus has too many different words for Eq. 2 as"
            " written, which ranks the rarest first; let fewer compete"
        )
    choice = anchor_choice.of_counts(
        counted.words.counts,
        counted.n_texts,
        sources.k,
        sources.max_candidates,
        web=background,
        unseen=sources.unseen,
    )
    similarity = word_weights.Similarity(choice.anchors, vectors, sources.reduce)
    texts = list({row.key: row.text for row in counted.rows}.values())
    scores = text_strategies.Settings(similarity=similarity)
    chance, anchored = text_strategies.pair()
    by_anchors, sentences = lifts.of_texts(texts, anchored, scores, seed, SENTENCES)
    by_chance, _ = lifts.of_texts(texts, chance, scores, seed)
    is_labelled = any(row.label is not None for row in counted.rows)
    return Report(
        choice,
        len(texts),
        similarity,
        by_chance,
        by_anchors,
        sentences,
        sources.reduce,
        premise.measure(counted.rows, similarity, others, seed)
        if is_labelled
        else None,
    )


def lines(report: Report) -> Iterator[str]:
    """The tables, a line each."""
    yield from anchor_choice.table(report.choice)
    if len(report.choice.unseen) > report.choice.competing:
        yield (
            "More than half of the frequent words drop out: is the general text of the"
            " same language? (--background FILE)"
        )
    yield ""
    yield (
        f"Lifts: how much likelier a word is hidden than the average word, over"
        f" {report.sampled} distinct texts, {lifts.DRAWS} draws each; weights by the"
        f" {report.reduce} of the anchors"
    )
    of_anchors, at_random = report.anchor_lifts
    head = ("count", 7), ("weight", 7), ("by anchors", 11), ("at random", 10)
    yield f"{'word':<18} " + " ".join(f"{name:>{width}}" for name, width in head)
    yield f"{'(all anchors)':<18} {'':7} {'':7} {of_anchors:11.2f} {at_random:10.2f}"
    for row in report.most_hidden:
        yield (
            f"{row['word']:<18} {row['count']:7} {row['weight']:7.3f}"
            f" {row['lift']:11.2f} {row['by_chance']:10.2f}"
        )
    if report.similarity.unknown:
        yield f"{report.similarity.unknown} words have no vector: they are hidden last"
    yield ""
    yield from _premise(report.premise)


def _premise(measured: premise.Premise | None) -> Iterator[str]:
    """Eq. 1 in a table and a sentence."""
    if measured is None:
        yield "No text has a label, so Eq. 1 is not measured (--label-field FIELD)."
        return
    where = "in five folds" if measured.is_folded else "on other files"
    yield (
        f"Eq. 1: {measured.classes} labels told from a quarter of each text's words,"
        f" {where}, {measured.texts} texts; intervals over {measured.groups} distinct"
        f" ones; penalties chosen in {premise.INSIDE} folds inside"
    )
    yield f"{'words':<24} {'accuracy':>9} {'95 %':>14} {'macro F1':>9} {'95 %':>14}"
    for bag in bags.NAMES:
        one, other = measured.accuracy[bag], measured.f1[bag]
        yield (
            f"{bag:<24} {one.value:9.3f} {one.low:7.3f}-{one.high:.3f}"
            f"  {other.value:9.3f} {other.low:7.3f}-{other.high:.3f}"
        )
    for (name, bag), gain in measured.gains.items():
        yield (
            f"{name}, {bag} - at random: {gain.value:+.3f}"
            f" ({gain.low:+.3f} to {gain.high:+.3f})"
        )
    yield verdict(measured)


def verdict(measured: premise.Premise) -> str:
    """Whether Eq. 1 holds, as far as can be seen."""
    gain = measured.gains["macro F1", bags.TOP]
    gain_accuracy = measured.gains["accuracy", bags.TOP]
    if gain.low > 0 and gain_accuracy.low > 0:
        return "Eq. 1 holds here: words like the anchors tell more about the label."
    if gain.high < 0 and gain_accuracy.high < 0:
        return "Eq. 1 fails here: words like the anchors tell less about the label."
    return "Whether Eq. 1 holds here cannot be seen: the measures or intervals differ."


def write(report: Report, path: pathlib.Path) -> pathlib.Path:
    """Writes the page; nothing in it is loaded from elsewhere.

    Raises:
      ValueError: if the file cannot be one.
    """
    check_page(path)
    anchors = [
        (word, report.choice.counts[word], report.choice.web.get(word, 0), score)
        for word, score in report.choice.scores
    ]
    page = templates.load("corpus.html").render(
        report=report,
        anchors=anchors,
        bags=bags.NAMES,
        draws=lifts.DRAWS,
        inside=premise.INSIDE,
        verdict=verdict(report.premise) if report.premise else "",
        is_nan=math.isnan,
    )
    atomic.write(path, page)
    return path.resolve()


def check_page(path: pathlib.Path) -> None:
    """Raises ValueError for a file that no page can be."""
    if path.suffix != ".html" or not path.parent.is_dir():
        raise ValueError(f"--page {path}: needs an .html file in a folder that exists")
