"""Files of boxes, of each known form, to rows of one table, checked one by one.

JSON lines: an object a line with `video`, `frame` (from 1) or `second`, `xyxy` (left,
top, right, bottom in pixels of the frame) and `label`; `score` (1), `track` (-1) and
`width` and `height` of the picture that the pixels belong to may be left out. The toy
set's true boxes are of this form (its `visible` is not used).

COCO: `images` with `file_name` `<video>/<number>.jpg`, `<video>/frame_<number>.jpg` or
`<video>_<number>.jpg` (frames from 1), `width`, `height`; `annotations` with `bbox` as
left, top, width, height; `categories`. `score` and `track_id` are taken where they are
there, crowds and what is to be ignored are left out.

TVQA+: pixels of 640 x 360 frames, 3 a second. Names of the series' characters are boxes
of persons and get the label "person": the name itself says nothing to a text encoder.
Boxes that are one pixel wide or high are slips of the mouse and left out, and so are
those that several questions repeat.

MOT text: `frame,id,left,top,width,height,score,class,...`, a file for each video; those
of a folder may lie in folders, as the videos do. Column 7 is a detector's confidence,
or in ground truth 1 for a box that counts and 0 for one that does not, such as people
on posters or half hidden: those are left out and counted.
"""

import json
import pathlib
import re
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from preprocessing import files
from preprocessing.boxes.box_rows import Builder, Entry, Rows, bad
from preprocessing.boxes.unitrack import mot

MotPixels = Literal["source", "img0"]
NOT_COUNTED = "0 in column 7 of MOT text, a box that does not count"
IMG0_WH = (-1, -1)  # instead of a picture's size: UniTrack's resized frame
TVQA_PLUS_WH, TVQA_PLUS_FPS = (640, 360), 3
TVQA_PLUS_PEOPLE = frozenset(
    "sheldon leonard penny howard raj amy bernadette stuart ramona leslie priya emily"
    " kripke zack lucy wil missy beverly mary barry bert".split()
)
_FIELDS = tuple("video frame second xyxy label score track width height".split())
_UNUSED = {"visible"}  # of the toy set's true boxes: the share that nothing covers
_FRAME_FILE = re.compile(r"(.+?)(?:/(?:frame|img|image)?[_-]?|[_-])(\d+)\.\w+", re.I)


def read(
    path: pathlib.Path, mot_pixels: MotPixels, mot_labels: Sequence[str] | None
) -> Rows:
    """The rows of any form: see `box_files.read`."""
    builder = Builder()
    ending = path.suffix.lower()
    if not path.exists():
        raise ValueError(f"{path}: is missing; name a file or folder of boxes")
    if path.is_dir() or ending == ".txt":
        _read_mot(path, mot_pixels, mot_labels, builder)
    elif ending == ".jsonl":
        _read_jsonl(path, builder)
    elif ending == ".json":
        _read_json(path, builder)
    else:
        raise ValueError(
            f"{path}: is none of .jsonl, .json (COCO, TVQA+), MOT .txt or a folder of"
            " these; rename or convert it"
        )
    builder.counts = +builder.counts  # none that are 0
    return builder.rows()


def _read_mot(
    path: pathlib.Path,
    pixels: MotPixels,
    labels: Sequence[str] | None,
    builder: Builder,
) -> None:
    if pixels not in ("source", "img0"):
        raise ValueError(f"mot_pixels={pixels!r}: must be source or img0")
    paths = sorted(path.rglob("*.txt")) if path.is_dir() else [path]
    root = path if path.is_dir() else path.parent
    if not paths:
        raise ValueError(
            f"{path}: holds no <video>.txt; name a folder of MOT result files"
        )
    for file in paths:
        video = file.relative_to(root).with_suffix("").as_posix()
        builder.video(video)
        files.require_file(file)  # a pipe would never end
        rows, is_counted = mot.read_counted(file)
        builder.counts[NOT_COUNTED] += int((~is_counted).sum())
        columns = (column[is_counted] for column in rows)
        for frame, track, tlwh, score, category in zip(*columns, strict=True):
            if not 0 <= score <= 1:
                problem = f"score is {score:g}; it must be from 0 to 1"
                raise bad(file, f"frame {frame}", problem)
            left, top, width, height = tlwh.tolist()
            builder.add(
                video,
                (left, top, left + width, top + height),
                _mot_label(file, int(frame), int(category), labels),
                frame=int(frame),
                score=float(score),
                track=int(track),
                wh=IMG0_WH if pixels == "img0" else (0, 0),
            )


def _mot_label(
    file: pathlib.Path, frame: int, category: int, labels: Sequence[str] | None
) -> str:
    if category == -1:
        return "person"
    if labels is None or category >= len(labels):
        raise bad(
            file,
            f"frame {frame}",
            f"class {category} has no name; name the classes (--boxes-labels),"
            " or write -1 for persons",
        )
    return labels[category]


