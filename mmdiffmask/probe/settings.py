"""The settings that a run is probed with: its own, and what the user may change."""

import dataclasses
import json
import logging
from collections.abc import Sequence

from mmdiffmask import config, configure, finetune_start, inputs, weights
from mmdiffmask.inputs import Claim
from mmdiffmask.run_folder import RunFolder

TEXT_LENGTH = "data.text_length"  # a probe may ask for a longer one
TOKENIZER = "data.tokenizer"
OF_START = (inputs.START_RUN, "model.start_step")  # of fine-tuning, by --start


def of_run(
    run_dir: str,
    requested: config.Experiment,
    overrides: Sequence[str] = (),
    seed: int | None = None,
) -> config.Experiment:
    """The run's own settings, with the probe's and its text length from `requested`.

    Args:
      run_dir: of a run.
      requested: the config that the user names; only its `probe` counts.
      overrides: what the user set by hand: must agree with the run.
      seed: must be the run's; None: not asked for.

    Raises:
      ValueError: naming the first thing that was asked for and is not the run's, or
        that the run read and is not as it was.
    """
    folder = RunFolder(run_dir)
    owner, read = folder.owner(), folder.inputs()
    settings, wanted = dict(owner.settings), configure.settings(requested)
    if seed is not None and seed != owner.seed:
        raise ValueError(f"--seed {seed}: the run in {run_dir} has {owner.seed}")
    by_hand = {item.partition("=")[0].strip() for item in overrides}
    places, is_start = {}, wanted.get("model.start") is None
    if TEXT_LENGTH in by_hand:  # no parameter depends on it
        settings[TEXT_LENGTH] = wanted[TEXT_LENGTH]
    for name, value in json.loads(json.dumps(wanted)).items():
        must_agree = name in by_hand or (
            name.startswith("model.") and name not in OF_START
        )
        is_file = name in read and (value is not None or name not in by_hand)
        if name in inputs.FILES and is_file:
            places[name] = value if name in by_hand else None
        elif name == inputs.START and is_start and name in read and value is not None:
            _check_start(run_dir, value, read[name], _fingerprint(requested, owner))
        elif (
            must_agree and not name.startswith("probe.") and settings.get(name) != value
        ):
            raise ValueError(
                f"{name}={value}: the run in {run_dir} has {settings.get(name)}; name"
                " its own config"
            )
    experiment = folder.experiment(settings, places)
    return dataclasses.replace(experiment, probe=requested.probe)


def with_files_of(
    run_dir: str, requested: config.Experiment, overrides: Sequence[str] = ()
) -> config.Experiment:
    """The config with the run's start and tokenizer, where the user names no others.

    A config says where they lie on one machine, or looks for them there; the run knows
    which it was trained with.

    Raises:
      ValueError: if the tokenizer is not as it was, or gone.
    """
    folder = RunFolder(run_dir)
    owner = folder.owner()
    by_hand = {item.partition("=")[0].strip() for item in overrides}
    model, data = requested.model, requested.data
    for name in ("checkpoint", "start", "start_step"):
        setting = f"model.{name}"
        if setting not in by_hand and setting in owner.settings:
            model = dataclasses.replace(model, **{name: owner.settings[setting]})
    if TOKENIZER not in by_hand and TOKENIZER in owner.settings:
        is_known = TOKENIZER in owner.inputs
        path = folder.find(TOKENIZER) if is_known else owner.settings[TOKENIZER]
        data = dataclasses.replace(data, tokenizer=path)
    return dataclasses.replace(requested, model=model, data=data)


def _fingerprint(requested: config.Experiment, owner: Claim) -> str | None:
    """What the start that is asked for is known by; None where it is not there."""
    model = requested.model
    if not isinstance(model, config.Encoder):
        return weights.fingerprint_of(model.checkpoint)
    start, step = (owner.settings[name] for name in OF_START)
    try:
        return finetune_start.fingerprint(
            dataclasses.replace(model, start=start, start_step=step)
        )
    except ValueError:  # the run has its start with it
        return None


def _check_start(
    run_dir: str, value: str, entry: dict[str, str], now: str | None
) -> None:
    """The weights that are asked for against those that the run started from."""
    if now == entry["sha256"]:
        return
    begun = f"started from {entry['value']} ({inputs.short(entry['sha256'])})"
    if value != entry["value"]:
        now = "nothing" if now is None else inputs.short(now)
        raise ValueError(
            f"model.checkpoint={value}: holds {now}, but the run in {run_dir} {begun};"
            " name its own config"
        )
    if now is not None:  # the run has its start with it, so nothing is lost
        logging.warning(
            "%s: %s; what lies there now is something else (%s)",
            run_dir,
            begun,
            inputs.short(now),
        )
