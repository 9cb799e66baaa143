"""Machines that run an image: one Protocol, two kinds.

`vm` boots a disk under QEMU through libvirt; `container` boots the same disk under
systemd-nspawn at native speed where there is no KVM. Both give an sshd on loopback.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from deploy.connector.entry import Rights

Kind = Literal["vm", "container"]
#: `secure-boot` is UEFI that starts only what a key of Microsoft's, or of the machine's owner,
#: has signed.
Firmware = Literal["bios", "uefi", "secure-boot"]

#: The account that the pipeline logs in with. It exists in no sealed image.
BUILD_USER = "cube-build"
#: Its number lies above those of people, so that the image's administrator gets the first of
#: these, 1000. Source: login.defs(5), UID_MAX; systemd's docs/UIDS-GIDS.md: 60578-60705 are unused.
BUILD_UID = 60600


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Where a machine's sshd answers, and how to be let in and become root.

    Args:
        host: name or IP address.
        port: of sshd.
        user: login.
        key_file: private key; None leaves that to OpenSSH's configuration.
        known_hosts: file of host keys; None leaves that to OpenSSH's configuration.
        alias: what OpenSSH's configuration calls it; empty where that does not count.
        strict: OpenSSH's configuration refuses a host key that it does not know.
        become: how to become root, for an account that is not root.
        terminal: sudo wants a terminal.
        secret: socket of whoever knows the password; None when none is asked for.
        sockets: folder where ssh keeps one connection open for all commands; None: one each.
    """

    host: str
    port: int
    user: str
    key_file: Path | None
    known_hosts: Path | None
    alias: str = ""
    strict: bool = False
    become: Literal["sudo", "su"] = "sudo"
    terminal: bool = False
    secret: Path | None = None
    sockets: Path | None = None

    @property
    def rights(self) -> Rights:
        """How root's shell opens."""
        become = "none" if self.user == "root" else self.become
        return Rights(become=become, terminal=self.terminal, secret=self.secret)


def read_endpoint(data: Mapping[str, Any]) -> Endpoint:
    """Read an endpoint from JSON, where paths are text.

    Raises:
        KeyError: a field is missing.
        TypeError: there is another one.
    """
    paths = {
        name: Path(data[name]) if data.get(name) else None
        for name in ("key_file", "known_hosts", "secret", "sockets")
    }
    return Endpoint(**{**data, **paths})


@dataclass(frozen=True, kw_only=True)
class Seed:
    """What a NoCloud seed tells cloud-init.

    Args:
        instance_id: a new one makes cloud-init treat the boot as a first boot.
        user: the account that gets the public key; made with sudo rights if missing.
        public_key: one line of an OpenSSH public key file.
        hostname: empty leaves the image's own.
    """

    instance_id: str
    user: str
    public_key: str
    hostname: str = ""


@dataclass(frozen=True, kw_only=True)
class MachineRequest:
    """What is wanted of a machine.

    Args:
        name: unique among the machines that are up; a domain name and a folder name.
        disk: qcow2 file, written to; its backing chain is only read.
        run_dir: folder for sockets, console log and the record of what is held.
        key_file: private key (mode 600) whose public half, beside it as ``.pub``, is let in
            for `BUILD_USER`.
        seed: NoCloud seed for a vm; None seeds `BUILD_USER` with `key_file`.
        firmware: how a vm boots; a container ignores it.
        cpus: virtual processors of a vm.
        memory_mib: memory of a vm, in MiB.
        detached: True leaves the machine up when this process ends (`cube up`).
        wait: False returns as soon as the guest runs, so that several boot side by side;
            `Machine.wait_until_up` then waits for sshd.
    """

    name: str
    disk: Path
    run_dir: Path
    key_file: Path
    seed: Seed | None = None
    firmware: Firmware = "bios"
    cpus: int = 2
    memory_mib: int = 2048
    detached: bool = False
    wait: bool = True
    libvirt_uri: str = "qemu:///embed"
    extra_disks: tuple[Path, ...] = field(default=())


class Machine(Protocol):
    """A machine that is up, with sshd answering."""

    kind: Kind
    name: str
    disk: Path

    @property
    def endpoint(self) -> Endpoint:
        """Where sshd answers."""
        ...

    def wait_until_up(self) -> None:
        """Wait until sshd answers; returns at once when it already does.

        Raises:
            MachineError: it did not boot; the console's last lines are in the details.
        """
        ...

    def wait_until_off(self, timeout_s: float) -> None:
        """Wait for a guest that powers itself off; release the disk, every write flushed.

        Nothing is sent to the guest: a power button would start an ordinary shutdown.

        Raises:
            MachineError: it still runs after `timeout_s` seconds.
        """
        ...

    def reboot(self) -> None:
        """Restart the guest; wait until sshd of the new boot answers and its units have settled.

        Raises:
            MachineError: it did not come back; the console's last lines are in the details.
        """
        ...

    def shutdown(self) -> None:
        """Stop the guest cleanly and release the disk, every write flushed.

        Raises:
            MachineError: it did not stop by itself in time.
        """
        ...

    def console_tail(self) -> str:
        """Return the last lines of the console."""
        ...


class Machines(Protocol):
    """A kind of machine."""

    def start(self, request: MachineRequest) -> AbstractContextManager[Machine]:
        """Boot, wait for sshd; on leaving the block everything held is released.

        Raises:
            MachineError: it did not boot; nothing is left running.
        """
        ...
