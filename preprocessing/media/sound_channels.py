"""Frames of any channels to frames whose channels can be mixed to mono."""

import ctypes

import av
import numpy as np
from jaxtyping import Float

# Loudspeakers that the resampler has weights for. Of two channels without names it
# takes the mean, as for left and right.
NAMED = frozenset(
    "mono stereo downmix 2.1 3.0 3.0(back) 4.0 quad quad(side) 3.1 5.0 5.0(side) 4.1"
    " 5.1 5.1(side) 6.0 6.0(front) 3.1.2 hexagonal 6.1 6.1(back) 6.1(front) 7.0"
    " 7.0(front) 7.1 7.1(wide) 7.1(wide-side) 5.1.2 5.1.2(back) octagonal cube 5.1.4"
    " 7.1.2 7.1.4 7.2.3 9.1.4 9.1.6 hexadecagonal 22.2".split()
) | {"1 channels", "2 channels"}
AMBISONIC = (
    "ambisonic"  # its first channel is what a microphone without direction hears
)
BASS = ("LFE", "LFE2")
PLANES = 7  # more planes are not read one by one: PyAV does not see where they end
FULL = {"u8": 2.0**7, "s16": 2.0**15, "s32": 2.0**31, "s64": 2.0**63}
DTYPES = {"u8": "u1", "s16": "i2", "s32": "i4", "s64": "i8", "flt": "f4", "dbl": "f8"}
ALL_OF, ONE_IN = 4, 64  # the first frames are measured, one in some of the others
MEASURED = 512  # samples of a frame
CANCELS = 0.1  # of what channels that have nothing in common would leave

_keep = ctypes.pythonapi.Py_IncRef
_keep.argtypes, _keep.restype = [ctypes.py_object], None


def name_no_order(context: av.AudioCodecContext) -> None:
    """Takes an order of the container's own from a decoder that is not open yet.

    FFmpeg's resampler asserts that it is none, and PyAV frees its names twice.
    """
    layout = context.layout
    if not _is_plain(layout.name):
        context.layout = f"{layout.nb_channels} channels"


def _is_plain(name: str) -> bool:
    """Whether a layout holds no memory of its own."""
    return name in NAMED or name.startswith(AMBISONIC) or "(" not in name


