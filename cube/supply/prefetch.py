"""Wheels that layer 4 will want, loaded while the layers below it are made.

An ordinary client of the build's index of wheels: what it has asked for lies there when uv wants
it, and a file that is on its way is not fetched twice. It may save time, and never fails a build.
"""

import contextlib
import json
import shutil
import socket
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPResponse
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

from cube.config import Spec, host_data, link_name, may_apply
from cube.disks.disk_room import DRIVER_MIB, SYSTEM_MIB
from cube.runtime import log
from cube.runtime.errors import CubeError
from cube.stack import lockfile, table
from cube.stack.lockfile import Entry
from cube.stack.wheels import fitting
from cube.stack.wheels.fitting import Ranks
from cube.supply import wheel_index
from cube.supply.wheel_cache import WheelCache

FRAMEWORKS = link_name(4)
#: Files at once, as many as a line needs to be full.
AT_ONCE = 4
#: So many failures, and nothing more is tried: there is no network.
FAILURES = 3
#: Seconds without a byte.
SILENCE_S = 60.0
BLOCK = 256 * 1024
MIB = 1024**2


@dataclass(kw_only=True)
class Loader:
    """Loads files into an index.

    Args:
        url: of the index, as this machine reaches it.
        files: the folder in which it keeps them, by sha256.
        floor_bytes: space that stays free on its disk, for all layers that are still to be made.
        order: tags that the machine takes.
        python: its Python.
    """

    url: str
    files: Path
    floor_bytes: int
    order: Ranks
    python: str
    loaded: int = 0
    failures: int = 0
    _ended: bool = False
    _sockets: set[socket.socket] = field(default_factory=set)
    _mutex: threading.Lock = field(default_factory=threading.Lock)

    def load_all(self, locks: Sequence[Path]) -> None:
        """Load what locks name and this index lacks; what fails is left to uv."""
        entries = [entry for lock in locks for entry in lockfile.read(lock).entries]
        wanted = {one.hashes: one for one in entries if fitting.applies(one, self.python)}
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for entry in wanted.values():
                pool.submit(self.load, entry)

    def load(self, entry: Entry) -> None:
        """Load the file of a package that the machine will take."""
        if self._ended or self.failures >= FAILURES:
            return
        try:
            with self.asked(f"/simple/{lockfile.plain(entry.name)}/") as answer:
                page = json.load(answer)
            files = {
                file["filename"]: file
                for file in page["files"]
                if file.get("hashes", {}).get("sha256") in entry.hashes
            }
            if name := fitting.best(files, self.order):
                file = files[name]
                self.fetch(file["url"], file["hashes"]["sha256"], file.get("size") or 0)
        except (
            OSError,
            HTTPException,
            ValueError,
            LookupError,
            TypeError,
            AttributeError,
        ) as error:
            with self._mutex:
                self.failures += 1
            log.debug(f"{entry.name} is not loaded ahead: {error}")

    def fetch(self, path: str, sha256: str, size: int) -> None:
        """Ask for a file, unless it is there, or would not be kept.

        Raises:
            OSError: it does not come.
            HTTPException: the index breaks off.
        """
        if (self.files / sha256).exists() or not size:
            return
        free = shutil.disk_usage(self.files.parent).free
        if free - AT_ONCE * size < self.floor_bytes:
            return
        received = 0
        with self.asked(path) as answer:
            while block := answer.read(BLOCK):  # an answer that breaks off ends like a whole one
                received += len(block)
        if received != size:
            raise ConnectionError(f"{path}: {received} bytes of {size} came")
        with self._mutex:
            self.loaded += size

    @contextlib.contextmanager
    def asked(self, path: str) -> Iterator[HTTPResponse]:
        """Yield the index's answer; `end` breaks it off.

        Raises:
            OSError: there is none, or it is a refusal.
            HTTPException: it is none of HTTP.
        """
        connection = HTTPConnection(urlsplit(self.url).netloc, timeout=SILENCE_S)
        with contextlib.closing(connection), self.breakable(connection):
            connection.request("GET", path, headers={wheel_index.AHEAD: "1"})
            answer = connection.getresponse()
            if answer.status != HTTPStatus.OK:
                raise OSError(f"{path}: {answer.status}")
            yield answer

    @contextlib.contextmanager
    def breakable(self, connection: HTTPConnection) -> Iterator[None]:
        """Connect, so that `end` breaks it off while the block runs.

        Raises:
            OSError: nobody listens, or it is over.
        """
        connection.connect()
        with self._mutex:
            if self._ended:
                raise ConnectionAbortedError("the layers are made")
            self._sockets.add(opened := connection.sock)
        try:
            yield
        finally:
            with self._mutex:
                self._sockets.discard(opened)

    def end(self) -> None:
        """Break off what is on its way, and begin nothing more."""
        with self._mutex:
            self._ended = True
            for one in self._sockets:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def loading(
    spec: Spec, cache: WheelCache | None, *, todo: Sequence[str], gpus: Sequence[str]
) -> Iterator[None]:
    """Load wheels while the block runs, if a layer above the first one to be made wants them.

    Args:
        spec: what is built.
        cache: the index; None where there is none.
        todo: names of the links to make, lowest first.
        gpus: PCI ids of the GPUs that the machine of the build sees.
    """
    applies = may_apply(spec) and (spec.gpu.mode == "assume" or bool(gpus))
    if cache is None or not applies or FRAMEWORKS not in todo[1:]:
        yield
        return
    loader = loader_of(spec, cache)
    locks = [Path(name) for name in cast(list[str], host_data(spec)["framework_locks"])]
    thread = threading.Thread(target=work, args=(loader, locks), name="wheels ahead")
    thread.start()
    try:
        yield
    finally:
        loader.end()
        thread.join()
        if loader.loaded:
            log.info(f"wheels: {loader.loaded / MIB:.0f} MiB were loaded beside the layers below")


def loader_of(spec: Spec, cache: WheelCache) -> Loader:
    """Return what loads for the system of a specification."""
    system = table.load().system[spec.image.os]
    # The floor has room for the frameworks; the layers below them are not on the disk yet, either.
    below = SYSTEM_MIB + (DRIVER_MIB if 2 in spec.layers.enabled else 0)  # noqa: PLR2004
    floor = cache.floor_bytes + below * MIB
    return Loader(
        url=cache.url,
        files=cache.folder / "files",
        floor_bytes=floor,
        order=fitting.ranks(system.python, system.glibc),
        python=system.python,
    )


def work(loader: Loader, locks: Sequence[Path]) -> None:
    """Load; whatever fails is told to the log only."""
    try:
        loader.load_all(locks)
    except (CubeError, OSError, ValueError) as error:
        log.debug(f"no wheels are loaded ahead: {error}")
