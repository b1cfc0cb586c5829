"""One setting at a time: what each choice of Difference-Masking changes, on toy data.

Command:  mmdiffmask experiment tpu_configs/ablations.py --workdir runs/ablations
          mmdiffmask report runs/ablations
Hardware: 2 CPU cores; --workers 2 makes two runs at a time.
Hours:    about 4 minutes a row of which there are 29, and once the rendering
          (estimated from the demo, whose rows are as long).
Expect:   no number is promised: a row has one seed. Compare none of them before
          --seeds N gives the sd of their differences.

The boxes are the rendered ones, so that they carry labels: eight, six of them things.
`base` hides things by their likeness to three anchors; each row below changes what its
name says, and rows of other boxes the anchors with them. toy_labels.npz has what the
shipped start's span encoder makes of each label. Ratio, unit and padding change the
held-out masks too: the page says where losses do not compare.
"""

import dataclasses
import pathlib

from mmdiffmask import config, demo

VECTORS = pathlib.Path(__file__).with_name("toy_labels.npz")
ROWS = (
    "none: training.steps=0",
    "replay: terms.patches=0",
    "random: masking.strategy=random",
    "base: masking.strategy=difference-object",
    # K, and how several anchors weigh a label (Eq. 3; Table 3).
    "K 1: masking.anchors=kite",
    "K 2: masking.anchors=kite,cup",
    "K 6: masking.anchors=ball,crate,kite,cup,star,ladder",
    "centroid: masking.similarity=centroid",
    "anchors alone: masking.label_embeddings=none",
    # How much.
    "ratio 15 %: masking.ratio=0.15",
    "ratio 40 %: masking.ratio=0.4",
    "ratio 60 %: masking.ratio=0.6",
    # What is a unit.
    "patches: masking.mask_unit=patch",
    "joined tracks: masking.tracks=joined",
    "bodies: masking.strategy=difference; masking.anchors=person",
    "faces: masking.strategy=difference-face; masking.anchors=person",
    # Where it is hidden.
    "behind the tower: training.mask_site=vit_output",
    # Which of it.
    "scattered: masking.selection=patch",
    "top: masking.select=top",
    # How much of it boxes may take, and what follows.
    "box share 50 %: masking.box_share=0.5",
    "box share 80 %: masking.box_share=0.8",
    "no fill: masking.fill=none",
    # What is predicted.
    "first targets: training.target=initial",
    "learned targets: training.target_gradient=true",
    # When masks change.
    "fresh masks: masking.masks=per_epoch",
    # What else the released code does (tpu_configs/reference.py has all of it).
    "padding: masking.padding=counted",
    "empty slots: training.empty_slots=kept",
    "frames from 0: training.first_frame=0",
    "both streams: training.streams=text,audio",
)


def get_config() -> config.Experiment:
    """The demo with the toy set's true boxes, and these rows."""
    usual = demo.get_config()
    return dataclasses.replace(
        usual,
        name="ablations",
        data=dataclasses.replace(
            usual.data, toy=dataclasses.replace(usual.data.toy, boxes="true")
        ),
        masking=config.Masking(
            strategy="difference-object",
            held_out=("random", "difference-object"),
            anchors=("kite", "cup", "ball"),
            label_embeddings=str(VECTORS),
        ),
        rows=ROWS,
        report_clips=2,
    )
