"""What a build knows and an image must not: searched for in every byte of the disk.

The search reads the raw disk, not its files: names, attributes, the superblock, LVM's metadata,
the boot loader's partition and blocks that no file uses are all in it. Each hit is traced back to
the file or the structure that holds it.
"""

import base64
import errno
import getpass
import os
import re
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from cube.config import Spec, ca_files
from cube.config.workspace import Workspace
from cube.disks import shape
from cube.disks.partition import Region
from cube.machines import BUILD_USER
from cube.runtime import run
from cube.runtime.errors import SealError

#: Bytes that are read at once.
CHUNK = 64 * 1024 * 1024
#: Hits that are traced back; the others are of the same kinds.
TRACED = 40
#: A shorter password alone is found in any binary file; with its user it is still looked for.
SHORT = 6
BLOCK = 4096
#: Certificates that the distribution ships: one of the builder's may be among them.
PUBLIC = "usr/share/ca-certificates/"


@dataclass(frozen=True, kw_only=True)
class Needle:
    """What is searched for: in words that a log may have, and as it stands on the disk."""

    what: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Hit:
    """Where a needle was found, in words."""

    place: str
    what: str


def needles(spec: Spec, work: Workspace) -> list[Needle]:
    """Return what the build knows: accounts, keys, addresses, logins, certificates, folders."""
    public = work.build_key.with_name(f"{work.build_key.name}.pub").read_text().split()[1]
    builder = f"{getpass.getuser()}@{socket.gethostname()}"
    found = [
        Needle(what="the build account", text=BUILD_USER),
        Needle(what="the build key", text=public),
        Needle(what="the build folder", text=str(work.root)),
        Needle(what="the builder's account and host", text=builder),
    ]
    for key, url in urls(spec).items():
        found += of_url(key, url)
    if not spec.network.keep_ca_certificates:
        for file in ca_files(spec):
            found += of_certificates(Path(file))
    return list({needle.text: needle for needle in found if needle.text}.values())


def urls(spec: Spec) -> dict[str, str]:
    """Return every address that only the build uses, by its key in cube.toml."""
    network, stack = spec.network, spec.stack
    found = {
        "network.proxy": network.proxy,
        "network.apt_mirror": network.apt_mirror,
        "network.apt_security_mirror": network.apt_security_mirror,
        "network.pypi_index": network.pypi_index,
        "network.package_cache": network.package_cache,
    }
    # These two are where a box looks for updates; only their logins are of the build.
    found |= {"stack.nvidia_url": login_only(stack.nvidia_url)}
    found |= {"stack.toolkit_url": login_only(stack.toolkit_url)}
    return {key: url for key, url in found.items() if "://" in url}


def login_only(url: str) -> str:
    """Return a URL without a host where it has a login; else nothing."""
    login, at, _ = urlsplit(url).netloc.rpartition("@")
    return f"https://{login}@" if at else ""


def of_url(key: str, url: str) -> Iterator[Needle]:
    """Yield what a URL gives away: its host, its login, and the login as HTTP sends it."""
    login, _, place = urlsplit(url).netloc.rpartition("@")
    if place:
        yield Needle(what=f"the address of {key}", text=f"//{place}")
        yield Needle(what=f"the address of {key}", text=f"@{place}")
    if not login:
        return
    user, _, password = login.partition(":")
    plain = f"{unquote(user)}:{unquote(password)}"
    for text in {login, plain, base64.b64encode(plain.encode()).decode()}:
        yield Needle(what=f"the login of {key}", text=text)
    for text in {password, unquote(password), quote(unquote(password), safe="")}:
        if len(text) >= SHORT:
            yield Needle(what=f"the password of {key}", text=text)


