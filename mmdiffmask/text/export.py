"""Files of masks of a corpus, for trainers that know nothing of this package.

A row for each window and mask: `id`, `window`, `draw`, `input_ids` (what is hidden is
replaced), `labels` (the pieces that stood there; -100 where nothing is hidden),
`attention_mask`, `masked` (how many pieces are hidden).

Rows are written in parts beside the file. Parts that stand there when the same command
runs again are kept; at the end they become the file, part by part.
"""

import contextlib
import dataclasses
import json
import logging
import pathlib
import shutil
from collections.abc import Iterator, Sequence

from mmdiffmask import atomic, seeds
from mmdiffmask.data import texts as corpora
from mmdiffmask.data import tokenizer_files, word_pieces
from mmdiffmask.masking import text_strategies, words
from mmdiffmask.text import masks, recipes, rows

TEXTS_A_PART = 4096
LOCK = "lock"  # in the folder of the parts
FORMAT = 1  # of the rows; another one never goes on where this one stopped


@dataclasses.dataclass(frozen=True)
class Order:
    """What is to be written.

    Attributes:
      paths: files of texts.
      tokenizer: a file, a folder or a name (`tokenizer_files.load`).
      strategy: of `text_strategies.REGISTRY`.
      out: the .parquet or .jsonl file.
      draws: how many masks a window has.
      seed: of the masks.
      length: most pieces of a row, with those that open and close it.
      ratio: share of a window's pieces that is hidden.
      replacement: one of `words.REPLACEMENTS`.
      are_marked: False: signs around entities are taken out.
      sources: of the words' weights.
    """

    paths: tuple[str, ...]
    tokenizer: str
    strategy: str
    out: str
    draws: int = 1
    seed: int = 0
    length: int = 256
    ratio: float = 0.25
    replacement: str = "bert"
    are_marked: bool = True
    sources: recipes.Sources = recipes.Sources()


@dataclasses.dataclass(frozen=True)
class _Work:
    """An order with all that it names read."""

    order: Order
    folder: pathlib.Path  # of the parts
    suffix: str
    corpus: corpora.Texts
    pieces: tokenizer_files.Pieces
    recipe: masks.Recipe
    choice: words.Vocabulary

    def part(self, first: int) -> pathlib.Path:
        """The file of the texts from `first` on."""
        return self.folder / f"{first // TEXTS_A_PART:06d}{self.suffix}"


def write(order: Order) -> str:
    """Writes the file, or goes on where an equal order was stopped.

    The same order gives the same bytes, stopped or not.

    Returns:
      What was written, a sentence or two.

    Raises:
      ValueError: for whatever a user can get wrong; nothing is written before that.
    """
    out, strategy = pathlib.Path(order.out), text_strategies.find(order.strategy)
    _check(order, out)
    pieces = tokenizer_files.load(order.tokenizer)
    choice = masks.vocabulary(pieces, order.replacement)
    pieces.windows([], order.length)  # whether a piece has room
    corpus = corpora.Texts(order.paths, are_marked=order.are_marked)
    if not len(corpus):
        raise ValueError(f"{', '.join(order.paths)}: no text in it, only empty lines")
    folder = out.with_name(f"{out.name}.parts")
    folder.mkdir(exist_ok=True)
    busy = f"{folder}: another process writes {out} now; wait, or name another --out"
    with atomic.lock(folder / LOCK, busy), _left_if_used(folder):
        of_corpus = recipes.Corpus(
            order.paths, pieces, order.are_marked, folder / "counts.npz"
        )
        scores, anchors = recipes.settings(strategy, of_corpus, order.sources)
        _claim(folder, order, corpus, pieces, anchors)
        recipe = masks.Recipe(
            strategy, scores, order.seed, order.ratio, order.replacement, order.draws
        )
        work = _Work(order, folder, out.suffix, corpus, pieces, recipe, choice)
        parts = [
            _write_part(work, first) for first in range(0, len(corpus), TEXTS_A_PART)
        ]
        notes = [atomic.read_json(_note(part)) for part in parts]
        with atomic.place(out) as unfinished:
            rows.join(parts, unfinished)
        shutil.rmtree(folder)
    return _sentence(order, anchors, scores, notes)


@contextlib.contextmanager
def _left_if_used(folder: pathlib.Path) -> Iterator[None]:
    """After an error the folder stays only if there is something to go on from."""
    try:
        yield
    except BaseException:
        if all(path.name == LOCK for path in folder.iterdir()):
            shutil.rmtree(folder)
        raise


def _check(order: Order, out: pathlib.Path) -> None:
    """Refuses numbers and names that cannot be."""
    if out.suffix not in rows.ENDINGS or not out.parent.is_dir():
        raise ValueError(
            f"--out {out}: needs a {' or '.join(rows.ENDINGS)} file in a folder that"
            " exists"
        )
    seeds.check("--seed", order.seed)
    words.check_ratio(order.ratio)
    if order.draws < 1:
        raise ValueError(f"--draws {order.draws}: must be at least 1")


