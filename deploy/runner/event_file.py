"""The file of events, and the last event of a host; `events` says what stands in it."""

import contextlib
import json
import os
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path

from pyinfra.api.exceptions import PyinfraError

from deploy.runner.redact import masked_data

#: Names the file; see `cube.provision.pyinfra_run`, which reads it while pyinfra runs.
VARIABLE = "CUBE_EVENTS"


def destination() -> Path | None:
    """Return the file for events; None when nobody wants them."""
    name = os.environ.get(VARIABLE)
    return Path(name) if name else None


def emit(event: str, **fields: object) -> None:
    """Append one event to the file, if there is one."""
    if place := destination():
        with place.open("a") as file:
            file.write(json.dumps(masked_data({"event": event, **fields})) + "\n")


#: Hosts whose `exit` is written.
_ended: set[str] = set()


#: True in a greenlet whose failure is not the host's end.
_unreported: ContextVar[bool] = ContextVar("unreported", default=False)


@contextlib.contextmanager
def unreported() -> Iterator[None]:
    """Try something with a host that may fail: meanwhile this greenlet writes no last event."""
    token = _unreported.set(True)
    try:
        yield
    finally:
        _unreported.reset(token)


def exit_host(host: str, *, code: int = 0, cause: str = "") -> None:
    """Write the last event of a host; only the first call for a host counts."""
    if host not in _ended and not _unreported.get():
        _ended.add(host)
        emit("exit", host=host, code=code, cause=cause)


def cause_of(error: Exception) -> str:
    """Return why a host failed, in one line; a mistake of ours is named by its type."""
    expected = isinstance(error, PyinfraError | OSError)
    text = str(error) if expected else f"{type(error).__name__}: {error}"
    return " ".join(text.split()) or type(error).__name__
