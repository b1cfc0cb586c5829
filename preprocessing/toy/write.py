"""Renders the clips that a raw tree in TVQA's layout does not hold yet.

A clip is finished when its folder of frames exists: everything else of it is put in
place before that folder is renamed into place. `toy.json` says what the tree was made
with and, written last, how many clips the collected files cover.
"""

import csv
import io
import json
import pathlib
import shutil
from collections.abc import Callable, Iterator

import cv2

from mmdiffmask import atomic, seeds
from preprocessing.toy import draw, language, sound, words, world
from preprocessing.work import workers as pool

PARTIAL = ".partial"  # clips under way
BOXES = ".boxes"  # the boxes of each finished clip
STATE = "toy.json"
COLLECTED = (
    "tvqa_qa_release/tvqa_train.jsonl",
    "tvqa_qa_release/tvqa_val.jsonl",
    "boxes.jsonl",
    "labels.csv",
)


def render(
    raw_dir: str | pathlib.Path,
    *,
    domain: world.Domain,
    train_clips: int,
    val_clips: int,
    seed: int = 0,
    workers: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Renders into `raw_dir` whatever is not there yet.

    A clip is a function of (VERSION, seed, domain, split, index) alone, so any number
    of workers writes the same bytes, a larger number of clips extends a tree, and a
    killed run goes on where it was. A tree that holds more clips than asked for is
    left as it is.

    Args:
      raw_dir: holds tvqa_qa_release/, tvqa_subtitles/, tvqa_frames/, boxes.jsonl and
        labels.csv afterwards.
      domain: "general", "people" or "objects"; also the show's name.
      train_clips: clips of season 1.
      val_clips: clips of season 2.
      seed: of the whole world.
      workers: processes, one thread each; 1 stays in this process.
      progress: called with (clips finished, clips wanted) after each clip.

    Raises:
      ValueError: if the domain is unknown, a number is below what makes sense, or the
        folder was made with another domain, seed or version.
    """
    raw = pathlib.Path(raw_dir)
    _check(domain, train_clips, val_clips, seed, workers)
    settings = {"version": words.VERSION, "domain": domain, "seed": seed}
    state = _read_state(raw, settings)
    counts = {"train": train_clips, "val": val_clips}
    for split, covered in state.get("clips", {}).items():
        counts[split] = max(counts[split], covered)
    wanted = [(domain, s, i, seed) for s in words.SPLITS for i in range(counts[s])]
    missing = [job for job in wanted if not _is_finished(raw, job)]
    is_collected = all((raw / name).is_file() for name in COLLECTED)
    if not missing and is_collected and state.get("clips") == counts:
        return
    shutil.rmtree(raw / PARTIAL, ignore_errors=True)
    if not state:
        _put(raw, STATE, json.dumps(settings, indent=1) + "\n")
    done = len(wanted) - len(missing)
    for _ in _run([(str(raw), *job) for job in missing], workers):
        done += 1
        if progress is not None:
            progress(done, len(wanted))
    _collect(raw, domain, counts, seed)
    _put(raw, STATE, json.dumps(settings | {"clips": counts}, indent=1) + "\n")
    shutil.rmtree(raw / PARTIAL, ignore_errors=True)


def _check(
    domain: str, train_clips: int, val_clips: int, seed: int, workers: int
) -> None:
    if domain not in words.DOMAINS:
        known = ", ".join(words.DOMAINS)
        raise ValueError(f"domain {domain!r}: must be one of {known}")
    seeds.check("seed", seed)
    if min(train_clips, val_clips) < 0 or workers < 1:
        raise ValueError(
            f"train_clips={train_clips}, val_clips={val_clips} must be at least 0 and"
            f" workers={workers} at least 1"
        )


def _read_state(raw: pathlib.Path, settings: dict) -> dict:
    """What `toy.json` says; empty where the tree is yet to be begun."""
    path = raw / STATE
    if not path.is_file():
        if raw.is_dir() and any(p.name != PARTIAL for p in raw.iterdir()):
            raise ValueError(
                f"{raw}: holds files but no {STATE}, so it was not made by the toy set;"
                " name an empty or new folder"
            )
        return {}
    state = json.loads(path.read_text(encoding="utf-8"))
    for name, value in settings.items():
        if state.get(name) != value:
            raise ValueError(
                f"{raw}: was made with {name} {state.get(name)}, not {value}; name"
                " another folder or delete this one"
            )
    return state


def _is_finished(raw: pathlib.Path, job: tuple) -> bool:
    domain, split, index, _ = job
    name = words.video_name(domain, split, index)
    boxes = raw / BOXES / f"{name}.jsonl"
    return _frames_dir(raw, domain, name).is_dir() and boxes.is_file()


def _run(jobs: list[tuple], workers: int) -> Iterator[None]:
    """Renders the jobs, in this process or in several."""
    if workers == 1 or len(jobs) < 2:
        threads = cv2.getNumThreads()
        cv2.setNumThreads(1)
        try:
            yield from map(_render_clip, jobs)
        finally:
            cv2.setNumThreads(threads)
        return
    # No clip is ever given up: none says that it begins, so a worker that dies ends
    # the run.
    yield from pool.run(
        _render_clip,
        jobs,
        workers=workers,
        on_tick=lambda clips: None,
        give_up=lambda *_: None,
    )


def _frames_dir(raw: pathlib.Path, domain: str, name: str) -> pathlib.Path:
    return raw / "tvqa_frames" / "frames_hq" / f"{domain}_frames" / name


def _render_clip(job: tuple) -> None:
    """Writes one clip: sound, subtitles and boxes first, its frames last."""
    raw, domain, split, index, seed = job
    raw = pathlib.Path(raw)
    clip = world.script(domain, split, index, seed)
    said = language.talk(clip, seed)
    audio = sound.encode(sound.track(clip, said, seed))
    pictures, lines = [], []
    for picture, boxes in draw.frames(clip, seed):
        pictures.append(draw.encode(picture))
        lines += [_box_line(clip.name, box) for box in boxes]
    audios = pathlib.Path("tvqa_frames", "audios", domain, f"{domain}_audios")
    _put(raw, audios / f"{clip.name}.mp3", audio)
    _put(raw, f"tvqa_subtitles/{clip.name}.srt", language.to_srt(said.lines))
    _put(raw, f"{BOXES}/{clip.name}.jsonl", "".join(lines))
    target = _frames_dir(raw, domain, clip.name)
    partial = atomic.partial(target, _work(raw))
    partial.mkdir()
    for number, data in enumerate(pictures, 1):
        (partial / f"{number:05d}.jpg").write_bytes(data)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        partial.rename(target)
    except OSError:  # a worker that outlived a killed run was here first
        if not target.is_dir():
            raise


def _box_line(video: str, box: draw.Box) -> str:
    row = {"video": video, "frame": box.frame, "xyxy": box.xyxy, "label": box.label}
    row |= {"score": 1, "track": box.track, "visible": box.visible}
    return json.dumps(row) + "\n"


def _put(raw: pathlib.Path, name: str | pathlib.Path, content: str | bytes) -> None:
    """Writes a file of the tree in one step: it is there whole or not at all."""
    path = raw / name
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic.write(path, content, _work(raw))


def _work(raw: pathlib.Path) -> pathlib.Path:
    """Where everything is made before it is moved into its place."""
    folder = raw / PARTIAL
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _collect(raw: pathlib.Path, domain: str, counts: dict[str, int], seed: int) -> None:
    """The files that cover all clips: questions, labels, boxes."""
    table = io.StringIO()
    labels = csv.writer(table, lineterminator="\n")
    labels.writerow(["video", "action", "object", "shirt"])
    with (
        atomic.place(raw / "boxes.jsonl", _work(raw)) as temporary,
        temporary.open("wb") as all_boxes,
    ):
        for split in words.SPLITS:
            rows = []
            for index in range(counts[split]):
                clip = world.script(domain, split, index, seed)
                rows += language.ask(clip, language.talk(clip, seed), seed)
                labels.writerow(clip_labels(clip))
                all_boxes.write((raw / BOXES / f"{clip.name}.jsonl").read_bytes())
            text = "".join(json.dumps(row) + "\n" for row in rows)
            _put(raw, f"tvqa_qa_release/tvqa_{split}.jsonl", text)
    _put(raw, "labels.csv", table.getvalue())


def clip_labels(clip: world.Clip) -> tuple[str, str, str, str]:
    """Video, main action, main object, main person's shirt; "none" without a person."""
    action, shirt = "none", "none"
    if clip.people:
        action, shirt = clip.people[0].action, clip.people[0].shirt
    return clip.name, action, clip.things[0].label, shirt
