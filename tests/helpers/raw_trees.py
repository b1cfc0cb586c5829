"""Small raw data for the preprocessing tests, and a finder that really looks."""

import dataclasses
import json
import os
import pathlib
import signal
import struct
import time
import wave
from collections.abc import Callable

import av
import cv2
import numpy as np

from mmdiffmask.data.records import seconds
from mmdiffmask.grid import PatchGrid
from mmdiffmask.types import Boxes
from preprocessing import build, items

GRID = PatchGrid(6, 10)
SETTINGS = items.Settings(GRID, segments=3, sub_segments=1)
RED = (210, 20, 30)


def red_box(number: int) -> tuple[int, int, int, int]:
    """Where `picture` paints its red box: left, top, right, bottom."""
    return 10 + 3 * (number % 20), 12, 50 + 3 * (number % 20), 60


def picture(number: int, width: int = 160, height: int = 90) -> np.ndarray:
    """A textured RGB picture with one red box that moves from picture to picture."""
    rng = np.random.default_rng(number)
    small = rng.integers(60, 160, (6, 8, 1), np.uint8)
    image = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    image = np.repeat(image[..., None], 3, axis=2)
    left, top, right, bottom = red_box(number)
    image[top:bottom, left:right] = RED
    return image


def find_red(frames) -> Boxes:
    """One box around the red pixels of each frame that has some."""
    found = []
    for i, frame in enumerate(frames):
        red, green = frame[..., 0].astype(int), frame[..., 1].astype(int)
        rows, cols = np.nonzero(red - green > 100)
        if len(rows):
            found.append((i, cols.min(), rows.min(), cols.max() + 1, rows.max() + 1))
    table = np.array(found, np.float32).reshape(-1, 5)
    count = len(table)
    return Boxes(
        frame=table[:, 0].astype(np.int64),
        xyxy_px=table[:, 1:],
        kind=("object",) * count,
        label=("red box",) * count,
        score=np.ones(count, np.float32),
        track=np.full(count, -1),
        source=("pixels",) * count,
    )


@dataclasses.dataclass(frozen=True)
class EachFrame:
    """A function of the sampled frames alone (importable by name) as a finder."""

    function: Callable
    fps: None = None

    def settings(self) -> dict[str, str]:
        """The function's name."""
        return {"each_frame": f"{self.function.__module__}.{self.function.__name__}"}

    def __call__(self, clip: str, looks) -> Boxes:
        """See `items.Finder`."""
        return self.function([look.image for look in looks if look.is_sampled])

    def lost(self, clip, duration_s, size_px) -> list:
        """See `items.Finder`; it has no file."""
        return []


RED_FINDER = EachFrame(find_red)


@dataclasses.dataclass(frozen=True)
class Tracked:
    """The red boxes as bodies of one track; as objects in clips of val."""

    fps: None = None

    def settings(self) -> dict:
        return {"each_frame": "red boxes, tracked"}

    def __call__(self, clip, looks) -> Boxes:
        boxes = find_red([look.image for look in looks if look.is_sampled])
        if "_val" in clip:
            return boxes
        return dataclasses.replace(
            boxes,
            kind=("body",) * len(boxes),
            label=("person",) * len(boxes),
            track=np.full(len(boxes), 3),
        )

    def lost(self, clip, duration_s, size_px) -> list:
        return []


TRACKED = Tracked()


def from_patches(grid: PatchGrid, patches: np.ndarray) -> np.ndarray:
    """The picture that `grid.to_patches` cut."""
    size = grid.patch_px
    blocks = patches.reshape(grid.rows, grid.cols, size, size, 3)
    return blocks.transpose(0, 2, 1, 3, 4).reshape(grid.height_px, grid.width_px, 3)


def jpeg(image: np.ndarray) -> bytes:
    """JPEG bytes of an RGB picture."""
    return cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes()


def turned_jpeg(image: np.ndarray) -> bytes:
    """The same picture stored on its left side; its EXIF tag (6) sets it upright."""
    entry = struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0)  # orientation, one short: 6
    tiff = b"II*\0" + struct.pack("<IH", 8, 1) + entry + bytes(4)
    exif = b"Exif\0\0" + tiff
    lying = jpeg(np.ascontiguousarray(np.rot90(image)))
    return lying[:2] + b"\xff\xe1" + struct.pack(">H", 2 + len(exif)) + exif + lying[2:]


