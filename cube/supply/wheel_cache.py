"""Wheels that an earlier build has fetched: an index of ours, for as long as a build runs.

Like `cube.supply.package_cache`, it may save time and may never cost a build. uv and pip verify
what comes out of it by the hashes of their locks. No key of a link knows of it.
"""

import ast
import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit, urlunsplit

from cube.config import Spec, ca_files, host_data
from cube.config.workspace import Workspace
from cube.runtime import log, run
from cube.runtime.errors import CommandError, CubeError
from cube.stack.wheels.resolve import public_index
from cube.supply import apt_cache, index_process, package_cache

MIB = 1024**2
#: The lock of what role python installs.
TOOLS = Path(__file__).resolve().parents[2] / "deploy/files/python/tools.txt"
#: What uv and pip say when an index gives nothing, or something else than a lock wants.
#: Source: uv 0.13 and pip 23-25, run against an index that misbehaves.
SUSPECT = (
    "Failed to fetch", "Failed to download", "Hash mismatch", "DO NOT MATCH THE HASHES",
    "No solution found", "No matching distribution found",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class WheelCache:
    """An index that has answered.

    Args:
        index: its URL, as machines of the build reach it.
        folder: where its files are.
        url: without a path, as this machine reaches it.
        floor_bytes: space that it leaves free there.
    """

    index: str
    folder: Path
    url: str = ""
    floor_bytes: int = 0

    def suspect(self, error: CubeError) -> bool:
        """Tell whether a failure may be the index's.

        If so, the next build reads its files, and removes those that are not what they were.
        """
        text = f"{error.message}\n{error.details}"
        found = any(words in text for words in (*SUSPECT, urlsplit(self.index).netloc))
        if found:
            with contextlib.suppress(OSError):
                (self.folder / "distrusted").touch()
        return found


@contextlib.contextmanager
def opened(spec: Spec, work: Workspace) -> Iterator[WheelCache | None]:
    """Start the index; None when a build goes on without."""
    with contextlib.ExitStack() as stack:
        cache = None
        if spec.network.package_cache != "off":
            try:
                cache = stack.enter_context(own(spec, (work.cache / "wheels").absolute()))
            except (CubeError, OSError) as error:
                reason = error.message if isinstance(error, CubeError) else str(error)
                log.info(f"no cache of wheels: {reason}; the build continues without it")
        yield cache


@contextlib.contextmanager
def own(spec: Spec, folder: Path) -> Iterator[WheelCache]:
    """Start the index of this build.

    Raises:
        CommandError: it cannot be started, or machines of the build would not reach it.
    """
    if not package_cache.guest_url(spec, "http://127.0.0.1"):
        raise CommandError("machines are on another host")
    data = host_data(spec)
    # The frameworks are unpacked onto the same disk while their wheels are kept.
    floor = apt_cache.FREE_BYTES + cast(int, data["frameworks_mib"]) * MIB
    locks = [TOOLS, *map(Path, cast(list[str], data["framework_locks"]))]
    index = upstream(spec.network.pypi_index)
    with index_process.started(
        index,
        folder,
        proxy=spec.network.proxy,
        trust=ca_files(spec),
        locks=locks,
        floor_bytes=floor,
    ) as url:
        index_process.require_pages(url)
        guest = package_cache.guest_url(spec, url)
        yield WheelCache(index=f"{guest}/simple", folder=folder, url=url, floor_bytes=floor)


def upstream(index: str) -> str:
    """Return the index that wheels come from: cube.toml's, this machine's pip's, or pip's default.

    An index on this machine's loopback is named in cube.toml as machines of the build reach it.
    """
    parts = urlsplit(index)
    if parts.hostname == package_cache.GATEWAY:
        place = parts.netloc.replace(package_cache.GATEWAY, "127.0.0.1")
        return urlunsplit(parts._replace(netloc=place))
    return index or pip_index() or public_index()


def pip_index() -> str:
    """Return the index that this machine's pip is told to use; empty: it is told nothing.

    Source: pip, "Configuration": a variable goes before a command's section, that before global.
    """
    try:
        lines = run.run([sys.executable, "-m", "pip", "config", "list"]).stdout.splitlines()
    except CommandError:
        return ""
    told = dict(line.partition("=")[::2] for line in lines)
    for section in (":env:", "install", "global"):
        if value := told.get(f"{section}.index-url"):
            with contextlib.suppress(ValueError, SyntaxError):
                return str(ast.literal_eval(value))
    return ""
