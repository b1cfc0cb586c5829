"""Labels of ChemProt: RoBERTa-base with the numbers of the paper's Table 4.

Command:  mmdiffmask finetune tpu_configs/chemprot.py --data FOLDER --workdir DIR
          trains hidden words and labels jointly; docs/finetuning.md has the second
          stage at Table 4's rate of 1e-6, and the sequential way.
Hardware: a TPU v2-8, or a GPU of 16 GB or more. Never run at this size.
Hours:    0.5 at 72 TFLOP/s (two fifths of a v2-8's peak), 4 at 8; estimated from the
          FLOP as docs/finetuning.md says.
Expect:   not known. RoBERTa-base's weights cannot be fetched here, so no score was
          measured; the paper's are in its Table 1.
"""

import dataclasses
import pathlib

from mmdiffmask import config, configure


def get_config() -> config.Experiment:
    """Those of ACL-ARC, 1222 updates, judged by accuracy."""
    other = configure.load(pathlib.Path(__file__).with_name("acl_arc.py"))
    training = dataclasses.replace(other.training, stop_on="accuracy")
    return dataclasses.replace(other, name="chemprot", training=training)
