"""Draws a clip's frames and says, from what remained visible, where everything is."""

import dataclasses
from collections.abc import Iterator, Sequence

import cv2
import numpy as np
from jaxtyping import UInt8

from preprocessing.toy import people, scenes, things, words, world

BLUR = 0.7  # standard deviation in pixels, over the whole picture
SHADOW = 0.5  # how much light a shadow leaves
JPEG_QUALITY = 85
MIN_VISIBLE_PX = 20  # less of a thing than this is no box
FACE_TRACKS = 100  # a face's track: its person's plus this
FREE = 255  # in the map of who is seen where: background


@dataclasses.dataclass(frozen=True)
class Box:
    """A true box: pixels half-open, around what is visible of the thing."""

    frame: int
    xyxy: tuple[int, int, int, int]
    label: str
    track: int
    visible: float


def frames(clip: world.Clip, seed: int) -> Iterator[tuple[np.ndarray, list[Box]]]:
    """Each frame (192, 320, 3) uint8 BGR with its boxes, frames counted from 1."""
    rng = world.generator(seed, clip.domain, clip.split, clip.index, purpose=1)
    width = words.WIDTH_PX + int(np.ceil(clip.pan[:, 0].max() - clip.pan[:, 0].min()))
    scenery = scenes.paint(clip.scene, width, clip.colours, rng)
    shades = [people.cloth(person, rng) for person in clip.people]
    objects = [things.draw(t.label, t.colour, t.size_px, rng) for t in clip.things]
    for index in range(words.FRAMES):
        picture = _background(scenery, clip.pan, index)
        yield _frame(clip, index, picture, shades, objects)


def encode(picture: np.ndarray) -> bytes:
    """The frame as JPEG.

    Raises:
      RuntimeError: if OpenCV cannot encode it.
    """
    done, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not done:
        raise RuntimeError(f"OpenCV cannot encode a JPEG of {picture.shape}")
    return data.tobytes()


def _background(scenery: np.ndarray, pan: np.ndarray, index: int) -> np.ndarray:
    offset = pan[index] - (pan[:, 0].min(), -scenes.MARGIN)
    room = np.array(scenery.shape[1::-1]) - (words.WIDTH_PX, words.HEIGHT_PX)
    left, top = np.clip(np.round(offset).astype(int), 0, room)
    return scenery[top : top + words.HEIGHT_PX, left : left + words.WIDTH_PX].copy()


def _frame(
    clip: world.Clip,
    index: int,
    picture: UInt8[np.ndarray, "h w 3"],
    shades: Sequence[np.ndarray],
    objects: Sequence[np.ndarray],
) -> tuple[np.ndarray, list[Box]]:
    """Pastes everything, the far first; remembers who is seen where."""
    seen = np.full(picture.shape[:2], FREE, np.uint8)
    size, faces = {}, []
    actors = [(p.ground_y, p.track, p) for p in clip.people]
    actors += [(t.depth_y, t.track, t) for t in clip.things]
    for _, track, actor in sorted(actors, key=lambda a: a[:2]):
        if isinstance(actor, world.Person):
            _prop(picture, actor, index)
            sprite = people.draw(actor, index, shades[track])
            if sprite.face is not None:
                faces.append((track, sprite))
        else:
            sprite = _thing_sprite(actor, index, objects[track - len(clip.people)])
            _shadow(picture, actor.x[index], actor.depth_y, 0.4 * actor.size_px)
        size[track] = _paste(picture, seen, sprite, track)
    picture = cv2.GaussianBlur(picture, (5, 5), BLUR)
    labels = {p.track: "person" for p in clip.people}
    labels |= {t.track: t.label for t in clip.things}
    boxes = [_box(index, seen, track, labels[track], size[track]) for track in labels]
    boxes += [_face_box(index, seen, track, sprite) for track, sprite in faces]
    return picture, [box for box in boxes if box is not None]


def _prop(
    picture: UInt8[np.ndarray, "h w 3"], person: world.Person, index: int
) -> None:
    """The shadow below a person and, if need be, the stool."""
    x, y, height = person.x[index], person.ground_y, person.height_px
    action = person.actions[index]
    reach = {"sitting": 0.22, "crouching": 0.24}.get(action, 0.17)
    _shadow(picture, x, y, reach * height)
    if action == "sitting":
        left, right = int(x - 0.1 * height), int(x + 0.1 * height)
        top, foot = int(y - 0.21 * height), int(y + 1)
        cv2.rectangle(picture, (left, top), (right, foot), (46, 66, 92), -1)
        cv2.rectangle(picture, (left, top), (right, top + 3), (80, 108, 140), -1)


