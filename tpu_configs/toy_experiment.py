"""Does hiding people help on people's labels? The toy set's experiment, its main part.

Command:  mmdiffmask experiment tpu_configs/toy_experiment.py --plan --seeds 8
          mmdiffmask experiment tpu_configs/toy_experiment.py --seeds 8 --workers 2 \
            --results results/toy_experiment
Hardware: 2 CPU cores; can be killed and gone on with anywhere.
Expect:   the contrasts below with intervals over seeds; docs/toy_results.md.

Continued pretraining from the shipped start on the domain `people`, whose 800 clips
have boxes of detectors; heads are fitted and scored by five folds of 3,000 held-out
clips, which no training saw.

Primary measure: accuracy of the joint read-out `clip`, mean of `action` and `shirt`.
Primary contrasts, the family of Holm's correction: difference against random cells,
against another clip's boxes, against replay. Contrasts change no run: further ones
(docs/toy_results.md) are read from the same results, with --set contrasts, and are not
part of that family.

Chosen before the first run, blind to these contrasts:
- Streams: text alone. The streams play no part in `replay`, so `replay - none` cannot
  choose among them; one costs half as many passes of the joint transformer as two.
- Updates, and how many seeds: by the pilot (tpu_configs/toy_pilot.py). It was not run
  yet; until then 150 updates and 8 seeds are meant.

CPU minutes, estimated from the demo's rows, of which 200 updates took 3.3 on one core
(2.0 for replay) and the read-outs of 720 clips and 750 questions 0.6: 4 a run, 5.6 at
300 updates. Eight seeds here 160, four of tpu_configs/toy_objects.py 90, every other
row with three faults of boxes (tpu_configs/toy_rows.py) 70, the pilot 45, rendering and
boxes of four data sets 95: 460 in all.
"""

import dataclasses

from mmdiffmask import config

STEPS = 150
PRIMARY = "{0}:mean(action, shirt) - {1}:mean(action, shirt)"


def get_config() -> config.Experiment:
    """Six rows on the people domain: 800 clips to train on, 3,000 held out."""
    return config.Experiment(
        name="toy-experiment",
        data=config.Data(
            toy=config.Toy(train_clips=800, val_clips=3000, boxed_clips=800),
            sub_segments=1,
            rows=6,
            cols=10,
            min_overlap=0.25,
            text_length=64,
        ),
        model=dataclasses.replace(
            config.MODELS["small"], vocabulary=512, checkpoint="small"
        ),
        masking=config.Masking(held_out=("random", "difference")),
        training=config.Training(
            steps=STEPS,
            batch_size=8,
            lr=3e-4,
            warmup_steps=STEPS // 10,
            streams=("text",),
            eval_every=STEPS,  # held-out masks at the start and the end alone
            eval_clips=64,
            save_every=STEPS,
            save_minutes=2.0,
            early_stopping=False,
        ),
        # As the demo, whose settings were measured (docs/toy_results.md).
        terms=config.Terms(
            patches=4.0,
            imgs_to_audio=1.0,
            text_to_audio=1.0,
            stuff_to_span=1.0,
            closed_span=1.0,
            pooled_cells=1.0,
        ),
        reserve=config.Reserve(clips=4, words="toy"),
        probe=config.Probe(
            read_outs=("clip", "match"),
            kinds=config.TOY_KINDS,
            folds=5,
            questions=600,
            eval_questions=600,
            floors=False,
            checkpoint="last",
        ),
        rows=(
            "none: training.steps=0",
            "replay: terms.patches=0",
            "random: masking.strategy=random",
            "difference: masking.strategy=difference",
            "other-clip: masking.strategy=other-clip",
            "attnmask: masking.strategy=attnmask",
        ),
        contrasts=tuple(
            PRIMARY.format("difference", other)
            for other in ("random", "other-clip", "replay")
        ),
    )
