"""The records of a config's own data, the toy set: rendered, with boxes, once."""

import dataclasses
import pathlib

from mmdiffmask import config, examples, settings_json, versions, video_job

WORKERS = 2
RECORDS = "records"
OF_CLIPS = ("domain", "train_clips", "val_clips", "seed")
FAULTS = ("lost_boxes", "moved_boxes", "false_boxes")  # of true boxes; 0 is none


def folder_of(experiment: config.Experiment, root: pathlib.Path) -> pathlib.Path | None:
    """Where the config's own records lie, made or not; None if it has none.

    The name changes with the settings and with the number of the code that makes
    records.

    Raises:
      ValueError: if boxes that are detected are to have the faults of true ones.
    """
    data, toy = experiment.data, experiment.data.toy
    if toy is None:
        return None
    for name in _faults(toy):
        if toy.boxes != "true":
            raise ValueError(
                f"data.toy.{name}={getattr(toy, name)}: only true boxes have faults;"
                " set data.toy.boxes=true, or leave it out"
            )
    geometry = {name: getattr(data, name) for name in video_job.OF_RECORDS}
    key = settings_json.fingerprint(
        settings_json.to_json(toy), str(geometry), versions.number("records")
    )
    return root / "data" / f"toy-{toy.domain}-{key}" / RECORDS


def _faults(toy: config.Toy) -> dict[str, float]:
    """The faults that there are."""
    return {name: getattr(toy, name) for name in FAULTS if getattr(toy, name)}


def _without_faults(experiment: config.Experiment) -> config.Experiment:
    """The same clips with the true boxes as they were rendered."""
    toy = dataclasses.replace(experiment.data.toy, **dict.fromkeys(FAULTS, 0.0))
    return dataclasses.replace(
        experiment, data=dataclasses.replace(experiment.data, toy=toy)
    )


def make(experiment: config.Experiment, root: pathlib.Path) -> str:
    """The folder of the config's own records, under `root`/data; made if absent.

    Of a config of texts: the folder that it names, or the working one.

    Raises:
      ValueError: if the config has no data of its own, or as `folder_of`.
    """
    if isinstance(experiment.data, config.Texts):
        return experiment.data.folder or str(root)
    data, toy = experiment.data, experiment.data.toy
    records = folder_of(experiment, root)
    if records is None:
        raise ValueError(
            f"config {experiment.name} has no data of its own: name records, --data DIR"
        )
    # Only here and in the command line: the package works without preprocessing.
    from preprocessing import build as preprocessing
    from preprocessing import items
    from preprocessing import toy as rendering
    from preprocessing.boxes import finders
    from preprocessing.toy import box_faults

    # Clips whose boxes have faults are those of the true ones: rendered once.
    raw = folder_of(_without_faults(experiment), root).with_name("raw")
    clips = {name: getattr(toy, name) for name in OF_CLIPS}
    settings = items.Settings(
        examples.patch_grid(data),
        data.segments,
        data.sub_segments,
        boxed_clips=toy.boxed_clips,
    )
    options = {}
    if toy.boxes == "true":  # with tracks of their own; faces are among them
        boxes = raw / "boxes.jsonl"
        if _faults(toy):
            rendering.render(raw, workers=WORKERS, **clips)
            faults = box_faults.Faults(*(getattr(toy, name) for name in FAULTS))
            true, boxes = boxes, records.with_name("boxes_with_faults.jsonl")
            boxes.parent.mkdir(parents=True, exist_ok=True)
            box_faults.write(true, boxes, faults, toy.seed)
        options["finder"] = finders.People(
            bodies="file", boxes=str(boxes), faces="none", tracks="none"
        )
    preprocessing.build_toy(
        raw,
        records,
        settings,
        worker_count=WORKERS,
        **clips,
        **options,
    )
    return str(records)
