"""A rendered toy tree to one in the layout of a raw Social-IQ 2.0 download.

Frames, sound and subtitles are the same; questions lose one of their wrong answers and
are about the whole clip. As in the published set `qa_test.json` also asks about videos
of train and val, which `original_split.json` gives away.
"""

import json
import os
import pathlib
import re
import shutil
from typing import Any

import numpy as np

from preprocessing.toy import words

FPS = 3  # frames a second
LEAKED = 1  # videos of train, and as many of val, that qa_test asks about
STAMP = re.compile(r"^(\d\d:\d\d:\d\d),(\d\d\d) --> (\d\d:\d\d:\d\d),(\d\d\d)$", re.M)


def write(tvqa_dir: str | os.PathLike, out_dir: str | os.PathLike) -> None:
    """Writes the clips of a TVQA tree into a new folder.

    The last third of val's clips, at least one if there are two, are the test split.

    Args:
      tvqa_dir: what `toy.render` has made.
      out_dir: holds qa/, frames/, audio/mp3/, transcript/, trims.json and
        original_split.json afterwards.

    Raises:
      ValueError: if the folder exists.
    """
    tvqa, out = pathlib.Path(tvqa_dir), pathlib.Path(out_dir)
    if out.exists():
        raise ValueError(f"{out}: is there already; name a new folder")
    by_split = {split: _read(tvqa, split) for split in ("train", "val")}
    val = list(by_split["val"])
    cut = len(val) - (max(len(val) // 3, 1) if len(val) > 1 else 0)
    by_split["test"] = {name: by_split["val"].pop(name) for name in val[cut:]}
    lists = {split: list(by_video) for split, by_video in by_split.items()}
    lengths = {
        path.name: _copy_frames(path, out)
        for path in sorted((tvqa / "tvqa_frames/frames_hq").glob("*/*"))
    }
    for path in sorted((tvqa / "tvqa_frames/audios").glob("**/*.mp3")):
        _copy(path, out / "audio/mp3" / path.name)
    for path in sorted((tvqa / "tvqa_subtitles").glob("*.srt")):
        target = out / "transcript" / f"{path.stem}.vtt"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(to_vtt(path.read_text(encoding="utf-8")), encoding="utf-8")
    for split in ("train", "val"):
        leaked = {name: by_split[split][name] for name in lists[split][:LEAKED]}
        by_split["test"] |= leaked
    for split, by_video in by_split.items():
        rows = [
            json.dumps(_question(row, i, lengths[name], split != "test"))
            for name, rows in by_video.items()
            for i, row in enumerate(rows)
        ]
        _put(out / f"qa/qa_{split}.json", "\n".join(rows) + "\n")
    _put(out / "trims.json", json.dumps(dict.fromkeys(lengths, 0.0), indent=0))
    split = {"subsets": {"youtubeclips": lists}}
    _put(out / "original_split.json", json.dumps(split, indent=0))


def _read(tvqa: pathlib.Path, split: str) -> dict[str, list[dict[str, Any]]]:
    """Video -> lines of TVQA."""
    by_video: dict[str, list[dict[str, Any]]] = {}
    path = tvqa / f"tvqa_qa_release/tvqa_{split}.jsonl"
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        by_video.setdefault(row["vid_name"], []).append(row)
    return by_video


def _question(
    row: dict[str, Any], number: int, length_s: float, is_labelled: bool
) -> dict[str, Any]:
    """A line of TVQA as one of Social-IQ: four answers, the whole clip."""
    video, right = row["vid_name"], row["answer_idx"]
    # Not always the last: the right one would stand last in 40 % of the questions.
    drawn = np.random.default_rng((words.VERSION, row["qid"])).integers(4)
    wrong = [i for i in range(5) if i != right][drawn]
    answers = [row[f"a{i}"] for i in range(5) if i != wrong]
    line = {"qid": f"{video}_q{number}_0", "q": row["q"], "vid_name": video}
    line |= {"ts": f"0.00-{length_s:.6f}"}
    if is_labelled:
        index = answers.index(row[f"a{right}"])
        kinds = ["corr" if i == index else "matched" for i in range(4)]
        line |= {"ans_corr": answers[index], "answer_idx": index, "idx_types": kinds}
    return line | {f"a{i}": answer for i, answer in enumerate(answers)}


def _copy_frames(folder: pathlib.Path, out: pathlib.Path) -> float:
    """Copies a clip's frames under their names there; the clip's length in seconds."""
    numbers = sorted(int(path.stem) for path in folder.glob("*.jpg"))
    name = folder.name
    for number in numbers:
        target = out / "frames" / name / f"{name}_{number:03d}.jpg"
        _copy(folder / f"{number:05d}.jpg", target)
    return numbers[-1] / FPS


def _copy(source: pathlib.Path, target: pathlib.Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def _put(path: pathlib.Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def to_vtt(srt: str) -> str:
    """SubRip text as WebVTT.

    >>> to_vtt("1\\n00:00:01,500 --> 00:00:02,000\\nhello\\n")
    'WEBVTT\\n\\n1\\n00:00:01.500 --> 00:00:02.000\\nhello\\n'
    """
    return "WEBVTT\n\n" + STAMP.sub(r"\1.\2 --> \3.\4", srt)
