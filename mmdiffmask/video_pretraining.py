"""Runs of video that learn hidden patches, and Reserve's terms, in one job."""

import dataclasses
import functools
from collections.abc import Callable

from mmdiffmask import attention as attentions
from mmdiffmask import config, effects, examples, masks, starts, video_family
from mmdiffmask.data import loader
from mmdiffmask.data.corpus import Corpus
from mmdiffmask.inputs import Claim
from mmdiffmask.masking import strategy_settings
from mmdiffmask.masking import summary as mask_summary
from mmdiffmask.run_folder import RunFolder
from mmdiffmask.training import job as jobs
from mmdiffmask.training import mesh as meshes
from mmdiffmask.training import schedules

MASK_CLIPS = 256  # of train, for the summary of what masks were made of


def prepare(
    experiment: config.Experiment, records: Corpus, owner: Claim
) -> jobs.Prepared:
    """A run on records, ready to train.

    Args:
      experiment: its settings.
      records: that it is trained on.
      owner: what the run is.

    Raises:
      ValueError: as `examples.choose` and `job`.
    """
    chosen = examples.choose(experiment, records)
    return jobs.Prepared(
        job=job(experiment, chosen, owner),
        corpus=records,
        clips={"pretraining": len(chosen.clips), "dev": len(chosen.dev_clips)},
        masks=lambda folder: _summarise_masks(experiment, chosen, folder, owner),
        fill_only=lambda: effects.kinds_without_boxes(
            experiment, chosen.entries, chosen.dev_clips
        ),
    )


def job(
    experiment: config.Experiment, chosen: examples.Chosen, owner: Claim
) -> jobs.Job:
    """A training run, ready for `loop.train`.

    Args:
      experiment: its settings.
      chosen: the records that serve it.
      owner: what the run is: its seed counts here, the whole goes to its folder.

    Raises:
      ValueError: if the records hold nothing to train on.
    """
    data, masking, training = experiment.data, experiment.masking, experiment.training
    effects.check_text_length(data, training)
    effects.check_ids(experiment, chosen)
    seed, source, clips, dev = owner.seed, chosen.source, chosen.clips, chosen.dev_clips
    batch_size = effects.fit_batch(training.batch_size, len(clips))
    training = schedules.in_steps(training, len(chosen.train), batch_size)
    experiment = dataclasses.replace(experiment, training=training)
    mesh = meshes.make(batch_size)
    add = examples.language(experiment, seed)
    dev_add = examples.language(experiment, examples.EVAL_SEED)
    dev_row = examples.make_row(data, masking, source, dev_add)
    noise = clips[: training.noise_clips]
    batches = functools.partial(loader.eval_batches, sharding=meshes.by_example(mesh))
    network = video_family.family(experiment)
    start = starts.make(experiment, dev_row, noise, seed)
    attention = attentions.of_start(experiment, chosen, start, owner)
    known = attention if masks.is_attended(experiment) else None
    row = examples.make_row(data, masking, source, add, seed, known)
    before, inside = video_family.draws(experiment, network)
    return jobs.Job(
        family=network,
        owner=owner,
        settings=training,
        shapes=starts.shapes(experiment),
        batch_size=batch_size,
        mesh=mesh,
        start=start,
        check_clips=lambda: effects.check_clips(experiment, chosen.entries, clips, dev),
        hold_batches=lambda: batches(row, noise, batch_size),
        train_batches=loader.batches_from(
            lambda i, epoch: row(chosen.train[i], epoch),
            len(chosen.train),
            batch_size,
            seed,
            stop_step=training.steps,
            sharding=meshes.by_example(mesh),
        ),
        example_ids=_ids_at(chosen, seed, batch_size),
        dev_batches=lambda: batches(dev_row, dev, batch_size),
        draw_masks=before,
        draw_live=inside,
        eval_masks=masks.drawn_when_needed(experiment, source, dev, attention),
        own_masks=masking.strategy,
        may_lack=starts.may_lack(experiment),
        prepare=lambda: attention.prepare(masks.attended(experiment, chosen)),
    )


def _ids_at(
    chosen: examples.Chosen, seed: int, batch_size: int
) -> Callable[[int], list[str]]:
    """Step, from 1 -> ids of the examples of its batch."""
    return lambda step: [
        chosen.entries[chosen.train[i]].example_id
        for i in loader.order_at(seed, step - 1, batch_size, len(chosen.train))
    ]


def _summarise_masks(
    experiment: config.Experiment,
    chosen: examples.Chosen,
    folder: RunFolder,
    owner: Claim,
) -> mask_summary.MaskSummary | None:
    """What the run's masks were made of, on the first clips of train.

    Of masks that follow the attention of each update: those of the first weights.
    """
    masking = experiment.masking
    if not experiment.is_hiding:
        return None
    name = masking.strategy
    boxes = strategy_settings.with_boxes(name, masking)
    batches = masks.bare_batches(
        experiment,
        chosen.source,
        chosen.clips[:MASK_CLIPS],
        (name, boxes),
        owner.seed,
        attentions.of_run(experiment, chosen.source, chosen.entries, folder, owner),
    )
    batch = batches[boxes]
    is_drawable = batch.unit_of_token >= 0  # all pictures, or padding too
    return mask_summary.summarise_masks(
        examples.patch_grid(experiment.data),
        masks.of_batch(experiment, name, batches[name], owner.seed).is_masked,
        is_drawable.reshape(batch.is_patch_valid.shape),
        batch.unit_of_token,
        batch.is_box_unit,
    )
