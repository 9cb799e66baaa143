"""One clone of the artifact: what it is asked, and what its answers must be."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from cube.machines import Endpoint, Firmware, Machine, boot, ssh
from cube.runtime import log, run
from cube.runtime.errors import CommandError, MachineError, ProofError
from cube.seal import secure_boot

#: By how much the clones' disks are larger than the artifact's, in bytes.
GROW_BYTES = 2 * 1024**3
#: Part of it that the root file system must have gained: ext4 takes 2 % for itself.
GROWN_PART = 0.9

#: What a clone is asked, in one login.
LOOK = f"""\
echo "state=$({boot.SETTLE})"
echo "failed=$(systemctl --failed --plain --no-legend | awk '{{ print $1 }}' | xargs)"
said=$(sudo journalctl --boot --quiet --output cat _PID=1)
echo "cycles=$(echo "$said" | grep 'deleted to break ordering cycle' | xargs)"
echo "machine_id=$(cat /etc/machine-id)"
echo "hostname=$(uname -n)"
echo "root_bytes=$(df --block-size=1 --output=size / | tail -n 1 | xargs)"
echo "secure_boot=$({secure_boot.ASK})"
for key in /etc/ssh/ssh_host_*_key.pub; do
    echo "host_key=$(ssh-keygen -l -f "$key" | cut -d ' ' -f 2)"
done
"""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a clone said of itself in one boot.

    Args:
        state: of the system, by systemd.
        failed: units that failed.
        cycles: what systemd said of units that it left out because their order has a cycle.
        machine_id: content of /etc/machine-id.
        hostname: as the kernel knows it.
        root_bytes: size of the root file system.
        secure_boot: what mokutil prints of Secure Boot, on one line.
        host_keys: fingerprints of sshd's keys, sorted.
    """

    state: str
    failed: str
    cycles: str
    machine_id: str
    hostname: str
    root_bytes: int
    secure_boot: str
    host_keys: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Clone:
    """What a clone showed; the second boot's time is None for one that was booted once."""

    name: str
    firmware: Firmware
    secure_boot: secure_boot.State
    hostname: str
    machine_id: str
    host_keys: tuple[str, ...]
    disk_bytes: int
    root_bytes: int
    grown_bytes: int
    build_key_refused: bool
    system_state: str
    boot_seconds: float
    second_boot_seconds: float | None
    checks: str


def answer(machine: Machine, command: str, timeout_s: float = 120) -> str:
    """Return what a command prints on a clone.

    Raises:
        ProofError: it failed.
    """
    try:
        return ssh.execute(machine.endpoint, command, timeout_s=timeout_s).stdout
    except (CommandError, MachineError) as error:
        raise ProofError(f"{machine.name}: {error.message}", details=error.details) from error


def look(machine: Machine) -> Seen:
    """Ask a clone what it is, once all its units have settled.

    Raises:
        ProofError: it is not running as it should.
    """
    log.status(f"waiting for all units of {machine.name}")
    seen = parse_look(answer(machine, LOOK, timeout_s=boot.SETTLE_S + 60))
    if seen.state != "running":
        raise ProofError(
            f"{machine.name}: the system is {seen.state or 'starting'}, not running"
            + (f"; failed: {seen.failed}" if seen.failed else ""),
            hint="correct the unit in its layer",
            details=machine.console_tail(),
        )
    if seen.cycles:
        raise ProofError(
            f"{machine.name}: systemd left units out of the boot, as their order has a cycle",
            hint="correct After= and Before= of the units that are named",
            details=seen.cycles,
        )
    return seen


def parse_look(text: str) -> Seen:
    """Read the answer to `LOOK`: name=value lines, host_key more than once.

    Raises:
        ProofError: a fact is missing.
    """
    pairs = [line.split("=", 1) for line in text.splitlines() if "=" in line]
    known = {name: value for name, value in pairs if name != "host_key"}
    keys = tuple(sorted(value for name, value in pairs if name == "host_key" and value))
    try:
        return Seen(
            state=known["state"],
            failed=known["failed"],
            cycles=known["cycles"],
            machine_id=known["machine_id"],
            hostname=known["hostname"],
            root_bytes=int(known["root_bytes"]),
            secure_boot=known["secure_boot"],
            host_keys=keys,
        )
    except (KeyError, ValueError) as error:
        raise ProofError(f"a clone's answer lacks {error}", details=text) from error


def refuse_likeness(clones: Sequence[Seen]) -> None:
    """Compare what must differ between clones.

    Raises:
        ProofError: two of them are alike; the fact is named with both values.
    """
    for one, other in combinations(clones, 2):
        for fact in ("machine_id", "hostname"):
            values = getattr(one, fact), getattr(other, fact)
            if not all(values) or values[0] == values[1]:
                raise ProofError(
                    f"two clones have no {fact} of their own: {values[0]!r} and {values[1]!r}"
                )
        shared = set(one.host_keys) & set(other.host_keys)
        if shared or not one.host_keys or not other.host_keys:
            raise ProofError(
                "two clones have no SSH host keys of their own: "
                f"{', '.join(one.host_keys)} and {', '.join(other.host_keys)}"
            )


def expect_grown(name: str, root_bytes: int, sealed_bytes: int) -> int:
    """Return by how many bytes the root has grown.

    Raises:
        ProofError: by less than the disk has.
    """
    grown = root_bytes - sealed_bytes
    if grown < GROWN_PART * GROW_BYTES:
        raise ProofError(
            f"{name}: the root file system did not grow with the disk: "
            f"{sealed_bytes} bytes in the artifact, {root_bytes} on a disk {GROW_BYTES} larger",
            hint="see cube-grow-root in the guest: journalctl -u cube-grow-root",
        )
    return grown


def expect_name(name: str, hostname: str) -> None:
    """Compare a clone's host name with its seed's.

    Raises:
        ProofError: they differ.
    """
    if hostname != name:
        raise ProofError(
            f"{name}: the clone's host name is {hostname}",
            hint="check that cloud-init ran at the first boot: cloud-init status --long",
        )


def expect_same(name: str, before: Seen, now: Seen) -> None:
    """Compare a clone with itself after a restart.

    Raises:
        ProofError: it lost its identity; the fact is named with both values.
    """
    for fact in ("machine_id", "host_keys", "hostname", "root_bytes", "secure_boot"):
        old, new = getattr(before, fact), getattr(now, fact)
        if old != new:
            raise ProofError(f"{name}: a restart changed {fact}: {old} became {new}")


def refuse_build_key(endpoint: Endpoint) -> None:
    """Try to log in with the build key; only a plain refusal is a pass.

    Raises:
        ProofError: it lets in, or the attempt did not reach the question.
    """
    *options, destination = ssh.ssh_args(endpoint)
    argv = [*options, "-o", "BatchMode=yes", "-o", "ConnectTimeout=60", destination, "true"]
    done = run.run(argv, accept=range(ssh.FAILED + 1), timeout_s=180)
    if done.returncode != ssh.FAILED:
        raise ProofError(
            f"the build key still lets in as {endpoint.user}",
            hint="the seal did not remove it: see docs/how-it-works.md",
        )
    if "Permission denied" not in done.stderr:
        raise ProofError(
            f"whether the build key lets in as {endpoint.user} could not be tried",
            details=done.stderr,
        )
