"""What happens, told once: steps, messages and operations go as events to every listener.

The modules of cube only call `step`, `info`, `warning`, `status`, `operation` and `debug`;
who listens (a terminal, a log file, a JSON stream, the timeline of a build) is decided in
`cube.runtime.progress` and `cube.cli.command_line`.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from cube.runtime.redact import masked, masked_data

Kind = Literal["step", "done", "failed", "info", "warning", "status", "operation", "debug"]


@dataclass(frozen=True, kw_only=True)
class Event:
    """One thing that happened.

    Args:
        kind: `step` opens a step and `done` or `failed` closes it; `status` says what is
            waited for now; `operation` is one pyinfra operation; `debug` is for the log file.
        text: one line (a `debug` event may have several).
        depth: how many steps stand open around it.
        seconds: how long it took, for `done`, `failed` and `operation`.
        data: what a program that reads the JSON stream may want.
        at: when, in UTC.
        thread: name of the thread that tells it; what several tell runs side by side.
    """

    kind: Kind
    text: str
    depth: int = 0
    seconds: float = 0.0
    data: dict[str, Any] = field(default_factory=dict)
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    thread: str = field(default_factory=lambda: threading.current_thread().name)


Listener = Callable[[Event], None]

_listeners: list[Listener] = []
_open_steps: list[str] = []
_telling = threading.RLock()


class _Apart(threading.local):
    """What a thread that tells apart has of its own."""

    listener: Listener | None = None

    def __init__(self) -> None:
        self.open_steps: list[str] = []


_apart = _Apart()


def emit(
    kind: Kind, text: str, data: dict[str, object] | None = None, *, seconds: float = 0.0
) -> None:
    """Tell every listener; a thread that tells apart tells its own only.

    No login that is in a URL of the text or of the data is told.
    """
    depth = len(_steps())
    event = Event(
        kind=kind, text=masked(text), depth=depth, seconds=seconds, data=masked_data(data or {})
    )
    if _apart.listener:
        _apart.listener(event)
    else:
        tell(event)


def tell(event: Event) -> None:
    """Pass an event to every listener, one at a time: threads must not mix their lines."""
    with _telling:
        for listener in list(_listeners):
            listener(event)


def _steps() -> list[str]:
    return _apart.open_steps if _apart.listener else _open_steps


@contextlib.contextmanager
def apart(listener: Listener) -> Iterator[None]:
    """Pass what this thread tells to `listener` alone while the block runs, with steps of its own.

    It decides what of it is for everybody, by `tell`.
    """
    before = _apart.listener, _apart.open_steps
    _apart.listener, _apart.open_steps = listener, []
    try:
        yield
    finally:
        _apart.listener, _apart.open_steps = before


@contextlib.contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Pass every event to `listener` while the block runs."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


@contextlib.contextmanager
def step(name: str, **data: object) -> Iterator[None]:
    """A part of the work that has a name and takes time; steps nest.

    Args:
        name: a phrase in the present participle, "Compressing the image".
        data: facts for the JSON stream, such as ``stage=5``.
    """
    emit("step", name, data)
    steps = _steps()
    steps.append(name)
    started = time.monotonic()
    outcome: Kind = "failed"
    try:
        yield
        outcome = "done"
    finally:
        steps.pop()
        emit(outcome, name, data, seconds=time.monotonic() - started)


def info(text: str, **data: object) -> None:
    """Say something a person wants to know."""
    emit("info", text, data)


def reused(text: str, entry: dict[str, object]) -> None:
    """Say that something is taken over from an earlier build.

    Args:
        text: for a person.
        entry: `name`, `key`, `created`, `size_bytes`, and `seconds`: what it took when it was made.
    """
    emit("info", text, {"link": entry["name"], "reused": entry})


def warning(text: str, **data: object) -> None:
    """Say something a person should act on, though the work goes on."""
    emit("warning", text, data)


def status(text: str, **data: object) -> None:
    """Say what is waited for; a terminal shows the newest only."""
    emit("status", text, data)


def operation(text: str, *, seconds: float, changed: bool, **data: object) -> None:
    """Report one operation of a layer that has ended."""
    emit("operation", text, {"changed": changed, **data}, seconds=seconds)


def debug(text: str) -> None:
    """Write to the build's log file only."""
    emit("debug", text)
