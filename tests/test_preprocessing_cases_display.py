"""Films that are shown otherwise than they are stored: mirrors, turns, aspects."""

import struct
from fractions import Fraction

import numpy as np
import pytest
from helpers import films

from preprocessing.media import decode, display

RED, GREEN, BLUE, WHITE = np.array(
    [(200, 0, 0), (0, 200, 0), (0, 0, 200), (200, 200, 200)]
)


def quarters(number):
    """Red, green / blue, white."""
    image = np.zeros((96, 160, 3), np.uint8)
    image[:48, :80], image[:48, 80:] = RED, GREEN
    image[48:, :80], image[48:, 80:] = BLUE, WHITE
    return image


def corners(image):
    """Which colours stand at left and right of the upper and of the lower half."""
    height, width = image.shape[:2]
    names = {"r": RED, "g": GREEN, "b": BLUE, "w": WHITE}
    found = ""
    for y in (height // 4, 3 * height // 4):
        for x in (width // 4, 3 * width // 4):
            away = {
                n: np.abs(image[y, x] - np.array(c)).sum() for n, c in names.items()
            }
            found += min(away, key=away.get)
    return found


def with_matrix(path, cells):
    """The MP4 file, to be shown under this linear part."""
    data = path.read_bytes()
    at = data.index(b"tkhd") + 44
    a, b, c, d = (round(cell * display.ONE) for cell in cells)
    matrix = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data[:at] + matrix + data[at + 36 :])
    return path


WAYS = {
    "as it is": ((1, 0, 0, 1), "rgbw"),
    "mirrored": ((-1, 0, 0, 1), "grwb"),
    "upside down": ((1, 0, 0, -1), "bwrg"),
    "half a turn": ((-1, 0, 0, -1), "wbgr"),
    "quarter turn": ((0, 1, -1, 0), "brwg"),
    "three quarters": ((0, -1, 1, 0), "gwrb"),
    "transposed": ((0, 1, 1, 0), "rbgw"),
    "transverse": ((0, -1, -1, 0), "wgbr"),
}


@pytest.fixture
def film(tmp_path):
    return films.write(tmp_path / "a.mp4", 1, codec="libx264", picture=quarters)


@pytest.mark.parametrize("name", WAYS)
def test_cases_display_matrices(film, name):
    cells, right = WAYS[name]
    footage = decode.open_footage(with_matrix(film, cells))
    (frame,) = footage.frames([0.5])
    assert frame.source_size_px == ((96, 160) if cells[0] == 0 else (160, 96))
    assert corners(frame.image) == right
    assert footage.problems == []


@pytest.mark.parametrize("cells", [(0, 0, 0, 0), (1, 0, 1, 1), (300, 0, 0, 1)])
def test_cases_a_matrix_without_sense_is_told(film, cells):
    footage = decode.open_footage(with_matrix(film, cells))
    (frame,) = footage.frames([0.5])
    assert frame.source_size_px == (160, 96)
    assert corners(frame.image) == "rgbw"
    ((_, told),) = footage.problems
    assert told.endswith("makes no sense: shown as stored")


def test_a_film_that_is_askew_is_turned_by_quarters(film):
    cells = (0.5, 0.866, -0.866, 0.5)
    footage = decode.open_footage(with_matrix(film, cells))
    (frame,) = footage.frames([0.5])
    assert corners(frame.image) == "brwg"
    assert footage.problems == [
        ("", "is to be shown askew: it is turned by whole quarters")
    ]


ASPECTS = {
    ".mp4": ((160, 192), Fraction(2), (320, 192), {"codec": "libx264"}),
    ".mkv": ((320, 192), Fraction(1, 2), (320, 384), {"codec": "libx264"}),
    ".avi": ((160, 192), Fraction(2), (320, 192), {"codec": "libx264"}),
    ".ts": ((720, 576), Fraction(64, 45), (1024, 576), {"codec": "mpeg2video"}),
    ".vob": ((720, 480), Fraction(8, 9), (720, 540), {"codec": "mpeg2video"}),
    ".dv": ((720, 576), Fraction(16, 15), (768, 576), {"codec": "dvvideo"}),
    ".mov": ((160, 192), Fraction(100), (160, 192), {"codec": "libx264"}),
    ".mpg": ((160, 192), Fraction(1281, 1280), (160, 192), {"codec": "mpeg4"}),
}


def disc(size, aspect):
    """A bright disc, as high as 5/8 of the picture, in pixels of an aspect."""
    x = (np.arange(size[0]) + 0.5 - size[0] / 2) * float(aspect)
    y = np.arange(size[1])[:, None] + 0.5 - size[1] / 2
    is_in = x**2 + y**2 < (size[1] * 5 / 16) ** 2
    return np.where(is_in[..., None], 220, 40).astype(np.uint8).repeat(3, 2)


@pytest.mark.parametrize("ending", ASPECTS)
def test_cases_pixels_that_are_not_square(tmp_path, ending):
    size, aspect, right, how = ASPECTS[ending]
    image = disc(size, aspect)
    how = how | {"size": size, "aspect": aspect, "picture": lambda number: image}
    path = films.write(tmp_path / f"a{ending}", 0.2, fps=25, **how)
    (frame,) = decode.open_footage(path).frames([0.1])
    assert frame.source_size_px == right
    is_disc = frame.image[..., 0] > 130
    if right != size:
        assert is_disc.any(0).sum() == pytest.approx(is_disc.any(1).sum(), abs=4)


def test_cases_the_container_knows_better_than_the_codec(tmp_path):
    how = {"codec": "libx264", "aspect": Fraction(2)}
    path = films.write(tmp_path / "a.mp4", 0.4, **how)
    data = path.read_bytes()
    at = data.index(b"pasp") + 4
    path.write_bytes(data[:at] + struct.pack(">II", 3, 2) + data[at + 8 :])
    (frame,) = decode.open_footage(path).frames([0.1])
    assert frame.source_size_px == (240, 96)


def test_cases_an_aspect_is_of_the_stored_picture_before_it_is_turned(tmp_path):
    how = {"codec": "libx264", "aspect": Fraction(2), "picture": quarters}
    path = films.write(tmp_path / "a.mp4", 0.4, **how)
    (frame,) = decode.open_footage(with_matrix(path, (0, 1, -1, 0))).frames([0.1])
    assert frame.source_size_px == (96, 320)
    assert corners(frame.image) == "brwg"


def test_cases_the_aspect_changes_from_part_to_part(tmp_path):
    parts = [
        films.write(tmp_path / f"{n}.mpg", 2, codec="mpeg2video", fps=25, aspect=aspect)
        for n, aspect in enumerate((Fraction(1), Fraction(4, 5)))
    ]
    footage = decode.open_footage(films.joined(tmp_path / "a.mpg", parts))
    sizes = [frame.source_size_px for frame in footage.frames([0.5, 1.5, 2.5, 3.5])]
    assert sizes == [(160, 96)] * 2 + [(160, 120)] * 2


def test_ratios_without_sense_are_told():
    image, told = disc((160, 96), 1), []
    for aspect in (Fraction(100), Fraction(1, 100), Fraction(-2), Fraction(0)):
        assert display.shown(image, aspect, None, told.append) is image
    assert told[0] == "says that its pixels are 100:1: they are taken for square"
    assert len(told) == 4
