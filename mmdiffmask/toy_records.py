"""The records of a config's own data, the toy set: rendered, with boxes, once."""

import pathlib

from mmdiffmask import build, config, examples, settings_json, versions

WORKERS = 2
RECORDS = "records"


def folder_of(experiment: config.Experiment, root: pathlib.Path) -> pathlib.Path | None:
    """Where the config's own records lie, made or not; None if it has none.

    The name changes with the settings and with the number of the code that makes
    records.
    """
    data, toy = experiment.data, experiment.data.toy
    if toy is None:
        return None
    geometry = {name: getattr(data, name) for name in build.OF_RECORDS}
    key = settings_json.fingerprint(
        settings_json.to_json(toy), str(geometry), versions.number("records")
    )
    return root / "data" / f"toy-{toy.domain}-{key}" / RECORDS


def make(experiment: config.Experiment, root: pathlib.Path) -> str:
    """The folder of the config's own records, under `root`/data; made if absent.

    Raises:
      ValueError: if the config has no data of its own.
    """
    data, toy = experiment.data, experiment.data.toy
    records = folder_of(experiment, root)
    if records is None:
        raise ValueError(
            f"config {experiment.name} has no data of its own: name records, --data DIR"
        )
    # Only here and in the command line: the package works without preprocessing.
    from preprocessing import build as preprocessing
    from preprocessing import items
    from preprocessing.boxes import finders

    raw = records.with_name("raw")
    settings = items.Settings(
        examples.patch_grid(data),
        data.segments,
        data.sub_segments,
        boxed_clips=toy.boxed_clips,
    )
    options = {}
    if toy.boxes == "true":  # with tracks of their own; faces are among them
        true = str(raw / "boxes.jsonl")
        options["finder"] = finders.People(
            bodies="file", boxes=true, faces="none", tracks="none"
        )
    preprocessing.build_toy(
        raw,
        records,
        settings,
        worker_count=WORKERS,
        domain=toy.domain,
        train_clips=toy.train_clips,
        val_clips=toy.val_clips,
        seed=toy.seed,
        **options,
    )
    return str(records)