def _read_jsonl(path: pathlib.Path, builder: Builder) -> None:
    for number, line in _lines(path):
        where = f"line {number}"
        entry = Entry(path, where, _json(path, where, line))
        unknown = sorted(set(entry.values) - {*_FIELDS, *_UNUSED})
        if unknown:
            allowed = ", ".join(_FIELDS)
            raise entry.fail(f"{unknown[0]!r} is no field; use {allowed}")
        if ("frame" in entry.values) == ("second" in entry.values):
            raise entry.fail("give either frame or second")
        wh = (0, 0)
        if "width" in entry.values or "height" in entry.values:
            wh = entry.integer("width", least=1), entry.integer("height", least=1)
        builder.add(
            entry.text("video"),
            entry.four("xyxy"),
            entry.text("label"),
            score=entry.score("score"),
            track=entry.integer("track", least=-1, default=-1),
            wh=wh,
            **_when(entry),
        )


def _when(entry: Entry) -> dict[str, Any]:
    if "frame" in entry.values:
        return {"frame": entry.integer("frame", least=1)}
    second = entry.number("second")
    if not 0 <= second < 1e9:
        raise entry.fail(f"second is {second:g}; it must be 0 or more")
    return {"second": second}


def _lines(path: pathlib.Path) -> Iterator[tuple[int, str]]:
    number = 0
    with open(path, encoding="utf-8-sig") as file:
        try:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, line
        except UnicodeDecodeError as error:
            problem = "is not UTF-8; write the file as UTF-8"
            raise bad(path, f"after line {number}", problem) from error


def _json(path: pathlib.Path, where: str, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise bad(path, where, f"is no JSON ({error}); write it again") from error


def _read_json(path: pathlib.Path, builder: Builder) -> None:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise bad(path, "text", "is not UTF-8; write the file as UTF-8") from error
    content = _json(path, "text", text)
    if isinstance(content, dict) and {"images", "annotations"} <= set(content):
        _read_coco(Entry(path, "", content), builder)
    elif isinstance(content, list) and all(
        isinstance(one, dict) and {"bbox", "vid_name"} <= set(one) for one in content
    ):
        _read_tvqa_plus(path, content, builder)
    else:
        raise ValueError(
            f"{path}: is neither COCO (an object with images, annotations, categories)"
            " nor TVQA+ (a list of objects with vid_name and bbox)"
        )


def _read_coco(content: Entry, builder: Builder) -> None:
    images = {one.integer("id"): _coco_image(one) for one in content.entries("images")}
    names = {
        one.integer("id"): one.text("name") for one in content.entries("categories")
    }
    for video, _, _ in images.values():
        builder.video(video)
    for one in content.entries("annotations"):
        image, category = one.integer("image_id"), one.integer("category_id")
        if image not in images:
            raise one.fail(f"image_id {image} is none of images; add the image")
        if category not in names:
            raise one.fail(f"category_id {category} is none of categories; add it")
        if one.integer("iscrowd", default=0):
            builder.counts["crowd"] += 1
            continue
        if one.values.get("ignore"):
            builder.counts["marked to be ignored"] += 1
            continue
        video, frame, wh = images[image]
        left, top, width, height = one.four("bbox")
        builder.add(
            video,
            (left, top, left + width, top + height),
            names[category],
            frame=frame,
            score=one.score("score"),
            track=one.integer("track_id", least=-1, default=-1),
            wh=wh,
        )


def _coco_image(image: Entry) -> tuple[str, int, tuple[int, int]]:
    """Video, frame and size of a picture."""
    name = image.text("file_name")
    match = _FRAME_FILE.fullmatch(name)
    if not match or int(match[2]) < 1:
        raise image.fail(
            f"file_name {name!r} names no frame; it must be <video>/<number>.jpg or"
            " <video>_<number>.jpg, frames count from 1"
        )
    size = image.integer("width", least=1), image.integer("height", least=1)
    return match[1], int(match[2]), size


def _read_tvqa_plus(path: pathlib.Path, content: list, builder: Builder) -> None:
    seen = set()
    for i, question in enumerate(content):
        video = Entry(path, f"[{i}]", question).text("vid_name")
        builder.video(video)
        frames = Entry(path, f"[{i}].bbox", question["bbox"])
        for number in frames.values:
            if not number.isdecimal() or int(number) < 1:
                raise frames.fail(f"{number!r} is no frame; frames count from 1")
            for one in frames.entries(number):
                left, top = one.number("left"), one.number("top")
                width, height = one.number("width"), one.number("height")
                label = one.text("label")
                if label.lower() in TVQA_PLUS_PEOPLE:
                    label = "person"
                box = (left, top, left + width, top + height)
                key = (video, int(number), box, label)
                if 0 < min(width, height) <= 1:
                    builder.counts["speck"] += 1
                elif key in seen:
                    builder.counts["repeated"] += 1
                else:
                    seen.add(key)
                    builder.add(video, box, label, frame=int(number), wh=TVQA_PLUS_WH)
