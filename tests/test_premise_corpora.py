"""Eq. 1, anchors and lifts on ChemProt and ACL-ARC, against notes made before.

The notes are ../shared/reference/LANGUAGE.md, sections 1 and 2.
"""

import pytest

from mmdiffmask import corpus_anchors, label_vectors
from mmdiffmask.text import bags, counting, recipes

ANCHORS = {
    "chemprot": """adrenoceptor inos microm microg cyclooxygenase tcdd antagonist
        inhibited akt agonist inhibitor inhibition inhibits caspase inhibitory histamine
        inhibiting pretreatment antagonists phosphorylation""",
    "acl_arc": """charniak coreference treebank lexical parsers grammars syntactic
        morphological corpus parsing semantic linguistic parser sentences grammar parse
        lin collins retrieval extraction""",
}
TIE = {"parsers", "chen"}  # both at rank 200 of the candidates
FIGURE_3 = {
    "chemprot": "activity inhibited inhibitor cells increased human antagonist",
    "acl_arc": "system model language information translation learning lexical"
    " semantic",
}
# Of the notes: by bag; and the standard error of "most like" - "at random".
ACCURACY = dict(zip(bags.NAMES, (0.58, 0.48, 0.42, 0.37, 0.61), strict=True))
F1 = dict(zip(bags.NAMES, (0.25, 0.27, 0.25, 0.30, 0.39), strict=True))
SE = {"chemprot": 0.014, "acl_arc": 0.017}


def files(shared, name, *splits):
    return [str(shared / "data" / name / f"{split}.jsonl") for split in splits]


def measure(paths, judged=()):
    """What `mmdiffmask anchors --text` shows."""
    if label_vectors.folder() is None:
        pytest.skip("MiniLM's package is not installed")
    return corpus_anchors.measure(paths, recipes.Sources(), judged=judged)


def check_lifts(name, report):
    by_anchors, by_chance = report.anchor_lifts
    assert by_anchors >= 2.3 and 0.95 <= by_chance <= 1.05
    assert report.by_anchors.lift(FIGURE_3[name].split()) >= 1.5


def distances(name, scores, noted):
    """How many of the notes' standard errors each bag lies from them."""
    return {bag: abs(scores[bag].value - x) / SE[name] for bag, x in noted.items()}


@pytest.mark.long
@pytest.mark.parametrize("name", ANCHORS)
def test_anchors_of_the_corpora_are_those_of_the_notes(shared, name):
    counted = counting.count(files(shared, name, "train"))
    chosen = recipes.choose(counted.words.counts, recipes.Sources())
    noted = ANCHORS[name].split()
    assert len(chosen) == 20
    assert [w for w in chosen if w not in TIE] == [w for w in noted if w not in TIE]


@pytest.mark.long
def test_eq_1_holds_on_chemprot(shared):
    """All five accuracies on test are the notes', and so is what the kin gain."""
    paths, judged = (files(shared, "chemprot", x) for x in ("train", "test"))
    report = measure(paths, judged)
    check_lifts("chemprot", report)
    premise = report.premise
    assert max(distances("chemprot", premise.accuracy, ACCURACY).values()) <= 2
    gain = premise.gains["accuracy", bags.TOP]
    assert gain.low > 0.1 and abs(gain.value - 0.16) <= 2 * SE["chemprot"]


@pytest.mark.long
def test_eq_1_cannot_be_seen_on_acl_arc(shared):
    """The notes' macro F1 over all rows, but for the words most like the anchors.

    These reach .290 here, more than two standard errors above the notes' .25: each fold
    takes the penalty that is best in folds inside it (docs/anchors.md), and macro F1
    hangs on it: .189 at 1e-2, .290 at 1e-5. So their gain over a random quarter is
    .048, not 0 as in the notes. But the least like gain as much, and Eq. 4's draw, by
    which masks go, gains nothing that can be seen.
    """
    report = measure(files(shared, "acl_arc", "train", "dev", "test"))
    check_lifts("acl_arc", report)
    premise = report.premise
    assert premise.is_folded and premise.texts == 1941
    far = distances("acl_arc", premise.f1, F1)
    assert far.pop(bags.TOP) > 2 and max(far.values()) <= 2
    top, least = (premise.f1[bag].value for bag in (bags.TOP, bags.LEAST))
    assert top == pytest.approx(0.290, abs=0.005)
    assert top - least < SE["acl_arc"]
    gain = premise.gains["macro F1", bags.DRAWN]
    assert gain.low < 0 < gain.high
