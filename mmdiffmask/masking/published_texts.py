"""Published numbers of texts, for orientation beside one's own: the paper's cells.

They come from finetuning RoBERTa-base: macro F1 on the official test of ACL-ARC,
accuracy on that of ChemProt, in %. A row is known by its strategy, where words are
compared with the nearest of 20 anchors; CENTROID stands behind one that takes their
mean.
"""

from mmdiffmask.masking.published import Best, Cells, PaperTable

ACL_ARC, CHEMPROT = "acl_arc", "chemprot"
DATA = {ACL_ARC: "ACL-ARC", CHEMPROT: "ChemProt"}
CENTROID = "/centroid"
ANCHORS = 20  # of the paper's rows; its Figure 4 has other numbers, without a table
DGA = "dga"  # an objective, not a strategy


def _cells(acl_arc: float, chemprot: float, *sd: float) -> Cells:
    acl_arc_sd, chemprot_sd = sd or (None, None)
    return {ACL_ARC: (acl_arc, acl_arc_sd), CHEMPROT: (chemprot, chemprot_sd)}


TABLES = (
    PaperTable(
        1,
        "strategies",
        {
            "random-word": _cells(62.05, 81.90, 2.21, 0.51),
            "random-piece": _cells(63.74, 82.82, 1.97, 0.23),
            "mst": _cells(65.61, 83.17, 0.13, 0.17),
            "attnmask": _cells(66.30, 83.53, 1.67, 0.56),
            DGA: _cells(67.20, 70.67, 0.27, 0.30),
            "selective": _cells(69.06, 82.94, 1.80, 0.47),
            "entitybert": _cells(71.09, 82.04, 0.25, 0.40),
            "salient-span": _cells(71.94, 82.41, 0.58, 0.21),
            "difference-word": _cells(74.04, 83.94, 2.01, 0.39),
        },
    ),
    PaperTable(
        3,
        "the nearest anchor, or the mean of all",
        {
            f"difference-word{CENTROID}": _cells(69.02, 83.66),
            "difference-word": _cells(74.04, 83.94),
        },
    ),
    PaperTable(
        7,
        "pieces or words",
        {
            "difference-piece": _cells(65.01, 82.24),
            "difference-word": _cells(74.04, 83.94),
        },
    ),
)
_SOURCE = "arXiv 2004.10964, means of five seeds"
BEST = tuple(
    Best(data, accuracy, f"RoBERTa-base, finetuned, {how}", _SOURCE)
    for data, *values in (
        ("ACL-ARC (macro F1)", 63.0, 75.4, 67.4, 75.6),
        ("ChemProt (accuracy)", 81.9, 84.2, 82.6, 84.4),
    )
    for how, accuracy in zip(
        (
            "as it is",
            "pretrained on the domain's texts (DAPT)",
            "pretrained on the task's texts (TAPT)",
            "on both (DAPT, TAPT)",
        ),
        values,
        strict=True,
    )
)
