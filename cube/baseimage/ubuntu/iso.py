"""Large downloads: resumed, checked against a sha256, and named only when they are right."""

import hashlib
import http.client
import ssl
import urllib.error
import urllib.parse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO
from urllib.request import HTTPSHandler, OpenerDirector, ProxyHandler, Request, build_opener

from cube.runtime import log
from cube.runtime.errors import PackerError

CHUNK = 1024 * 1024
#: Seconds without a byte after which a connection is given up.
STALL_S = 60
#: Times that a broken connection is taken up where it stopped.
ATTEMPTS = 5
PARTIAL = 206
RANGE_NOT_SATISFIABLE = 416


def fetch(
    url: str, sha256: str, cache: Path, *, proxy: str = "", trust: Sequence[str] = ()
) -> Path:
    """Return a local copy of a file, from the cache if it is there; never without its checksum.

    Args:
        url: ``http://``, ``https://`` or ``file://``; a local file is used in place.
        sha256: 64 small hexadecimal digits.
        cache: folder for downloads; the name in it holds the checksum.
        proxy: URL of the proxy; empty takes the environment's, if there is one.
        trust: files of certificates, besides this machine's.

    Raises:
        PackerError: it cannot be had, or is not the file that the checksum names.
    """
    parts = urllib.parse.urlparse(url)
    if parts.scheme == "file":
        path = Path(urllib.parse.unquote(parts.path))
        if not path.is_file():
            raise PackerError(f"there is no file {path} (iso_url = {url!r})")
        return checked(path, sha256, url)
    cache.mkdir(parents=True, exist_ok=True)
    target = cache / f"{sha256[:16]}-{Path(parts.path).name}"
    if target.exists():
        return checked(target, sha256, url)
    part = target.with_name(f"{target.name}.part")
    download(url, part, opener(proxy, trust))
    try:
        checked(part, sha256, url)
    except PackerError:
        part.unlink()
        raise
    return part.replace(target)


def checked(path: Path, sha256: str, url: str) -> Path:
    """Return a file that has the checksum it should have.

    Raises:
        PackerError: it has another.
    """
    log.status(f"checking {path.name}")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise PackerError(
            f"{url}: wrong checksum: sha256 is {found}, not {sha256}",
            hint="compare both with SHA256SUMS beside the ISO: correct iso_sha256 in cube.toml, "
            f"or fetch the file again (delete {path} if it is there)",
        )
    return path


def opener(proxy: str, trust: Sequence[str] = ()) -> OpenerDirector:
    """Return what opens URLs, through a proxy if there is one."""
    context = ssl.create_default_context()
    for file in trust:
        context.load_verify_locations(file)
    through = [ProxyHandler({"http": proxy, "https": proxy})] if proxy else []
    return build_opener(HTTPSHandler(context=context), *through)


def download(url: str, part: Path, through: OpenerDirector) -> None:
    """Bring a file to a temporary name, going on where an earlier attempt stopped.

    Raises:
        PackerError: it cannot be had.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            receive(url, part, through)
            return
        except urllib.error.HTTPError as error:
            if error.code == RANGE_NOT_SATISFIABLE and part.exists():
                return  # all of it is there; the checksum decides
            raise unreachable(url, f"HTTP {error.code} {error.reason}") from error
        except (OSError, http.client.HTTPException) as error:
            if attempt == ATTEMPTS:
                raise unreachable(url, str(error)) from error
            log.warning(f"{url}: {error}: trying again ({attempt} of {ATTEMPTS})")


def unreachable(url: str, why: str) -> PackerError:
    """Say that a file cannot be had."""
    return PackerError(
        f"{url}: cannot be downloaded: {why}",
        hint="check iso_url and [network] proxy in cube.toml, or download the file yourself "
        'and set iso_url = "file:///path/to/it"',
    )


def receive(url: str, part: Path, through: OpenerDirector) -> None:
    """Append what is missing of a file.

    Raises:
        OSError: the connection failed, stalled or ended early.
        http.client.HTTPException: the answer is not HTTP.
    """
    have = part.stat().st_size if part.exists() else 0
    request = Request(url, headers={"Range": f"bytes={have}-"} if have else {})  # noqa: S310 (http and https only, see cube.config)
    with through.open(request, timeout=STALL_S) as answer:
        resumed = answer.status == PARTIAL
        total = int(answer.headers.get("Content-Length", 0)) + (have if resumed else 0)
        with part.open("ab" if resumed else "wb") as file:
            for done in copy(answer, file, have if resumed else 0):
                log.status(f"downloading {part.stem}: {percent(done, total)}")
    if total and part.stat().st_size < total:
        raise ConnectionError(f"ended after {part.stat().st_size} of {total} bytes")


def copy(source: http.client.HTTPResponse, target: IO[bytes], done: int) -> Iterator[int]:
    """Copy a stream; yield how many bytes the target has, after each chunk."""
    while chunk := source.read(CHUNK):
        target.write(chunk)
        done += len(chunk)
        yield done


def percent(done: int, total: int) -> str:
    """Return progress for people."""
    mib = f"{done // CHUNK} MiB"
    return f"{mib} ({done * 100 // total} %)" if total else mib
