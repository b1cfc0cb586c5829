"""A decoded sound track and the stamps of its frames to sound at the right times."""

import dataclasses

import numpy as np
from jaxtyping import Float, Int16

NEAR_S = 0.05, 0.1  # encoders' delays and rounded times are less; at most
FRAMES = 1.5  # of them: decoders drop one at the start
WINDOW = 5  # frames: the middle one is believed if two of the others agree
FINE_S = 0.01  # what parts by more is put in its place, once the sound as a whole parts
DRIFT = 0.25  # of a frame: clocks part by less from one to the next; else it is a gap
MOST_DROPPED = 0.5  # stamps by which more would overlap are no times


@dataclasses.dataclass(frozen=True)
class Placed:
    """A track whose frames lie where their stamps say.

    Attributes:
      samples: the track.
      start_s: how much later its first frame is than its own stamp says, which may be
        wrong.
      is_moved: stamps and counts parted.
      note: what was done; "" if nothing.
    """

    samples: Int16[np.ndarray, " n"]
    start_s: float = 0.0
    is_moved: bool = False
    note: str = ""


def place(
    samples: Int16[np.ndarray, " n"],
    time_s: Float[np.ndarray, " k"],
    length_s: Float[np.ndarray, " k"],
    rate: int,
    longest_s: float,
) -> Placed:
    """The track with silence where frames are missing, without what overlaps.

    Left as it is if the sum of its frames and their stamps never part by more than
    encoders' delays.

    Args:
      samples: of all frames, one after another.
      time_s: of each frame by its stamp; NaN where it has none.
      length_s: of each frame.
      rate: of the samples.
      longest_s: where it is cut.
    """
    late_s, near_s = _late_s(time_s, length_s), _near_s(length_s)
    start_s, late_s = late_s[0], late_s - late_s[0]
    if np.abs(late_s).max() <= near_s:
        return Placed(samples, start_s if abs(start_s) > near_s else 0.0)
    usual_s = float(np.median(length_s))
    counted_s = np.cumsum(length_s) - length_s
    firsts, is_jump = _pieces(late_s, usual_s)
    cuts = np.append(np.round(counted_s[firsts] * rate), len(samples)).astype(int)
    starts = np.round((counted_s + late_s)[firsts] * rate).astype(int)
    limit = round(longest_s * rate)
    laid, silent, dropped, stretched = _laid(samples, cuts, starts, is_jump, limit)
    if dropped > MOST_DROPPED * len(samples):
        return Placed(samples, note="its time stamps are no times: it is not moved")
    changed = {"missing: silence there": silent, "overlap: left out": dropped}
    parts = [
        f"{n / rate:.1f} s {change}"
        for change, n in changed.items()
        if n > near_s * rate
    ]
    if stretched > near_s * rate:
        parts.append(f"its clock is off by {stretched / rate:.1f} s: it is stretched")
    note = "; ".join(parts) or f"is moved by up to {np.abs(late_s).max():.2f} s"
    return Placed(
        laid, start_s, is_moved=True, note=f"of its sound, by its time stamps: {note}"
    )


def is_even(time_s: Float[np.ndarray, " k"], length_s: Float[np.ndarray, " k"]) -> bool:
    """Whether no frame's stamp parts from the sum of those before it."""
    late_s = time_s - (np.cumsum(length_s) - length_s)
    late_s = late_s[np.isfinite(late_s)]
    return not len(late_s) or np.ptp(late_s) <= _near_s(length_s)


def _near_s(length_s: Float[np.ndarray, " k"]) -> float:
    least_s, most_s = NEAR_S
    return float(np.clip(FRAMES * np.median(length_s), least_s, most_s))


def _late_s(
    time_s: Float[np.ndarray, " k"], length_s: Float[np.ndarray, " k"]
) -> Float[np.ndarray, " k"]:
    """How much later than by counting each frame is; 0 if no stamp says it.

    Relative to the first frame's stamp. A time is believed if its neighbours agree; a
    frame without one follows that before it.
    """
    is_said = np.isfinite(time_s)
    if is_said.sum() < WINDOW // 2 + 1:
        return np.zeros(len(time_s))
    late_s = time_s - (np.cumsum(length_s) - length_s)
    said = np.flatnonzero(is_said)
    last = np.maximum(np.searchsorted(said, np.arange(len(time_s)), "right") - 1, 0)
    late_s = late_s[said] - (late_s[0] if is_said[0] else late_s[said[0]])
    padded = np.pad(late_s, WINDOW // 2, mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)
    middle_s = np.median(windows, axis=1)
    for end in (0, -1):  # have neighbours on one side alone
        if abs(late_s[end] - middle_s[end]) < NEAR_S[1]:
            middle_s[end] = late_s[end]
    return middle_s[last]


def _pieces(
    late_s: Float[np.ndarray, " k"], usual_s: float
) -> tuple[np.ndarray, np.ndarray]:
    """First frames of what is moved alike; whether it parts at once from that before.

    Stamps that tremble, as those of the time of arrival, are followed less closely.
    """
    steps = np.diff(late_s)
    tremble_s = max(-float(np.quantile(steps, 0.1)), 0.0)
    fine_s = float(np.clip(2 * tremble_s, FINE_S, NEAR_S[1]))
    jump_s = max(DRIFT * usual_s, 2 * tremble_s)
    firsts, is_jump, now_s = [0], [True], late_s[0]
    for frame in range(1, len(late_s)):
        is_sudden = abs(steps[frame - 1]) > jump_s
        if abs(late_s[frame] - now_s) > fine_s or is_sudden:
            firsts.append(frame)
            is_jump.append(is_sudden)
            now_s = late_s[frame]
    return np.array(firsts), np.array(is_jump)


def _laid(
    samples: Int16[np.ndarray, " n"],
    cuts: np.ndarray,
    starts: np.ndarray,
    is_jump: np.ndarray,
    limit: int,
) -> tuple[Int16[np.ndarray, " m"], int, int, int]:
    """Pieces at their places; how much is silent, left out, and stretched.

    What follows without a jump pulls the piece before it to its own start.
    """
    pieces: list[np.ndarray] = []
    end = silent = dropped = stretched = 0
    for place, start in enumerate(starts):
        piece = samples[cuts[place] : cuts[place + 1]]
        if place + 1 < len(starts) and not is_jump[place + 1]:
            room = max(starts[place + 1] - start, 0)
            stretched += room - len(piece)
            dropped += max(len(piece) - 2 * room, 0)
            piece = _stretched(piece, room)
        if start > end:
            gap = min(start, limit) - end
            pieces.append(np.zeros(gap, np.int16))
            silent, end = silent + gap, end + gap
        over = min(end - start, len(piece))
        dropped += over
        piece = piece[over:][: max(limit - end, 0)]
        pieces.append(piece)
        end += len(piece)
        if end >= limit:
            break
    return np.concatenate(pieces), silent, dropped, abs(stretched)


def _stretched(piece: Int16[np.ndarray, " n"], length: int) -> Int16[np.ndarray, " m"]:
    if not len(piece) or not length:
        return np.zeros(length, np.int16)
    places = np.linspace(0, len(piece) - 1, length)
    return np.round(np.interp(places, np.arange(len(piece)), piece)).astype(np.int16)
