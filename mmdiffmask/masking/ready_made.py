"""Units from a user's own masks by example id: checked, then used as they are."""

from typing import Any

import numpy as np
from jaxtyping import Bool

from mmdiffmask.masking import budget, shapes, units
from mmdiffmask.masking.units import ClipUnits, Score, Settings, Units


def from_file(
    record: Any,
    is_patch_valid: Bool[np.ndarray, "t n"],
    score: Score | None,
    settings: Settings,
) -> ClipUnits:
    """Patches alone, with score 1 where the file of masking.masks hides them, else 0.

    The file hides exactly the budget of the settings, so drawing by score gives its
    mask as it is.

    Raises:
      ValueError: if a mask hides parts of cells, patches without picture, or another
        number than the budget.
    """
    table = (settings.tables or {})["masks"]
    hidden = table.of(record.example_id)
    check_mask(f"{table.where}: {record.example_id}", hidden, is_patch_valid, settings)
    return units.patches(record, is_patch_valid, lambda *_: hidden, settings)


def check_mask(
    where: str,
    hidden: Bool[np.ndarray, "t n"],
    is_patch_valid: Bool[np.ndarray, "t n"],
    settings: Settings,
) -> None:
    """Checks a mask that is used as it is.

    Raises:
      ValueError: as `from_file`, with `where`.
    """
    group = units.group_of_patch(settings.grid, settings.masking.mask_unit)
    shape = shapes.token_grid(settings)
    pairs = list(zip(hidden, is_patch_valid, strict=True))
    of_token = [shapes.over_tokens(h & valid, group, shape) for h, valid in pairs]
    shown = [shapes.over_tokens(~h & valid, group, shape) for h, valid in pairs]
    n_tokens = sum(
        int(shapes.over_tokens(valid, group, shape).sum()) for _, valid in pairs
    )
    count, masking = int(np.sum(of_token)), settings.masking
    needed = budget.most_tokens(masking.ratio, n_tokens)
    word = "cells" if masking.mask_unit == "cell" else "patches"
    if count == n_tokens - needed != needed:
        raise ValueError(
            f"{where}: hides {count} of {n_tokens} {word} where {needed} are to be; it"
            " seems turned round: True must mean hidden"
        )
    if (hidden & ~is_patch_valid).any():
        raise ValueError(
            f"{where}: hides {int((hidden & ~is_patch_valid).sum())} patches that show"
            " no picture; set those to False"
        )
    if (np.array(of_token) & np.array(shown)).any():
        raise ValueError(
            f"{where}: hides parts of 2x2 cells; hide whole ones, or set"
            " masking.mask_unit=patch"
        )
    if count != needed:
        raise ValueError(
            f"{where}: hides {count} of {n_tokens} {word}, but masking.ratio="
            f"{masking.ratio:g} hides {needed}; hide as many in every clip, or set"
            f" masking.ratio={count / max(n_tokens, 1):.4f} if all hide that share"
        )


FROM_FILE = Units("patch", from_file, is_box=False)
