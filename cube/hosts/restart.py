"""Whether a box waits for a restart, and why."""

import re

from cube.hosts import remote
from cube.hosts.target import Box
from cube.machines import boot

#: Seconds for a restart of a machine on a desk, whose firmware may test all of its memory.
RESTART_S = 900.0

#: What packages ask for, and the kernels. A container has none of its own.
#: Source: debian-policy, /run/reboot-required; systemd-detect-virt(1).
ASK = """
if [ -e /run/reboot-required ]; then
    echo "asked $(sort -u /run/reboot-required.pkgs 2>/dev/null | paste -sd ' ')"
fi
systemd-detect-virt --quiet --container && exit 0
echo "running $(uname -r)"
for file in /boot/vmlinuz-*; do
    [ ! -e "$file" ] || echo "kernel ${file#/boot/vmlinuz-}"
done | sort -V
"""
#: Services whose libraries were replaced while they ran. Source: needrestart(1), -b and -r.
ASK_SERVICES = "! command -v needrestart >/dev/null || needrestart -b -r l -l"
SERVICE = re.compile(r"^NEEDRESTART-SVC: (.+)$", re.MULTILINE)
#: The end of a kernel's release that names its kind: "amd64", "cloud-amd64", "generic".
FLAVOUR = re.compile(r"-([a-z][a-z0-9-]*)$")


def reason(box: Box) -> str:
    """Say why a box needs a restart; empty when it does not."""
    return parse(remote.execute(box, ASK).stdout)


def services(box: Box) -> list[str]:
    """Name the services that run with libraries that an update has replaced."""
    return SERVICE.findall(remote.execute(box, ASK_SERVICES).stdout)


def parse(text: str) -> str:
    """Read what a box answered to `ASK`."""
    rows = [line.partition(" ") for line in text.splitlines()]
    asked = [
        f"asked for by {who.strip() or 'a package'}" for word, _, who in rows if word == "asked"
    ]
    running = "".join(value for word, _, value in rows if word == "running")
    kernels = [value for word, _, value in rows if word == "kernel"]
    alike = [kernel for kernel in kernels if flavour(kernel) == flavour(running)]
    newer = [f"kernel {alike[-1]} is installed, {running} runs"] if alike else []
    return "; ".join(asked + (newer if alike and alike[-1] != running else []))


def flavour(kernel: str) -> str:
    """Return the kind of a kernel by its release."""
    found = FLAVOUR.search(kernel)
    return found[1] if found else ""


def restart(box: Box) -> None:
    """Restart a box, once, and wait until its units have settled: checks may come next.

    Raises:
        MachineError: it did not come back, or went away again.
        CommandError: systemd did not answer, not even that it has not settled.
    """
    remote.reboot(box, timeout_s=RESTART_S)
    any_code = range(remote.SSH_FAILED)
    remote.execute(box, boot.SETTLE, accept=any_code, timeout_s=boot.SETTLE_S + 60)
