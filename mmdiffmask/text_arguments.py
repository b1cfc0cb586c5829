"""Arguments of the commands on texts: what they read, and what words weigh by."""

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmdiffmask.text import recipes

ONLY_TEXTS = (
    *("tokenizer", "strategy", "draws", "length", "ratio", "replace"),
    *("encoder", "spans", "reference"),
)


def add_sources(command: argparse.ArgumentParser) -> None:
    """Adds where the weights of words come from."""
    command.add_argument(
        "--background",
        metavar="FILE",
        help="general corpus: texts, or .tsv of word and count; absent: the web's",
    )
    command.add_argument(
        "--unseen",
        choices=("drop", "floor"),
        default="drop",
        help="words without a count there drop out (default), or count as the rarest",
    )


def add_export(command: argparse.ArgumentParser) -> None:
    """Adds what an export of texts takes (docs/masks_for_transformers.md)."""
    command.add_argument(
        "--text",
        nargs="+",
        default=[],
        metavar="FILE",
        help="in place of records: a text a line, or .jsonl with `text` and `id`",
    )
    command.add_argument(
        "--tokenizer",
        metavar="DIR|NAME",
        help="of texts: a folder or file, or a name in Hugging Face's cache",
    )
    command.add_argument("--strategy", help="of texts, such as difference-word")
    command.add_argument("--draws", type=int, help="masks of each window (1)")
    command.add_argument("--length", type=int, help="most pieces of a row (256)")
    command.add_argument("--ratio", type=float, help="share that is hidden (0.25)")
    command.add_argument(
        "--replace", help="bert (default): 80/10/10; mask; random: as in appendix A"
    )
    command.add_argument(
        "--without-markers",
        action="store_true",
        help="takes << >> and [[ ]] around entities out of the texts",
    )
    command.add_argument(
        "--anchors", metavar="WORD,...", help="absent: TF-ICF's for the texts"
    )
    command.add_argument("--k", type=int, default=20, help="how many anchors (20)")
    command.add_argument(
        "--candidates", type=int, default=200, help="words that compete (200); 0: all"
    )
    add_sources(command)
    command.add_argument(
        "--similarity", choices=("nearest", "centroid"), default="nearest"
    )
    command.add_argument(
        "--vectors",
        metavar="FILE|DIR",
        help="of words: .npz, or a checkpoint's input embeddings; absent: MiniLM's",
    )
    _add_needs(command)


def _add_needs(command: argparse.ArgumentParser) -> None:
    """Adds what strategies need besides words (docs/text_strategies.md)."""
    command.add_argument(
        "--encoder",
        metavar="DIR|NAME",
        help="for methods by attention, keywords or loss: a folder or a name in Hugging"
        " Face's cache; absent: MiniLM",
    )
    command.add_argument(
        "--reference",
        metavar="DIR|NAME",
        help="for methods by excess loss: a masked language model of the same pieces,"
        " or a finished run of texts",
    )
    command.add_argument(
        "--layer", type=int, default=-1, help="whose attention (-1: the last)"
    )
    command.add_argument(
        "--spans",
        metavar="FILE|markers",
        help="of entities: .jsonl or .tsv of id, start, end; or << >> and [[ ]]",
    )
    command.add_argument(
        "--labelled",
        nargs="+",
        default=[],
        metavar="FILE",
        help="for methods by labels: labelled texts (absent: --text)",
    )
    command.add_argument(
        "--label-field", default="label", help="of labelled texts (label)"
    )


def require_records(arguments: argparse.Namespace) -> None:
    """Checks that an export without texts is one of records.

    Raises:
      ValueError: if it is not.
    """
    if arguments.data is None:
        raise ValueError("name a folder of records, or files of texts with --text")
    for name in ONLY_TEXTS:
        if getattr(arguments, name) is not None:
            raise ValueError(
                f"--{name} is for texts (--text FILE); records take --set, as"
                " --set masking.strategy=NAME"
            )


def export(arguments: argparse.Namespace) -> str:
    """Writes masks of texts; what was written."""
    from mmdiffmask import compiled
    from mmdiffmask.text import export as exporting

    if arguments.data is not None or arguments.set or arguments.config is not None:
        raise ValueError("--text takes the place of records, --config and --set")
    for name in ("tokenizer", "strategy"):
        if getattr(arguments, name) is None:
            raise ValueError(f"--text needs --{name}")
    compiled.keep()
    options = {
        name: value
        for name, value in (
            ("draws", arguments.draws),
            ("length", arguments.length),
            ("ratio", arguments.ratio),
            ("replacement", arguments.replace),
        )
        if value is not None
    }
    order = exporting.Order(
        paths=tuple(arguments.text),
        tokenizer=arguments.tokenizer,
        strategy=arguments.strategy,
        out=arguments.out,
        seed=arguments.seed,
        are_marked=not arguments.without_markers,
        sources=sources(arguments),
        **options,
    )
    return exporting.write(order)


def sources(arguments: argparse.Namespace) -> "recipes.Sources":
    """Where the weights of words come from, as the arguments say."""
    from mmdiffmask.text import recipes

    named = (getattr(arguments, "anchors", None) or "").split(",")
    vectors = getattr(arguments, "vectors", None)
    if arguments.k < 1 or arguments.candidates < 0:
        raise ValueError(
            f"--k {arguments.k} --candidates {arguments.candidates}: must be at least 1"
            " (0 candidates: all)"
        )
    return recipes.Sources(
        anchors=tuple(word.strip().lower() for word in named if word.strip()),
        k=arguments.k,
        max_candidates=arguments.candidates or None,
        unseen=arguments.unseen,
        background=arguments.background,
        vectors=vectors or getattr(arguments, "embeddings", None),
        reduce=arguments.similarity,
        encoder=getattr(arguments, "encoder", None),
        layer=getattr(arguments, "layer", -1),
        spans=getattr(arguments, "spans", None),
        labelled=tuple(getattr(arguments, "labelled", ())),
        label_field=getattr(arguments, "label_field", "label"),
        reference=getattr(arguments, "reference", None),
    )
