"""Fine-tuning of video on the records of tpu_configs/tiny.py.

As a program: `python tiny_clips.py RECORDS WORKDIR [NAME=VALUE ...]` fine-tunes there.
"""

import dataclasses
import pathlib
import sys

from mmdiffmask import configure, finetune, pretrain

CONFIG = pathlib.Path(__file__).parents[2] / "tpu_configs" / "tiny.py"
QUESTIONS = ("terms.classify=1", "terms.patches=0")
# Reserve's own term, so that a run of a few updates costs little.
REPLAY = ("terms.patches=0", "terms.stuff_to_span=1")


def experiment(*changes):
    """The tiny network learns questions, two updates."""
    plain = configure.load(CONFIG)
    training = dataclasses.replace(
        plain.training,
        steps=2,
        warmup_steps=1,
        eval_every=2,
        decay_to="zero",
    )
    plain = dataclasses.replace(plain, training=training)
    return configure.override(plain, [*QUESTIONS, *changes])


def pretrained(records, workdir):
    """A run of pretraining that makes no update."""
    run = configure.override(configure.load(CONFIG), ["training.steps=0", *REPLAY])
    pretrain.pretrain(run, str(records), str(workdir), 0)
    return workdir


def tune(records, workdir, *changes, seed=0):
    """Fine-tunes, or goes on; the content of its answers.json."""
    return finetune.run(experiment(*changes), str(records), str(workdir), seed)


if __name__ == "__main__":
    tune(*sys.argv[1:])
