"""Measures what a run and a probe do before they decode their first row.

    python -m benchmarks.start [--questions 1000,122039] [--records DIR]

makes records of so many made-up questions on one grey frame each (TVQA's train has
122,039), kept in DIR if one is named. For each number a fresh process imports
everything, checks the records, chooses what is trained on and the probe's questions,
and makes the run's job; it prints CPU seconds, peak MiB and how many records were read:
the first time with the checksums of all shards, then without. A last line has the
ratios of the last number to the first.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import random
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence

import numpy as np

from mmdiffmask.data.records import fingerprint, frames, index, manifest, shards
from mmdiffmask.data.records.schema import Record
from mmdiffmask.grid import PatchGrid
from mmdiffmask.types import Boxes

GRID = PatchGrid(2, 2)
PER_CLIP, PER_SHARD = 6, 112  # questions, as TVQA has them in 16 clips
ENDS = {"train": 0.875, "val": 1}  # share of the questions up to a split's last
WORDS = (
    "what did who say when after before looks walks asked room door table red he she"
)
MADE = "made.json"  # of a folder that is whole


def record(number: int, rng: random.Random, jpeg: bytes) -> Record:
    """A made-up question."""
    words = (WORDS + " " + " ".join(f"name{i}" for i in range(200))).split()

    def text(length: int) -> str:
        return " ".join(rng.choices(words, k=length))

    clip = number // PER_CLIP
    name = f"show_s{clip // 500:02d}e{clip // 20 % 25:02d}_seg01_clip_{clip % 20:02d}"
    count = 2
    boxes = Boxes(
        frame=np.zeros(count, np.int32),
        xyxy_px=np.array([[0, 0, 20, 30], [4, 4, 12, 12]], np.float32),
        kind=("body", "face"),
        label=("person", "face"),
        score=np.ones(count, np.float32),
        track=np.zeros(count, np.int32),
        source=("made up",) * count,
    )
    source = np.array([[32, 32]], np.int32)
    return Record(
        example_id=f"{number:06d}~{name}",
        clip=name,
        group=name[:11],
        question=text(13) + "?",
        answers=tuple(text(5) for _ in range(5)),
        answer_index=number % 5,
        span_percent=(number % 40, 50 + number % 40),
        subtitles=("",),
        line_text=(),
        line_start_s=np.zeros(0, np.float32),
        line_end_s=np.zeros(0, np.float32),
        frames=(jpeg + number.to_bytes(4, "big"),),  # a window of its own
        frame_time_s=np.array([number % 60], np.float32),
        source_size_px=source,
        is_frame_valid=np.array([True]),
        is_audio_valid=np.array([False]),
        spectrogram=np.zeros((1, 1, 60, 65), np.float16),
        is_boxed=True,
        boxes=boxes,
        covered_share=frames.covered_share(GRID, boxes, source, source),
        labels={"action": f"action {clip % 7}"},
    )


def make(folder: pathlib.Path, questions: int) -> None:
    """Writes a folder of records of so many made-up questions, unless it is there."""
    import cv2

    if (folder / MADE).is_file():
        return
    folder.mkdir(parents=True, exist_ok=True)
    rng, grey = random.Random(0), np.full((32, 32, 3), 128, np.uint8)
    jpeg = cv2.imencode(".jpg", grey)[1].tobytes()
    schema = shards.features(1, 1, GRID.n_patches)
    files: dict[str, tuple[manifest.Shard, ...]] = {}
    entries: dict[str, list[index.Entry]] = {split: [] for split in ENDS}

    def records(split: str, numbers: range) -> Iterator[Record]:
        for number in numbers:
            row = record(number, rng, jpeg)
            entries[split].append(index.of_record(row, f"{number // PER_CLIP:016x}"))
            yield row

    first = 0
    for split, end in ENDS.items():
        last = questions if end == 1 else round(end * questions) // PER_CLIP * PER_CLIP
        starts = range(first, last, PER_SHARD)
        parts = [range(i, min(i + PER_SHARD, last)) for i in starts]
        files[split] = tuple(
            shards.write_shard(
                folder / shards.shard_name(split, place, len(parts)),
                records(split, part),
                schema,
            )
            for place, part in enumerate(parts)
        )
        first = last
    _put_manifest(folder, files, entries)
    (folder / MADE).write_text(json.dumps({"questions": questions}))


def _put_manifest(
    folder: pathlib.Path,
    files: dict[str, tuple[manifest.Shard, ...]],
    entries: dict[str, list[index.Entry]],
) -> None:
    settings = {"source": "tvqa", "grid": dataclasses.asdict(GRID), "segments": 1}
    settings |= {"sub_segments": 1, "schema_version": manifest.SCHEMA_VERSION}
    written = manifest.Manifest(
        settings=settings,
        versions={"made up": "1"},
        grid=GRID,
        segments=1,
        sub_segments=1,
        shards=files,
        counts={"records": sum(map(len, entries.values()))},
    )
    indexes = {}
    for split, some in entries.items():
        content = index.to_bytes(some)
        (folder / index.file_name(split)).write_bytes(content)
        indexes[split] = index.described(split, content)
    known = fingerprint.of(written, entries)
    written = dataclasses.replace(written, index=indexes, fingerprint=known)
    (folder / manifest.NAME).write_text(manifest.to_json(written))


def start(records_dir: str) -> dict[str, float]:
    """All that a run and a probe of these records do before their first row.

    Returns:
      CPU seconds and peak MiB, both with all imports, and how many records were read.
    """
    # Heavy, and part of what is measured.
    from mmdiffmask import (
        build,
        config,
        configure,
        examples,
        pretrain,
        video_pretraining,
    )
    from mmdiffmask.data.corpus import Corpus
    from mmdiffmask.probe import tasks

    reads = []
    read = shards.Source.__getitem__
    shards.Source.__getitem__ = lambda *a: reads.append(a[1]) or read(*a)
    experiment = config.Experiment(
        "start",
        model=dataclasses.replace(config.MODELS["small"], checkpoint="small"),
        training=config.Training(eval_clips=64),
        probe=config.Probe(read_outs=("clip", "match", "answer")),
    )
    experiment = configure.override(experiment, ["model.vocabulary=512"])
    build.check(experiment)
    Corpus.of(records_dir).verify()
    experiment = build.adopt(experiment, records_dir)
    corpus = Corpus.of(records_dir)
    owner = pretrain.claim(experiment, records_dir, 0)
    video_pretraining.job(experiment, examples.choose(experiment, corpus), owner)
    task = tasks.open_task(
        experiment, corpus, manifest.identity(records_dir), pathlib.Path(records_dir)
    )
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "questions": sum(map(len, task.chosen.values())),
        "cpu_s": used.ru_utime + used.ru_stime,
        "peak_mib": used.ru_maxrss / 1024,
        "reads": len(reads),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints one line for each number of questions, and ratios; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.start")
    parser.add_argument("--questions", default="1000,122039")
    parser.add_argument("--records", type=pathlib.Path, metavar="DIR")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.one:
        print(json.dumps(start(options.one)))
        return 0
    results = []
    with tempfile.TemporaryDirectory() as temporary:
        root = options.records or pathlib.Path(temporary)
        # Checksums are taken once on a machine: the first start of each takes them.
        environment = os.environ | {"MMDIFFMASK_CACHE": str(root / "cache")}
        for count in map(int, options.questions.split(",")):
            folder = root / str(count)
            make(folder, count)
            command = [sys.executable, "-m", "benchmarks.start", "--one", str(folder)]
            for name in ("first start", "later start"):
                done = subprocess.run(
                    command, env=environment, check=False, stdout=subprocess.PIPE
                )
                if done.returncode:
                    return 1
                figures = json.loads(done.stdout)
                print(f"{count:7d} questions, {name}: {_line(figures)}")
            results.append(figures)
    first, last = results[0], results[-1]
    names = ("cpu_s", "peak_mib")
    ratios = (f"{last[name] / first[name]:.2f} {name}" for name in names)
    print(f"last to first: {', '.join(ratios)}")
    return 0


def _line(figures: dict[str, float]) -> str:
    return (
        f"{figures['cpu_s']:.1f} CPU s, peak {figures['peak_mib']:.0f} MiB,"
        f" {figures['reads']} records read, {figures['questions']} questions chosen"
    )


if __name__ == "__main__":
    sys.exit(main())
