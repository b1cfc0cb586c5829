"""What a run reads, known by content: checksums of records, files and first weights.

Paths only say where to look.
"""

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from etils import epath

from mmdiffmask import config
from mmdiffmask.data import text_corpus, tokenizer_files, tokenizers, vocabulary
from mmdiffmask.data.records import manifest

# Known by the records, by the first weights, and by those of a run among the latter.
RECORDS, START, START_RUN = "records", "model.checkpoint", "model.start"
REFERENCE = "masking.reference"  # by its weights too
NEEDED = (  # also after training
    "data.tokenizer",
    "masking.label_embeddings",
    "masking.scores",
    "masking.masks",
)
FILES = (*NEEDED, "reserve.words", "reserve.random_text")
FILES += ("masking.background", "masking.spans")
SHIPPED = {"data.tokenizer": tokenizers.TOY, "reserve.words": vocabulary.TOY}  # "toy"
# Values that are no paths; "model" is the tokenizer that lies with an encoder's
# weights, and is known by them.
NAMES = ("toy", "reserve", "small", "model", "minilm")

# Name of what is read -> its value ("value": a path or a shipped name) and "sha256".
Inputs = dict[str, dict[str, str]]


@dataclasses.dataclass(frozen=True)
class Claim:
    """What config.json holds: which run a folder belongs to.

    Attributes:
      settings: dotted name -> value (`configure.settings`).
      seed: of the run.
      inputs: what it reads; empty where that is not known (yet).
    """

    settings: dict[str, Any]
    seed: int
    inputs: Inputs = dataclasses.field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The content of config.json, as JSON gives it back."""
        content = {"seed": self.seed, "settings": self.settings, "inputs": self.inputs}
        return json.loads(json.dumps(content))

    @classmethod
    def from_json(cls, content: Any) -> "Claim":
        """The claim that `as_json` gave, or an earlier version's.

        That noted no inputs, or lacked some settings (`config.ADDED`).

        Raises:
          ValueError: naming the part that is not there.
        """
        content = content if isinstance(content, dict) else {}
        read = content.get("inputs", {})
        if not isinstance(content.get("seed"), int):
            raise ValueError("it has no seed")
        if not isinstance(content.get("settings"), dict):
            raise ValueError("it has no settings")
        if not isinstance(read, dict) or not all(map(_is_entry, read.values())):
            raise ValueError("its inputs have no value or no sha256")
        return cls(config.ADDED | content["settings"], content["seed"], read)


def _is_entry(entry: Any) -> bool:
    parts = ("value", "sha256")
    is_object = isinstance(entry, dict)
    return is_object and all(isinstance(entry.get(part), str) for part in parts)


@dataclasses.dataclass(frozen=True)
class Served:
    """What data.json holds, which is written last: which records served a run.

    Attributes:
      clips: "pretraining" and "dev" -> how many clips were trained on, and how many
        held-out scores are from.
      fill_only: kinds of held-out masks that hide no box in any of the latter.
    """

    clips: dict[str, int]
    fill_only: Sequence[str] = ()


def digest(
    name: str, value: str, settings: Mapping[str, Any] | None = None
) -> str | None:
    """The sha256 of the records' or a file's content; None where there is none.

    Args:
      name: RECORDS or one of FILES.
      value: where it lies, or the name of a shipped file.
      settings: of the run, which say whether it is one of texts; None: of video.
    """
    if settings is not None and settings.get("data.family") == "text":
        if name == RECORDS:
            return text_corpus.identity(settings, value)
        if name == NEEDED[0]:
            return None if value in NAMES else _tokenizer(value)
    if name == RECORDS:
        is_there = (pathlib.Path(value) / manifest.NAME).is_file()
        return manifest.identity(value) if is_there else None
    path = epath.Path(SHIPPED[name] if value == "toy" and name in SHIPPED else value)
    if name == NEEDED[0] and value == "reserve":
        path = tokenizers.find_reserve()
    if not path.is_file():
        return None
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _tokenizer(value: str) -> str | None:
    """What a tokenizer of texts does; None where there is none."""
    try:
        return tokenizer_files.load(value).fingerprint
    except ValueError:
        return None


def of_settings(settings: Mapping[str, Any], records_dir: str | None) -> Inputs:
    """What a run of these settings reads, but for the weights that it starts from.

    Without `records_dir` its records are not known.
    """
    values = {RECORDS: records_dir} | {name: settings.get(name) for name in FILES}
    digests = {n: digest(n, v, settings) for n, v in values.items() if v is not None}
    return {n: {"value": values[n], "sha256": d} for n, d in digests.items() if d}


def first_difference(before: Claim, now: Claim) -> str | None:
    """The first of seed, contents and settings; a file's path is no setting."""
    added = json.loads(json.dumps(config.ADDED))  # JSON has lists in place of tuples
    there, here = (added | c.as_json()["settings"] for c in (before, now))
    pairs = {"--seed": (before.seed, now.seed)}
    # Unknown content is compared by its path, as it always was.
    known = before.inputs.keys() & (
        now.inputs.keys()
        if now.inputs
        else {RECORDS, START, START_RUN, REFERENCE, *FILES}
    )
    pairs |= {n: (there.get(n), here.get(n)) for n in sorted(there | here)}
    for name, (old, new) in pairs.items():
        if name not in (*known, *config.UNCOUNTED) and old != new:
            return f"{name}={old}, not {new}"
    # Another run is another start too: the run is what a message is to name.
    for name in sorted(known & now.inputs.keys(), key=lambda n: (n != START_RUN, n)):
        old, new = before.inputs[name], now.inputs[name]
        if old["sha256"] != new["sha256"]:
            return (
                f"other content of {name}: {old['value']} ({short(old['sha256'])})"
                f" then, {new['value']} ({short(new['sha256'])}) now"
            )
    if not before.inputs.get(RECORDS) and RECORDS in now.inputs:
        return "records that its version did not note"
    return None


def short(sha256: str) -> str:
    """A checksum as messages write it."""
    return f"sha256 {sha256[:12]}..."
