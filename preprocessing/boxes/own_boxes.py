"""Lists what of a user's file of boxes is left out, and what became objects."""

import pathlib

from preprocessing.boxes import box_files, box_words, detectors, finders
from preprocessing.items import Skip
from preprocessing.readers import plans


def lost(finder: finders.People, plan: plans.Plan) -> tuple[Skip, ...]:
    """What of a user's boxes is left out or cut, a line for each reason.

    Raises:
      ValueError: if there are clips and boxes, but none of the boxes is of a clip.
    """
    if finder.boxes is None:
        return ()
    boxes = detectors.boxes_of(finder)
    names = [clip.name for every in plan.clips.values() for clip in every]
    reasons = box_files.tell(boxes.counts)
    strange, count = boxes.strangers(names)
    if strange and names and count == len(boxes):
        raise ValueError(
            f"{finder.boxes}: its videos are none of the {len(names)} clips: call them"
            f" as in --raw, such as {names[0]!r}, not {strange[0]!r}"
        )
    if strange:
        videos = "videos that are no clips, such as" if strange[1:] else "no clip:"
        reasons += box_files.tell({f"of {videos} {strange[0]!r}": count})
    missing = [clip for clip in names if clip not in boxes]
    if not len(boxes):
        reasons.append("holds no boxes that can be used")
    elif missing:
        such = f"{len(missing)} of {len(names)} clips, such as {missing[0]!r}"
        reasons.append(f"says nothing of {such}: no boxes there")
    name = pathlib.Path(finder.boxes).name
    return tuple(Skip(file=name, reason=reason) for reason in reasons)


def objects(finder: finders.People) -> tuple[Skip, ...]:
    """A line with the labels that are neither of people nor of faces, if any are."""
    if finder.boxes is None:
        return ()
    reasons = box_words.tell_objects(detectors.boxes_of(finder).objects)
    name = pathlib.Path(finder.boxes).name
    return tuple(Skip(file=name, reason=reason) for reason in reasons)
