"""An array and its reference to a verdict: how far apart they are and may be."""

import dataclasses
import fnmatch
import re

import numpy as np
import numpy.typing as npt

RMS_FACTOR, LEAST_COSINE = 1.5, 0.999  # of bfloat16, beside the reference's own
RELATIVE = 1e-5  # of the largest magnitude, where no tolerance is stated


@dataclasses.dataclass(frozen=True)
class Row:
    """The verdict on one array.

    Attributes:
      name: file/array.
      difference: the largest, infinite for another shape or kind; NaN never passes.
      tolerance: what is allowed.
      measure: what the difference is, where it is not the largest absolute one.
    """

    name: str
    difference: float
    tolerance: float
    measure: str = ""

    @property
    def is_over(self) -> bool:
        """Whether the array is beyond its tolerance."""
        return not self.difference <= self.tolerance


def rows(
    tolerances: dict,
    file: str,
    array: str,
    ours: npt.ArrayLike,
    theirs: np.ndarray,
    exact: np.ndarray | None = None,
) -> list[Row]:
    """Compares one array by the rule that the folder states for it.

    Args:
      tolerances: the content of tolerances.json.
      file: of the array, without suffix.
      array: its name there.
      ours: computed here; where a masked array is masked it is not compared.
      theirs: the reference's.
      exact: for bfloat16 arrays: the reference's float32 values.
    """
    name = f"{file}/{array}"
    entry = tolerance_of(tolerances, file, array)
    ours = ours if isinstance(ours, np.ma.MaskedArray) else np.asarray(ours)
    if ours.shape != theirs.shape:
        return [
            Row(name, np.inf, 0.0, measure=f"shape {ours.shape}, not {theirs.shape}")
        ]
    if theirs.dtype.kind in "US":
        return [
            Row(name, float(np.sum(ours != theirs)), 0.0, measure="unequal strings")
        ]
    if ours.dtype.kind == "b" and theirs.dtype.kind != "b":
        return [Row(name, np.inf, 0.0, measure="booleans, not numbers")]
    if entry is None:
        return [Row(name, largest(ours, theirs), _default(array, theirs))]
    if entry["atol"] is not None:
        return [Row(name, largest(ours, theirs), entry["atol"])]
    relative = re.search(r"relative (\S+)", entry.get("note", ""))
    if relative:
        difference = _relative(ours, theirs)
        return [Row(name, difference, float(relative[1]), measure="relative")]
    return _half(name, ours, theirs, exact)


def tolerance_of(tolerances: dict, file: str, array: str) -> dict | None:
    """What tolerances.json says of an array, by name or by pattern; None: nothing."""
    entry = tolerances["arrays"].get(file, {}).get(array)
    if entry is not None:
        return entry
    for pattern, entry in tolerances.get("not_from_jax", {}).items():
        if fnmatch.fnmatchcase(f"{file}/{array}", pattern):
            return entry
    return None


def _default(array: str, theirs: np.ndarray) -> float:
    """Bit patterns may be 1 apart, other integers and booleans not at all."""
    if any(part.endswith("_bits") for part in array.split("/")):
        return 1.0
    if theirs.dtype.kind in "iub":
        return 0.0
    finite = np.abs(theirs[np.isfinite(theirs)])
    return RELATIVE * float(finite.max(initial=0.0))


def largest(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The largest absolute difference; equal infinities and NaN do not differ."""
    ours, theirs = _plain(ours, theirs)
    with np.errstate(invalid="ignore"):
        difference = np.abs(ours - theirs)
    is_same = (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))
    return float(np.where(is_same, 0.0, difference).max(initial=0.0))


def _plain(ours: np.ndarray, theirs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both as float64; what is masked in ours is set to theirs."""
    theirs = theirs.astype(np.float64)
    if isinstance(ours, np.ma.MaskedArray):
        ours = np.where(np.ma.getmaskarray(ours), theirs, ours.data)
    return np.asarray(ours).astype(np.float64), theirs


def _relative(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The largest difference over the value's magnitude; 0 must be 0."""
    ours, theirs = _plain(ours, theirs)
    difference, size = np.abs(ours - theirs), np.abs(theirs)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(difference == 0, 0.0, difference / size)
    return float(ratio.max(initial=0.0))


def _half(
    name: str, ours: np.ndarray, theirs: np.ndarray, exact: np.ndarray | None
) -> list[Row]:
    """Whether bfloat16 is as near to float32 as the reference's own bfloat16."""
    if exact is None:
        return [Row(name, np.inf, 0.0, measure="no float32 array to compare with")]
    ours, exact = _plain(ours, exact)
    error = np.sqrt(np.mean((ours - exact) ** 2))
    allowed = np.sqrt(np.mean((theirs.astype(np.float64) - exact) ** 2))
    norms = np.linalg.norm(ours, axis=-1) * np.linalg.norm(exact, axis=-1)
    cosine = float(((ours * exact).sum(axis=-1) / norms).min())
    return [
        Row(
            name,
            float(error),
            RMS_FACTOR * float(allowed),
            measure="rms to float32",
        ),
        Row(
            name,
            1.0 - cosine,
            1.0 - LEAST_COSINE,
            measure="1 - cosine to float32",
        ),
    ]
