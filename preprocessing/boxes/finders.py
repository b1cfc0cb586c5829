"""Settings of the search for boxes in clips, as they travel to worker processes."""

import dataclasses
import hashlib
import math
import os
import pathlib
from typing import Any

from preprocessing import files
from preprocessing.readers import plans

BODIES = ("ssdlite", "nanodet", "yolox", "file", "none")
FACES = ("mtcnn", "facenet", "none")
TRACKS = ("both", "tracked", "none")
UNITS = ("pixel", "share")
MAX_FPS = 1000.0  # of the fastest cameras that boxes are drawn on
TRACKED_FPS = 3.0  # of TVQA and Social-IQ frames; the sampled ones are too far apart


# Fields of `People` that came later, as they are if nobody sets them.
LATER: dict[str, Any] = {"boxes_unit": "pixel", "person_labels": ()}


@dataclasses.dataclass(frozen=True)
class People:
    """Bodies, faces and tracks (design.md section 9).

    Attributes:
      bodies: "ssdlite", "nanodet" (80 labels), "yolox" (needs `yolox`), "file" (needs
        `boxes`) or "none".
      faces: "mtcnn", "facenet" (the package itself) or "none"; on sampled frames.
      tracks: "both" = every detected box, those of a track with its number; "tracked"
        = the tracker's own boxes alone, as UniTrack reports them; "none".
      boxes: file of boxes, in any form that `box_files` reads.
      boxes_fps: frames a second that frame numbers in `boxes` count.
      boxes_within: seconds; a frame without boxes in the file takes those of the
        nearest frame that has some, at most so far away.
      boxes_pixels: of MOT files: "source", or "img0" as UniTrack writes them.
      boxes_labels: of MOT files: the names of their classes, from 0.
      boxes_unit: of their coordinates: "pixel", or "share" of the picture.
      person_labels: labels of people in files and of networks, beside the list of
        `box_words`.
      nanodet: where NanoDet's weight file lies, as `nanodet_file.read` takes it; its
        content is always the same. None = the cache.
      yolox: ONNX file.
      normalise: what the YOLOX network was trained with: "none", "imagenet"
        or "unitrack" (see `yolox.Normalise`).
      appearance: ONNX file of the tracker's features; None = colours and gradients.
    """

    bodies: str = "ssdlite"
    faces: str = "mtcnn"
    tracks: str = "both"
    boxes: str | None = None
    boxes_fps: float = TRACKED_FPS
    boxes_within: float = 0.0
    boxes_pixels: str = "source"
    boxes_labels: tuple[str, ...] | None = None
    boxes_unit: str = "pixel"
    person_labels: tuple[str, ...] = ()
    nanodet: str | None = None
    yolox: str | None = None
    normalise: str = "none"
    appearance: str | None = None

    def __post_init__(self):
        choices = {"bodies": BODIES, "faces": FACES, "tracks": TRACKS}
        for name, known in (choices | {"boxes_unit": UNITS}).items():
            if getattr(self, name) not in known:
                option = name.replace("_", "-")
                raise ValueError(
                    f"--{option} {getattr(self, name)}: is none of {', '.join(known)}"
                )
        if not 0 < self.boxes_fps <= MAX_FPS:  # not NaN either
            raise ValueError(
                f"--boxes-fps {self.boxes_fps:g}: must be more than 0, at most"
                f" {MAX_FPS:g}"
            )
        if not 0 <= self.boxes_within < math.inf:
            raise ValueError(
                f"--boxes-within {self.boxes_within:g}: must be 0 or more seconds"
            )
        for kind, option in {"yolox": "yolox", "file": "boxes"}.items():
            if (self.bodies == kind) != (getattr(self, option) is not None):
                raise ValueError(f"--bodies {kind} and --{option} FILE go together")
        if self.boxes_unit == "share" and self.boxes_pixels != "source":
            raise ValueError(
                "--boxes-unit share: shares are of no pixels; leave --boxes-pixels away"
            )
        self._require_effect()

    def _require_effect(self) -> None:
        """Raises ValueError for an option that says something of what is not there."""
        default = {field.name: field.default for field in dataclasses.fields(self)}
        idle = [] if self.boxes else [n for n in default if n.startswith("boxes_")]
        idle += [] if self.yolox else ["normalise"]
        idle += [] if self.boxes or self.yolox else ["person_labels"]
        idle += [] if self.fps else ["appearance"]
        idle += [] if self.bodies == "nanodet" else ["nanodet"]
        for name in idle:
            if getattr(self, name) != default[name]:
                needs = {"normalise": "--yolox FILE", "appearance": "tracks of bodies"}
                needs["person_labels"] = "--boxes FILE or --yolox FILE"
                needs["nanodet"] = "--bodies nanodet"
                option = name.replace("_", "-")
                raise ValueError(
                    f"--{option}: needs {needs.get(name, '--boxes FILE')}; add it, or"
                    f" leave --{option} away"
                )

    @property
    def fps(self) -> float | None:
        """Frames a second that are looked at between the sampled ones."""
        is_tracking = self.tracks != "none" and self.bodies != "none"
        return TRACKED_FPS if is_tracking else None

    def settings(self) -> dict[str, Any]:
        """Its fields; files by name and checksum.

        Fields of `LATER` are left out where nobody sets them, so that folders from
        before are known as finished, and a place of a file whose content is known.

        Raises:
          ValueError: if one of the files cannot be read.
        """
        fields = dataclasses.asdict(self)
        fields = {k: v for k, v in fields.items() if k not in LATER or v != LATER[k]}
        del fields["nanodet"]
        named = [name for name in ("boxes", "yolox", "appearance") if fields[name]]
        return fields | {name: _identity(fields[name]) for name in named}


def _identity(name: str) -> dict[str, str]:
    path = pathlib.Path(name)
    if not plans.is_text(path.name):
        raise ValueError(f"{path}: its name is not UTF-8; rename it")
    if path.is_dir():
        parts = sorted(part for part in path.rglob("*") if part.is_file())
    else:
        parts = [path]
    digest = hashlib.sha256()
    for part in parts:
        try:
            name = part.relative_to(path) if path.is_dir() else part.name
            digest.update(os.fsencode(name) + b"\n" + files.read(part))
        except OSError as error:
            raise ValueError(f"{part}: {files.why(error)}; name a file") from error
    return {"name": path.name, "sha256": digest.hexdigest()}
