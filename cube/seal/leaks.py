"""What a build knows and an image must not: searched for in every byte of the disk.

The search reads the raw disk, not its files: names, attributes, the superblock, LVM's metadata,
the boot loader's partition and blocks that no file uses are all in it. Each hit is traced back to
the file or the structure that holds it.
"""

import base64
import contextlib
import errno
import getpass
import ipaddress
import os
import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from cube.config import Spec, ca_files
from cube.config.workspace import Workspace
from cube.disks.partition import Region
from cube.machines import BUILD_USER
from cube.runtime.errors import SealError
from cube.seal import packed
from cube.seal.place import trace

#: Bytes that are read at once.
CHUNK = 64 * 1024 * 1024
#: Hits that are traced back; the others are of the same kinds.
TRACED = 40
#: A shorter password alone is found in any binary file; with its user it is still looked for.
SHORT = 6
#: Certificates that the distribution ships: one of the builder's may be among them.
SHIPPED = "usr/share/ca-certificates/"
#: Of qcow2 by default, in bytes; the first one is the header. Source: qemu-img(1), cluster_size.
CLUSTER = 65536
#: Files that packages bring.
PACKAGED = re.compile(r"usr/(?!local/)")
#: What a machine is called that has got no name, and what packages write for one.
NAMELESS = ("localhost", "debian", "ubuntu")
RESOLV_CONF = Path("/etc/resolv.conf")


@dataclass(frozen=True, kw_only=True)
class Needle:
    """What is searched for.

    Args:
        what: in words that a log may have.
        text: as it stands on the disk.
        example: packages may have it, too: places in their files do not count.
        shipped: the distribution may have it among its certificates: then no place counts.
    """

    what: str
    text: str
    example: bool = False
    shipped: bool = False


@dataclass(frozen=True, kw_only=True)
class Hit:
    """Where a needle was found, in words."""

    place: str
    what: str


def needles(spec: Spec, work: Workspace) -> list[Needle]:
    """Return what the build knows: accounts, keys, addresses, logins, certificates, folders."""
    public = work.build_key.with_name(f"{work.build_key.name}.pub").read_text().split()[1]
    found = [
        Needle(what="the build account", text=BUILD_USER),
        Needle(what="the build key", text=public),
        Needle(what="the build folder", text=str(work.root)),
        *of_builder(socket.gethostname(), RESOLV_CONF),
    ]
    for key, url in urls(spec).items():
        found += of_url(key, url)
    if not spec.network.keep_ca_certificates:
        for file in ca_files(spec):
            found += of_certificates(Path(file))
    return list({needle.text: needle for needle in found if needle.text}.values())


def of_builder(host: str, resolv_conf: Path) -> Iterator[Needle]:
    """Yield the builder's account with the name of this machine, and its private resolvers."""
    if host not in NAMELESS:
        builder = f"{getpass.getuser()}@{host}"
        yield Needle(what="the builder's account and host", text=builder, example=True)
    lines = resolv_conf.read_text(errors="replace").splitlines() if resolv_conf.exists() else []
    for words in map(str.split, lines):
        if words[:1] != ["nameserver"] or len(words) == 1:
            continue
        with contextlib.suppress(ValueError):
            address = ipaddress.ip_address(words[1])
            if address.is_private and not address.is_loopback:
                text = f"nameserver {address}"
                yield Needle(what="a resolver of the build", text=text, example=True)


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
        text = lines[len(lines) // 2]
        yield Needle(what=f"the certificate {file.name}", text=text, shipped=True)


def expect_none(raw: Path, parts: Sequence[Region], wanted: Sequence[Needle], root: Path) -> None:
    """Search a disk for what the build knows, in its bytes and in its compressed files.

    Args:
        raw: raw disk, on file systems that nothing was deleted from.
        parts: what is on it.
        wanted: see `needles`.
        root: its root, mounted.

    Raises:
        SealError: something was found, and each place is named; or not all could be searched.
    """
    unpacked: dict[str, list[str]] = {}
    for name, text in packed.search(root, [needle.text for needle in wanted]):
        unpacked.setdefault(text, []).append(f"{name} (decompressed)")
    refuse(search(raw, parts, wanted, unpacked), "the image gives the build away")


def expect_unwritten(overlay: Path, wanted: Sequence[Needle], name: str) -> None:
    """Search what a clone has written over the sealed image.

    A cluster that is written in part is filled up from the image below, so what packages may have
    is not searched for.

    Args:
        overlay: the clone's disk, a qcow2 file; its machine may be up.
        wanted: see `needles`.
        name: of the clone.

    Raises:
        SealError: something was found.
    """
    ours = [needle for needle in wanted if not needle.example and not needle.shipped]
    known = {needle.text: needle.what for needle in ours}
    # The first cluster names the file below, which is in the build folder.
    written = matches(overlay, list(known)) if known else ()
    found = {text for at, text in written if at >= CLUSTER}
    hits = [Hit(place=name, what=known[text]) for text in sorted(found)]
    refuse(hits, "a clone wrote what only the build knows")


def refuse(found: Sequence[Hit], what: str) -> None:
    """Name every place where something was found.

    Raises:
        SealError: there is one.
    """
    if found:
        lines = [f"{hit.place}: {hit.what}" for hit in found]
        raise SealError(
            f"{what}: {lines[0]}" + (f", and {len(lines) - 1} more" if lines[1:] else ""),
            hint="correct the role that leaves it there; docs/how-it-works.md lists the searches",
            details="\n".join(lines),
        )


def search(
    raw: Path,
    parts: Sequence[Region],
    wanted: Sequence[Needle],
    unpacked: Mapping[str, Sequence[str]] | None = None,
) -> list[Hit]:
    """Return every place that holds a needle, once a needle.

    Args:
        raw: as `expect_none` has it.
        parts: as `expect_none` has it.
        wanted: as `expect_none` has it.
        unpacked: the compressed files that hold a text, by the text.
    """
    known = {needle.text: needle for needle in wanted}
    places: dict[str, list[int]] = {}
    for offset, text in matches(raw, list(known)):
        places.setdefault(text, []).append(offset)
    named = {text: trace(raw, parts, offsets[:TRACED]) for text, offsets in places.items()}
    for text, names in (unpacked or {}).items():
        named[text] = [*named.get(text, []), *names]
    hits: dict[Hit, None] = {}
    for text, names in named.items():
        needle = known[text]
        if needle.shipped and any(name.startswith(SHIPPED) for name in names):
            continue
        told = [name for name in names if not (needle.example and PACKAGED.match(name))]
        hits |= {Hit(place=name, what=needle.what): None for name in told}
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
