"""The work of a command to its exit status: a user's mistake is one sentence and 2."""

import sys
from collections.abc import Callable


def status(
    prog: str,
    work: Callable[[], int],
    mistakes: tuple[type[Exception], ...] = (ValueError,),
) -> int:
    """What `work` returns, or 2 with a sentence on stderr.

    Args:
      prog: how the command is called.
      work: does it; its exit status.
      mistakes: errors that a user can mend.
    """
    try:
        return work()
    except mistakes as error:
        print(f"{prog}: {error}", file=sys.stderr)
        return 2
