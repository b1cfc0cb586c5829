"""Classes of words, by which losses on hidden pieces are told apart."""

from collections.abc import Collection, Sequence

import numpy as np
from jaxtyping import Int

CLASSES = ("anchors", "content", "function")
ANCHORS, CONTENT, FUNCTION = range(len(CLASSES))
# English words of closed classes: articles, pronouns, prepositions, conjunctions,
# auxiliaries, and the like.
FUNCTION_WORDS = frozenset(
    """
    a an the this that these those each every either neither some any no none all both
    few many much more most less least several other another such same own
    i me my mine myself we us our ours ourselves you your yours yourself he him his
    himself she her hers herself it its itself they them their theirs themselves one
    who whom whose which what where when why how whether
    of in on at by for with from to into onto upon within without through throughout
    during between among amongst against about above below over under across along
    around behind before after since until till per via toward towards off out up down
    beyond beside besides despite except near
    and or but nor so yet if because although though while whereas as than then thus
    hence therefore however moreover also too not only just even still again ever never
    here there very rather quite
    am is are was were be been being have has had having do does did doing done can
    could will would shall should may might must ought cannot
    """.split()
)


def of_words(
    words: Sequence[str], anchors: Collection[str] = frozenset()
) -> Int[np.ndarray, " w"]:
    """The place of each word's class in `CLASSES`.

    Args:
      words: in lower case.
      anchors: of the corpus, in lower case.
    """
    return np.array(
        [
            ANCHORS if w in anchors else FUNCTION if w in FUNCTION_WORDS else CONTENT
            for w in words
        ],
        np.int8,
    ).reshape(-1)
