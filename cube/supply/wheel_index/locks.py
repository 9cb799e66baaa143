"""What locks name: of a page with thousands of files, a machine wants a few."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from cube.supply.wheel_index.page import normalized

#: A package or a hash of a requirements file. Source: pip, "Requirements File Format".
WORD = re.compile(r"^([A-Za-z0-9][\w.-]*)(?:\[[^]]*\])?\s*==|--hash=sha256:([0-9a-f]{64})", re.M)

Wanted = Mapping[str, frozenset[str]]


def wanted(files: Iterable[Path]) -> Wanted:
    """Return the sha256 of the files that locks name, by package; a lost lock names none."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for file in files:
        try:
            text = file.read_text()
        except OSError:
            continue
        package = ""
        for name, digest in WORD.findall(text):
            package = normalized(name) if name else package
            found[package] |= {digest} - {""}
    return {name: frozenset(digests) for name, digests in found.items()}
