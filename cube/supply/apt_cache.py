"""apt-cacher-ng, started by a build and ended with it; Debian's service is not used."""

import contextlib
import hashlib
import os
import random
import shlex
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlparse

from cube.runtime import lock, log, run
from cube.runtime.errors import BusyError, CommandError

PROGRAM = "apt-cacher-ng"
#: Below 32768: version 3.7.4 takes larger ones for negative, its own and a mirror's (measured).
PORTS = range(20000, 32768)
#: Beside the settings: should those not be read, it is open to nobody and ends with us, too.
ALWAYS = ("ForeGround=1", "BindAddress=127.0.0.1")
#: Seconds to start, which takes a tenth of one, and to answer.
START_S, ANSWER_S = 15.0, 3.0
#: Less free space is left to the build itself; a chain with CUDA fetches 2 GB.
FREE_BYTES = 4 * 1024**3
#: Files that were neither fetched nor read for so long are removed. In seconds.
KEEP_S = 30 * 24 * 3600


@contextlib.contextmanager
def started(proxy: str, folder: Path) -> Iterator[str]:
    """Run it until the block is left; it also ends when this process dies.

    Args:
        proxy: what cube.toml says that leads to mirrors; empty: what this machine's apt uses.
        folder: where its files are.

    Yields:
        Its URL.

    Raises:
        CommandError: it cannot be started, or does not answer.
        BusyError: another build runs one in this folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with lock_of(folder):
        clear(folder)
        if shutil.disk_usage(folder).free < FREE_BYTES:
            raise CommandError(f"less than {FREE_BYTES // 1024**3} GiB are free in {folder}")
        port = small_port()
        url = f"http://127.0.0.1:{port}"
        with settings_folder(folder) as place:
            write_settings(place, port, upstream(proxy))
            with run.spawn([program(), "-c", place, *ALWAYS, f"Port={port}"]) as process:
                wait_for_answer(process, url)
                log.debug(f"packages come through {PROGRAM} at {url}")
                yield url
            tell(folder / "log")


@contextlib.contextmanager
def lock_of(folder: Path) -> Iterator[None]:
    """Hold the folder; two of these programs must not share one.

    Raises:
        CommandError: another build holds it.
    """
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(lock.held(folder / "lock"))
        except BusyError as error:
            raise CommandError(f"another build uses {folder}") from error
        yield


@contextlib.contextmanager
def settings_folder(folder: Path) -> Iterator[Path]:
    """Make a folder for the settings, with links to where files and log are.

    The program passes over settings in a path with a quote, and does not start in one with a
    blank (version 3.7.4), so the path is plain. A proxy's URL may hold a password: nobody else
    may look, and what a killed build left is removed by the next one.
    """
    name = hashlib.sha256(os.fsencode(folder.absolute())).hexdigest()[:12]
    place = Path(tempfile.gettempdir()) / f"cube-apt-cache-{name}"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(mode=0o700)
    try:
        for link in ("files", "log"):
            (folder / link).mkdir(exist_ok=True)
            (place / link).symlink_to((folder / link).absolute())
        (folder / "log" / "apt-cacher.log").unlink(missing_ok=True)
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def program() -> str:
    """Return where the program is; Debian's is not on an ordinary user's PATH."""
    return shutil.which(PROGRAM) or f"/usr/sbin/{PROGRAM}"


def settings(folder: Path, port: int, proxy: str) -> str:
    """Build its configuration. Source: acng.conf.

    Any port of a mirror is allowed, as without a cache; https passes through, unseen. Lists of
    packages are asked for anew each time, as whole files, and fetched if they have changed.
    """
    lines = [
        f"CacheDir: {folder / 'files'}",
        f"LogDir: {folder / 'log'}",
        f"Port: {port}",
        "BindAddress: 127.0.0.1",
        "SupportDir: /usr/lib/apt-cacher-ng",
        "ForeGround: 1",
        "ReportPage: acng-report.html",
        "VerboseLog: 1",
        "AllowUserPorts: 0",
        "SocketPath:",
        "PassThroughPattern: .*",
        "VfileUseRangeOps: 0",
        "UseWrap: 0",
    ]
    return "\n".join([*lines, *([f"Proxy: {proxy}"] if proxy else [])]) + "\n"


def write_settings(place: Path, port: int, proxy: str) -> None:
    """Write its configuration into a folder that only we read."""
    file = place / "acng.conf"
    file.touch(mode=0o600)
    file.write_text(settings(place, port, proxy))


def upstream(proxy: str) -> str:
    """Return the proxy that leads to mirrors: cube.toml's, or that of this machine's apt."""
    if proxy:
        return proxy
    try:
        found = run.run(["apt-config", "shell", "PROXY", "Acquire::http::Proxy"]).stdout
    except CommandError:
        found = ""
    word = shlex.split(found)[0].partition("=")[2] if found.strip() else ""
    word = word or os.environ.get("http_proxy", "")
    return word if word.startswith("http://") else ""


def clear(folder: Path) -> None:
    """Remove what was distrusted, and what nobody has wanted for long."""
    if (folder / "distrusted").exists():
        shutil.rmtree(folder / "files", ignore_errors=True)
        (folder / "distrusted").unlink()
    oldest = time.time() - KEEP_S
    for path in (folder / "files").rglob("*"):
        with contextlib.suppress(OSError):
            state = path.stat(follow_symlinks=False)
            if path.is_file() and max(state.st_mtime, state.st_ctime, state.st_atime) < oldest:
                path.unlink()


def wait_for_answer(process: run.Process, url: str) -> None:
    """Wait until it serves.

    Raises:
        CommandError: it ended, or took too long.
    """
    deadline = time.monotonic() + START_S
    while not is_cacher(url):
        if process.returncode is not None or time.monotonic() > deadline:
            raise CommandError(f"{PROGRAM} does not serve at {url}: see its log folder")
        time.sleep(0.05)


def is_cacher(url: str) -> bool:
    """Tell whether apt-cacher-ng serves at a URL: it says so in its answers' Server line."""
    parts = urlparse(url)
    request = f"GET / HTTP/1.0\r\nHost: {parts.netloc}\r\n\r\n"
    try:
        with socket.create_connection((parts.hostname or "", parts.port or 80), ANSWER_S) as talk:
            talk.settimeout(ANSWER_S)
            talk.sendall(request.encode())
            return b"Apt-Cacher NG" in talk.recv(4096)
    except OSError:
        return False


def tell(log_folder: Path) -> None:
    """Say what the cache has saved."""
    try:
        text = (log_folder / "apt-cacher.log").read_text(errors="replace")
    except OSError:
        return
    fetched, given = traffic(text)
    if given:
        mib = 1024**2
        log.info(f"packages: {given / mib:.0f} MiB, of which {fetched / mib:.0f} from the network")


def traffic(text: str) -> tuple[int, int]:
    """Return the bytes that the cache has fetched, and those that it has given.

    Source: apt-cacher-ng, apt-cacher.log: "time|I or O|bytes|client|path", in from the network
    or out to a client.
    """
    sums = {"I": 0, "O": 0}
    for line in text.splitlines():
        fields = line.split("|")
        with contextlib.suppress(IndexError, KeyError, ValueError):
            sums[fields[1]] += int(fields[2])
    return sums["I"], sums["O"]


def small_port() -> int:
    """Return a free port of loopback that this program can use.

    Raises:
        CommandError: none is free.
    """
    for port in random.sample(PORTS, 100):
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port
    raise CommandError("no port of loopback is free")
