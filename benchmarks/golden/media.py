"""Pictures to patches, sound to log-mel values, text to token ids."""

import json

import numpy as np

from benchmarks.golden import questions
from benchmarks.golden.folder import Golden
from mmdiffmask.models.reserve import towers
from preprocessing.media import audio

TOKENIZATIONS = "tokenizations.json"
# Seconds are cut in three clips of 60 frames, so many left out before each
# (reserve.md section 6.2).
LEFT_OUT = {"spec_tvqa": 0, "spec_video": 2}


def image(golden: Golden) -> dict:
    """`patches_NAME` of every `image_NAME`."""
    return {
        name.replace("image_", "patches_", 1): questions.patches(golden.grid, picture)
        for name, picture in golden.arrays("image").items()
        if name.startswith("image_")
    }


def spectrogram(golden: Golden) -> dict:
    """Log-mel values of the waves, with the playback speed 1, and the mel bands."""
    z = golden.arrays("spectrogram")
    arrays = {"mel_filterbank": audio.mel_filterbank()}
    for name in LEFT_OUT.keys() & z.keys():
        mel = audio.log_mel(z[name.replace("spec_", "wave_", 1)])
        mel = np.pad(mel, ((0, 0), (0, 1)), constant_values=1.0)
        step = towers.AUDIO_FRAMES + LEFT_OUT[name]
        starts = LEFT_OUT[name] + step * np.arange(len(z[name]))
        arrays[name] = np.stack([mel[i : i + towers.AUDIO_FRAMES] for i in starts])
    return arrays


def tokenizations(golden: Golden) -> dict:
    """Ids and decoded text of the strings of tokenizations.json."""
    entries = _entries(golden)
    ids = [golden.tokenizer.encode(entry["text"]) for entry in entries]
    return {
        "ids": np.array([str(row) for row in ids]),
        "decoded": np.array([repr(golden.tokenizer.decode(row)) for row in ids]),
    }


def expected_tokenizations(golden: Golden) -> dict:
    """What `tokenizations` must give; written out, as numpy cuts strings."""
    entries = _entries(golden)
    return {
        "ids": np.array([str(entry["ids"]) for entry in entries]),
        "decoded": np.array([repr(entry["decoded"]) for entry in entries]),
    }


def _entries(golden: Golden) -> list[dict]:
    path = golden.folder / TOKENIZATIONS
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path}: not JSON: {error}") from error
