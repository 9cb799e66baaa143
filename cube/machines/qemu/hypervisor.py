"""Connections to libvirt, by default to the driver that runs inside this process.

The embedded driver (`qemu:///embed`) needs no daemon. It has one state folder a process: short,
because sockets are made in it, and named in the records of the machines that it runs.
"""

import atexit
import contextlib
import functools
import importlib
import os
import pwd
import shutil
import tempfile
import threading
from pathlib import Path
from typing import Any

from cube.runtime import log
from cube.runtime.errors import HostError, MachineError

EMBEDDED = "qemu:///embed"
#: Configuration of the embedded driver: no log daemon, no cgroups and no mount namespaces of
#: libvirt's own, files as they are. Source: libvirt, src/qemu/qemu.conf.
CONFIGURATION = """\
stdio_handler = "file"
security_driver = "none"
cgroup_controllers = []
namespaces = []
user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
"""
#: The account that Debian's libvirt looks up before it reads its configuration.
ACCOUNT = "libvirt-qemu"


@functools.cache
def library() -> Any:  # noqa: ANN401 (libvirt-python has no types)
    """Load libvirt and serve its events; its messages come as exceptions only.

    Raises:
        HostError: libvirt-python is not installed.
    """
    os.environ.setdefault("LIBVIRT_LOG_OUTPUTS", "4:file:/dev/null")
    try:
        libvirt = importlib.import_module("libvirt")
    except ImportError as error:
        raise HostError(f"libvirt: {error}", hint="run 'cube doctor'") from error
    libvirt.registerErrorHandler(lambda _context, _error: None, None)
    libvirt.virEventRegisterDefaultImpl()
    threading.Thread(target=_serve_events, args=(libvirt,), daemon=True, name="libvirt").start()
    return libvirt


def _serve_events(libvirt: Any) -> None:  # noqa: ANN401 (libvirt-python has no types)
    while True:
        libvirt.virEventRunDefaultImpl()


#: State folders of machines that stay up when this process ends.
_kept: set[Path] = set()


@functools.cache
def _own_state() -> Path:
    folder = make_state(Path(tempfile.mkdtemp(prefix="cube-")))
    atexit.register(forget_state, folder)
    return folder


def keep_state(folder: Path) -> None:
    """Leave a state folder behind when this process ends."""
    _kept.add(folder)


def make_state(folder: Path) -> Path:
    """Write the embedded driver's configuration into its state folder."""
    (folder / "etc").mkdir(exist_ok=True)
    (folder / "etc/qemu.conf").write_text(CONFIGURATION)
    return folder


def resolve(uri: str) -> tuple[str, Path | None]:
    """Return the URI to open and, for the embedded driver, its state folder.

    `qemu:///embed` alone gets a folder of this process.
    """
    if not uri.startswith(EMBEDDED):
        return uri, None
    _, _, root = uri.partition("root=")
    state = Path(root) if root else _own_state()
    return f"{EMBEDDED}?root={state}", state


def gone(error: Exception) -> bool:
    """Whether an error means that there is no such domain any more."""
    libvirt = library()
    return (
        isinstance(error, libvirt.libvirtError)
        and error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN
    )


#: The embedded driver's connection of this process. libvirt 9.0 binds a process to the first state
#: folder for good, also when the connection is closed: another one is served by another process.
_bound: list[str] = []


def bound_elsewhere(uri: str) -> bool:
    """Tell whether this process cannot open a connection, as it is bound to another state folder.

    Source: seen with libvirt 9.0: a second `qemu:///embed?root=` fails.
    """
    return uri.startswith(EMBEDDED) and bool(_bound) and uri not in _bound


@functools.cache
def connect(uri: str) -> Any:  # noqa: ANN401 (libvirt-python has no types)
    """Open a connection; it is kept for the life of this process.

    Raises:
        HostError: the hypervisor cannot be reached.
    """
    if uri.startswith(EMBEDDED):
        _need_account()
    libvirt = library()
    log.debug(f"libvirt: open {uri}")
    try:
        connection = libvirt.open(uri)
    except libvirt.libvirtError as error:
        raise HostError(
            f"libvirt_uri = {uri!r}: {error}", hint="'cube doctor' says what to install"
        ) from error
    if uri.startswith(EMBEDDED):
        _bound.append(uri)
    atexit.register(_close, connection)
    return connection


def _close(connection: Any) -> None:  # noqa: ANN401 (libvirt-python has no types)
    """Close a connection while the interpreter is whole; its domains stay."""
    with contextlib.suppress(library().libvirtError):
        connection.close()


def _need_account() -> None:
    """Debian's libvirt does not start for root without its account, though it is not used."""
    if os.geteuid() != 0 or not Path("/etc/debian_version").exists():
        return
    try:
        pwd.getpwnam(ACCOUNT)
    except KeyError as error:
        raise HostError(
            f"the account {ACCOUNT} is missing: libvirt does not start without it",
            hint=f"sudo useradd --system --user-group --no-create-home "
            f"--shell /usr/sbin/nologin {ACCOUNT}",
        ) from error


def failure(error: Exception) -> MachineError:
    """Turn an error of libvirt's into ours."""
    return MachineError(f"libvirt: {error}")


def forget_state(folder: Path) -> None:
    """Remove a state folder, unless it is kept."""
    if folder not in _kept:
        shutil.rmtree(folder, ignore_errors=True)