class Mixer:
    """Makes frames that a resampler mixes to mono; measures whether that cancels.

    Loudspeakers' names have weights; without names there is the mean.
    """

    def __init__(self, channel: int | None = None, one_in: int = ONE_IN):
        """Without frames.

        Args:
          channel: the only one that is heard, from 0; None = all.
          one_in: so many frames is measured.
        """
        self._channel = channel
        self._one_in = one_in
        self._graph: tuple[dict, av.filter.Graph] | None = None
        self._seen = 0
        self._power: Float[np.ndarray, " n"] = np.zeros(0)
        self._is_bass: list[bool] = []
        self._mean_power = 0.0

    def mixed(self, frame: av.AudioFrame, name: str) -> av.AudioFrame:
        """The frame itself if its channels have names, else a mono one.

        Args:
          frame: as decoded.
          name: of its layout.

        Raises:
          ValueError: if its samples cannot be read.
        """
        self._seen += 1
        is_measured = self._seen % self._one_in == 0 or self._seen <= ALL_OF
        is_named = self._channel is None and name in NAMED
        if is_named and (not is_measured or frame.layout.nb_channels == 1):
            return frame
        layout = frame.layout
        if not _is_plain(name):
            _keep(layout)  # its memory is the frame's, which frees it
        most = MEASURED if is_named else frame.samples
        samples = self._samples(frame, layout.nb_channels, most)
        if is_measured and len(samples) > 1 and not name.startswith(AMBISONIC):
            self._measure(samples, layout if is_named else None)
        if is_named:
            return frame
        if self._channel is not None:
            return _mono(samples[min(self._channel, len(samples) - 1)], frame)
        is_first = name.startswith(AMBISONIC)
        return _mono(samples[0] if is_first else samples.mean(0), frame)

    @property
    def has_several(self) -> bool:
        """Whether there was more than one channel to mix."""
        return len(self._power) > 1

    def loudest(self) -> int | None:
        """The loudest channel, from 0, if the mean of all cancels; else None."""
        weighed = np.where(self._is_bass, 0.0, self._power)
        count = max(len(self._is_bass) - sum(self._is_bass), 1)
        apart = weighed.sum() / count**2
        if not self._power.sum() or self._mean_power > CANCELS * apart:
            return None
        return int((weighed if apart else self._power).argmax())

    def _measure(
        self, samples: Float[np.ndarray, "n s"], layout: av.AudioLayout | None
    ) -> None:
        """Adds to the powers; `layout`: of loudspeakers' names, or None."""
        if len(samples) != len(self._power):  # a damaged frame may say another
            self._power, self._mean_power = np.zeros(len(samples)), 0.0
            names = [c.name for c in layout.channels] if layout else [""] * len(samples)
            self._is_bass = [name in BASS for name in names]
        samples = samples - samples.mean(1, keepdims=True)
        heard = samples[~np.array(self._is_bass)] if any(self._is_bass) else samples
        mean = heard.mean(0) if len(heard) else samples[0]
        self._power += np.einsum("ns,ns->n", samples, samples)
        self._mean_power += float(mean @ mean)

    def _samples(
        self, frame: av.AudioFrame, count: int, most: int
    ) -> Float[np.ndarray, "n s"]:
        """The first of each channel, in [-1, 1]."""
        if frame.format.is_planar and count > PLANES:
            frame = self._packed(frame)
        kind = frame.format.name
        kind = kind[:-1] if frame.format.is_planar else kind
        if kind not in DTYPES:
            raise ValueError(f"its samples are of a kind that is not read ({kind})")
        if frame.format.is_planar:
            planes = frame.planes[:count]
            rows = [np.frombuffer(p, DTYPES[kind], frame.samples) for p in planes]
            samples = np.stack([row[:most] for row in rows])
        else:
            size = frame.samples * count
            flat = np.frombuffer(frame.planes[0], DTYPES[kind], size)
            samples = np.ascontiguousarray(flat.reshape(frame.samples, count)[:most].T)
        samples = samples.astype(np.float32)
        if kind == "u8":
            samples -= FULL["u8"]
        return samples / np.float32(FULL.get(kind, 1.0))

    def _packed(self, frame: av.AudioFrame) -> av.AudioFrame:
        """The same samples in one plane.

        Raises:
          ValueError: if there are too many channels for that.
        """
        said = {
            "sample_rate": str(frame.sample_rate),
            "sample_fmt": frame.format.name,
            "channel_layout": frame.layout.name,
            "time_base": str(frame.time_base or f"1/{frame.sample_rate}"),
        }
        try:
            if not _is_plain(frame.layout.name):
                raise ValueError("its channels are in an order of their own")
            if self._graph is None or self._graph[0] != said:
                graph = av.filter.Graph()
                ends = [
                    graph.add("abuffer", **said),
                    graph.add("aformat", sample_fmts="flt"),
                    graph.add("abuffersink"),
                ]
                graph.link_nodes(*ends).configure()
                self._graph = said, graph
            self._graph[1].push(frame)
            return self._graph[1].pull()
        except av.FFmpegError as error:
            count = frame.layout.nb_channels
            raise ValueError(f"its {count} channels cannot be mixed") from error


def _mono(samples: Float[np.ndarray, " s"], like: av.AudioFrame) -> av.AudioFrame:
    mixed = np.ascontiguousarray(samples, np.float32)[None]
    frame = av.AudioFrame.from_ndarray(mixed, "flt", "mono")
    frame.rate, frame.pts = like.sample_rate, like.pts
    if like.time_base is not None:
        frame.time_base = like.time_base
    return frame
