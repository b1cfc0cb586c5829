"""What this machine has for a run, and what it lacks: devices, space, rates."""

import math
import pathlib
from collections.abc import Iterator

from mmdiffmask import build, config, examples, machine, text_doctor, weights
from mmdiffmask.data import tokenizers
from mmdiffmask.data.corpus import Corpus
from mmdiffmask.models.reserve import sizes

CLIPS = 8  # of train: those that the rate of the input is measured with


def look(
    experiment: config.Experiment, workdir: str, data: str | None
) -> Iterator[str]:
    """Lines on the machine, each as soon as it is known; the last one sums up.

    Args:
      experiment: the run that is meant; sizes, start, tokenizer, grid or files.
      workdir: where the run would lie.
      data: its records, or the folder of its texts. None: nothing is said of records;
        texts are looked for where a run would.

    Raises:
      ValueError: if the records cannot be read.
    """
    lacking: list[str] = []
    is_text = isinstance(experiment.data, config.Texts)
    yield machine.versions_of_packages()
    yield from machine.backend()
    if is_text:
        yield from text_doctor.of_model(experiment, lacking)
        needed = text_doctor.run_bytes(experiment)
    else:
        yield from _paths(experiment, lacking)
        needed = run_bytes(experiment.model)
    yield from machine.caches()
    if needed is not None:
        place = pathlib.Path(workdir).absolute()
        yield machine.space(needed, place, lacking)
    yield machine.product_rate()
    if is_text:
        folder = data or experiment.data.folder or "."
        yield from text_doctor.of_texts(experiment, folder, lacking)
    else:
        yield from _input(experiment, data)
    yield f"lacking: {'; '.join(lacking)}" if lacking else "nothing is lacking"


def _paths(experiment: config.Experiment, lacking: list[str]) -> Iterator[str]:
    """Where the run's start and its tokenizer lie."""
    start, tokenizer = experiment.model.checkpoint, experiment.data.tokenizer
    if start is not None:
        is_there = weights.fingerprint_of(start) is not None
        yield f"start: {start}" + ("" if is_there else ", which is not there")
        lacking += [] if is_there else [f"the checkpoint {start}"]
    if tokenizer == "reserve":
        try:
            yield f"tokenizer: {tokenizers.find_reserve(start)}"
        except ValueError as error:
            yield f"tokenizer: {error}"
            lacking.append("MERLOT-Reserve's tokenizer")


def run_bytes(model: config.Model) -> int:
    """What the folder of a run takes (`machine.saved_bytes`)."""
    shapes = sizes.shapes(model).values()
    return machine.saved_bytes(sum(math.prod(shape) for shape in shapes))


def _input(experiment: config.Experiment, data: str | None) -> Iterator[str]:
    """The records, and how many clips a second one thread makes of them."""
    needed = "records, --data DIR"
    try:
        experiment = build.find_files(experiment)
    except ValueError:  # said above
        data, needed = None, "a tokenizer"
    if data is None:
        yield f"input: not measured; needs {needed}"
        return
    corpus = Corpus.of(data)
    source = corpus.source("train")
    size = sum(
        shard.bytes for shards in corpus.manifest.shards.values() for shard in shards
    )
    yield f"records: {len(source)} of train in {data}, {machine.size(size)}"
    row = examples.make_row(experiment.data, experiment.masking, source)
    count = min(CLIPS, len(source))
    seconds = machine.seconds(lambda: [row(i) for i in range(count)])
    yield f"input: {count / seconds:.1f} clips a second of a thread"
