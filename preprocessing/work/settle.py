"""A finished clip to lists: questions without a record, and what was mended."""

from collections.abc import Collection, Sequence

from preprocessing.items import Clip, Losses, Skip

NO_FRAME = "no frame of its window can be shown"


def why_nothing(problems: Sequence[tuple[str, str]]) -> str:
    """Why a clip has no record, from the first of its footage's problems."""
    if not problems:
        return NO_FRAME
    name, reason = problems[0]
    return f"{NO_FRAME} ({name}{name and ': '}{reason})"


def tell(
    clip: Clip,
    wanted_ids: Sequence[str],
    done_ids: Collection[str],
    repaired: Sequence[Skip],
    losses: Losses,
    broken: str = "",
) -> None:
    """Tells of what has no record, and of what was mended for the records made.

    Args:
      clip: the work item; it has records.
      wanted_ids: of its questions or windows, as far as it was worked on.
      done_ids: those that have records.
      repaired: what was mended.
      losses: grows.
      broken: why it ended before its end, if it did.
    """
    missing = [example_id for example_id in wanted_ids if example_id not in done_ids]
    losses.repaired += [row for row in repaired if row.question not in missing]
    if clip.questions:
        losses.skipped += [
            Skip(clip.name, lost, file=clip.footage, reason=broken or NO_FRAME)
            for lost in missing
        ]
    if broken and not (clip.questions and missing):
        stay = f"{broken}; its {len(done_ids)} records before that stay"
        losses.repaired.append(Skip(clip.name, file=clip.footage, reason=stay))
        missing = missing[:-1]  # the last one was not looked at to its end
    if missing and not clip.questions:
        reason = f"{len(missing)} of {len(wanted_ids)} windows show no frame: left out"
        losses.repaired.append(Skip(clip.name, file=clip.footage, reason=reason))
