"""Names of a folder's arrays to the functions that compute them, and to verdicts."""

import fnmatch
import functools
from collections.abc import Iterator

import numpy as np

from benchmarks.golden import (
    checkpoints,
    compare,
    encoders,
    joint,
    media,
    pretraining,
    questions,
    updates,
)
from benchmarks.golden.folder import Golden

# File -> function that gives its arrays by name.
FILES = {
    function.__name__: function
    for function in (
        encoders.rotary,
        encoders.misc,
        encoders.vision,
        encoders.vision_bf16,
        encoders.audio,
        encoders.span,
        joint.joint_full,
        joint.joint_text,
        joint.joint_text_nosegment,
        joint.joint_text_vision,
        joint.embed_video,
        media.image,
        media.spectrogram,
        media.tokenizations,
        pretraining.contrastive_loss,
        pretraining.pretrain,
        questions.tvqa,
        updates.opt_parts,
        updates.opt_step_finetune,
        updates.opt_step_finetune_bf16,
        updates.opt_step_pretrain,
        checkpoints.toy_with_optimizer,
    )
} | {file: functools.partial(updates.toy, file=file) for file in updates.TOYS}
# Arrays that are given, and those that have no counterpart here on purpose.
INPUTS = {
    "audio": ("audio_clips",),
    "contrastive_loss": ("*/x", "*/y", "*/y_extra", "*/_sources"),
    "embed_video": ("images", "audio_clips", "tokens", "subseg_idxs"),
    "image": ("image_*",),
    "joint_full": (
        "tokens",
        "token_segment_idx",
        "audio_pointers",
        "vision_input",
        "audio_spans",
        "video_src_idx",
        "padding_len",
    ),
    "joint_text": ("tokens", "token_segment_idx"),
    "misc": ("unit_normalize_in", "gelu_in", "cast_in_f32", "ohp_*"),
    "opt_parts": ("sched_steps", "nu_in"),
    "opt_toy_*": ("param0/*", "grad[0-9]*"),
    "pretrain": ("batch/*",),
    "rotary": (
        "mm_segment_idx",
        "mm_token_idx",
        "mm_h",
        "mm_w",
        "sin_in_*",
        "apply_in_*",
    ),
    "span": ("text_spans", "tokens", "label_space_options"),
    "spectrogram": ("wave_*",),
    "toy_with_optimizer": ("params_before_save/*",),
    "tvqa": ("proj_kernel", "decoded_*"),
    "video_tokens": ("*",),
    "vision": ("images",),
}


def is_input(file: str, array: str) -> bool:
    """Whether an array is given, so that there is nothing to compare."""
    return any(
        fnmatch.fnmatchcase(file, files)
        and any(fnmatch.fnmatchcase(array, pattern) for pattern in patterns)
        for files, patterns in INPUTS.items()
    )


def names(golden: Golden) -> list[str]:
    """The files of a folder that hold arrays."""
    listed = golden.names()
    if (golden.folder / media.TOKENIZATIONS).is_file():
        listed.append("tokenizations")
    return listed


def expected(golden: Golden, file: str) -> dict[str, np.ndarray]:
    """The arrays of a file that are no inputs."""
    if file == "tokenizations":
        return media.expected_tokenizations(golden)
    arrays = golden.arrays(file)
    return {name: x for name, x in arrays.items() if not is_input(file, name)}


class Checker:
    """Compares the arrays of a folder, computing each file once."""

    def __init__(self, golden: Golden):
        self.golden = golden
        self.computed = functools.cache(self._compute)
        self.expected = functools.cache(lambda file: expected(golden, file))

    def _compute(self, file: str) -> dict:
        if file not in FILES:
            return {}
        try:
            return FILES[file](self.golden)
        except KeyError as error:
            raise ValueError(
                f"{self.golden.folder}: {file} lacks what its outputs are computed"
                f" from: {error!r}"
            ) from error

    def array(self, file: str, array: str) -> list[compare.Row]:
        """The verdict on one array; none if nothing here computes it."""
        if array not in self.computed(file):
            return []
        exact = None
        if file == "vision_bf16":
            exact = self.golden.arrays("vision").get(array.removesuffix("_bf16params"))
        return compare.rows(
            self.golden.tolerances,
            file,
            array,
            self.computed(file)[array],
            self.expected(file)[array],
            exact,
        )

    def all(self) -> Iterator[tuple[str, list[compare.Row]]]:
        """(file/array, verdict) of every array of the folder that is no input."""
        for file in names(self.golden):
            for array in self.expected(file):
                yield f"{file}/{array}", self.array(file, array)
