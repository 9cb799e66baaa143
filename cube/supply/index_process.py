"""The index of wheels as a program: started by a build, and ended with it."""

import contextlib
import os
import queue
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from pathlib import Path

from cube.runtime import documents, log, run
from cube.runtime.errors import CommandError
from cube.supply import apt_cache, wheel_index
from cube.supply.wheel_index.store import Shelf

PROJECT = Path(__file__).resolve().parents[2]

#: Seconds to start; a fifth of one was measured.
START_S = 15.0
#: A package that every build wants, and seconds for its page: role python has it.
SAMPLE, PAGE_S = "uv", 20.0
MIB = 1024**2


@contextlib.contextmanager
def started(
    index: str,
    folder: Path,
    *,
    proxy: str = "",
    trust: Sequence[str] = (),
    locks: Sequence[Path] = (),
    floor_bytes: int = 0,
) -> Iterator[str]:
    """Run it until the block is left; it also ends when this process dies.

    Args:
        index: where wheels come from.
        folder: where they are kept.
        proxy: what leads there; empty: what the environment says.
        trust: files of certificates, besides this machine's.
        locks: files whose packages are wanted; more may be.
        floor_bytes: space that it leaves free.

    Yields:
        Its URL.

    Raises:
        CommandError: it cannot be started, or another build uses the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with apt_cache.lock_of(folder):
        clear(folder)
        env = {
            wheel_index.INDEX: index,
            wheel_index.PROXY: proxy,
            wheel_index.TRUST: os.pathsep.join(trust),
            wheel_index.LOCKS: os.pathsep.join(str(lock.absolute()) for lock in locks),
            wheel_index.FLOOR: str(floor_bytes),
        }
        heard: queue.SimpleQueue[str] = queue.SimpleQueue()

        def on_line(line: str) -> None:
            heard.put(line)
            log.debug(f"wheels: {line}")

        argv: run.Argv = [sys.executable, "-m", "cube.supply.wheel_index", folder]
        with run.spawn(argv, on_line=on_line, env=env, cwd=PROJECT) as process:
            url = f"http://127.0.0.1:{wait_for_port(process, heard)}"
            log.debug(f"wheels come through an index at {url}")
            yield url
            tell(url)


def clear(folder: Path) -> None:
    """Remove what is old or half; after a distrust, what is not what it is called, too."""
    distrusted = folder / "distrusted"
    Shelf(folder, 0).clear(verify=distrusted.exists())
    distrusted.unlink(missing_ok=True)


def wait_for_port(process: run.Process, heard: "queue.SimpleQueue[str]") -> int:
    """Wait until it listens; return the port that it says.

    Raises:
        CommandError: it ended, or took too long.
    """
    deadline = time.monotonic() + START_S
    said = ""
    while time.monotonic() < deadline:
        with contextlib.suppress(queue.Empty):
            said = heard.get(timeout=0.05)
            if said.isdigit():
                return int(said)
        if process.returncode is not None and heard.empty():
            break
    raise CommandError(f"{process.command}: it does not start: {said or 'it printed nothing'}")


def require_pages(url: str) -> None:
    """See that the index has a page to give: its own, or one that was kept.

    Raises:
        CommandError: it has none, so a machine may do better without it.
    """
    try:
        ask(f"{url}/simple/{SAMPLE}/", PAGE_S)
    except urllib.error.HTTPError as error:
        with error:
            if error.code < HTTPStatus.INTERNAL_SERVER_ERROR:
                return  # it answers, and a machine would hear the same
        raise CommandError("this machine cannot read the package index") from error
    except OSError as error:
        raise CommandError(f"the package index does not answer: {error}") from error


def ask(url: str, timeout_s: float) -> bytes:
    """Return what a server of this machine answers.

    Raises:
        OSError: it does not answer, or refuses.
    """
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(url, timeout=timeout_s) as answer:
        return bytes(answer.read())


def traffic(url: str) -> tuple[int, int]:
    """Return the bytes of files that it has fetched, and those that it has given.

    Raises:
        OSError: it does not answer.
        ValueError: somebody else does.
    """
    found = documents.parse(ask(f"{url}/traffic", apt_cache.ANSWER_S))
    return int(found["fetched"]), int(found["given"])


def tell(url: str) -> None:
    """Say what the index has saved."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        fetched, given = traffic(url)
        if given:
            part = f"{fetched / MIB:.0f} from the network"
            log.info(f"wheels: {given / MIB:.0f} MiB, of which {part}")
