"""The command on anchors: which TF-ICF proposes, and what labels weigh by them."""

import argparse
import pathlib

from mmdiffmask import text_arguments

OUT = "label_vectors.npz"


def add(commands: argparse._SubParsersAction) -> None:
    """Adds the command on anchors (docs/guide.md)."""
    command = commands.add_parser(
        "anchors", help="words that TF-ICF proposes as anchors, and what labels weigh"
    )
    command.add_argument("data", nargs="?", help="records: their questions and labels")
    command.add_argument(
        "--text",
        nargs="+",
        default=[],
        metavar="FILE",
        help="in place of records: questions (.jsonl, .json), subtitles; or a corpus: a"
        " text a line, or .jsonl with `text`",
    )
    command.add_argument("--k", type=int, default=20, help="how many anchors (20)")
    command.add_argument(
        "--candidates",
        type=int,
        default=200,
        help="how many frequent words compete (200); 0: all, Eq. 2 as written",
    )
    command.add_argument(
        "--similarity",
        choices=("nearest", "centroid"),
        default="nearest",
        help="of a label: with the nearest of the anchors (default) or their centroid",
    )
    command.add_argument(
        "--embeddings", metavar="NPZ", help="word -> vector; absent: MiniLM's"
    )
    command.add_argument("--out", help=f"where MiniLM's vectors are written ({OUT})")
    text_arguments.add_sources(command)
    command.add_argument(
        "--label-field", default="label", help="of a corpus, for Eq. 1 (label)"
    )
    command.add_argument(
        "--test",
        nargs="+",
        default=[],
        metavar="FILE",
        help="of a corpus: where Eq. 1 is judged; absent: folds of --text",
    )
    command.add_argument(
        "--page", default="anchors.html", help="of a corpus (anchors.html)"
    )
    command.set_defaults(run=_anchors)


def _anchors(arguments: argparse.Namespace) -> None:
    from mmdiffmask import anchor_choice
    from preprocessing.boxes import yolox
    from preprocessing.readers import texts as readers

    records = arguments.data
    if records is None and arguments.text and _is_corpus(arguments):
        _report(arguments)
        return
    if records is None and not arguments.text:
        raise ValueError("name records, or files of texts with --text")
    texts = [text for path in arguments.text for text in readers.read(path)]
    choice = anchor_choice.choose(
        texts if arguments.text else anchor_choice.questions(records),
        k=arguments.k,
        max_candidates=arguments.candidates or None,
    )
    labels = [anchor_choice.Label(name) for name in yolox.COCO]
    if records is not None:
        labels = anchor_choice.labels_of_records(records)
    embeddings, file = anchor_choice.vectors(
        labels, choice.anchors, arguments.embeddings, pathlib.Path(arguments.out or OUT)
    )
    lines = anchor_choice.lines(choice, labels, embeddings, file, arguments.similarity)
    print("\n".join(lines))


def _is_corpus(arguments: argparse.Namespace) -> bool:
    """Whether the files are texts of a corpus, not what is asked or said of videos.

    Who names --out wants vectors of labels.
    """
    from mmdiffmask.data import texts
    from preprocessing.readers import texts as readers

    if arguments.out is not None:
        return False
    for path in map(pathlib.Path, arguments.text):
        if path.suffix.lower() in (".json", *readers.SUBTITLES) or not path.is_file():
            return False
        if path.suffix.lower() in texts.OBJECTS:
            with open(path, "rb") as file:
                first = file.readline(texts.LONGEST)
            if any(f'"{name}"'.encode() in first for name in ("q", "question")):
                return False
    return True


def _report(arguments: argparse.Namespace) -> None:
    """The tables and the page of a corpus."""
    from mmdiffmask import compiled, corpus_anchors

    page = pathlib.Path(arguments.page)
    corpus_anchors.check_page(page)
    compiled.keep()
    report = corpus_anchors.measure(
        arguments.text,
        text_arguments.sources(arguments),
        label_field=arguments.label_field,
        judged=arguments.test,
        state=page.with_name(f"{page.name}.counts.npz"),
    )
    print("\n".join(corpus_anchors.lines(report)))
    print(f"\n--set masking.anchors={','.join(report.choice.anchors)}")
    print(corpus_anchors.write(report, page))
