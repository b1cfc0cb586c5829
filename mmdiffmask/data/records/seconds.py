"""seconds.json of a folder of records: what its detectors took.

It lies beside the manifest and is no part of what the records are known by: the same
records made twice have the same fingerprint. Folders of a version before, and records
whose boxes no detector found, lack it.
"""

import json
import os
import pathlib
from collections.abc import Mapping

NAME = "seconds.json"
DIGITS = 3  # of a second


def text(seconds: Mapping[str, float]) -> str:
    """The file's content.

    Args:
      seconds: detector ("tracks": what follows its boxes) -> processor seconds.
    """
    rounded = {name: round(value, DIGITS) for name, value in sorted(seconds.items())}
    return json.dumps(rounded, indent=1) + "\n"


def read(records_dir: str | os.PathLike) -> dict[str, float]:
    """Detector -> processor seconds; {} where they were not noted.

    Raises:
      ValueError: if the file is damaged.
    """
    path = pathlib.Path(records_dir, NAME)
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {str(name): float(value) for name, value in content.items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path}: is damaged ({error}); delete it: only the cost of detectors is"
            " not told then"
        ) from error
