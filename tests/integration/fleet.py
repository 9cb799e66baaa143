"""Many hosts for a test: a root file system, processes and an address of loopback each.

They stand for machines with an sshd, sudo and a disk of their own. They do not stand for boots
(there is no systemd), for kernels or for a network: all share those of this machine.
"""

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cube.disks import mount
from cube.machines.nspawn.network import free_port
from cube.runtime import lifetime, run
from cube.runtime.errors import CubeError

USER = "anna"
#: Hosts listen on 127.A.B.N, another part of loopback for each process. Source: RFC 1122, 3.2.1.3.
NETWORK = f"127.{64 + os.getpid() // 256 % 128}.{os.getpid() % 256}"
START_S = 30.0
#: What every host has, made once in the tree below all of them; its /dev is its own.
#: Source of the numbers: Documentation/admin-guide/devices.txt of the kernel.
PREPARE = f"""
id {USER} >/dev/null 2>&1 || useradd --create-home --shell /bin/bash {USER}
echo '{USER} ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/{USER}
install -d -m 700 -o {USER} -g {USER} /home/{USER}/.ssh
cat >/home/{USER}/.ssh/authorized_keys
chmod 600 /home/{USER}/.ssh/authorized_keys
chown {USER}: /home/{USER}/.ssh/authorized_keys
install -d /run/sshd /dev
rm -rf /dev/*
install -d /dev/pts
ln -s pts/ptmx /dev/ptmx
mknod -m 666 /dev/null c 1 3
mknod -m 666 /dev/zero c 1 5
mknod -m 666 /dev/random c 1 8
mknod -m 666 /dev/urandom c 1 9
mknod -m 666 /dev/tty c 5 0
ssh-keygen -A
"""


@dataclass(frozen=True, kw_only=True)
class Node:
    """A host: its name, where it listens, and its root as seen from here."""

    name: str
    address: str
    port: int
    root: Path


class Fleet:
    """Hosts that are up. Make one with `fleet`."""

    def __init__(self, folder: Path, lower: str, stack: contextlib.ExitStack) -> None:
        self.folder = folder
        self._lower = lower
        self._stack = stack
        self.nodes: list[Node] = []
        # Of all hosts; 22 of every address may be that of this machine's own sshd.
        self.port = free_port()

    def place(self, name: str, number: int) -> Node:
        """Return a host that nobody has started."""
        return Node(
            name=name,
            address=f"{NETWORK}.{number}",
            port=self.port,
            root=self.folder / name / "root",
        )

    def start(self, *, sshd: tuple[str, ...] = ()) -> Node:
        """Start one more host; its options of sshd come first, so they count."""
        number = len(self.nodes) + 1
        node = self.place(f"node{number:02}", number)
        self._stack.enter_context(overlay(self._lower, node.root))
        launch(node, sshd, self._stack)
        self.nodes.append(node)
        return node


def launch(node: Node, sshd: tuple[str, ...], stack: contextlib.ExitStack) -> None:
    """Start a host's sshd as the first process of its own; all of it ends with the block."""
    # sudo looks its host's name up; others want a terminal.
    name = "hostname $0; printf '127.0.0.1 localhost\\n127.0.1.1 %s\\n' $0 >/etc/hosts"
    terminals = "mount -t devpts -o newinstance,ptmxmode=666,mode=620 devpts /dev/pts"
    inside = [
        "sh",
        "-c",
        f'{name}; {terminals}; exec "$@"',
        node.name,
        "/usr/sbin/sshd",
        "-D",
        "-e",
        *sshd,
        "-o",
        f"ListenAddress={node.address}:{node.port}",
        "-o",
        "UseDNS=no",
        "-o",
        "PidFile=none",
    ]
    argv = [
        "unshare",
        "--mount",
        "--uts",
        "--ipc",
        "--pid",
        "--fork",
        "--kill-child",
        f"--root={node.root}",
        "--mount-proc",
        "--",
        *inside,
    ]
    output = node.root.parent / "sshd.log"
    process = run.launch(lifetime.with_parent(argv), output=output)
    stack.callback(process.stop)
    wait_for_greeting(node, process, output)


def wait_for_greeting(node: Node, process: run.Process, output: Path) -> None:
    place = (node.address, node.port)
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.returncode is None:
        with contextlib.suppress(OSError), socket.create_connection(place, 1) as stream:
            stream.settimeout(START_S)
            if stream.recv(4) == b"SSH-":
                return
        time.sleep(0.05)
    raise CubeError(f"no sshd on {place}", details=run.tail(output.read_text()))


@contextlib.contextmanager
def overlay(lower: str, root: Path) -> Iterator[None]:
    """Mount a writable view of trees."""
    upper, work = root.parent / "upper", root.parent / "work"
    for folder in (upper, work, root):
        folder.mkdir(parents=True)
    options = f"lowerdir={lower},upperdir={upper},workdir={work}"
    run.run(["mount", "-t", "overlay", "overlay", "-o", options, root])
    try:
        yield
    finally:
        run.run(["umount", root])


def prepare(tree: Path, public_key: str) -> None:
    """Make the account, its key and the host keys in a tree."""
    run.run(["chroot", tree, "sh", "-eu", "-c", PREPARE], stdin=f"{public_key}\n", timeout_s=60)


@contextlib.contextmanager
def fleet(base: Path, folder: Path, public_key: str) -> Iterator[Fleet]:
    """Make hosts over a root file system that is only read.

    Args:
        base: the tree; it has sshd and sudo.
        folder: for what they write; it is made, and not on an overlay.
        public_key: of who may log in.
    """
    with contextlib.ExitStack() as stack:
        common = folder / "common" / "root"
        stack.enter_context(overlay(str(base), common))
        prepare(common, public_key)
        yield Fleet(folder, f"{common.parent / 'upper'}:{base}", stack)


#: Half of a base image is for hardware that these hosts do not have.
LEFT_OUT = ("./boot", "./usr/lib/modules", "./usr/lib/firmware")


def copy_tree(disk: Path, folder: Path) -> Path:
    """Copy the root of an image to a folder, for overlays."""
    tree = folder / "tree"
    tree.mkdir()
    with mount.mounted(disk, folder / "mount") as root:
        out = ["tar", "-C", str(root), *(f"--exclude={name}" for name in LEFT_OUT), "-cf", "-", "."]
        with subprocess.Popen(out, stdout=subprocess.PIPE) as packing:
            subprocess.run(["tar", "-C", str(tree), "-xpf", "-"], stdin=packing.stdout, check=True)
        assert packing.returncode == 0
    return tree


def hosts_table(nodes: list[Node], key: Path) -> str:
    """Return [hosts.*] for cube.toml."""
    return "".join(
        f'\n[hosts.{node.name}]\naddress = "{node.address}"\nport = {node.port}\n'
        f'user = "{USER}"\nkey = "{key}"\n'
        for node in nodes
    )
