"""What every benchmark is as a program: it tells plainly, and ends as `cube` does."""

from collections.abc import Callable

from cube import cli
from cube.errors import INTERRUPTED, CubeError


def ended(work: Callable[[], None]) -> int:
    """Do the work; return the exit code, an error told as a person reads it."""
    try:
        with cli.told("plain"):
            work()
    except CubeError as error:
        cli.tell_error(error, "plain")
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0