def tone(seconds: float, hz: float = 440.0, rate: int = 16_000) -> np.ndarray:
    """A sine at half of full scale, int16."""
    time = np.arange(int(seconds * rate)) / rate
    return (16_000 * np.sin(2 * np.pi * hz * time)).astype(np.int16)


def write_wav(path: pathlib.Path, samples: np.ndarray, rate: int = 16_000) -> None:
    """A mono sound file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.tobytes())


def write_mp3(path: pathlib.Path, samples: np.ndarray) -> None:
    """The same as an MP3."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mp3", rate=16_000)
        frame = av.AudioFrame.from_ndarray(samples[None], format="s16p", layout="mono")
        frame.rate = 16_000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def write_video(
    path: pathlib.Path,
    seconds: float,
    fps: int = 5,
    size: tuple[int, int] = (160, 90),
    has_sound: bool = False,
) -> None:
    """A video of `picture`s, the n-th frame showing picture n."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=fps)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.bit_rate = 2_000_000
        sound = container.add_stream("aac", rate=16_000) if has_sound else None
        for number in range(round(seconds * fps)):
            frame = av.VideoFrame.from_ndarray(picture(number, *size), "rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if sound is not None:
            samples = tone(seconds)[None]
            frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
            frame.rate = 16_000
            container.mux(sound.encode(frame))
            container.mux(sound.encode(None))


def question(number: int, video: str, **other) -> dict:
    """A line of TVQA."""
    row = {f"a{i}": f"answer {i}" for i in range(5)}
    row |= {"qid": number, "q": "What is red?", "answer_idx": number % 5}
    row |= {"vid_name": video, "show_name": "people", "ts": "2.1-3.9"}
    return row | other


def write_tvqa(raw: pathlib.Path, train: int, val: int, frames: int = 18) -> None:
    """Clips of `frames` pictures with two questions each, in TVQA's layout."""
    labels = ["video,action,shirt"]
    for split, count in {"train": train, "val": val}.items():
        rows = []
        for index in range(count):
            video = f"people_{split}{index:03d}"
            rows += [question(100 * index + i, video) for i in range(2)]
            folder = raw / "tvqa_frames/frames_hq/people_frames" / video
            folder.mkdir(parents=True)
            for number in range(frames):
                data = jpeg(picture(index + number))
                (folder / f"{number + 1:05d}.jpg").write_bytes(data)
            sound = raw / "tvqa_frames/audios/people/people_audios" / f"{video}.wav"
            write_wav(sound, tone(frames / 3, 200.0 + index))
            srt = raw / "tvqa_subtitles" / f"{video}.srt"
            srt.parent.mkdir(exist_ok=True)
            srt.write_text("1\n00:00:02,000 --> 00:00:04,000\n(Ann:)Caf\u00e9\nthen\n")
            labels.append(f"{video},wave,red")
        text = "".join(json.dumps(row) + "\n" for row in rows)
        path = raw / "tvqa_qa_release" / f"tvqa_{split}.jsonl"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    (raw / "labels.csv").write_text("\n".join(labels) + "\n")


def make(raw, out, **options):
    """Records of a tree that `write_tvqa` wrote, with its red boxes."""
    defaults = {"finder": RED_FINDER, "worker_count": 0, "bar": False}
    return build.build_tvqa(raw, out, SETTINGS, **defaults | options)


def contents(folder: pathlib.Path) -> dict[str, bytes]:
    """Relative path -> bytes of every file but what detectors took."""
    paths = sorted(folder.rglob("*"))
    files = (path for path in paths if path.is_file() and path.name != seconds.NAME)
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@dataclasses.dataclass(frozen=True)
class Stumbling:
    """Finds red, but in one clip it hangs or kills its process; marks each attempt."""

    clip: str
    how: str
    marks: str
    times: int = 99
    fps: None = None

    def settings(self) -> dict:
        """The same as `RED_FINDER`'s: the records are to be the same."""
        return RED_FINDER.settings()

    def __call__(self, clip: str, looks) -> Boxes:
        """See `items.Finder`."""
        if clip == self.clip:
            attempts = pathlib.Path(self.marks)
            with attempts.open("a") as file:
                file.write("x")
            if attempts.stat().st_size <= self.times:
                if self.how == "hang":
                    time.sleep(600)
                os.kill(os.getpid(), signal.SIGKILL)
        return RED_FINDER(clip, looks)

    def lost(self, clip, duration_s, size_px) -> list:
        """See `items.Finder`."""
        return []
