"""A run that another one starts from: finished, and of the same kind of data."""

from mmdiffmask import run_files
from mmdiffmask.inputs import Claim
from mmdiffmask.run_folder import RunFolder

_NAMES = {"text": "texts", "video": "video"}


def owner_of(folder: RunFolder, family: str) -> Claim:
    """What a run is, from which one of this family can start.

    Args:
      folder: of the run.
      family: `Experiment.data.family` of what starts.

    Raises:
      ValueError: if there is no run, it is not finished, or it is of another family.
    """
    folder.check_run()
    owner = folder.owner()
    before = owner.settings["data.family"]
    if before != family:
        raise ValueError(
            f"{folder}: is a run of {_NAMES[before]}, and one of {_NAMES[family]} is"
            " needed; name such a run"
        )
    if not folder.has(run_files.DATA):
        raise ValueError(
            f"{folder}: is not finished, so nothing can start from it; go on with"
            " mmdiffmask pretrain there first"
        )
    return owner
