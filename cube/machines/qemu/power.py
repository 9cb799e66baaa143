"""A libvirt domain's power: whether it is on, and ways to turn it off."""

import contextlib
import time
from typing import Any

from cube.machines.qemu import hypervisor
from cube.machines.record import MachineRecord
from cube.runtime.errors import MachineError

#: Seconds for an orderly stop, and between two looks.
STOP_S = 300.0
LOOK_S = 0.1


def active(domain: Any) -> bool:  # noqa: ANN401 (libvirt-python has no types)
    """Whether a domain runs."""
    try:
        return bool(domain.isActive())
    except hypervisor.library().libvirtError as error:
        if hypervisor.gone(error):
            return False
        raise hypervisor.failure(error) from error


def press_power(domain: Any) -> None:  # noqa: ANN401 (libvirt-python has no types)
    """Ask the guest to shut down; nothing happens when it is off."""
    with contextlib.suppress(hypervisor.library().libvirtError):
        domain.shutdown()


def wait_until_inactive(domain: Any, timeout_s: float) -> None:  # noqa: ANN401 (as above)
    """Wait until a domain is off.

    Raises:
        MachineError: it still runs after `timeout_s` seconds.
    """
    deadline = time.monotonic() + timeout_s
    while active(domain):
        if time.monotonic() > deadline:
            raise MachineError(f"the guest did not power off within {timeout_s:.0f} s")
        time.sleep(LOOK_S)


def destroy(domain: Any) -> None:  # noqa: ANN401 (libvirt-python has no types)
    """End a domain at once; QEMU still closes its disks."""
    libvirt = hypervisor.library()
    with contextlib.suppress(libvirt.libvirtError):
        domain.destroyFlags(libvirt.VIR_DOMAIN_DESTROY_GRACEFUL)
    wait_until_inactive(domain, STOP_S)


def find(found: MachineRecord) -> Any:  # noqa: ANN401 (libvirt-python has no types)
    """Return a recorded machine's domain; None when it is off."""
    connection = hypervisor.connect(found.libvirt_uri)
    try:
        return connection.lookupByName(found.name)
    except hypervisor.library().libvirtError as error:
        if hypervisor.gone(error):
            return None
        raise hypervisor.failure(error) from error