def _shadow(
    picture: UInt8[np.ndarray, "h w 3"], x: float, y: float, reach: float
) -> None:
    """Halves the light in a flat ellipse."""
    half_w, half_h = max(4, int(reach)), max(3, int(0.22 * reach))
    left, top = int(x) - half_w, int(y) - half_h
    x0, y0 = max(left, 0), max(top, 0)
    x1 = min(left + 2 * half_w, picture.shape[1])
    y1 = min(top + 2 * half_h, picture.shape[0])
    if x1 <= x0 or y1 <= y0:
        return
    cols = (np.arange(x0, x1) + 0.5 - left - half_w) / half_w
    rows = (np.arange(y0, y1) + 0.5 - top - half_h) / half_h
    inside = cols[None] ** 2 + rows[:, None] ** 2 < 1
    region = picture[y0:y1, x0:x1]
    light = np.where(inside, np.uint8(255 * SHADOW), np.uint8(255))
    light = cv2.cvtColor(light, cv2.COLOR_GRAY2BGR)
    region[:] = cv2.multiply(region, light, scale=1 / 255)


def _thing_sprite(
    thing: world.Thing, index: int, pixels: UInt8[np.ndarray, "s s 4"]
) -> people.Sprite:
    size = thing.size_px
    left = thing.x[index] - size / 2
    top = thing.bottom_y[index] - size
    if thing.is_moving:
        pad = 10
        turn = cv2.getRotationMatrix2D(
            (size / 2, size / 2), float(thing.tilt[index]), 1
        )
        turn[:, 2] += pad
        whole = (size + 2 * pad, size + 2 * pad)
        pixels = cv2.warpAffine(pixels, turn, whole, flags=cv2.INTER_LINEAR)
        left, top = left - pad, top - pad
    return people.Sprite(pixels, round(left), round(top))


def _paste(
    picture: UInt8[np.ndarray, "h w 3"],
    seen: UInt8[np.ndarray, "h w"],
    sprite: people.Sprite,
    track: int,
) -> int:
    """Lays a sprite over the picture; its full size in pixels, seen or not."""
    height, width = sprite.pixels.shape[:2]
    x0, y0 = max(sprite.left, 0), max(sprite.top, 0)
    x1 = min(sprite.left + width, picture.shape[1])
    y1 = min(sprite.top + height, picture.shape[0])
    full = int(np.count_nonzero(sprite.pixels[:, :, 3] >= 128))
    if x1 <= x0 or y1 <= y0:
        return full
    part = sprite.pixels[
        y0 - sprite.top : y1 - sprite.top, x0 - sprite.left : x1 - sprite.left
    ]
    alpha = cv2.extractChannel(part, 3)
    region = picture[y0:y1, x0:x1]
    through = cv2.cvtColor(255 - alpha, cv2.COLOR_GRAY2BGR)
    behind = cv2.multiply(region, through, scale=1 / 255)
    region[:] = cv2.add(behind, cv2.cvtColor(part, cv2.COLOR_BGRA2BGR))
    seen[y0:y1, x0:x1][alpha >= 128] = track
    return full


def _box(
    index: int, seen: UInt8[np.ndarray, "h w"], track: int, label: str, full: int
) -> Box | None:
    mask = (seen == track).view(np.uint8)
    count = cv2.countNonZero(mask)
    if count < MIN_VISIBLE_PX:
        return None
    x, y, w, h = cv2.boundingRect(mask)
    share = round(count / max(full, 1), 3)
    return Box(index + 1, (x, y, x + w, y + h), label, track, share)


def _face_box(
    index: int, seen: UInt8[np.ndarray, "h w"], track: int, sprite: people.Sprite
) -> Box | None:
    """The face, where both eyes are inside the frame and nothing is before them."""
    for x, y in np.round(sprite.eyes).astype(int):
        inside = 0 <= x < seen.shape[1] and 0 <= y < seen.shape[0]
        if not inside or seen[y, x] != track:
            return None
    x0, y0, x1, y1 = (int(v) for v in np.round(sprite.face))
    part = seen[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)]
    share = round(float((part == track).sum()) / ((x1 - x0) * (y1 - y0)), 3)
    x0, x1 = (min(max(x, 0), seen.shape[1]) for x in (x0, x1))
    y0, y1 = (min(max(y, 0), seen.shape[0]) for y in (y0, y1))
    return Box(index + 1, (x0, y0, x1, y1), "face", FACE_TRACKS + track, share)
