"""Mono samples to Reserve's log-mel pictures."""

import dataclasses
import functools

import numpy as np
from jaxtyping import Float, Int16

from preprocessing.media.segments import SUB_SEGMENT_S

# Decoded at 22,620 Hz but treated as 22,050: so 14/3 s give exactly 180 frames
# (reserve.md section 6.2).
DECODED_HZ = 22_620
MEL_HZ = 22_050
N_FFT, HOP, N_MELS, FRAMES = 1536, 588, 64, 60
MIN_HZ, MAX_HZ, LOG_OFFSET = 20.0, 11_025.0, 0.1


@dataclasses.dataclass(frozen=True)
class Track:
    """A clip's sound.

    Attributes:
      samples: mono at 22,620 Hz; sample 0 is the start of the file's pictures, if any.
      peak: what samples are divided by: their largest magnitude, at least 1.
      problem: why it ends early; "" if it does not.
      notes: what else is to be told of it.
    """

    samples: Int16[np.ndarray, " n"]
    peak: float
    problem: str = ""
    notes: tuple[str, ...] = ()

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return len(self.samples) / DECODED_HZ


def spectrogram(
    track: Track, start_s: float, sub_segments: int
) -> Float[np.ndarray, "s 60 65"]:
    """Log-mel picture of one segment; silence where it reaches past the track.

    Args:
      track: of the whole clip.
      start_s: of the segment; may be negative.
      sub_segments: s, of 14/9 s each.

    Returns:
      64 log-mel values and, last, the playback speed 1, as Reserve's encoder takes.
    """
    start = round(start_s * DECODED_HZ)
    length = round(sub_segments * SUB_SEGMENT_S * DECODED_HZ)
    wave = np.zeros(length, np.float32)
    low, high = max(start, 0), min(start + length, len(track.samples))
    if low < high:
        wave[low - start : high - start] = track.samples[low:high] / np.float32(
            track.peak
        )
    mel = log_mel(wave)[: sub_segments * FRAMES].reshape(sub_segments, FRAMES, N_MELS)
    return np.pad(mel, ((0, 0), (0, 0), (0, 1)), constant_values=1.0)


def silence(sub_segments: int) -> Float[np.ndarray, "s 60 65"]:
    """What stands where there is no sound: zeros and the playback speed 1."""
    empty = np.zeros((sub_segments, FRAMES, N_MELS + 1), np.float32)
    empty[..., -1] = 1.0
    return empty


def log_mel(wave: Float[np.ndarray, " n"]) -> Float[np.ndarray, "f 64"]:
    """log(mel + 0.1) - log(0.1) of a wave in [-1, 1]: 0 is silence.

    1,536-point symmetric Hann window, hop 588, centred frames with reflected ends,
    power. reserve.md section 6.2; a periodic window is off by 1e-2.
    """
    padded = np.pad(wave.astype(np.float64), N_FFT // 2, mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, N_FFT)[::HOP]
    spectrum = np.fft.rfft(windows * np.hanning(N_FFT), axis=1)
    power = spectrum.real**2 + spectrum.imag**2
    # Not a BLAS product: its last bits depend on the number of threads.
    mel = np.einsum("fb,mb->fm", power, mel_filterbank())
    return (np.log(mel + LOG_OFFSET) - np.log(LOG_OFFSET)).astype(np.float32)


@functools.lru_cache(maxsize=1)
def mel_filterbank() -> Float[np.ndarray, "64 769"]:
    """Triangles on Slaney's mel scale, each of area 1, from 20 to 11,025 Hz."""
    edges = _to_hz(np.linspace(_to_mel(MIN_HZ), _to_mel(MAX_HZ), N_MELS + 2))
    bins = np.linspace(0.0, MEL_HZ / 2, N_FFT // 2 + 1)
    low, centre, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising = (bins - low) / (centre - low)
    falling = (high - bins) / (high - centre)
    return np.maximum(0.0, np.minimum(rising, falling)) * (2.0 / (high - low))


# Slaney's scale: linear to 1,000 Hz (= 15 mel), then a factor 6.4 every 27 mel.
def _to_mel(hz: float) -> float:
    if hz < 1000.0:
        return hz * 3.0 / 200.0
    return 15.0 + 27.0 * np.log(hz / 1000.0) / np.log(6.4)


def _to_hz(mel: np.ndarray) -> np.ndarray:
    return np.where(
        mel < 15.0, mel * 200.0 / 3.0, 1000.0 * 6.4 ** ((mel - 15.0) / 27.0)
    )
