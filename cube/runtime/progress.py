"""Listeners for `cube.runtime.log`: a live view, plain lines, JSON lines, the log file."""

import contextlib
import json
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Literal

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.spinner import Spinner
from rich.text import Text

from cube.runtime import log
from cube.runtime.log import Event, Listener
from cube.runtime.units import duration

Mode = Literal["auto", "live", "plain", "json"]

SIGNS = {"done": "✓", "failed": "✗", "warning": "!", "info": "·"}
STYLES = {"done": "green", "failed": "bold red", "warning": "yellow", "info": "default"}
#: Lines of a terminal for hosts that are worked on at once.
HOSTS_SHOWN = 15


def line(event: Event) -> str:
    """Return an event as one plain line, indented by its depth; empty for what is not shown."""
    indent = "  " * event.depth
    match event.kind:
        case "step":
            return f"{indent}→ {event.text}"
        case "done" | "failed":
            return f"{indent}{SIGNS[event.kind]} {event.text} ({duration(event.seconds)})"
        case "info" | "warning":
            return f"{indent}{SIGNS[event.kind]} {event.text}"
        case "operation":
            sign = "changed" if event.data.get("changed") else "ok"
            return f"{indent}{sign:7} {event.text} ({duration(event.seconds)})"
        case "status":
            return f"{indent}… {event.text}"
    return ""


class LogFile:
    """Writes everything, with times, to a file; every line is on disk when it is told."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def __call__(self, event: Event) -> None:
        """Write one event."""
        stamp = event.at.strftime("%Y-%m-%dT%H:%M:%SZ")
        text = event.text if event.kind == "debug" else line(event)
        with contextlib.suppress(OSError):  # a full disk is told by what fails next, not by this
            for part in text.splitlines() or [""]:
                self._stream.write(f"{stamp} {part}\n")
            self._stream.flush()


@contextlib.contextmanager
def log_file(path: Path) -> Iterator[None]:
    """Write all events to `path` while the block runs; the file before it is kept as ``.1``."""
    with open_log(path) as stream, log.listening(LogFile(stream)):
        yield


@contextlib.contextmanager
def open_log(path: Path) -> Iterator[IO[str]]:
    """Open a log file; the one before it is kept as ``.1``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        path.replace(path.with_name(path.name + ".1"))
    stream = path.open("w", encoding="utf-8")
    try:
        yield stream
    finally:
        with contextlib.suppress(OSError):  # what a full disk refused is written once more here
            stream.close()


def is_detail(event: Event) -> bool:
    """Tell what is too much to read of one host of many: what it does now, what did nothing."""
    idle = event.kind == "operation" and not event.data.get("changed")
    return "host" in event.data and (event.kind == "status" or idle)


class Plain:
    """One line an event, for logs and CI; a status is said once while it stays the same."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._status = ""

    def __call__(self, event: Event) -> None:
        """Print one event."""
        if is_detail(event):
            return
        if event.kind == "status":
            if event.text == self._status:
                return
            self._status = event.text
        if text := line(event):
            print(text, file=self._stream, flush=True)


class Json:
    """One JSON object a line, for programs."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def __call__(self, event: Event) -> None:
        """Print one event."""
        if event.kind == "debug":
            return
        record = {
            "at": event.at.isoformat(),
            "kind": event.kind,
            "text": event.text,
            "depth": event.depth,
            "seconds": round(event.seconds, 3),
            **event.data,
        }
        text = json.dumps(record, default=str)
        print(text, file=self._stream, flush=True)


@dataclass
class OpenStep:
    """A step that runs now."""

    text: str
    spinner: Spinner
    started: float = field(default_factory=time.monotonic)


class LiveView:
    """A terminal's view: what is done scrolls up, what runs stands below with its time."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._steps: list[OpenStep] = []
        self._status = ""
        self._hosts: dict[str, str] = {}
        self._mutex = threading.Lock()

    def __call__(self, event: Event) -> None:
        """Show one event."""
        with self._mutex:
            self._update(event)
        if event.kind in {"done", "failed", "info", "warning"}:
            self._console.print(Text(line(event), style=STYLES[event.kind]))
        elif event.kind == "operation" and event.data.get("changed"):
            self._console.print(Text(line(event), style="dim"))

    def _update(self, event: Event) -> None:
        if "host" in event.data:
            self._update_host(str(event.data["host"]), event)
            return
        match event.kind:
            case "step":
                self._steps.append(OpenStep(event.text, Spinner("dots")))
                self._status = ""
            case "done" | "failed":
                if self._steps:
                    self._steps.pop()
                self._status = ""
            case "status" | "operation":
                self._status = event.text

    def _update_host(self, host: str, event: Event) -> None:
        """Keep what a host of many does now, until it has ended."""
        if event.data.get("ended"):
            self._hosts.pop(host, None)
        elif event.kind in {"status", "operation"}:
            self._hosts[host] = event.text

    def __rich__(self) -> RenderableType:
        """Draw the steps that run now, outermost first."""
        with self._mutex:
            rows: list[RenderableType] = []
            for depth, step in enumerate(self._steps):
                took = duration(time.monotonic() - step.started)
                step.spinner.text = Text(f"{step.text}  {took}", style="bold cyan")
                rows.append(_indented(step.spinner, depth))
            if self._status and self._steps:
                rows.append(Text("  " * len(self._steps) + f"… {self._status}", style="dim"))
            shown = list(self._hosts.values())[:HOSTS_SHOWN]
            rows += [Text(f"  … {status}", style="dim", no_wrap=True) for status in shown]
            if more := len(self._hosts) - len(shown):
                rows.append(Text(f"  … and {more} more", style="dim"))
        return Group(*rows)


def _indented(spinner: Spinner, depth: int) -> RenderableType:
    rendered = spinner.render(time.monotonic())
    return Text("  " * depth).append(rendered) if isinstance(rendered, Text) else spinner


@contextlib.contextmanager
def showing(mode: Mode) -> Iterator[None]:
    """Show events to the person or program that called us while the block runs.

    Args:
        mode: `auto` is a live view on a terminal and plain lines elsewhere.
    """
    if mode == "auto":
        mode = "live" if sys.stderr.isatty() and sys.stdout.isatty() else "plain"
    if mode == "live":
        console = Console(stderr=True)
        view = LiveView(console)
        live = Live(view, console=console, refresh_per_second=8, transient=True)
        with live, log.listening(view):
            yield
        return
    listener: Listener = Json(sys.stdout) if mode == "json" else Plain(sys.stderr)
    with log.listening(listener):
        yield


def error_text(message: str, hint: str, details: str) -> str:
    """Return an error for a terminal, in rich's markup."""
    parts = [f"[bold red]error:[/] {escape(message)}"]
    if details:
        parts.append(
            "[dim]" + escape("\n".join(f"  {row}" for row in details.splitlines())) + "[/]"
        )
    if hint:
        parts.append(f"[bold]what to do:[/] {escape(hint)}")
    return "\n".join(parts)