def _claim(
    folder: pathlib.Path,
    order: Order,
    corpus: corpora.Texts,
    pieces: tokenizer_files.Pieces,
    anchors: Sequence[str],
) -> None:
    """Notes what the parts hold, or checks that they hold the same.

    Raises:
      ValueError: if they are of another order.
    """
    wanted = dataclasses.asdict(order) | {
        "format": FORMAT,
        "paths": list(order.paths),
        "texts": corpus.fingerprint(),
        "tokenizer": pieces.fingerprint,
        "anchors": list(anchors),
        "files": recipes.fingerprint(
            text_strategies.find(order.strategy), order.sources
        ),
    }
    wanted = json.loads(json.dumps(wanted))
    path = folder / "order.json"
    if not path.is_file():
        atomic.write_json(path, wanted)
        return
    stored = atomic.read_json(path, "delete the folder")
    other = [name for name in wanted if stored.get(name) != wanted[name]]
    if other:
        raise ValueError(
            f"{folder}: holds part of an export with other {', '.join(other)}; delete"
            " it, or name another --out"
        )


def _note(part: pathlib.Path) -> pathlib.Path:
    """What a part holds, in numbers; written after it, so that it is whole."""
    return part.with_suffix(".json")


def _write_part(work: _Work, first: int) -> pathlib.Path:
    """Writes the rows of some texts, unless they are there; the part."""
    part = work.part(first)
    if _note(part).is_file():
        return part
    stretch = range(first, min(first + TEXTS_A_PART, len(work.corpus)))
    some = [work.corpus[i] for i in stretch]
    texts = [text.text for text in some]
    windows = work.pieces.windows(texts, work.order.length)
    drawn = list(masks.of_texts(texts, windows, work.recipe, work.choice))
    columns = rows.columns(some, drawn, work.pieces)
    with atomic.place(part) as unfinished:
        rows.write(columns, unfinished, work.suffix)
    hidden = columns["masked"]
    atomic.write_json(
        _note(part),
        {
            "texts": len(some),
            "texts without a piece": sum(not of_text for of_text in windows),
            "windows": sum(map(len, windows)),
            "pieces": sum(len(row.ids) for row in drawn),
            "hidden": sum(hidden),
            "readings": _readings(work.recipe.scores, texts, windows),
            "rows without a hidden piece": hidden.count(0),
        },
    )
    logging.info("%s: %d of %d texts", part, stretch.stop, len(work.corpus))
    return part


def _readings(
    scores: text_strategies.Settings,
    texts: Sequence[str],
    windows: Sequence[Sequence[word_pieces.Window]],
) -> int:
    """How often windows of some texts are read with words hidden, to score these."""
    if scores.excess is None:
        return 0
    pairs = zip(texts, windows, strict=True)
    return scores.excess.readings([p for pair in pairs for p in masks.passages(*pair)])


def _sentence(
    order: Order,
    anchors: Sequence[str],
    scores: text_strategies.Settings,
    notes: Sequence[dict],
) -> str:
    """What was written, and whatever a reader should know of it."""
    total = {name: sum(note[name] for note in notes) for name in notes[0]}
    share = total["hidden"] / max(total["pieces"], 1)
    text = (
        f"{order.out}: {total['texts']} texts, {total['windows']} windows of at most"
        f" {order.length} pieces, {order.draws} masks each by {order.strategy}, seed"
        f" {order.seed}: {share:.1%} of the pieces are hidden"
    )
    strategy = text_strategies.find(order.strategy)
    if strategy.select == "top" and order.draws > 1:
        text += " (it draws no lots: all masks of a window hide the same)"
    if strategy.limit is not None:
        text += f" (by its rule, where others hide {order.ratio:.1%})"
    if anchors:
        text += f"\nanchors: {', '.join(anchors)}"
    unknown = getattr(scores.similarity, "unknown", 0)
    for name, count in (
        ("texts have no piece, so no row", total["texts without a piece"]),
        ("rows have nothing that can be hidden", total["rows without a hidden piece"]),
        ("words have no vector, so they are hidden last", unknown),
        (
            "distinct texts have no entity, so words are hidden there at random",
            getattr(scores.entities, "n_without", 0),
        ),
        (
            "parts of labelled texts had to be read to tell which pieces matter",
            getattr(scores.importance or scores.gain, "passes", 0),
        ),
        (
            "readings of windows with words hidden, by start and reference, were needed"
            " to tell which words the reference knows better",
            total["readings"],
        ),
    ):
        text += f"\n{count} {name}" if count else ""
    return text
