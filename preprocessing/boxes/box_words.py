"""Words of boxes to their kinds: people, faces, and objects for all other words.

Words are compared without regard to case, blanks, underscores, hyphens and a number at
their end: "Person", "human_face" and "man 2" are of the lists below. Parts of a body
("human hand") are objects, and so is a head, which may be seen from behind.
"""

import re
from collections.abc import Collection, Mapping

PEOPLE = frozenset(
    """person persons people peoples human humans man men woman women boy boys girl
    girls child children kid kids baby babies infant infants toddler toddlers teenager
    teenagers adult adults male males female females lady ladies gentleman gentlemen guy
    guys pedestrian pedestrians passerby passersby rider riders cyclist cyclists
    bicyclist bicyclists motorcyclist motorcyclists""".split()
) | {"human being", "human beings", "human body", "human bodies"}
FACES = frozenset("face faces".split()) | {
    f"{owner} {face}"
    for owner in ("human", "person", "man", "woman", "boy", "girl", "child", "baby")
    for face in ("face", "faces")
}
SHOWN = 10  # words in a message


def plain(label: str) -> str:
    """A label as it is compared.

    >>> plain(" Human_Face "), plain("man 2"), plain("person-01")
    ('human face', 'man', 'person')
    """
    words = re.sub(r"[\W_]+", " ", label.casefold()).strip()
    return re.sub(r"\s*\d+$", "", words) or words


def kind_of(label: str, more: Collection[str] = ()) -> str:
    """ "body" for a person, "face" for a face, else "object".

    Args:
      label: of a box.
      more: labels of people beside the list's.
    """
    word = plain(label)
    if word in PEOPLE or word in map(plain, more):
        return "body"
    return "face" if word in FACES else "object"


def tell_objects(counts: Mapping[str, int]) -> list[str]:
    """A sentence about labels that became objects: the most frequent with counts."""
    if not counts:
        return []
    ranked = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    named = ", ".join(f"{label} ({count})" for label, count in ranked[:SHOWN])
    others = ranked[SHOWN:]
    if others:
        named += f" and {len(others)} more ({sum(count for _, count in others)})"
    total = sum(counts.values())
    boxes = (
        "1 box is an object by its" if total == 1 else f"{total} boxes are objects by"
    )
    label = "label" if total == 1 else "their labels"
    return [f"{boxes} {label}: {named}; --person-labels names those of people"]
