"""One range of a file, as a client may ask for it."""

import re

RANGE = re.compile(r"bytes=(\d*)-(\d*)")


def wanted(header: str, size: int) -> range | None:
    """Return which bytes a client wants; None: all of them.

    Args:
        header: its Range header.
        size: of the file in bytes.

    Returns:
        The bytes; empty when the file has none of them. Several ranges at once, and what cannot
        be read, are ignored. Source: RFC 9110, 14.2.
    """
    found = RANGE.fullmatch(header.strip())
    if not found or found[1] == found[2] == "":
        return None
    if not found[1]:
        return range(max(0, size - int(found[2])), size)
    first = int(found[1])
    last = int(found[2]) if found[2] else size - 1
    if last < first and found[2]:
        return None
    return range(first, min(last + 1, size))
