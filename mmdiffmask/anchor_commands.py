"""The command on anchors: which TF-ICF proposes, and what labels weigh by them."""

import argparse
import pathlib


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
        help="in place of the records' questions: .jsonl, .json, subtitles, or lines",
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
    command.add_argument(
        "--out", default="label_vectors.npz", help="where MiniLM's vectors are written"
    )
    command.set_defaults(run=_anchors)


def _anchors(arguments: argparse.Namespace) -> None:
    from mmdiffmask import anchor_choice
    from preprocessing.boxes import yolox
    from preprocessing.readers import texts as readers

    records = arguments.data
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
        labels, choice.anchors, arguments.embeddings, pathlib.Path(arguments.out)
    )
    lines = anchor_choice.lines(choice, labels, embeddings, file, arguments.similarity)
    print("\n".join(lines))
