"""Which strategies settings of masking name, and whether other settings reach them."""

import itertools
from collections.abc import Sequence

from mmdiffmask import config
from mmdiffmask.masking import strategies, tables


def held_out(masking: config.Masking) -> tuple[str, ...]:
    """The strategies whose held-out masks a run is scored on; its own is among them.

    Raises:
      ValueError: for an unknown name.
    """
    for name in masking.held_out:
        strategies.find(name, "masking.held_out")
    trained = strategies.find(masking.strategy).name
    return tuple(dict.fromkeys((*masking.held_out, trained)))


def is_live(masking: config.Masking) -> bool:
    """Whether masks are drawn in the update, from the attention of its weights."""
    return (
        masking.attention == "live"
        and strategies.find(masking.strategy).is_by_attention
    )


def check_live(maskings: Sequence[config.Masking]) -> None:
    """Checks that one of these rows follows the attention that some ask for.

    Raises:
      ValueError: if `masking.attention` has no effect on any of them.
    """
    if any(map(is_live, maskings)):
        return
    for masking in maskings:
        if masking.attention == "live":
            names = [
                row.name for row in strategies.REGISTRY.values() if row.is_by_attention
            ]
            raise ValueError(
                f"masking.attention=live: masking.strategy={masking.strategy} does not"
                f" go by attention; leave it out, or use {', '.join(names)}"
            )


def check_files(masking: config.Masking) -> None:
    """Checks that strategies which read a file are told which.

    Raises:
      ValueError: for an unknown strategy, or one without its file.
    """
    for name in held_out(masking):
        setting = strategies.find(name).file
        if setting is not None and tables.path_of(masking, setting) is None:
            raise ValueError(
                f"masking.strategy={name} reads a file: name it with"
                f" masking.{setting}=FILE.npz"
            )


def check_use(maskings: Sequence[config.Masking]) -> None:
    """Checks that a strategy of these rows reads each file that one of them names.

    Raises:
      ValueError: for a file that none reads.
    """
    read = {
        strategies.find(name).file for masking in maskings for name in held_out(masking)
    }
    for masking, setting in itertools.product(maskings, tables.NAMES):
        path = tables.path_of(masking, setting)
        if path is not None and setting not in read:
            reader = next(
                row.name for row in strategies.REGISTRY.values() if row.file == setting
            )
            raise ValueError(
                f"masking.{setting}={path}: masking.strategy={masking.strategy} reads"
                f" no such file; set masking.strategy={reader}, or leave it out"
            )


def with_boxes(name: str, masking: config.Masking) -> str:
    """The strategy whose boxes the masks of `name` are held against.

    Its own if it has boxes, else those of the first of masking.held_out that has some.
    """
    names = (name, *masking.held_out)
    return next((one for one in names if strategies.find(one).units.boxes), name)
