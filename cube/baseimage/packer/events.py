"""Packer's machine-readable output, line by line, as data."""

from dataclasses import dataclass

#: Stand-ins for what would break the format.
#: Source: Packer's documentation, "Machine-Readable Output"; packer/ui.go, MachineReadableUi.
ESCAPES = {"%!(PACKER_COMMA)": ",", "\\r": "\r", "\\n": "\n"}
#: Fields before the data: time, target and type.
HEADER_FIELDS = 3


@dataclass(frozen=True, kw_only=True)
class Event:
    """One line of ``packer -machine-readable``.

    Args:
        at: seconds since the epoch.
        target: the build that it is about; empty for Packer itself.
        kind: `ui`, `artifact`, `error`, `error-count`, `version` ...
        data: what the kind defines.
    """

    at: int
    target: str
    kind: str
    data: tuple[str, ...]


def unescape(text: str) -> str:
    """Return a field as it was before Packer fitted it into one line."""
    for stand_in, original in ESCAPES.items():
        text = text.replace(stand_in, original)
    return text


def parse(line: str) -> Event | None:
    """Return a line's event; None for a line that is not of the format (a panic, a warning)."""
    fields = line.rstrip("\r\n").split(",")
    if len(fields) < HEADER_FIELDS or not (fields[0].isascii() and fields[0].isdigit()):
        return None
    if not fields[2]:
        return None
    data = tuple(unescape(field) for field in fields[HEADER_FIELDS:])
    return Event(at=int(fields[0]), target=fields[1], kind=fields[2], data=data)


def message(event: Event) -> str:
    """Return what Packer says to a person, without its prefix; empty when it is no talk."""
    if event.kind != "ui" or len(event.data) < 2:  # noqa: PLR2004 (a tone and a text)
        return ""
    text = event.data[1].strip().removeprefix("==> ")
    head, separator, rest = text.partition(": ")
    is_build_name = separator and " " not in head and "." in head
    return (rest if is_build_name else text).strip()


def error(event: Event) -> str:
    """Return an error that Packer reports; empty when it is none."""
    if event.kind == "error" and event.data:
        return event.data[-1].strip()
    if event.kind == "ui" and event.data[:1] == ("error",):
        return message(event)
    return ""


def artifact_file(event: Event) -> str:
    """Return the path of an artifact's file; empty when the event names none.

    Source: Packer's documentation, "packer build": ``artifact,INDEX,file,NUMBER,PATH``.
    """
    if event.kind == "artifact" and len(event.data) == 4 and event.data[1] == "file":  # noqa: PLR2004
        return event.data[3]
    return ""