def of_certificates(file: Path) -> Iterator[Needle]:
    """Yield a line of each certificate of a PEM file that no other certificate has."""
    bodies = re.findall(r"-----BEGIN CERTIFICATE-----\s+(.*?)-----END", file.read_text(), re.S)
    for body in bodies:
        lines = body.split()
        yield Needle(what=f"the certificate {file.name}", text=lines[len(lines) // 2])


def expect_none(raw: Path, parts: Sequence[Region], wanted: Sequence[Needle]) -> None:
    """Search a disk for what the build knows.

    Args:
        raw: raw disk, on file systems that nothing was deleted from.
        parts: what is on it.
        wanted: see `needles`.

    Raises:
        SealError: something was found; each place is named with what is there.
    """
    found = search(raw, parts, wanted)
    if found:
        lines = [f"{hit.place}: {hit.what}" for hit in found]
        raise SealError(
            f"the image gives the build away: {lines[0]}"
            + (f", and {len(lines) - 1} more" if lines[1:] else ""),
            hint="correct the role that leaves it there; docs/seal.md says what is looked for",
            details="\n".join(lines),
        )


def search(raw: Path, parts: Sequence[Region], wanted: Sequence[Needle]) -> list[Hit]:
    """Return every place that holds a needle, once a needle."""
    known = {needle.text: needle.what for needle in wanted}
    places: dict[str, list[int]] = {}
    for offset, text in matches(raw, list(known)):
        places.setdefault(text, []).append(offset)
    hits: dict[Hit, None] = {}
    for text, offsets in places.items():
        named = trace(raw, parts, offsets[:TRACED])
        if any(name.startswith(PUBLIC) for name in named):
            continue
        hits |= {Hit(place=name, what=known[text]): None for name in named}
    return list(hits)


def matches(raw: Path, texts: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Yield offset and text of every match in what a sparse file holds.

    `grep --null-data --byte-offset` would not do: it leaves runs of zeros out of its count.
    Source: GNU grep 3.8; findings/.
    """
    wanted = sorted((text.encode() for text in texts), key=len, reverse=True)
    pattern = re.compile(b"|".join(map(re.escape, wanted)))
    with raw.open("rb") as file:
        for start, length in data_of(file.fileno()):
            yield from in_extent(file.fileno(), start, length, pattern, len(wanted[0]) - 1)


def in_extent(
    descriptor: int, start: int, length: int, pattern: re.Pattern[bytes], more: int
) -> Iterator[tuple[int, str]]:
    """Yield the matches that begin in an extent; `more` bytes of one may lie in the next chunk."""
    for offset in range(start, start + length, CHUNK):
        size = min(CHUNK, start + length - offset)
        for found in pattern.finditer(os.pread(descriptor, size + more, offset)):
            if found.start() < size:
                yield offset + found.start(), found[0].decode()


def data_of(descriptor: int) -> Iterator[tuple[int, int]]:
    """Yield start and length of each piece of a sparse file that is no hole. Source: lseek(2)."""
    end = 0
    while True:
        try:
            start = os.lseek(descriptor, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            return
        end = os.lseek(descriptor, start, os.SEEK_HOLE)
        yield start, end - start


def trace(raw: Path, parts: Sequence[Region], offsets: Sequence[int]) -> list[str]:
    """Name the file or structure at each offset of a disk, in bytes."""
    root = next(part for part in reversed(parts) if part.label == shape.ROOT_LABEL)
    inside = [offset - root.start for offset in offsets if offset >= root.start]
    names = [outside(offset, parts) for offset in offsets if offset < root.start]
    return [*names, *(owners(raw, root.start, inside) if inside else [])]


def outside(offset: int, parts: Sequence[Region]) -> str:
    """Name what holds a byte before the root."""
    for part in parts:
        if part.start <= offset < part.start + part.size:
            return "the EFI system partition" if part.type == "vfat" else part.what
    return "the partition table or boot sector"


def owners(raw: Path, start: int, offsets: Sequence[int]) -> list[str]:
    """Name the files that own bytes of the root's file system.

    Source: debugfs(8), icheck and ncheck: tables of two columns after a line of titles.
    """
    image = f"{raw}?offset={start}"
    blocks = sorted({offset // BLOCK for offset in offsets})
    rows = run.run(["debugfs", "-R", f"icheck {' '.join(map(str, blocks))}", image]).stdout
    inode = dict(row.split("\t", 1) for row in rows.splitlines()[1:] if "\t" in row)
    known = sorted({number for number in inode.values() if number.isdigit()})
    names: dict[str, str] = {}
    if known:
        rows = run.run(["debugfs", "-R", f"ncheck {' '.join(known)}", image]).stdout
        names = dict(row.split("\t", 1) for row in rows.splitlines()[1:] if "\t" in row)
    return [
        names.get(inode.get(str(block), ""), f"block {block} of the file system").lstrip("/")
        if block
        else "the superblock"
        for block in blocks
    ]
