"""What a starting checkpoint can do: curves of its training, and its read-outs.

`python -m benchmarks.start_card RUN CHECKPOINT` prints the text file that lies beside
the shipped checkpoint, from a finished and probed run of tpu_configs/start.py and the
file that was exported from it.
"""

import argparse
import hashlib
import pathlib
import sys
from collections.abc import Iterator, Sequence

import numpy as np

from mmdiffmask.data import tokenizers, vocabulary
from mmdiffmask.probe import results, table
from mmdiffmask.run_folder import RunFolder
from mmdiffmask.training import journal
from preprocessing.toy import words

RESAMPLES = 2000
TERMS = ("imgs_to_audio", "text_to_audio", "stuff_to_span", "closed_span")
TERMS += ("pooled_cells",)


def sha256(path: pathlib.Path) -> str:
    """Of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def identity(checkpoint: pathlib.Path) -> Iterator[str]:
    """What the file belongs to; the tests compare these lines."""
    yield f"sha256 of the checkpoint: {sha256(checkpoint)}"
    yield f"bytes: {checkpoint.stat().st_size}"
    yield f"sha256 of the tokenizer (toy): {sha256(tokenizers.TOY)}"
    yield f"sha256 of the closed vocabulary (toy): {sha256(vocabulary.TOY)}"
    yield f"toy generator version: {words.VERSION}"


def curves(lines: Sequence[dict]) -> Iterator[str]:
    """Held-out losses, naming with the right and another video, retrieval."""
    held_out = [line for line in lines if line["kind"] == "eval"]
    steps = sorted({line["step"] for line in held_out})

    def row(name: str, *key: str) -> str:
        values = {
            line["step"]: line["value"]
            for line in held_out
            if (line["masks"], line["stream"], line["metric"]) == key
        }
        cells = [
            f"{values[s]:7.3f}" if values.get(s) is not None else " " * 7 for s in steps
        ]
        return f"{name:34}" + " ".join(cells)

    yield f"{'step':34}" + " ".join(f"{step:7d}" for step in steps)
    for term in TERMS:
        yield row(f"loss, {term}", "terms", "all", f"loss_{term}")
    classes = [x["stream"] for x in held_out if x["masks"] == "words"]
    for name in dict.fromkeys(classes):
        yield row(f"{name}: right video", "words", name, "right_video")
        yield row(f"{name}: another video", "words", name, "wrong_video")
    masks = [x["masks"] for x in held_out if x["metric"] == "retrieval_touched"]
    for name in dict.fromkeys(masks):
        for metric in ("retrieval_touched", "copy_touched", "chance"):
            yield row(f"{name} masks: {metric}", name, "all", metric)


def read_outs(questions: results.Questions) -> Iterator[str]:
    """Accuracy in % of each read-out and kind, with its interval, and every floor."""
    kinds = np.array(questions.kinds)
    names = [name for name in dict.fromkeys(questions.kinds) if name]
    groups = {"all": np.ones(len(kinds), bool)} | {n: kinds == n for n in names}
    for read_out, entry in questions.read_outs.items():
        rows = {"this checkpoint": entry} | questions.floors.get(read_out, {})
        yield ""
        yield f"{read_out} (chance {100 * questions.chance:.0f})"
        head = " ".join(f"{name:>20}" for name in groups)
        yield f"{'':24}{head}"
        for row, scores in rows.items():
            cells = []
            for is_kind in groups.values():
                score = table.by_clip(
                    scores.is_right, questions.clips, is_kind, RESAMPLES
                )
                low, high = 100 * score.low, 100 * score.high
                cells.append(f"{100 * score.value:5.1f} [{low:5.1f}, {high:5.1f}]")
            yield f"{row:24}" + " ".join(f"{cell:>20}" for cell in cells)
        counts = " ".join(f"{int(k.sum()):>20}" for k in groups.values())
        yield f"{'questions':24}{counts}"


def main(arguments: list[str] | None = None) -> int:
    """Prints the card; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.start_card")
    parser.add_argument("run", type=pathlib.Path, metavar="RUN")
    parser.add_argument("checkpoint", type=pathlib.Path, metavar="CHECKPOINT")
    options = parser.parse_args(arguments)
    try:
        folder = RunFolder(options.run)
        probed = results.read(folder)
        print("\n".join(identity(options.checkpoint)))
        print("\nTraining, on held-out clips of train\n")
        print("\n".join(curves(journal.read_metrics(folder))))
        print("\nRead-outs, on validation clips, in % with 95 % intervals over clips")
        print("\n".join(read_outs(probed.questions)))
    except (OSError, ValueError, AttributeError) as error:
        print(f"{parser.prog}: {options.run}: {error!r}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
