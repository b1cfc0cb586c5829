"""Numbers that were published, for orientation beside one's own: the paper's cells.

The paper's accuracies come from finetuning the whole network (its text says a frozen
one), so they stand beside those of a frozen probe, not against them.
"""

import dataclasses
from collections.abc import Mapping

TVQA, SOCIAL_IQ = "tvqa", "social_iq"  # kinds of records
DATA = {TVQA: "TVQA", SOCIAL_IQ: "Social-IQ"}
Cells = Mapping[str, tuple[float, float | None]]  # data -> mean, sd over 5 trials, in %


@dataclasses.dataclass(frozen=True)
class PaperTable:
    """A table of the paper, as far as it is about video.

    Attributes:
      number: of the table.
      title: what it compares.
      cells: strategy of the registry -> accuracies.
    """

    number: int
    title: str
    cells: Mapping[str, Cells]


def _cells(tvqa: float, social_iq: float, *sd: float) -> Cells:
    tvqa_sd, social_iq_sd = sd or (None, None)
    return {TVQA: (tvqa, tvqa_sd), SOCIAL_IQ: (social_iq, social_iq_sd)}


TABLES = (
    PaperTable(
        1,
        "strategies",
        {
            "random": _cells(73.75, 69.05, 0.31, 0.52),
            "mst": _cells(81.14, 68.37, 0.30, 0.49),
            "attnmask": _cells(81.57, 70.18, 0.12, 0.71),
            "difference": _cells(81.73, 71.37, 1.13, 0.58),
        },
    ),
    PaperTable(
        5,
        "boxes of faces and of bodies",
        {
            "random": _cells(73.75, 69.05),
            "difference-face": _cells(81.51, 69.13),
            "difference": _cells(81.73, 71.37),
        },
    ),
    PaperTable(
        6,
        "patches by CLIP's similarity to the anchor",
        {"file-scores": _cells(73.58, 68.75), "difference": _cells(81.73, 71.37)},
    ),
)
# Table 2: share of what is hidden that lies in boxes of persons, in %.
IN_BOXES: Mapping[str, Cells] = {
    "random": _cells(17.0, 15.0),
    "attnmask": _cells(38.0, 19.0),
    "difference": _cells(40.0, 90.0),
}


@dataclasses.dataclass(frozen=True)
class Best:
    """A published accuracy, in %: of which data, by which model, how, and where."""

    data: str
    accuracy: float
    model: str
    source: str


BEST = (
    Best("TVQA", 59.7, "FrozenBiLM, zero-shot", "arXiv 2206.08155"),
    Best("TVQA", 82.0, "FrozenBiLM, adapters trained", "arXiv 2206.08155"),
    Best(
        "Social-IQ 2.0",
        82.06,
        "finetuned",
        "source not traced",
    ),
)
