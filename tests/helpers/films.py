"""Small films whose pictures and sound tell the second that they belong to."""

import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction

import av
import numpy as np
from av.stream import Disposition

SIZE, FPS, HZ = (160, 96), 5, 48_000


def tones(seconds: float, at_s: Sequence[float], length_s: float = 1.0) -> np.ndarray:
    """Mono int16 at 48 kHz: a tone of 1 kHz from each of these seconds, or silence."""
    time_s = np.arange(round(seconds * HZ)) / HZ
    is_loud = np.zeros(len(time_s), bool)
    for start_s in at_s:
        is_loud |= (start_s <= time_s) & (time_s < start_s + length_s)
    wave = 16_000 * np.sin(2 * np.pi * 1000 * time_s)
    return np.where(is_loud, wave, 0).astype(np.int16)


def grey(second: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """An even picture: the second is told by its level."""
    return np.full((size[1], size[0], 3), 20 + 5 * second, np.uint8)


def second_of(image: np.ndarray) -> int:
    """Which second's picture this is."""
    return round((float(image.mean()) - 20) / 5)


def write(
    path: pathlib.Path,
    seconds: float,
    sound: Iterable[np.ndarray] = (),
    *,
    begin_s: float = 0.0,
    first: int = 0,
    stamp_s: float = 0.0,
    fps: int = FPS,
    size: tuple[int, int] = SIZE,
    codec: str = "mpeg4",
    options: dict[str, str] | None = None,
    sound_codec: str = "aac",
    layout: str = "mono",
    default: int | None = None,
    aspect: Fraction | None = None,
    picture: Callable[[int], np.ndarray] | None = None,
    lost: Callable[[float], bool] = lambda time_s: False,
    form: str | None = None,
    settle: Callable[[av.container.OutputContainer], None] = lambda container: None,
    muxing: dict[str, str] | None = None,
) -> pathlib.Path:
    """Writes a film and gives its path.

    Args:
      path: its ending says the container, unless `form` does.
      seconds: where its pictures end.
      sound: a track each: samples at 48 kHz, (n,) or (channels, n).
      begin_s: where its pictures begin.
      first: pictures are `grey` of `first` + their second, unless `picture` makes them.
      stamp_s: what the stamps of its start say; a multiple of 1 / fps.
      fps: pictures a second.
      size: their width and height.
      codec: of the pictures.
      options: of their encoder, such as {"bf": "2"}.
      sound_codec: of all tracks.
      layout: of their channels.
      default: the sound track that is marked as default; None = as the muxer does.
      aspect: how much wider than high a pixel is.
      picture: makes the n-th picture.
      lost: whether the packet of sound at a time is missing.
      form: name of the container's format.
      settle: does more to the container before its header is written.
      muxing: options of the muxer.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format=form, options=muxing or {}) as container:
        shown = container.add_stream(codec, rate=fps, options=options or {})
        shown.width, shown.height, shown.pix_fmt = *size, "yuv420p"
        shown.codec_context.gop_size = fps
        if aspect is not None:
            shown.codec_context.sample_aspect_ratio = aspect
        waves = [np.atleast_2d(wave) for wave in sound]
        tracks = [container.add_stream(sound_codec, HZ, layout=layout) for _ in waves]
        for number, track in enumerate(tracks):
            if default is not None:
                track.disposition = Disposition(int(number == default))
        settle(container)
        picture = picture or (lambda number: grey(first + number // fps, size))
        numbers = range(round(begin_s * fps), round(seconds * fps))
        packets = list(_pictures(shown, numbers, fps, picture))
        for track, wave in zip(tracks, waves, strict=True):
            heard = encode_sound(track, wave, layout)
            packets += [packet for packet in heard if not lost(_decoded_s(packet))]
        for packet in sorted(packets, key=_decoded_s):
            shift = round(stamp_s / packet.time_base)
            packet.pts += shift
            packet.dts += shift
            container.mux(packet)
    return path


def joined(path: pathlib.Path, parts: Sequence[pathlib.Path]) -> pathlib.Path:
    """The bytes of files put together, which go."""
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    for part in parts:
        part.unlink()
    return path


def write_parts(
    path: pathlib.Path,
    lengths_s: Sequence[int],
    tones_s: Sequence[float],
    stamps_s: Sequence[float] = (),
    **how,
) -> pathlib.Path:
    """Films that go on one another, joined as bytes, each with stamps of its own.

    Args:
      path: of the whole.
      lengths_s: of the parts.
      tones_s: when tones begin in the whole; none over a joint.
      stamps_s: what the stamps of each part's start say; default: 0.
      **how: as in `write`.
    """
    parts, start = [], 0
    for number, length in enumerate(lengths_s):
        at_s = [time_s - start for time_s in tones_s if 0 <= time_s - start < length]
        part = path.with_name(f"part{number}{path.suffix}")
        stamp_s = stamps_s[number] if stamps_s else 0.0
        sound = [tones(length, at_s)]
        parts.append(write(part, length, sound, first=start, stamp_s=stamp_s, **how))
        start += length
    return joined(path, parts)


def encode_sound(
    track: av.AudioStream, wave: np.ndarray, layout: str = "mono"
) -> list[av.Packet]:
    """The packets of (channels, n) samples at 48 kHz."""
    packed = np.ascontiguousarray(wave.T).reshape(1, -1)
    frame = av.AudioFrame.from_ndarray(packed, "s16", layout)
    frame.rate, frame.pts, frame.time_base = HZ, 0, Fraction(1, HZ)
    kind = track.codec_context.format.name
    resampler = av.AudioResampler(format=kind, layout=layout, rate=HZ)
    pieces = [*resampler.resample(frame), *resampler.resample(None)]
    return [packet for piece in [*pieces, None] for packet in track.encode(piece)]


def _pictures(stream, numbers, fps, picture) -> Iterator[av.Packet]:
    for number in numbers:
        frame = av.VideoFrame.from_ndarray(picture(number), "rgb24")
        frame.pts, frame.time_base = number, Fraction(1, fps)
        yield from stream.encode(frame)
    yield from stream.encode(None)


def _decoded_s(packet: av.Packet) -> float:
    stamp = packet.pts if packet.dts is None else packet.dts
    return float(stamp * packet.time_base)
