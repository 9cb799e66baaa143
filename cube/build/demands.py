"""What cube.toml asks of this machine, and this machine cannot give."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from cube.build import folder_check
from cube.config import Spec
from cube.machines.qemu import trial
from cube.runtime.toml_errors import shown

MEMORY_INFO = Path("/proc/meminfo")
GIB_MIB = 1024


@dataclass(frozen=True, kw_only=True)
class Unmet:
    """A key that asks for what is not there.

    Args:
        key: with its table.
        value: as cube.toml has it.
        text: what is there.
        remedy: what to write.
    """

    key: str
    value: object
    text: str
    remedy: str

    @property
    def subject(self) -> str:
        """The key with its value, as TOML writes them."""
        return f"{self.key} = {shown(self.value)}"


def unmet(spec: Spec) -> list[Unmet]:
    """Return every key that this machine cannot serve; what costs time is tried last."""
    looks: tuple[Callable[[Spec], Iterator[Unmet]], ...] = (cpus, memory, folder, iso, libvirt)
    return [one for look in looks for one in look(spec)]


def cpus(spec: Spec) -> Iterator[Unmet]:
    """Yield the number of processors, if this machine has fewer."""
    has = os.cpu_count() or 1
    if spec.build.cpus > has:
        yield Unmet(
            key="build.cpus",
            value=spec.build.cpus,
            text=f"this machine has {has} {'processor' if has == 1 else 'processors'}",
            remedy=f"write a number from 1 to {has}, like {has}",
        )


def memory(spec: Spec) -> Iterator[Unmet]:
    """Yield the memory of a machine, if this one has less."""
    has_mib = memory_mib(MEMORY_INFO.read_text(encoding="ascii"), "MemTotal")
    if spec.build.memory > has_mib:
        most = max(1, has_mib // GIB_MIB - 1)
        yield Unmet(
            key="build.memory",
            value=size(spec.build.memory),
            text=f"this machine has {has_mib / GIB_MIB:.1f} GiB",
            remedy=f'write a smaller size, like "{min(most, 2)} GiB"',
        )


def memory_mib(meminfo: str, field: str) -> int:
    """Return a field of /proc/meminfo in MiB. Source: proc_meminfo(5); its unit is KiB."""
    fields = dict(row.split(":", 1) for row in meminfo.splitlines() if ":" in row)
    return int(fields[field].split()[0]) // 1024


def size(mib: int) -> str:
    """Return a size as cube.toml has it."""
    return f"{mib // GIB_MIB} GiB" if mib % GIB_MIB == 0 else f"{mib} MiB"


def folder(spec: Spec) -> Iterator[Unmet]:
    """Yield the build folder, if nothing can be kept there."""
    if why := folder_check.trouble(spec.build.dir):
        yield Unmet(
            key="build.dir",
            value=str(spec.build.dir),
            text=f"builds cannot be kept there: {why}",
            remedy='name a folder that can be written, like "build"',
        )


def iso(spec: Spec) -> Iterator[Unmet]:
    """Yield the installer's ISO, if it should be on this machine and is not."""
    if spec.image.os != "ubuntu-24.04" or spec.os.ubuntu is None:
        return
    url = spec.os.ubuntu.iso_url
    path = Path(unquote(url.removeprefix("file://")))
    if url.startswith("file://") and not path.is_file():
        yield Unmet(
            key='os."ubuntu-24.04".iso_url',
            value=url,
            text=f"there is no file {path}",
            remedy='name one that is there, like "file:///folder/ubuntu.iso"',
        )


def libvirt(spec: Spec) -> Iterator[Unmet]:
    """Yield the connection to libvirt, if it does not open."""
    if why := trial.trouble(spec.build.libvirt_uri):
        yield Unmet(
            key="build.libvirt_uri",
            value=spec.build.libvirt_uri,
            text=f"it cannot be opened: {why}",
            remedy='write "qemu:///embed", which needs no daemon',
        )
