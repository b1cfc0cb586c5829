"""Arguments of the commands that take a config, and the experiment that they name."""

import argparse
from collections.abc import Callable

from mmdiffmask import config

DEVICES = ("tpu", "gpu", "cpu")
Change = Callable[[config.Experiment], config.Experiment]


def add(
    command: argparse.ArgumentParser, folder: str, needs_folder: bool = True
) -> None:
    """Adds config, folder, records and settings.

    Args:
      command: to add them to.
      folder: what --workdir is.
      needs_folder: whether it must be named.
    """
    command.add_argument("config", help="a Python file with get_config()")
    command.add_argument("--workdir", required=needs_folder, help=folder)
    command.add_argument(
        "--data", help="records, or a folder of texts; absent: the config's own"
    )
    add_settings(command)


def add_settings(command: argparse.ArgumentParser) -> None:
    """Adds what changes a config: --model, --device and --set."""
    command.add_argument(
        "--model", help="sizes by name: tiny, small, base, large; --set comes after"
    )
    command.add_argument(
        "--device",
        choices=DEVICES,
        help="compute on this or stop; absent: on what jax finds",
    )
    text = "override a setting, e.g. masking.strategy=random; may be repeated"
    add_set(command, text)


def add_set(command: argparse.ArgumentParser, text: str) -> None:
    """Adds --set, with its help."""
    command.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help=text
    )


def load(arguments: argparse.Namespace) -> config.Experiment:
    """The config that the arguments name (none: `base`) with their settings.

    Raises:
      ValueError: for a config, a size or a setting that there is not.
    """
    from mmdiffmask import configure

    experiment = config.Experiment("base")
    if arguments.config is not None:
        experiment = configure.load(arguments.config)
    if arguments.model is not None:
        experiment = configure.resize(experiment, arguments.model)
    return configure.override(experiment, arguments.set)


def checked(
    arguments: argparse.Namespace, change: Change = lambda loaded: loaded
) -> config.Experiment:
    """The experiment that the arguments name, checked.

    Args:
      arguments: of a command that has those of `add`.
      change: of what was loaded, before its files are looked for.

    Raises:
      ValueError: for whatever a user can get wrong in them.
    """
    from mmdiffmask import build

    chosen = build.find_files(change(load(arguments)))
    build.check(chosen)
    if arguments.data is not None:
        build.verify(chosen, arguments.data)
        chosen = build.adopt(chosen, arguments.data, arguments.set)
    return chosen


def experiment(
    arguments: argparse.Namespace, change: Change = lambda loaded: loaded
) -> config.Experiment:
    """As `checked`, and takes the device for this process."""
    from mmdiffmask import devices

    chosen = checked(arguments, change)
    devices.use(arguments.device)
    return chosen
