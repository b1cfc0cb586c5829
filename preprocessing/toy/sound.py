"""A clip's script to its sound track, in which what happens is heard.

Steps go with walking, a crowd's noise with cheering, a tone of its own with each class
of object while it moves, and a voice speaks the subtitles: one pitch per speaker, one
run of vowels per word. Everything lies over the scene's own quiet noise.
"""

import functools
import io
import zlib

import av
import numpy as np

from preprocessing.toy import language, words, world

RATE_HZ = 22050
BIT_RATE = 48_000
SAMPLES = int(words.DURATION_S * RATE_HZ)
ALL_CLASSES = words.PLAIN_CLASSES + words.VEHICLES
PERIOD = 512  # samples of a vowel's table
VOWELS = ((730, 1090), (530, 1840), (270, 2290), (570, 840), (300, 870))  # formants, Hz


def track(clip: world.Clip, said: language.Talk, seed: int) -> np.ndarray:
    """(samples,) float32 in [-1, 1]."""
    rng = world.generator(seed, clip.domain, clip.split, clip.index, purpose=4)
    width = 4 * 2 ** list(words.SCENES).index(clip.scene)
    sound = 0.02 * _smooth(rng.standard_normal(SAMPLES, np.float32), width)
    for person in clip.people:
        sound += _deeds(person, rng)
    for thing in clip.things:
        if thing.is_moving:
            sound += _hum(thing)
    for line in said.lines:
        _add(sound, _speak(line), line.start_s)
    return np.clip(sound, -1, 1).astype(np.float32)


def _smooth(noise: np.ndarray, width: int) -> np.ndarray:
    """Noise averaged over `width` samples, unit variance."""
    total = np.cumsum(np.concatenate([np.zeros(1), noise, noise[:width]]))
    return (total[width : width + len(noise)] - total[: len(noise)]) / np.sqrt(width)


def _add(sound: np.ndarray, part: np.ndarray, start_s: float) -> None:
    start = int(start_s * RATE_HZ)
    stop = min(start + len(part), len(sound))
    sound[start:stop] += part[: max(0, stop - start)]


def _deeds(person: world.Person, rng: np.random.Generator) -> np.ndarray:
    """Steps of who walks, a crowd's noise while somebody cheers."""
    sound = np.zeros(SAMPLES)
    frame_s = 1 / words.FRAMES_PER_S
    time = np.arange(int(0.09 * RATE_HZ)) / RATE_HZ
    for frame, action in enumerate(person.actions):
        if action == "walking":
            for half in (0.0, 0.5):
                thud = np.sin(2 * np.pi * 85 * time) + 0.5 * rng.standard_normal(
                    len(time)
                )
                step = 0.3 * thud * np.exp(-55 * time)
                _add(sound, step, (frame + half) * frame_s)
        if action == "cheering":
            noise = rng.standard_normal(int(frame_s * RATE_HZ))
            claps = 0.4 + 0.6 * (np.arange(len(noise)) % 1800 < 500)
            _add(sound, 0.08 * np.diff(noise, prepend=0) * claps, frame * frame_s)
    return sound


def _hum(thing: world.Thing) -> np.ndarray:
    """The tone of the object's class, louder the faster it moves."""
    time = np.arange(SAMPLES) / RATE_HZ
    pitch = 220 * 2 ** (ALL_CLASSES.index(thing.label) / 6)
    speed = np.abs(np.gradient(thing.x)) / 25
    loud = np.interp(time * words.FRAMES_PER_S, np.arange(words.FRAMES), speed)
    tone = np.sin(2 * np.pi * pitch * time) + 0.4 * np.sin(4 * np.pi * pitch * time)
    return 0.1 * np.clip(loud, 0, 1) * tone


def _speak(line: language.Line) -> np.ndarray:
    """A voice: harmonics under formants that each word chooses by its letters."""
    pitch = 150.0
    if line.speaker is not None:
        pitch = 95.0 * 2 ** (words.NAMES.index(line.speaker) / 5)
    spoken = line.text.lower().strip(".?").split()
    length = int((line.end_s - line.start_s) / len(spoken) * RATE_HZ)
    return np.concatenate([_word(word, pitch, length) for word in spoken])


def _word(word: str, pitch: float, length: int) -> np.ndarray:
    number = zlib.crc32(word.encode())
    syllables = 1 + number % 3
    size = length // (syllables + 1)  # the last part is a pause
    parts = []
    for _ in range(syllables):
        number, which = divmod(number // 3, len(VOWELS))
        glide = pitch * (1 + 0.04 * (number % 5 - 2))
        place = (np.arange(size) * (PERIOD * glide / RATE_HZ)).astype(int) % PERIOD
        parts.append(_vowel(glide, which)[place] * np.hanning(size))
    sound = np.concatenate(parts)
    return np.pad(0.12 * sound, (0, max(0, length - len(sound))))


@functools.lru_cache(maxsize=1024)
def _vowel(pitch: float, which: int) -> np.ndarray:
    """One period of a vowel: its harmonics, loud near its two formants."""
    harmonic = np.arange(1, int(3000 / pitch))
    near = [np.exp(-(((harmonic * pitch - f) / 160) ** 2)) for f in VOWELS[which]]
    weight = 0.05 + near[0] + 0.6 * near[1]
    phase = 2 * np.pi * np.arange(PERIOD) / PERIOD
    return weight @ np.sin(np.outer(harmonic, phase))


def encode(sound: np.ndarray) -> bytes:
    """The track as MP3 (mono), the same bytes for the same samples."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp3", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("libmp3lame", rate=RATE_HZ, layout="mono")
        stream.bit_rate = BIT_RATE
        stream.options = {"compression_level": "9"}  # the fastest
        pcm = np.round(sound * 32767).astype(np.int16)[None]
        frame = av.AudioFrame.from_ndarray(pcm, format="s16p", layout="mono")
        frame.sample_rate = RATE_HZ
        frame.pts = 0
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    return file.getvalue()
